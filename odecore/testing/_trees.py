"""One problem that shows every order condition: its components grow as the rooted trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odecore.order import RootedTree, rooted_trees

__all__ = ["tree_problem", "tree_residuals"]


def tree_problem(order: int, /) -> tuple[tuple[RootedTree, ...], Callable[[Any, Any], Any]]:
    """The system whose step from zero is the list of elementary weights.

    Parameters
    ----------
    order : int
        Trees with up to this many vertices.

    Returns
    -------
    trees : tuple of RootedTree
        One for each component of the state.
    f : callable
        y_t' = product of y_u over the children u of t, and 1 for the leaf. From y = 0 the exact
        solution is the time to the power of the order, over gamma(t), and one step of length 1 of
        a Runge-Kutta method gives exactly Phi(t).

    Notes
    -----
    Hairer, Norsett, Wanner I, section II.2, exercise 4. Where a child is a leaf, every second
    occurrence takes the time in place of the component, so that wrong abscissae show too.
    """
    trees = tuple(tree for n in range(1, order + 1) for tree in rooted_trees(n))
    place = {tree: k for k, tree in enumerate(trees)}
    plans = [
        [(place[child], child.order == 1 and k % 2 == 0) for k, child in enumerate(tree.children)]
        for tree in trees
    ]

    def f(t: Any, y: Any) -> Any:
        out = np.ones_like(y)
        for k, plan in enumerate(plans):
            for index, by_time in plan:
                out[k] = out[k] * (t if by_time else y[index])
        return out

    return trees, f


def tree_residuals(
    step: Callable[[Callable[[Any, Any], Any], float, Any, float], Any], order: int, /
) -> dict[RootedTree, float]:
    """Residuals Phi(t) - 1/gamma(t) of running code, from one step.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h; y is a NumPy array of shape (n,).
    order : int

    Returns
    -------
    dict
        From tree to residual, correct to rounding for any Runge-Kutta method.

    Examples
    --------
    >>> euler = lambda f, t, y, h: y + h * f(t, y)
    >>> {str(tree): float(r) for tree, r in tree_residuals(euler, 2).items()}
    {'•': 0.0, '[•]': -0.5}
    """
    trees, f = tree_problem(order)
    found = np.asarray(step(f, 0.0, np.zeros(len(trees)), 1.0), dtype=np.float64)
    if found.shape != (len(trees),):
        raise ValueError(
            f"`step` must return a state of the shape of y, {(len(trees),)}; got {found.shape}"
        )
    return {tree: float(value) - 1 / tree.density for tree, value in zip(trees, found, strict=True)}
