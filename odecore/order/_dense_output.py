"""Order conditions of a dense output: weights that are polynomials in theta."""

from __future__ import annotations

from collections.abc import Sequence

from odecore.exact import Polynomial
from odecore.order._enumeration import rooted_trees
from odecore.order._method import RungeKuttaMethod, exact_method
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights

__all__ = ["dense_output_order", "dense_output_residuals"]


def dense_output_residuals(
    method: RungeKuttaMethod, weights: Sequence[Polynomial], order: int, /
) -> dict[RootedTree, Polynomial]:
    """Residuals sum_i b_i(theta) g_i(t) - theta^|t| / gamma(t) as polynomials in theta.

    Parameters
    ----------
    method : object with `A`
    weights : (s,) sequence of Polynomial
        b_i(theta): the solution at t + theta h is y + h sum_i b_i(theta) k_i.
    order : int
        Trees with up to this many vertices.

    Returns
    -------
    dict
        From tree to polynomial; order p of the dense output means all are zero up to p.

    Notes
    -----
    Hairer, Norsett, Wanner I, theorem II.6.1.
    """
    A = exact_method(method).A
    trees = [tree for n in range(1, order + 1) for tree in rooted_trees(n)]
    degree = max((weight.degree for weight in weights), default=-1)
    # Each power of theta has weights of its own, in the field of the coefficients.
    total = dict.fromkeys(trees, Polynomial(()))
    for k in range(degree + 1):
        row = [w.coefficients[k] if k <= w.degree else 0 for w in weights]
        for tree, value in elementary_weights(trees, A, row).items():
            total[tree] += Polynomial([0] * k + [value])
    return {
        tree: value - Polynomial([0] * tree.order + [1]) / tree.density
        for tree, value in total.items()
    }


def dense_output_order(
    method: RungeKuttaMethod, weights: Sequence[Polynomial], /, *, max_order: int = 10
) -> int:
    """Largest p for which the dense output has order p uniformly in theta; exact.

    Raises
    ------
    ValueError
        If all conditions up to `max_order` hold, so that the order is not decided.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> dense_output_order(tableau("euler"), [Polynomial((0, 1))])
    1
    """
    for p in range(1, max_order + 1):
        residuals = dense_output_residuals(method, weights, p)
        if any(residual for tree, residual in residuals.items() if tree.order == p):
            return p - 1
    raise ValueError(f"all conditions up to {max_order} hold; raise `max_order` to decide")
