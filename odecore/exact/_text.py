"""Exact numbers as text, and back; text is parsed, never evaluated."""

from __future__ import annotations

import re
from fractions import Fraction

from odecore.exact._quadratic import QuadraticNumber

__all__ = ["parse_number"]

_RATIONAL = r"\d+/\d+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(
    rf"(?:(?P<a>[+-]?(?:{_RATIONAL}))(?=[+-]|$))?"
    rf"(?:(?P<sign>[+-])?(?:(?P<b>{_RATIONAL})\*)?sqrt\((?P<d>\d+)\)(?:/(?P<q>\d+))?)?"
)
_LONGEST = 10_000


def parse_number(text: str, /) -> Fraction | QuadraticNumber:
    """Read an exact number.

    Parameters
    ----------
    text : str
        An integer, "p/q", a decimal (the rational that it spells), or "a+b*sqrt(d)" with rational
        a and b and squarefree d; blanks are ignored.

    Returns
    -------
    Fraction or QuadraticNumber
        `str` writes it so that it is read again.

    Raises
    ------
    TypeError
        If `text` is not a string.
    ValueError
        If it is not of this form.

    Examples
    --------
    >>> parse_number("0.25"), parse_number("1/4 - 1/6*sqrt(3)")
    (Fraction(1, 4), QuadraticNumber(1/4, -1/6, 3))
    """
    if not isinstance(text, str):
        raise TypeError(f"an exact number is read from text, got {text!r}; write it as a string")
    compact = "".join(text.split())
    match = _NUMBER.fullmatch(compact) if 0 < len(compact) <= _LONGEST else None
    parts = match.groupdict() if match else {}
    if not (parts.get("a") or parts.get("d")):
        raise ValueError(
            f"{text[:60]!r} is not an exact number; write an integer, p/q, a decimal, or "
            "a+b*sqrt(d) such as 1/4-1/6*sqrt(3)"
        )
    exponent = re.search(r"[eE]([+-]?\d+)", compact)
    if exponent and abs(int(exponent[1])) > _LONGEST:
        raise ValueError(f"the exponent of {text[:60]!r} is beyond {_LONGEST}")
    try:
        a = Fraction(parts["a"] or 0)
        if not parts["d"]:
            return a
        b = Fraction(parts["b"] or 1) / int(parts["q"] or 1)
    except ZeroDivisionError:
        raise ValueError(f"{text[:60]!r} divides by zero") from None
    return QuadraticNumber(a, -b if parts["sign"] == "-" else b, int(parts["d"]))
