"""Order conditions: what a Runge-Kutta method leaves of each tree, decided without a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

from odecore.order._enumeration import rooted_trees
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights

__all__ = ["order_condition_residuals", "order_of_accuracy", "principal_error"]


class RungeKuttaMethod(Protocol):
    """Anything with coefficients A and b, such as a tableau or a family."""

    @property
    def A(self) -> Sequence[Sequence[Any]]: ...

    @property
    def b(self) -> Sequence[Any]: ...


def order_condition_residuals(method: RungeKuttaMethod, order: int, /) -> dict[RootedTree, Any]:
    """Residuals Phi(t) - 1/gamma(t) for all trees with up to `order` vertices.

    Parameters
    ----------
    method : object with `A` (s, s) and `b` (s,)
        A `ButcherTableau` (residuals are Fractions) or a `Family` (residuals are rational
        functions of the parameters: the zero element proves the condition for every member).
    order : int
        At least 1.

    Returns
    -------
    dict
        From `RootedTree` to residual, in the arithmetic of the coefficients.

    Raises
    ------
    ValueError
        If `order` is less than 1.

    Notes
    -----
    Hairer, Norsett, Wanner I, theorem II.2.13.
    """
    if order < 1:
        raise ValueError(f"`order` must be at least 1, got {order}")
    trees = [tree for n in range(1, order + 1) for tree in rooted_trees(n)]
    weights = elementary_weights(trees, method.A, method.b)
    return {tree: weight - Fraction(1, tree.density) for tree, weight in weights.items()}


def order_of_accuracy(method: RungeKuttaMethod, /, *, max_order: int = 12) -> int:
    """Largest p for which every order condition up to order p holds.

    Parameters
    ----------
    method : object with `A` and `b`
        If it also has an `uncertainty` delta > 0 (each published digit string is off by at most
        delta), a condition counts as held when its residual is within the bound
        Phi(abs(A)+delta, abs(b)+delta) - Phi(abs(A), abs(b)), which no rounding of the nonzero
        coefficients within delta can exceed.
        Otherwise the decision is exact: the residual is zero or it is not.
    max_order : int, optional
        Where to stop; the work grows about threefold with each order.

    Returns
    -------
    int
        0 for an inconsistent method.

    Raises
    ------
    ValueError
        If all conditions up to `max_order` hold, so that the order is not decided.
    """
    delta = getattr(method, "uncertainty", Fraction(0))
    for p in range(1, max_order + 1):
        trees = rooted_trees(p)
        weights = elementary_weights(trees, method.A, method.b)
        bounds = _rounding_bounds(trees, method, delta) if delta else dict.fromkeys(trees, 0)
        for tree in trees:
            residual = weights[tree] - Fraction(1, tree.density)
            held = abs(residual) <= bounds[tree] if delta else residual == 0
            if not held:
                return p - 1
    raise ValueError(
        f"all order conditions up to `max_order` = {max_order} hold; raise `max_order` to decide"
    )


def principal_error(method: RungeKuttaMethod, order: int, /) -> Any:
    """Square of the principal error's 2-norm: the sum over trees of order p+1 of tau(t)^2.

    Parameters
    ----------
    method : object with `A` and `b`
    order : int
        The order p of the method.

    Returns
    -------
    Fraction or ring element
        sum of ((Phi(t) - 1/gamma(t)) / sigma(t))^2. The square is returned because it is
        rational; its root is the usual A^(p+1).

    Notes
    -----
    The 2-norm over rooted trees, not Lotkin's bound for scalar problems: optima in the two norms
    are different methods (Ralston's 1962 optimum is in Lotkin's).
    """
    trees = rooted_trees(order + 1)
    weights = elementary_weights(trees, method.A, method.b)
    errors = [(weights[t] - Fraction(1, t.density)) * Fraction(1, t.symmetry) for t in trees]
    return sum((error * error for error in errors), Fraction(0))


def _rounding_bounds(
    trees: Sequence[RootedTree], method: RungeKuttaMethod, delta: Fraction
) -> dict[RootedTree, Any]:
    """How far each weight can move when every nonzero coefficient moves by at most delta."""
    A = [[abs(a) for a in row] for row in method.A]
    b = [abs(weight) for weight in method.b]
    raised_A = [[a + delta if a else a for a in row] for row in A]
    raised_b = [weight + delta if weight else weight for weight in b]
    low = elementary_weights(trees, A, b)
    high = elementary_weights(trees, raised_A, raised_b)
    return {tree: high[tree] - low[tree] for tree in trees}
