"""Polynomials in one variable over an exact ordered field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from math import gcd, lcm
from numbers import Complex, Integral, Number
from typing import Any

__all__ = ["Polynomial"]

PRIME = 2**61 - 1
LARGEST = 4000  # degree of a power, of which there are seconds of work then


@dataclass(frozen=True)
class Polynomial:
    """A polynomial, immutable, with exact coefficients.

    Parameters
    ----------
    coefficients : sequence
        Lowest degree first: int, Fraction, Decimal or QuadraticNumber; floats and elements of
        other fields are calculated with, but have no exact roots. Trailing zeros are dropped, so
        the zero polynomial has none.

    Raises
    ------
    TypeError
        If a coefficient is nothing to calculate with.

    Examples
    --------
    >>> x = Polynomial((0, 1))
    >>> p = (x - 1) * (x - 2)
    >>> p.coefficients, p(3), divmod(p, x - 1)[0] == x - 2
    ((2, -3, 1), 2, True)
    """

    coefficients: tuple[Any, ...]

    def __init__(self, coefficients: Sequence[Any], /) -> None:
        ordered = isinstance(coefficients, Iterable) and not isinstance(coefficients, Mapping | Set)
        if not ordered or getattr(coefficients, "ndim", 1) != 1:
            raise TypeError(
                f"`coefficients` must be a sequence, lowest degree first, got {coefficients!r}"
            )
        kept = tuple(map(_coefficient, coefficients))
        while kept and kept[-1] == 0:
            kept = kept[:-1]
        object.__setattr__(self, "coefficients", kept)

    @property
    def degree(self) -> int:
        """The degree; -1 for the zero polynomial."""
        return len(self.coefficients) - 1

    @property
    def leading(self) -> Any:
        """Coefficient of the highest power, or 0."""
        return self.coefficients[-1] if self.coefficients else 0

    def __call__(self, x: Any, /) -> Any:
        """Evaluate by Horner's rule, in whatever ring x lives."""
        value: Any = 0
        for coefficient in reversed(self.coefficients):
            value = value * x + coefficient
        return value

    def __bool__(self) -> bool:
        return bool(self.coefficients)

    def __add__(self, other: Any) -> Polynomial:
        pairs = zip_longest(self.coefficients, _lift(other).coefficients, fillvalue=0)
        return Polynomial([a + b for a, b in pairs])

    __radd__ = __add__

    def __neg__(self) -> Polynomial:
        return Polynomial([-a for a in self.coefficients])

    def __sub__(self, other: Any) -> Polynomial:
        return self.__add__(-_lift(other))

    def __rsub__(self, other: Any) -> Polynomial:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Polynomial:
        if not isinstance(other, Polynomial):
            return Polynomial([a * other for a in self.coefficients])
        kinds = {type(a) for p in (self, other) for a in p.coefficients}
        if kinds not in ({Fraction}, {int, Fraction}):
            return Polynomial(_products(self.coefficients, other.coefficients))
        (these, divisor), (those, other_divisor) = _cleared(self), _cleared(other)
        divisor *= other_divisor
        return Polynomial([Fraction(a, divisor) for a in _products(these, those)])

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Polynomial:
        return self.__mul__(Fraction(1) / number)

    def __pow__(self, exponent: Any) -> Polynomial:
        if not isinstance(exponent, Integral):
            return NotImplemented
        exponent = int(exponent)
        if exponent < 0:
            raise ValueError(
                f"the power {exponent} of a polynomial is none; take a non-negative exponent, or "
                "divide with divmod"
            )
        if exponent * max(1, self.degree) > LARGEST:
            raise ValueError(
                f"a power of a polynomial has at most the degree {LARGEST}, and one of a number at "
                f"most that exponent; got the degree {self.degree} and an exponent of "
                f"{exponent.bit_length()} bits"
            )
        power = Polynomial((1,))
        for _ in range(exponent):
            power = power * self
        return power

    def __divmod__(self, divisor: Any) -> tuple[Polynomial, Polynomial]:
        """Quotient and remainder over the field of the coefficients."""
        divisor = _lift(divisor)
        if not divisor:
            raise ZeroDivisionError("division by the zero polynomial")
        rest = list(self.coefficients)
        quotient: list[Any] = [0] * max(0, self.degree - divisor.degree + 1)
        inverse = Fraction(1) / divisor.leading
        for k in reversed(range(len(quotient))):
            quotient[k] = factor = rest[k + divisor.degree] * inverse
            for j, b in enumerate(divisor.coefficients):
                rest[k + j] -= factor * b
        return Polynomial(quotient), Polynomial(rest[: max(0, divisor.degree)])

    def derivative(self) -> Polynomial:
        """The derivative."""
        return Polynomial([k * a for k, a in enumerate(self.coefficients)][1:])

    def primitive(self) -> Polynomial:
        """A positive multiple with coefficients of small size: coprime integers if rational."""
        if not _is_rational(self):
            return self / abs(self.leading) if self else self
        integers, _ = _cleared(self)
        content = gcd(*integers) or 1
        return Polynomial([a // content for a in integers])

    def gcd(self, other: Polynomial, /) -> Polynomial:
        """A greatest common divisor with `other`, a Polynomial or a number, up to a unit."""
        a, b = self.primitive(), _lift(other).primitive()
        if _are_coprime(a, b):
            return Polynomial((1,))
        while b:
            a, b = b, divmod(a, b)[1].primitive()
        return a

    def squarefree(self) -> Polynomial:
        """The polynomial with the same roots, all simple."""
        common = self.gcd(self.derivative())
        return (divmod(self, common)[0] if common.degree > 0 else self).primitive()

    def __str__(self) -> str:
        def term(k: int, a: Any) -> str:
            text = f"({a})" if "sqrt" in str(a) and k else str(a)
            if not k:
                return text
            power = "x" if k == 1 else f"x^{k}"
            return {"1": power, "-1": f"-{power}"}.get(text, f"{text}*{power}")

        terms = [term(k, a) for k, a in reversed(list(enumerate(self.coefficients))) if a]
        return " + ".join(terms).replace("+ -", "- ") or "0"


def _is_rational(p: Polynomial) -> bool:
    return all(isinstance(a, int | Fraction) for a in p.coefficients)


def _products(these: Sequence[Any], those: Sequence[Any]) -> list[Any]:
    """Coefficients of the product of two polynomials."""
    found: list[Any] = [0] * max(0, len(these) + len(those) - 1)
    for i, a in enumerate(these):
        if a:
            for j, b in enumerate(those):
                found[i + j] += a * b
    return found


def _cleared(p: Polynomial) -> tuple[list[int], int]:
    """Integers and their common divisor, of rational coefficients."""
    common = lcm(*(a.denominator for a in p.coefficients))
    return [a.numerator * (common // a.denominator) for a in p.coefficients], common


def _are_coprime(a: Polynomial, b: Polynomial) -> bool:
    """Whether a prime shows that they have no common factor; False proves nothing.

    The degree of the greatest common divisor does not fall modulo a prime that does not divide the
    leading coefficients.
    """
    if not (_is_rational(a) and _is_rational(b) and a.leading % PRIME and b.leading % PRIME):
        return False
    first, second = ([c % PRIME for c in p.coefficients] for p in (a, b))
    while len(second) > 1:
        inverse = pow(second[-1], -1, PRIME)
        while len(first) >= len(second):
            factor, shift = first.pop() * inverse % PRIME, len(first) - len(second) + 1
            for j, c in enumerate(second[:-1]):
                first[shift + j] = (first[shift + j] - factor * c) % PRIME
        while first and first[-1] == 0:
            first.pop()
        first, second = second, first
    return bool(second)


def _coefficient(value: Any) -> Any:
    if type(value) in (int, Fraction):
        return value
    is_decimal = isinstance(value, Number) and not isinstance(value, Complex)
    if is_decimal:
        return Fraction(value)
    if not hasattr(value, "__truediv__"):
        raise TypeError(
            f"the coefficients of a polynomial are numbers, got {value!r}; text is read by "
            "odecore.exact.parse_number"
        )
    return value


def _lift(value: Any) -> Polynomial:
    return value if isinstance(value, Polynomial) else Polynomial((value,))
