"""What a method preserves: quadratic invariants (symplectic), time reversal (symmetric)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from odecore.order._method import RungeKuttaMethod, exact_method

__all__ = ["is_symmetric", "is_symplectic", "symplectic_residuals"]


def symplectic_residuals(method: RungeKuttaMethod, /) -> tuple[tuple[Any, ...], ...]:
    """The matrix b_i a_ij + b_j a_ji - b_i b_j, exact.

    Notes
    -----
    Hairer, Lubich, Wanner, Geometric Numerical Integration, theorem VI.4.3: if it is zero, the
    method conserves quadratic invariants and is symplectic. The same matrix decides algebraic
    stability when it is positive semi-definite.
    """
    known = exact_method(method)
    return _defect(known.A, known.b, -1)


def _defect(A: Sequence[Sequence[Any]], b: Sequence[Any], sign: int) -> tuple[tuple[Any, ...], ...]:
    s = range(len(b))
    return tuple(tuple(b[i] * A[i][j] + b[j] * A[j][i] + sign * b[i] * b[j] for j in s) for i in s)


def is_symplectic(method: RungeKuttaMethod, /) -> bool:
    """Whether a method is symplectic, decided as `order_of_accuracy` decides the order.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> is_symplectic(tableau("implicit_midpoint")), is_symplectic(tableau("classic"))
    (True, False)
    """
    known = exact_method(method)
    residuals = [entry for row in _defect(known.A, known.b, -1) for entry in row]
    bounds = known.reach(lambda A, b: [entry for row in _defect(A, b, 1) for entry in row])
    return all(known.held(residuals, bounds))


def is_symmetric(method: RungeKuttaMethod, /) -> bool:
    """Whether a method equals its adjoint: a step back undoes a step forward.

    Decided as `order_of_accuracy` decides the order, for any numbering of the stages: the method is
    symmetric iff a renumbering sigma has a_(sigma i)(sigma j) = b_j - a_ij and b_(sigma i) = b_i.

    Notes
    -----
    Hairer, Lubich, Wanner, theorem V.2.3, where the renumbering is fixed as i -> s + 1 - i. A
    method with stages that never act on the result should be reduced first.
    """
    known = exact_method(method)
    A, b = known.A, known.b
    s = len(b)
    radii = known.radii
    if radii is not None:
        reach_A, reach_b = radii
    else:
        reach_b = (0,) * s
        reach_A = (reach_b,) * s

    def same(value: Any, other: Any, *reaches: Any) -> bool:
        return bool(abs(value - other) <= sum(reaches)) if radii else bool(value == other)

    def matched(sigma: list[int]) -> bool:
        """Whether the last stage of a partial renumbering agrees with all before it."""
        i, k = len(sigma) - 1, sigma[-1]
        if not same(b[k], b[i], reach_b[k], reach_b[i]):
            return False
        return all(
            same(A[k][m] + A[i][j], b[j], reach_A[k][m], reach_A[i][j], reach_b[j])
            and same(A[m][k] + A[j][i], b[i], reach_A[m][k], reach_A[j][i], reach_b[i])
            for j, m in enumerate(sigma)
        )

    def extends(sigma: list[int]) -> bool:
        if len(sigma) == s:
            return True
        free = (k for k in reversed(range(s)) if k not in sigma)
        return any(matched([*sigma, k]) and extends([*sigma, k]) for k in free)

    total = sum(b, Fraction(0))
    return same(total, 1, *reach_b) and extends([])
