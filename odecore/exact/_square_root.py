"""The square root of an exact number, kept exact: what a 2-norm is."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import total_ordering
from math import isqrt
from numbers import Rational, Real
from typing import Any

from odecore.exact._quadratic import QuadraticNumber, exact_number

__all__ = ["SquareRoot"]


@total_ordering
@dataclass(frozen=True, eq=False)
class SquareRoot:
    """The non-negative root of an exact number; `float` gives its nearest float.

    Parameters
    ----------
    square : Fraction, QuadraticNumber or rational function
        What the root is of. A rational function has no sign and no float value.

    Raises
    ------
    ValueError
        If `square` is a negative number.
    TypeError
        If it is none of these; a float is not exact.

    Examples
    --------
    >>> from fractions import Fraction
    >>> str(SquareRoot(Fraction(1745, 2880**2))), round(float(SquareRoot(Fraction(1, 4))), 3)
    ('sqrt(1745)/2880', 0.5)
    """

    square: Any

    def __post_init__(self) -> None:
        if not isinstance(self.square, Rational | QuadraticNumber):
            if not callable(getattr(self.square, "parent", None)):  # by which elements are known
                raise TypeError(
                    "`square` must be a Fraction, QuadraticNumber or rational function, got "
                    f"{self.square!r}"
                )
            return
        object.__setattr__(self, "square", exact_number(self.square))
        if self.square < 0:
            raise ValueError(f"a square is not negative, got {self.square}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SquareRoot):
            return bool(self.square == other.square)
        root = _exact(other)
        return NotImplemented if root is None else root >= 0 and bool(self.square == root * root)

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, SquareRoot):
            return bool(self.square < other.square)
        root = _exact(other)
        return NotImplemented if root is None else root > 0 and bool(self.square < root * root)

    def __hash__(self) -> int:
        """As hashed are the numbers that it is equal to: a Fraction or a QuadraticNumber."""
        square = self.square
        if isinstance(square, QuadraticNumber):
            return hash((square.rational, square.irrational))
        if not isinstance(square, Fraction):
            return hash(square)
        root = Fraction(isqrt(square.numerator), isqrt(square.denominator))
        return hash(root if root * root == square else (square, 0))

    def __bool__(self) -> bool:
        return bool(self.square)

    def __float__(self) -> Any:
        if not isinstance(self.square, Fraction | QuadraticNumber):
            raise TypeError(
                "the root of a rational function has no float value; take that of a member, which "
                "odecore.tableaux.tableau_at gives"
            )
        if not self.square:
            return 0 / 1
        bits = 64
        while True:
            low, high = self._bracket(bits)
            low, high = low.numerator / low.denominator, high.numerator / high.denominator
            if low == high or bits > 4096:  # a root halfway between two floats is rational
                return low
            bits *= 2

    def _bracket(self, bits: int) -> tuple[Any, Any]:
        ends = (self.square, self.square)
        if isinstance(self.square, QuadraticNumber):
            ends = self.square.bracket(2 * bits)
        low, high = (Fraction(end) for end in ends)
        # Scale by a power of 4 so that the integer root has at least `bits` significant bits.
        shift = bits + max(0, high.denominator.bit_length() - high.numerator.bit_length())
        scale = 4**shift
        floor = isqrt(max(0, low.numerator * scale // low.denominator))
        ceiling = isqrt(high.numerator * scale // high.denominator) + 1
        exact = Fraction(floor, 2**shift)
        if exact * exact == self.square:
            return exact, exact
        return exact, Fraction(ceiling, 2**shift)

    def __str__(self) -> str:
        if not isinstance(self.square, Fraction):
            return f"sqrt({self.square})"
        outer, inner = _split(self.square.numerator * self.square.denominator)
        scale = Fraction(outer, self.square.denominator)
        if inner == 1:
            return str(scale)
        head = "" if scale.numerator == 1 else f"{scale.numerator}*"
        tail = "" if scale.denominator == 1 else f"/{scale.denominator}"
        return f"{head}sqrt({inner}){tail}"


def _exact(number: Any) -> Any:
    """The number itself, where a float is the rational that it is; None if it is no real number."""
    if isinstance(number, Rational | QuadraticNumber):
        return exact_number(number)
    if not (isinstance(number, Real) and hasattr(number, "as_integer_ratio")):
        return None
    try:
        return Fraction(*number.as_integer_ratio())
    except (OverflowError, ValueError):  # infinite or nan
        return None


def _split(n: int) -> tuple[int, int]:
    """Write n as outer^2 * inner; prime factors above 1000 stay inside unless all is a square."""
    outer, inner = 1, n
    for k in range(2, 1000):
        while inner and inner % (k * k) == 0:
            outer, inner = outer * k, inner // (k * k)
    root = isqrt(inner)
    return (outer * root, 1) if root * root == inner else (outer, inner)
