"""Exact numbers as text, and back; text is parsed, never evaluated."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from odecore.exact._quadratic import QuadraticNumber

__all__ = ["parse_number"]

_RATIONAL = r"\d+/\d+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(
    rf"(?:(?P<a>[+-]?(?:{_RATIONAL}))(?=[+-]|$))?"
    rf"(?:(?P<sign>[+-])?(?:(?P<b>{_RATIONAL})\*)?sqrt\((?P<d>\d+)\)(?:/(?P<q>\d+))?)?",
    re.ASCII,
)
_QUOTIENT = re.compile(r"\((.+)\)/(\d+)", re.ASCII)
_SIGNS = "+-*/()"  # beside which there may be blanks
_LARGEST = 10**9  # below a root
_DIGITS = 4000  # of an integer; Python itself reads and writes 4300


def parse_number(text: str, /) -> Fraction | QuadraticNumber:
    """Read an exact number.

    Parameters
    ----------
    text : str
        An integer, "p/q", a decimal (the rational that it spells), or "a+b*sqrt(d)" with rational
        a and b and d up to 10^9, also as "(a+b*sqrt(d))/q"; blanks around signs are ignored. An
        integer that is read, or that a decimal is a quotient of, has at most 4000 digits.

    Returns
    -------
    Fraction or QuadraticNumber
        `str` writes it so that it is read again.

    Raises
    ------
    TypeError
        If `text` is not a string.
    ValueError
        If it is not of this form, or too long.

    Examples
    --------
    >>> parse_number("0.25"), parse_number("1/4 - 1/6*sqrt(3)")
    (Fraction(1, 4), QuadraticNumber(1/4, -1/6, 3))
    >>> parse_number("(1 - sqrt(24))/10")
    QuadraticNumber(1/10, -1/5, 6)
    """
    if not isinstance(text, str):
        raise TypeError(f"an exact number is read from text, got {text!r}; write it as a string")
    words = text.split()
    compact = "".join(words)
    exponents = re.findall(r"[eE][-+]?(\d+)", compact)
    runs = re.findall(r"\d+", compact)
    if max(map(len, runs), default=0) > _DIGITS or any(int(e) > _DIGITS for e in exponents):
        raise _too_long(text)
    apart = any(a[-1] not in _SIGNS and b[0] not in _SIGNS for a, b in pairwise(words))
    quotient = _QUOTIENT.fullmatch(compact)
    whole, divisor = quotient.groups() if quotient else (compact, "1")
    match = None if apart else _NUMBER.fullmatch(whole)
    parts = match.groupdict() if match else {}
    if not (parts.get("a") or parts.get("d")):
        raise ValueError(
            f"{text[:60]!r} is not an exact number; write an integer, p/q, a decimal, or "
            "a+b*sqrt(d) such as 1/4-1/6*sqrt(3) or (1-sqrt(6))/10"
        )
    try:
        a = Fraction(parts["a"] or 0) / int(divisor)
        b = Fraction(parts["b"] or 1) / int(parts["q"] or 1) / int(divisor)
    except ZeroDivisionError:
        raise ValueError(f"{text[:60]!r} divides by zero") from None
    if any(max(abs(n.numerator), n.denominator) >= 10**_DIGITS for n in (a, b)):
        raise _too_long(text)
    if not parts["d"]:
        return a
    return _with_root(a, -b if parts["sign"] == "-" else b, int(parts["d"]))


def _with_root(a: Fraction, b: Fraction, d: int) -> Fraction | QuadraticNumber:
    """A + b sqrt(d), squares taken out of d."""
    if d > _LARGEST:
        raise ValueError(f"the number below a root must be at most 10^9, got {d}")
    k = next(k for k in range(isqrt(d) or 1, 0, -1) if d % (k * k) == 0)
    rest = d // (k * k)
    return QuadraticNumber(a, k * b, rest) if rest > 1 else a + k * rest * b


def _too_long(text: str) -> ValueError:
    return ValueError(
        f"{text[:60]!r} has an integer of more than {_DIGITS} digits once it is written out; "
        "round it"
    )
