"""Order conditions of a dense output: weights that are polynomials in theta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from odecore.exact import Polynomial
from odecore.order._conditions import require_order, tree_weights, trees_up_to
from odecore.order._enumeration import rooted_trees
from odecore.order._method import ExactMethod, RungeKuttaMethod, exact_method
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
        Exact or in floats, as for `order_condition_residuals`.
    weights : (s,) sequence of Polynomial
        b_i(theta): the solution at t + theta h is y + h sum_i b_i(theta) k_i.
    order : int
        Trees with up to this many vertices, from 1 to 14.

    Returns
    -------
    dict
        From tree to polynomial; order p of the dense output means all are zero up to p.

    Raises
    ------
    TypeError
        If a weight is no Polynomial, or an order no int.
    ValueError
        If `order` is out of range, or there is not one weight for each stage.

    Notes
    -----
    Hairer, Norsett, Wanner I, theorem II.6.1.
    """
    trees = trees_up_to(order)
    columns = [
        elementary_weights(trees, known.A, known.b).values()
        for known in _powers(method, weights, order)
    ]
    return {
        tree: Polynomial(values) - Polynomial([0] * tree.order + [1]) / tree.density
        for tree, *values in zip(trees, *columns, strict=True)
    }


def _powers(
    method: RungeKuttaMethod, weights: Sequence[Polynomial], order: int
) -> list[ExactMethod]:
    """The methods whose weights are the coefficients of one power of theta each, from 0 on."""
    for weight in weights if isinstance(weights, Iterable) else [weights]:
        if not isinstance(weight, Polynomial):
            raise TypeError(
                "`weights` must be odecore.exact.Polynomials in theta, one for each stage, got "
                f"{weight!r}; b theta is Polynomial((0, b))"
            )
    degree = max([order, *(weight.degree for weight in weights)])
    padded = [[*weight.coefficients, *[0] * (degree - weight.degree)] for weight in weights]
    columns = ([row[k] for row in padded] for k in range(degree + 1))
    return [exact_method(method, weights=column) for column in columns]


def dense_output_order(
    method: RungeKuttaMethod, weights: Sequence[Polynomial], /, *, max_order: int = 10
) -> int:
    """Largest p for which the dense output has order p uniformly in theta.

    Decided as `order_of_accuracy` decides the order, for each power of theta.

    Parameters
    ----------
    method : object with `A`
        Exact or in floats, as for `order_condition_residuals`.
    weights : (s,) sequence of Polynomial
        b_i(theta), as for `dense_output_residuals`.
    max_order : int, optional
        Where to stop, at most 14.

    Returns
    -------
    int
        0 unless the weights add up to theta.

    Raises
    ------
    TypeError
        If a weight is no Polynomial, or an order no int.
    ValueError
        If all conditions up to `max_order` hold, so that the order is not decided, or there is not
        one weight for each stage.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> dense_output_order(tableau("euler"), [Polynomial((0, 1))])
    1
    """
    max_order = require_order(max_order, "`max_order`")
    powers = _powers(method, weights, max_order)
    for p in range(1, max_order + 1):
        trees = rooted_trees(p)
        for k, known in enumerate(powers):
            values = elementary_weights(trees, known.A, known.b)
            wanted = [Fraction(int(k == p), tree.density) for tree in trees]
            residuals = [values[tree] - w for tree, w in zip(trees, wanted, strict=True)]
            if not all(known.held(residuals, tree_weights(trees))):
                return p - 1
    raise ValueError(f"all conditions up to {max_order} hold; raise `max_order` to decide")
