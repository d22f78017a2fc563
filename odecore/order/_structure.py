"""What a method preserves: quadratic invariants (symplectic), time reversal (symmetric)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from odecore.order._method import RungeKuttaMethod, exact_method

__all__ = ["is_symmetric", "is_symplectic", "symplectic_residuals"]

Agreement = Callable[[int, int, int, int], bool]


def symplectic_residuals(method: RungeKuttaMethod, /) -> tuple[tuple[Any, ...], ...]:
    """The matrix b_i a_ij + b_j a_ji - b_i b_j, exact.

    Parameters
    ----------
    method : object with `A` and `b`

    Returns
    -------
    (s, s) tuple of tuples
        Symmetric, in the arithmetic of the coefficients; floats become the Fractions that they are.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.

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

    Parameters
    ----------
    method : object with `A` and `b`

    Returns
    -------
    bool
        Whether `symplectic_residuals` vanish; for a family, whether they do for all members.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> is_symplectic(tableau("implicit_midpoint")), is_symplectic(tableau("classic"))
    (True, False)
    """
    known = exact_method(method)
    residuals = [entry for row in _defect(known.A, known.b, -1) for entry in row]
    return all(
        known.held(residuals, lambda A, b: [entry for row in _defect(A, b, 1) for entry in row])
    )


def is_symmetric(method: RungeKuttaMethod, /) -> bool:
    """Whether a method equals its adjoint: a step back undoes a step forward.

    Decided as `order_of_accuracy` decides the order, for any numbering of the stages: the method is
    symmetric iff a renumbering sigma has a_(sigma i)(sigma j) = b_j - a_ij and b_(sigma i) = b_i.

    Parameters
    ----------
    method : object with `A` and `b`

    Returns
    -------
    bool
        For a family, whether all members are, by one renumbering.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.

    Notes
    -----
    Hairer, Lubich, Wanner, theorem V.2.3, where the renumbering is fixed as i -> s + 1 - i. A
    method with stages that never act on the result should be reduced first.
    """
    known = exact_method(method)
    A, b = known.A, known.b
    stages = range(len(b))
    reach_A, reach_b = known.radii or ([[0 for _ in b] for _ in b], [0 for _ in b])

    def same(value: Any, other: Any, *reaches: Any) -> bool:
        off = value - other
        return bool(off == 0 if known.radii is None else abs(off) <= sum(reaches))

    @cache
    def opposite(i: int, k: int, j: int, m: int) -> bool:
        return same(A[k][m] + A[i][j], b[j], reach_A[k][m], reach_A[i][j], reach_b[j])

    def agree(i: int, k: int, j: int, m: int) -> bool:
        """Whether i -> k and j -> m can be parts of one renumbering."""
        return opposite(i, k, j, m) and opposite(j, m, i, k)

    if not same(sum(b, Fraction(0)), 1, *reach_b):
        return False
    alike = [{k for k in stages if same(b[k], b[i], reach_b[k], reach_b[i])} for i in stages]
    return _renumbering_exists(alike, agree)


def _renumbering_exists(images: list[set[int]], agree: Agreement) -> bool:
    """Whether stages can be mapped one to one to their possible images, each pair in agreement."""
    images = _narrowed(images, agree)
    if not all(images):
        return False
    open_stages = [i for i, choices in enumerate(images) if len(choices) > 1]
    if not open_stages:
        return True
    first = min(open_stages, key=lambda i: len(images[i]))
    return any(
        _renumbering_exists([*images[:first], {k}, *images[first + 1 :]], agree)
        for k in images[first]
    )


def _narrowed(images: list[set[int]], agree: Agreement) -> list[set[int]]:
    """Drop i -> k wherever the other stages have no different images that agree with it."""
    while True:
        kept = [
            {
                k
                for k in choices
                if _all_differ(
                    [
                        [m for m in ({k} if j == i else others) if agree(i, k, j, m)]
                        for j, others in enumerate(images)
                    ]
                )
            }
            for i, choices in enumerate(images)
        ]
        if kept == images:
            return kept
        images = kept


def _all_differ(options: list[list[int]]) -> bool:
    """Whether one option can be taken from each list, no two the same: augmenting paths."""
    taken: dict[int, int] = {}

    def place(j: int, tried: set[int]) -> bool:
        for m in options[j]:
            if m not in tried:
                tried.add(m)
                if m not in taken or place(taken[m], tried):
                    taken[m] = j
                    return True
        return False

    return all(place(j, set()) for j in range(len(options)))
