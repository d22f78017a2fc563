"""Order conditions: what a Runge-Kutta method leaves of each tree, decided without a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from odecore.order._enumeration import rooted_trees, whole_number
from odecore.order._method import ExactMethod, Form, RungeKuttaMethod, exact_method
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights, over_integers, stage_weights

__all__ = [
    "failing_trees",
    "order_condition_residuals",
    "order_of_accuracy",
    "require_order",
    "rounding_bounds",
    "tree_weights",
    "trees_up_to",
]

MAX_ORDER = 14  # 53,272 conditions; each further order has about three times as many


def order_condition_residuals(method: RungeKuttaMethod, order: int, /) -> dict[RootedTree, Any]:
    """Residuals Phi(t) - 1/gamma(t) for all trees with up to `order` vertices.

    Parameters
    ----------
    method : object with `A` (s, s) and `b` (s,)
        A `ButcherTableau` (residuals are Fractions or QuadraticNumbers), a `Family` (residuals are
        rational functions of the parameters: the zero element proves the condition for every
        member), or anything with floats (residuals are the exact ones of these floats, Fractions;
        `rounding_bounds` says how much of them rounding of the coefficients explains).
    order : int
        From 1 to 14.

    Returns
    -------
    dict
        From `RootedTree` to residual, in the arithmetic of the coefficients.

    Raises
    ------
    ValueError
        If `order` is out of range, a coefficient is not finite, `uncertainty` is negative, or
        shapes disagree.
    TypeError
        If a coefficient is neither a real number whose exact value is known nor a ring element, or
        `order` is no int.

    Notes
    -----
    Hairer, Norsett, Wanner I, theorem II.2.13.
    """
    known, trees = exact_method(method), trees_up_to(order)
    weights = elementary_weights(trees, known.A, known.b)
    return {tree: weight - Fraction(1, tree.density) for tree, weight in weights.items()}


def rounding_bounds(method: RungeKuttaMethod, order: int, /) -> dict[RootedTree, Any]:
    """How far each residual can be from that of the method that was rounded or misprinted.

    Parameters
    ----------
    method, order
        As for `order_condition_residuals`.

    Returns
    -------
    dict
        From tree to Phi(abs(A) + R, abs(b) + r) - Phi(abs(A), abs(b)), a rigorous bound for all
        coefficients that differ from the given ones by at most the radii R, r: `method.uncertainty`
        for published decimals, and for floats eps times the largest coefficient of the row, at
        least the smallest positive float. Zero for exact coefficients; zero coefficients are taken
        as exact.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.
    """
    known, trees = exact_method(method), trees_up_to(order)
    if known.radii is None:
        return dict.fromkeys(trees, 0)
    return dict(zip(trees, known.reach(tree_weights(trees)), strict=True))


def failing_trees(method: RungeKuttaMethod, order: int, /) -> dict[RootedTree, Any]:
    """The conditions up to `order` that a method violates, with their residuals.

    Parameters
    ----------
    method, order
        As for `order_condition_residuals`.

    Returns
    -------
    dict
        Empty iff the method has at least this order (for floats and decimals: iff rounding of the
        coefficients explains all residuals).

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fractions import Fraction
    >>> half, tenth = Fraction(1, 2), Fraction(1, 10)
    >>> wrong = SimpleNamespace(A=((0, 0), (half, 0)), b=(tenth, 1 - tenth))
    >>> {str(tree): str(residual) for tree, residual in failing_trees(wrong, 2).items()}
    {'[•]': '-1/20'}
    """
    known, trees = exact_method(method), trees_up_to(order)
    weights = elementary_weights(trees, known.A, known.b)
    residuals = [weights[tree] - Fraction(1, tree.density) for tree in trees]
    held = known.held(residuals, tree_weights(trees))
    triples = zip(trees, residuals, held, strict=True)
    return {tree: residual for tree, residual, good in triples if not good}


def order_of_accuracy(
    method: RungeKuttaMethod, /, *, max_order: int = 12, weights: Sequence[Any] | None = None
) -> int:
    """Largest p for which every order condition up to order p holds.

    Parameters
    ----------
    method : object with `A` and `b`
        Over an exact field the decision is exact: a residual is zero or it is not. For published
        decimals (an `uncertainty`) and for floats a condition counts as held iff its residual is
        within the bound of `rounding_bounds`: the order is that of a method which these digits can
        be the rounding of.
    max_order : int, optional
        Where to stop, at most 14; the work grows about threefold with each order.
    weights : sequence, optional
        Decide the order of these weights instead of `method.b`, for instance `method.b_hat`.

    Returns
    -------
    int
        0 for an inconsistent method.

    Raises
    ------
    ValueError
        If all conditions up to `max_order` hold, so that the order is not decided, and as
        `order_condition_residuals`.
    TypeError
        If `max_order` is no int, and as `order_condition_residuals`.
    """
    known = exact_method(method, weights=weights)
    max_order = require_order(max_order, "`max_order`")
    for p, held in enumerate(_held_by_order(known, max_order), start=1):
        if not held:
            return p - 1
    remedy = (
        "raise `max_order` to decide" if max_order < MAX_ORDER else "no higher ones are decided"
    )
    raise ValueError(f"all order conditions up to `max_order` = {max_order} hold; {remedy}")


def _held_by_order(known: ExactMethod, max_order: int) -> Iterator[bool]:
    """Whether all conditions of order 1, 2, ... hold; subtrees are shared between the orders."""
    g, scale = stage_weights(known.A, len(known.b))
    b, b_scale = over_integers(known.b)
    weights = [(i, weight) for i, weight in enumerate(b) if weight != 0]
    for p in range(1, max_order + 1):
        trees = rooted_trees(p)
        if known.radii is not None or scale is None:
            values = elementary_weights(trees, known.A, known.b)
            residuals = [values[tree] - Fraction(1, tree.density) for tree in trees]
            yield all(known.held(residuals, tree_weights(trees)))
        else:
            target = scale ** (p - 1) * (b_scale or 1)
            yield all(
                sum(weight * values[i] for i, weight in weights) * tree.density == target
                for tree, values in zip(trees, map(g, trees), strict=True)
            )


def tree_weights(trees: Sequence[RootedTree]) -> Form:
    """The weights of these trees as a form in the coefficients."""
    return lambda A, b: list(elementary_weights(trees, A, b).values())


def trees_up_to(order: int) -> list[RootedTree]:
    """All trees with up to this many vertices, a number in range."""
    order = require_order(order, "`order`")
    return [tree for n in range(1, order + 1) for tree in rooted_trees(n)]


def require_order(order: int, label: str) -> int:
    """The order as an int; refuse one that is out of range."""
    order = whole_number(order, label)
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(
            f"{label} must be at least 1 and at most {MAX_ORDER} (53,272 conditions, and three "
            f"times as many for each further order), got {order}"
        )
    return order
