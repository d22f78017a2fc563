"""Polynomials and rational functions as terms: integers that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

__all__ = ["Rational", "Terms", "as_text", "from_field", "is_int", "is_polynomial", "is_rational"]

Terms = tuple[tuple[tuple[int, ...], int, int], ...]  # (exponents, numerator, denominator)
Rational = tuple[Terms, Terms]  # numerator and denominator

MAX_EXPONENT = 1000


def from_field(entry: Any, n: int) -> Rational:
    """A number, or an element of a SymPy field of fractions, in n parameters."""
    if not hasattr(entry, "numer"):
        value = Fraction(entry)
        numerator = (((0,) * n, value.numerator, value.denominator),) if value else ()
        return numerator, (((0,) * n, 1, 1),)
    return _terms(entry.numer), _terms(entry.denom)


def _terms(polynomial: Any) -> Terms:
    return tuple(
        (tuple(powers), int(c.numerator), int(c.denominator))
        for powers, c in polynomial.terms()
        if c
    )


def is_int(value: Any) -> bool:
    """Whether a value is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_polynomial(terms: Any, n: int) -> bool:
    """Whether something is a polynomial in n parameters: no zeros, each monomial once."""
    return len({powers for powers, _, _ in terms}) == len(terms) and all(
        len(powers) == n
        and all(is_int(k) and 0 <= k <= MAX_EXPONENT for k in powers)
        and is_int(numerator)
        and is_int(denominator)
        and numerator != 0 < denominator
        for powers, numerator, denominator in terms
    )


def is_rational(entry: Any, n: int) -> bool:
    """Whether something is a rational function in n parameters."""
    numerator, denominator = entry
    return len(denominator) > 0 and is_polynomial(numerator, n) and is_polynomial(denominator, n)


def as_text(terms: Terms, names: Sequence[str]) -> str:
    """A polynomial, not zero, as people write it."""
    written = []
    for powers, n, d in terms:
        parts = [x if k == 1 else f"{x}**{k}" for x, k in zip(names, powers, strict=True) if k]
        size = abs(Fraction(n, d))
        if size != 1 or not parts:
            parts.insert(0, str(size))
        written.append(f"{'-' if n < 0 else '+'} {'*'.join(parts)}")
    sign, text = written[0].split(" ", 1)
    return " ".join([sign.replace("+", "") + text, *written[1:]])
