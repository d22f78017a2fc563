"""A tableau as text and as LaTeX."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import chain
from typing import Any

from odecore.exact import QuadraticNumber

__all__ = ["as_latex", "as_text", "written"]

_WIDEST = 24  # characters of an exact entry in a text table; longer ones are shown as decimals
_DIGITS = 4000  # of an integer, as `parse_number` reads them


def written(number: Any) -> str:
    """The number as text from which it is read back."""
    try:
        text = str(number)
    except ValueError:  # more digits than Python writes
        text = "0" * (_DIGITS + 1)
    if max(map(len, re.findall(r"\d+", text))) > _DIGITS:
        raise ValueError(
            f"a coefficient has an integer of more than {_DIGITS} digits, which is not written; "
            "round it, as `str` of the tableau does, or take simpler parameters"
        )
    return text


def as_text(method: Any, /) -> str:
    """A table with c, A, b and b_hat; entries too long to read are rounded and marked with ~."""
    s = method.stages
    width = s if not method.is_explicit else s - 1
    rows = [
        [_cell(c), "|", *map(_cell, row[:width])] for c, row in zip(method.c, method.A, strict=True)
    ]
    if method.is_explicit:
        rows = [row[: i + 2] for i, row in enumerate(rows)]
    below = [["", "|", *map(_cell, method.b)]]
    if method.b_hat is not None:
        below.append(["", "|", *map(_cell, method.b_hat)])
    columns = max(len(row) for row in rows + below)
    table = [row + [""] * (columns - len(row)) for row in rows + below]
    widths = [max(len(row[k]) for row in table) for k in range(columns)]
    lines = [
        "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    rule = "-" * (widths[0] + 2) + "+" + "-" * (sum(widths[2:]) + 2 * (columns - 2))
    title = [method.name] if method.name else []
    return "\n".join([*title, *lines[:s], rule, *lines[s:]])


def _cell(number: Any) -> str:
    parts = [number]
    if isinstance(number, QuadraticNumber):
        parts = [number.rational, number.irrational]
    sizes = [abs(n) for part in parts for n in (part.numerator, part.denominator)]
    if max(sizes) < 10**_WIDEST and len(exact := str(number)) <= _WIDEST:
        return exact
    bits, low, high = 64, number, number
    with localcontext(prec=15):  # a float has not the range
        while True:  # ends: an irrational number is not halfway between two decimals
            if isinstance(number, QuadraticNumber):
                low, high = number.bracket(bits)
            ends = {Decimal(end.numerator) / Decimal(end.denominator) for end in (low, high)}
            if len(ends) == 1:
                return f"~{ends.pop().normalize():g}"
            bits *= 2


def as_latex(method: Any, /) -> str:
    """A LaTeX array in the usual form; entries are exact."""
    s = method.stages
    lines = []
    for number in (*method.c, *method.b, *(method.b_hat or ()), *chain(*method.A)):
        written(number)  # refuses what is too long
    for i, (c, row) in enumerate(zip(method.c, method.A, strict=True)):
        shown = row[:i] if method.is_explicit else row
        cells = [_latex(c), *map(_latex, shown), *[""] * (s - len(shown))]
        lines.append(" & ".join(cells) + r" \\")
    lines.append(r"\hline")
    for weights in (method.b, method.b_hat):
        if weights is not None:
            lines.append(" & ".join(["", *map(_latex, weights)]) + r" \\")
    body = "\n".join(lines)
    return f"\\begin{{array}}{{c|{'c' * s}}}\n{body}\n\\end{{array}}"


def _latex(number: Any) -> str:
    if not isinstance(number, QuadraticNumber):
        value = Fraction(number)
        if value.denominator == 1:
            return str(value.numerator)
        sign = "-" if value < 0 else ""
        return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    root = f"\\sqrt{{{number.radicand}}}"
    b = Fraction(number.irrational)
    sign = "-" if b < 0 else ("+" if number.rational else "")
    top = root if abs(b.numerator) == 1 else f"{abs(b.numerator)}{root}"
    term = top if b.denominator == 1 else f"\\frac{{{top}}}{{{b.denominator}}}"
    return (_latex(number.rational) if number.rational else "") + sign + term
