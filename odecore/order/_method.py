"""What an order condition sees of a method: exact coefficients, and how far each may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Complex, Rational, Real
from typing import Any, Protocol

from odecore.exact import QuadraticNumber

__all__ = ["ExactMethod", "RungeKuttaMethod", "exact_method"]

Row = tuple[Any, ...]


class RungeKuttaMethod(Protocol):
    """Anything with coefficients A and b, such as a tableau or a family."""

    @property
    def A(self) -> Sequence[Sequence[Any]]: ...

    @property
    def b(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class ExactMethod:
    """Coefficients (A, b) in an exact ring, with radii (A, b) where they are known roughly."""

    A: tuple[Row, ...]
    b: Row
    radii: tuple[tuple[Row, ...], Row] | None = None

    def reach(self, form: Callable[[Sequence[Row], Row], Any], /) -> list[Any]:
        """Bounds on how far values of a form can move when each coefficient moves in its radius.

        `form` must be a list of polynomials in the coefficients with non-negative coefficients.
        Then abs(form(A + dA) - form(A)) <= form(abs(A) + radius) - form(abs(A)), term by term.
        """
        A = [tuple(map(abs, row)) for row in self.A]
        b = tuple(map(abs, self.b))
        if self.radii is None:
            return [0 for _ in form(A, b)]
        rows = zip(A, self.radii[0], strict=True)
        A_high = [tuple(a + r for a, r in zip(row, radius, strict=True)) for row, radius in rows]
        b_high = tuple(w + r for w, r in zip(b, self.radii[1], strict=True))
        return [high - low for high, low in zip(form(A_high, b_high), form(A, b), strict=True)]

    def held(self, residuals: Sequence[Any], bounds: Sequence[Any]) -> list[bool]:
        """Which residuals vanish: exactly, or as far as the coefficients are known."""
        if self.radii is None:
            return [residual == 0 for residual in residuals]
        return [abs(r) <= bound for r, bound in zip(residuals, bounds, strict=True)]


def exact_method(method: RungeKuttaMethod, /, *, weights: Sequence[Any] | None = None) -> Any:
    """Read a method's coefficients exactly.

    Parameters
    ----------
    method : object with `A` (s, s) and `b` (s,)
        Fractions, QuadraticNumbers, rational functions, or floats of any precision. A float is
        taken as the rational number it is, with the radius of what may have been rounded: its
        precision's eps times the largest coefficient of its row. An attribute `uncertainty`
        (absolute, for published decimals) is the radius of every nonzero coefficient.
    weights : sequence, optional
        Take these instead of `method.b`, for instance an embedded row.

    Raises
    ------
    ValueError
        If A is not square of the size of b, or a coefficient is not finite.
    TypeError
        If a coefficient is no number.
    """
    b = tuple(method.b if weights is None else weights)
    A = tuple(map(tuple, method.A))
    lengths = [len(row) for row in A]
    if lengths != [len(b)] * len(b):
        raise ValueError(
            f"`A` must have {len(b)} rows of length {len(b)}, one for each weight in `b`; got rows "
            f"of lengths {lengths}"
        )
    delta = Fraction(getattr(method, "uncertainty", 0))
    read = [tuple(map(_read, row)) for row in (*A, b)]
    values = [tuple(value for value, _ in row) for row in read]
    radii = [_radii(row, delta) for row in read]
    rough = any(radius for row in radii for radius in row)
    return ExactMethod(
        tuple(values[:-1]), values[-1], (tuple(radii[:-1]), radii[-1]) if rough else None
    )


def _read(value: Any) -> tuple[Any, Fraction]:
    """The exact value of a coefficient, and the unit of its rounding relative to its row."""
    if isinstance(value, Rational | QuadraticNumber):
        return value, Fraction(0)
    if isinstance(value, Real):
        try:
            exact = Fraction(*value.as_integer_ratio())  # type: ignore[attr-defined]
        except (OverflowError, ValueError):
            raise ValueError(f"coefficients must be finite, got {value}") from None
        bits = {2: 10, 4: 23}.get(getattr(getattr(value, "dtype", None), "itemsize", 8), 52)
        return exact, Fraction(1, 2**bits)
    if isinstance(value, str | Complex) or not hasattr(value, "__mul__"):
        raise TypeError(f"coefficients must be real numbers, got {value!r}")
    return value, Fraction(0)  # an element of another exact ring


def _radii(row: tuple[tuple[Any, Fraction], ...], delta: Fraction) -> Row:
    units = max((unit for _, unit in row), default=Fraction(0))
    if not (units or delta):
        return (0,) * len(row)
    largest = max((abs(value) for value, _ in row), default=0) if units else 0
    return tuple((units * largest + delta) if value != 0 else 0 for value, _ in row)
