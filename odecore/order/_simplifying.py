"""Butcher's simplifying assumptions B, C and D, and the stage order that C gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from odecore.order._enumeration import whole_number
from odecore.order._method import ExactMethod, RungeKuttaMethod, exact_method

__all__ = ["SimplifyingAssumptions", "simplifying_assumptions", "stage_order"]

Row = Sequence[Any]


@dataclass(frozen=True)
class SimplifyingAssumptions:
    """How many of each kind of Butcher's simplifying assumptions hold.

    Parameters
    ----------
    B : int
        Largest k with sum_i b_i c_i^(j-1) = 1/j for j = 1..k (the order of the quadrature).
    C : int
        Largest k with sum_j a_ij c_j^(m-1) = c_i^m / m for m = 1..k and every stage i.
    D : int
        Largest k with sum_i b_i c_i^(m-1) a_ij = b_j (1 - c_j^m) / m for m = 1..k and every j.

    Notes
    -----
    Butcher (1964); Hairer, Norsett, Wanner I, section II.7. B(p), C(q), D(r) with p <= q + r + 1
    and p <= 2 q + 2 imply order p.
    """

    B: int
    C: int
    D: int


def simplifying_assumptions(
    method: RungeKuttaMethod, /, *, limit: int = 40
) -> SimplifyingAssumptions:
    """Decide B, C and D as `order_of_accuracy` decides the order.

    Parameters
    ----------
    method : object with `A` and `b`
    limit : int, optional
        Where to stop counting. Only a method without weights or stages of its own, such as the
        single stage c = 0 in C, satisfies arbitrarily many.

    Returns
    -------
    SimplifyingAssumptions

    Raises
    ------
    ValueError
        If `limit` is less than 1, and as `order_condition_residuals`.
    TypeError
        If it is no int, and as `order_condition_residuals`.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> simplifying_assumptions(tableau("classic"))
    SimplifyingAssumptions(B=4, C=1, D=1)
    """
    known, limit = exact_method(method), whole_number(limit, "`limit`")
    if limit < 1:
        raise ValueError(f"`limit` must be at least 1, got {limit}")
    return SimplifyingAssumptions(
        **{
            name: _count(known, form, limit)
            for name, form in (("B", _quadrature), ("C", _stages), ("D", _adjoint_stages))
        }
    )


def stage_order(method: RungeKuttaMethod, /) -> int:
    """Largest q such that C(q) and B(q) hold: the order of every stage, and of the step.

    Parameters
    ----------
    method : object with `A` and `b`

    Returns
    -------
    int
        At most 40.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`.

    Notes
    -----
    Hairer, Wanner II, section IV.15. An explicit method with two stages or more has stage order 1,
    since its second stage is an Euler step.
    """
    found = simplifying_assumptions(method)
    return min(found.B, found.C)


Assumption = Callable[[Sequence[Row], Row, int, int], list[Any]]


def _count(known: ExactMethod, form: Assumption, limit: int) -> int:
    return next((k - 1 for k in range(1, limit + 1) if not _holds(known, form, k)), limit)


def _holds(known: ExactMethod, form: Assumption, k: int) -> bool:
    residuals = form(known.A, known.b, k, -1)
    return all(known.held(residuals, lambda A, b: form(A, b, k, 1)))  # all signs positive


def _abscissae(A: Sequence[Row]) -> list[Any]:
    return [sum(row, Fraction(0)) for row in A]


def _powers(c: Row, k: int) -> list[Any]:
    """c^k, where 0^0 = 1 in any ring: SymPy's fields have none."""
    return [x**k if k else Fraction(1) for x in c]


def _quadrature(A: Sequence[Row], b: Row, k: int, sign: int) -> list[Any]:
    terms = zip(b, _powers(_abscissae(A), k - 1), strict=True)
    return [sum((w * x for w, x in terms), Fraction(0)) + Fraction(sign, k)]


def _stages(A: Sequence[Row], b: Row, k: int, sign: int) -> list[Any]:
    c = _abscissae(A)
    powers = _powers(c, k - 1)
    return [
        sum((a * x for a, x in zip(row, powers, strict=True)), Fraction(0))
        + ci**k * Fraction(sign, k)
        for row, ci in zip(A, c, strict=True)
    ]


def _adjoint_stages(A: Sequence[Row], b: Row, k: int, sign: int) -> list[Any]:
    """sum_i b_i c_i^(k-1) a_ij + b_j c_j^k / k - b_j / k."""
    c = _abscissae(A)
    scaled = [w * x for w, x in zip(b, _powers(c, k - 1), strict=True)]
    return [
        sum((w * row[j] for w, row in zip(scaled, A, strict=True)), Fraction(0))
        + b[j] * c[j] ** k * Fraction(1, k)
        + b[j] * Fraction(sign, k)
        for j in range(len(b))
    ]
