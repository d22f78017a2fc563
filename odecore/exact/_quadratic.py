"""Numbers a + b sqrt(d): the real quadratic field in which Gauss and Radau methods live."""

from __future__ import annotations

from fractions import Fraction
from functools import total_ordering
from math import isqrt
from numbers import Integral, Rational, Real
from operator import index
from typing import Any

__all__ = ["QuadraticNumber", "exact_number"]

MOST_BITS = 2**18  # of a bracket
LARGEST = 2**20  # bits of a power


@total_ordering
class QuadraticNumber:
    """An element of the field Q(sqrt(d)), with exact arithmetic and exact order.

    Parameters
    ----------
    rational, irrational : int or Fraction
        The numbers a and b of a + b sqrt(d).
    radicand : int
        d, squarefree, from 2 to 10^9.

    Raises
    ------
    TypeError
        If a part is not rational.
    ValueError
        If d is not squarefree or out of range; two different d never mix.

    Examples
    --------
    >>> root = QuadraticNumber.sqrt(3)
    >>> (1 + root) * (1 - root) == -2, 1 < root < 2, str(1 / root)
    (True, True, '1/3*sqrt(3)')
    """

    __slots__ = ("irrational", "radicand", "rational")

    rational: Any
    irrational: Any
    radicand: int

    def __init__(self, rational: Any, irrational: Any, radicand: int, /) -> None:
        for part in (rational, irrational):
            if not isinstance(part, Rational):
                raise TypeError(
                    f"`rational` and `irrational` must be int or Fraction, got {part!r}"
                )
        d = _whole(radicand)
        if not 2 <= d <= 10**9 or any(d % (k * k) == 0 for k in range(2, isqrt(d) + 1)):
            raise ValueError(f"`radicand` must be squarefree, from 2 to 10^9, got {radicand!r}")
        self._set(_rational(rational), _rational(irrational), d)

    def _set(self, a: Any, b: Any, d: int) -> None:
        object.__setattr__(self, "rational", a)
        object.__setattr__(self, "irrational", b)
        object.__setattr__(self, "radicand", d)

    def _make(self, a: Any, b: Any) -> QuadraticNumber:
        """Build without checks: the radicand is known to be right."""
        number = object.__new__(QuadraticNumber)
        number._set(a, b, self.radicand)
        return number

    @classmethod
    def sqrt(cls, radicand: int, /) -> QuadraticNumber:
        """The positive root of `radicand`, a squarefree integer."""
        return cls(0, 1, radicand)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a QuadraticNumber is immutable; cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return QuadraticNumber, (self.rational, self.irrational, self.radicand)

    @property
    def real(self) -> QuadraticNumber:
        """The number itself; Fractions ask for it when they are compared."""
        return self

    @property
    def imag(self) -> int:
        """Zero."""
        return 0

    def _parts(self, other: Any) -> tuple[Any, Any] | None:
        if isinstance(other, QuadraticNumber):
            if other.radicand != self.radicand and self.irrational and other.irrational:
                raise ValueError(
                    f"cannot mix sqrt({self.radicand}) and sqrt({other.radicand}) in one number; "
                    "all coefficients of a method must lie in one quadratic field"
                )
            return other.rational, other.irrational
        return (_rational(other), 0) if isinstance(other, Rational) else None

    def __add__(self, other: Any) -> Any:
        parts = self._parts(other)
        if parts is None:
            return NotImplemented
        if not self.irrational and isinstance(other, QuadraticNumber):
            return other._make(self.rational + parts[0], other.irrational)
        return self._make(self.rational + parts[0], self.irrational + parts[1])

    __radd__ = __add__

    def __neg__(self) -> QuadraticNumber:
        return self._make(-self.rational, -self.irrational)

    def __pos__(self) -> QuadraticNumber:
        return self

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if self._parts(other) is None else self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        parts = self._parts(other)
        if parts is None:
            return NotImplemented
        a, b = parts
        if not self.irrational and isinstance(other, QuadraticNumber):
            return other._make(self.rational * a, self.rational * other.irrational)
        if not b:
            return self._make(self.rational * a, self.irrational * a)
        return self._make(
            self.rational * a + self.irrational * b * self.radicand,
            self.rational * b + self.irrational * a,
        )

    __rmul__ = __mul__

    @property
    def norm(self) -> Any:
        """The product with the conjugate, a^2 - b^2 d; zero only for zero."""
        return self.rational**2 - self.irrational**2 * self.radicand

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, QuadraticNumber):
            inverse = Fraction(1, 1) / other.norm
            flipped = other._make(other.rational * inverse, -other.irrational * inverse)
            return self * flipped
        parts = self._parts(other)
        return NotImplemented if parts is None else self * (Fraction(1) / parts[0])

    def __rtruediv__(self, other: Any) -> Any:
        parts = self._parts(other)
        return NotImplemented if parts is None else self._make(*parts) / self

    def __pow__(self, exponent: Any) -> QuadraticNumber:
        if not isinstance(exponent, Integral):
            return NotImplemented
        exponent = int(exponent)
        if exponent < 0:
            return self._make(1, 0) / self**-exponent  # type: ignore[no-any-return]
        if exponent * self._bits > LARGEST:
            raise ValueError(
                f"a power has at most {LARGEST} bits in its parts, got an exponent of "
                f"{exponent.bit_length()} bits: take the power of its float"
            )
        power, square = self._make(1, 0), self
        while exponent:
            if exponent & 1:
                power = power * square
            square, exponent = square * square, exponent >> 1
        return power

    @property
    def _bits(self) -> int:
        """How many bits a factor of this number adds to the parts of a product."""
        a, b = abs(self.rational), abs(self.irrational)
        total = a + b * self.radicand
        return max(map(int.bit_length, (total.numerator, a.denominator, b.denominator))) - 1

    def sign(self) -> int:
        """Exactly -1, 0 or 1."""
        a, b = self.rational, self.irrational
        if not b:
            return int(a > 0) - int(a < 0)
        larger = a if self.norm > 0 else b  # of a and b sqrt(d), the one of larger modulus
        return 1 if larger > 0 else -1

    def __abs__(self) -> QuadraticNumber:
        return -self if self.sign() < 0 else self

    def __bool__(self) -> bool:
        return bool(self.rational or self.irrational)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QuadraticNumber) and other.radicand != self.radicand:
            return not (self.irrational or other.irrational) and self.rational == other.rational
        parts = self._parts(other)
        return NotImplemented if parts is None else parts == (self.rational, self.irrational)

    def __lt__(self, other: Any) -> bool:
        return NotImplemented if self._parts(other) is None else (self - other).sign() < 0

    def __hash__(self) -> int:
        if not self.irrational:
            return hash(self.rational)
        square = self * self  # by which an equal SquareRoot is hashed
        return hash((square.rational, square.irrational))

    def bracket(self, bits: int, /) -> tuple[Fraction, Fraction]:
        """Rationals that enclose the number, at most 2^-`bits` of its irrational part apart.

        Of a rational number they are 2^-`bits` apart. ValueError for `bits` below 0, or above 2^18,
        which take a second.
        """
        bits = _whole(bits)
        if not 0 <= bits <= MOST_BITS:
            raise ValueError(f"`bits` must be a whole number from 0 to {MOST_BITS}, got {bits!r}")
        b = Fraction(self.irrational)
        square = b * b * self.radicand
        scale = 4**bits * square.denominator
        low = isqrt(square.numerator * scale)
        ends = [Fraction(low, 2**bits * square.denominator)]
        ends.append(Fraction(low + 1, 2**bits * square.denominator))
        if b < 0:
            ends = [-end for end in reversed(ends)]
        a = Fraction(self.rational)
        return a + ends[0], a + ends[1]

    def __float__(self) -> Any:
        if not self.irrational:
            return self.rational.numerator / self.rational.denominator
        bits = 64
        while True:  # ends: an irrational number is not halfway between two floats
            low, high = (end.numerator / end.denominator for end in self.bracket(bits))
            if low == high:
                return low
            bits *= 2

    def __str__(self) -> str:
        a, b = self.rational, self.irrational
        if not b:
            return str(a)
        root = f"sqrt({self.radicand})"
        term = {1: root, -1: f"-{root}"}.get(b, f"{b}*{root}")
        return term if not a else f"{a}{'' if term.startswith('-') else '+'}{term}"

    def __repr__(self) -> str:
        return f"QuadraticNumber({self.rational}, {self.irrational}, {self.radicand})"


Real.register(QuadraticNumber)


def exact_number(value: Any, /) -> Fraction | QuadraticNumber:
    """The same number as a Fraction, or as a QuadraticNumber if it is irrational.

    Parameters
    ----------
    value : rational number of any library, QuadraticNumber, or SymPy's a + b sqrt(d)
        NumPy's integers are rational too, but overflow; what is returned is made of Python's.

    Returns
    -------
    Fraction or QuadraticNumber

    Raises
    ------
    TypeError
        If `value` is neither; a float is not what was meant by 1/3, say.

    Examples
    --------
    >>> exact_number(3), exact_number(QuadraticNumber(1, 0, 2))
    (Fraction(3, 1), Fraction(1, 1))
    """
    if type(value) is Fraction and type(value.numerator) is type(value.denominator) is int:
        return value
    if hasattr(value, "as_coeff_Add") and not isinstance(value, type):
        value = _of_sympy(value)
    if isinstance(value, QuadraticNumber):
        if value.irrational:
            return value
        value = value.rational
    if not isinstance(value, Rational):
        raise TypeError(
            "an exact number is an int, Fraction, QuadraticNumber or a + b*sqrt(d) of SymPy, got "
            f"{value!r} of type "
            f"{type(value).__name__}; write it as a Fraction, say Fraction(1, 3)"
        )
    rational = _rational(value)
    return rational if isinstance(rational, Fraction) else Fraction(rational)


def _of_sympy(value: Any) -> Any:
    """A number a + b sqrt(d) of SymPy as a QuadraticNumber; others as they are."""
    rational, rest = value.expand().as_coeff_Add()
    if rest == 0:
        return rational
    factor, root = rest.as_coeff_Mul()
    square = root**2
    is_rational = all(isinstance(part, Rational) for part in (rational, factor))
    if not is_rational or not isinstance(square, Integral) or square < 0:
        return value
    return QuadraticNumber(rational, factor, int(square))


def _whole(value: Any) -> int:
    """An int of Python's or NumPy's, as Python's; -1 for anything else."""
    try:
        return index(value)
    except TypeError:
        return -1


def _rational(number: Any) -> int | Fraction:
    """A rational number made of Python's integers, which do not overflow."""
    n, d = number.numerator, number.denominator
    if type(n) is type(d) is int and type(number) in (int, Fraction):
        return number  # type: ignore[no-any-return]
    return Fraction(int(n), int(d))
