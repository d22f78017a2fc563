"""Proof that a polynomial keeps its sign over a box, by Bernstein coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import comb, prod
from typing import Any

__all__ = ["keeps_its_sign"]

_DEPTH = 12  # bisections of the box before the proof is given up

Coefficients = dict[tuple[int, ...], Fraction]


def keeps_its_sign(factor: Any, low: Sequence[Any], high: Sequence[Any], /) -> bool:
    """Whether a polynomial provably has no zero in a closed box.

    Parameters
    ----------
    factor : number or element of a SymPy field of fractions whose denominator is a number
    low, high : sequences of Fraction

    Returns
    -------
    bool
        True is proved. False means a zero, or a polynomial so close to zero that bisection gave up.

    Notes
    -----
    Over the box a polynomial lies between its smallest and largest Bernstein coefficient, and those
    at the corners are attained (Farouki, Comput. Aided Geom. Design 29 (2012) 379-419). For a
    polynomial that is affine in each variable all of them are at corners, and the answer is exact.
    """
    if not hasattr(factor, "numer"):
        return bool(factor != 0)
    terms = {
        powers: Fraction(int(c.numerator), int(c.denominator))
        for powers, c in dict(factor.numer).items()
    }
    boxes = [(tuple(map(Fraction, low)), tuple(map(Fraction, high)), _DEPTH)]
    while boxes:
        a, b, depth = boxes.pop()
        bernstein = _bernstein(terms, a, b)
        values = bernstein.values()
        if min(values) > 0 or max(values) < 0:
            continue
        degrees = [max(powers[k] for powers in bernstein) for k in range(len(a))]
        corners = [bernstein[corner] for corner in product(*({0, n} for n in degrees))]
        if min(corners) <= 0 <= max(corners) or depth == 0:
            return False
        widths = [y - x for x, y in zip(a, b, strict=True)]
        k = widths.index(max(widths))
        middle = (a[k] + b[k]) / 2
        boxes.append((a, (*b[:k], middle, *b[k + 1 :]), depth - 1))
        boxes.append(((*a[:k], middle, *a[k + 1 :]), b, depth - 1))
    return True


def _bernstein(
    terms: Coefficients, low: Sequence[Fraction], high: Sequence[Fraction]
) -> Coefficients:
    """Bernstein coefficients over the box, by the degree in each variable."""
    degrees = [max(powers[k] for powers in terms) for k in range(len(low))]
    # Powers of x = low + (high - low) s in powers of s, then in the Bernstein basis of s.
    power: Coefficients = {}
    for powers, coefficient in terms.items():
        for inner in product(*(range(n + 1) for n in powers)):
            factor = prod(
                (
                    comb(n, i) * a ** (n - i) * (b - a) ** i
                    for n, i, a, b in zip(powers, inner, low, high, strict=True)
                ),
                start=coefficient,
            )
            power[inner] = power.get(inner, Fraction(0)) + factor
    return {
        outer: sum(
            (
                power.get(inner, Fraction(0))
                * prod(
                    (
                        Fraction(comb(j, i), comb(n, i))
                        for i, j, n in zip(inner, outer, degrees, strict=True)
                    ),
                    start=Fraction(1),
                )
                for inner in product(*(range(j + 1) for j in outer))
            ),
            Fraction(0),
        )
        for outer in product(*(range(n + 1) for n in degrees))
    }
