"""One problem that shows every order condition: its components grow as the rooted trees."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations_with_replacement, product
from math import isnan
from operator import index
from typing import Any

import numpy as np

from odecore.order import RootedTree, rooted_trees
from odecore.testing._step import Step, require_step, state

__all__ = ["MAX_ORDER", "tree_problem", "tree_residuals", "tree_roundings", "valid_order"]

MAX_ORDER = 14  # 2,052,518 components; each further order has 3.4 times as many
_ONE, _TIME = -2, -1  # places behind the components of the state
_REPEATS = 6  # in other units, for the rounding error


def tree_problem(order: int, /) -> tuple[tuple[RootedTree, ...], Callable[[Any, Any], Any]]:
    """The system whose step from zero is the list of elementary weights.

    Parameters
    ----------
    order : int
        Trees with up to this many vertices, from 1 to 14.

    Returns
    -------
    trees : tuple of RootedTree
        One for each component of the state; a tree occurs once for each way to take some of its
        leaves by the state and the others by the time.
    f : callable
        y_t' = product of y_u over the children u of t, and 1 for the leaf. From y = 0 the exact
        solution is the time to the power of the order, over gamma(t), and one step of length 1 of
        a Runge-Kutta method gives exactly Phi(t).

    Raises
    ------
    TypeError, ValueError
        If `order` is no integer, or out of range.

    Notes
    -----
    Hairer, Norsett, Wanner I, section II.2, exercise 4. The component of a leaf is the time, so a
    child that is a leaf may be either: if all components of a tree are right, its condition holds
    for non-autonomous problems too, even if the abscissae are not the row sums.
    """
    trees, places = _components(valid_order(order))

    def f(t: Any, y: Any) -> Any:
        y = np.asarray(y)
        return np.concatenate([y, np.array([1, t], dtype=y.dtype)])[places].prod(axis=1)

    return trees, f


def valid_order(order: Any, *, most: float = MAX_ORDER) -> int:
    """An order whose conditions can be read off, or a refusal."""
    try:
        found = index(order)
    except TypeError:
        raise TypeError(f"`order` must be an integer, got {order!r}") from None
    if found < 1:
        raise ValueError(f"`order` must be at least 1, got {order}")
    if found > most:
        raise ValueError(
            f"`order` must be at most {most} where conditions are read off (2,052,518 components "
            f"for order 14, and 3.4 times as many for each further one), got {order}"
        )
    return found


@cache
def _components(order: int) -> tuple[tuple[RootedTree, ...], Any]:
    """The trees, and for each component the places of its factors in (y, 1, t)."""
    trees: list[RootedTree] = []
    factors: list[tuple[int, ...]] = []
    found: dict[RootedTree, list[int]] = {}  # places of the components of a tree as a child
    for tree in (tree for n in range(1, order + 1) for tree in rooted_trees(n)):
        counts = {child: tree.children.count(child) for child in tree.children}
        choices = [combinations_with_replacement(found[c], k) for c, k in counts.items()]
        ways = [tuple(place for part in way for place in part) for way in product(*choices)]
        found[tree] = list(range(len(trees), len(trees) + len(ways)))
        trees += [tree] * len(ways)
        factors += ways
        if not tree.children:
            found[tree].append(_TIME)
    width = max(map(len, factors)) or 1
    return tuple(trees), np.array([way + (_ONE,) * (width - len(way)) for way in factors])


def tree_residuals(step: Step, order: int, /) -> dict[RootedTree, float]:
    """Residuals Phi(t) - 1/gamma(t) of running code, from one step.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h; y is a NumPy array of shape (n,).
    order : int
        As for `tree_problem`.

    Returns
    -------
    dict
        From tree to residual, correct to rounding for any Runge-Kutta method; where it depends on
        which leaves are taken by the time, the largest.

    Raises
    ------
    ValueError
        If the step returns another shape, or not numbers: it starts at t = 0, y = 0 with h = 1.
    TypeError
        If it is not callable.

    Examples
    --------
    >>> euler = lambda f, t, y, h: y + h * f(t, y)
    >>> {str(tree): float(r) for tree, r in tree_residuals(euler, 2).items()}
    {'•': 0.0, '[•]': -0.5}
    """
    require_step(step)
    trees, f = tree_problem(order)
    return _largest(trees, _residuals(step, f, trees, 0.0, 1.0))


def tree_roundings(step: Step, order: int, /) -> dict[RootedTree, float]:
    """How far the residuals change when state and time are measured in other units.

    Parameters
    ----------
    step, order
        As in `tree_residuals`.

    Returns
    -------
    dict
        From tree to the largest change over six choices of units. For a Runge-Kutta method that is
        the rounding error of its residual, in the precision in which the step computes.
    """
    trees, f = tree_problem(order)
    first = _residuals(step, f, trees, 0.0, 1.0)
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(_REPEATS):
        unit = np.exp2(rng.uniform(-0.5, 0.5, len(trees)))
        t0, h = (float(np.float32(x)) for x in (rng.uniform(-0.5, 0.5), rng.uniform(0.5, 1)))

        def other(t: Any, y: Any, t0: float = t0, h: float = h, unit: Any = unit) -> Any:
            y = np.asarray(y)
            scale = unit.astype(y.dtype)
            return f((t - t0) / h, y / scale) * scale / h

        changes.append(np.abs(_residuals(step, other, trees, t0, h, unit) - first))
    return _largest(trees, np.max(changes, axis=0))


def _residuals(
    step: Step, f: Any, trees: tuple[RootedTree, ...], t: float, h: float, unit: Any = 1.0
) -> Any:
    with np.errstate(all="ignore"):
        y = state(step(f, t, np.zeros(len(trees)), h), (len(trees),)).astype(np.float64)
    return y / unit - np.array([1 / tree.density for tree in trees])


def _largest(trees: tuple[RootedTree, ...], values: Any) -> dict[RootedTree, float]:
    found: dict[RootedTree, float] = {}
    for tree, value in zip(trees, values.tolist(), strict=True):
        kept = found.get(tree, 0.0)
        if tree not in found or not (isnan(kept) or abs(value) <= abs(kept)):
            found[tree] = value
    return found
