"""What an order condition sees of a method: exact coefficients, and how far each may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, Protocol

from odecore.exact import QuadraticNumber, exact_number

__all__ = ["ExactMethod", "Form", "RungeKuttaMethod", "exact_method", "require_numbers"]

Row = tuple[Any, ...]
Form = Callable[[Sequence[Row], Row], Sequence[Any]]

# By bytes of a float: bits of its fraction, and those of its smallest positive number.
_FORMATS = {2: (10, 24), 4: (23, 149)}
_DOUBLE = (52, 1074)  # and, on the safe side, what is longer


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

    def reach(self, form: Form, /) -> list[Any]:
        """Bounds on how far values of a form can move when each coefficient moves in its radius.

        `form` must be a list of polynomials in the coefficients with non-negative coefficients.
        Then abs(form(A + dA) - form(A)) <= form(abs(A) + radius) - form(abs(A)), term by term.
        """
        assert self.radii is not None
        A = [tuple(map(abs, row)) for row in self.A]
        b = tuple(map(abs, self.b))
        rows = zip(A, self.radii[0], strict=True)
        A_high = [tuple(a + r for a, r in zip(row, radius, strict=True)) for row, radius in rows]
        b_high = tuple(w + r for w, r in zip(b, self.radii[1], strict=True))
        return [high - low for high, low in zip(form(A_high, b_high), form(A, b), strict=True)]

    def held(self, residuals: Sequence[Any], form: Form, /) -> list[bool]:
        """Which residuals vanish: exactly, or within the `reach` of a form."""
        if self.radii is None:
            return [residual == 0 for residual in residuals]
        return [abs(r) <= bound for r, bound in zip(residuals, self.reach(form), strict=True)]


def exact_method(method: RungeKuttaMethod, /, *, weights: Sequence[Any] | None = None) -> Any:
    """Read a method's coefficients exactly.

    Parameters
    ----------
    method : object with `A` (s, s) and `b` (s,)
        Fractions, QuadraticNumbers, rational functions, or floats of any precision. A float is
        taken as the rational number it is, with the radius of what may have been rounded: its
        precision's eps times the largest coefficient of its row, at least its smallest positive
        number. An attribute `uncertainty` (absolute, for published decimals) is the radius of every
        nonzero coefficient.
    weights : sequence, optional
        Take these instead of `method.b`, for instance an embedded row.

    Raises
    ------
    ValueError
        If A is not square of the size of b, a coefficient is not finite, or `uncertainty` is
        negative.
    TypeError
        If the method has no coefficients, if one is neither a number whose exact value is known nor
        a ring element, or if ring elements mix with coefficients that are known roughly.
    """
    if not all(hasattr(method, name) for name in ("A", *(["b"] if weights is None else []))):
        raise TypeError(
            f"`method` must have coefficients `A` and `b`, got {type(method).__name__}; look a "
            "name up with odecore.tableaux.tableau, put arrays into odecore.tableaux.ButcherTableau"
        )
    try:
        A = tuple(map(tuple, method.A))
        b = tuple(method.b if weights is None else weights)
    except TypeError as error:
        raise TypeError(f"`A` must hold rows, and `b` or `weights` numbers: {error}") from error
    if weights is not None and len(b) != len(A):
        raise ValueError(f"`weights` must hold {len(A)} numbers, one for each stage, got {len(b)}")
    lengths = [len(row) for row in A]
    if lengths != [len(b)] * len(b):
        raise ValueError(
            f"`A` must have {len(b)} rows of length {len(b)}, one for each weight in `b`; got rows "
            f"of lengths {lengths}"
        )
    delta, _ = _read(getattr(method, "uncertainty", 0))
    if delta < 0:
        raise ValueError(f"`uncertainty` is a bound, not negative; got {delta}")
    read = [tuple(map(_read, row)) for row in (*A, b)]
    values = [tuple(value for value, _ in row) for row in read]
    if not (delta or any(bits for row in read for _, bits in row)):
        return ExactMethod(tuple(values[:-1]), values[-1])
    if not all(isinstance(value, Fraction | QuadraticNumber) for row in values for value in row):
        raise TypeError(
            "floats and coefficients with an `uncertainty` do not mix with ring elements, which "
            "have no size; evaluate the family at numbers first"
        )
    radii = [_radii(row, delta) for row in read]
    return ExactMethod(tuple(values[:-1]), values[-1], (tuple(radii[:-1]), radii[-1]))


def require_numbers(method: RungeKuttaMethod, purpose: str, /) -> None:
    """Refuse a family, whose coefficients have no size."""
    known = exact_method(method)
    entries = (entry for row in (*known.A, known.b) for entry in row)
    if not all(isinstance(entry, Fraction | QuadraticNumber) for entry in entries):
        raise TypeError(
            f"{purpose} needs numbers as coefficients, and those of a {type(method).__name__} are "
            "functions of its parameters; evaluate it with odecore.tableaux.tableau_at"
        )


def _read(value: Any) -> tuple[Any, tuple[int, int] | None]:
    """The exact value of a coefficient, and the format that may have rounded it."""
    if isinstance(value, Rational | QuadraticNumber):
        return exact_number(value), None
    if isinstance(value, Real) and hasattr(value, "as_integer_ratio"):
        try:
            exact = Fraction(*value.as_integer_ratio())
        except (OverflowError, ValueError):
            raise ValueError(f"coefficients must be finite, got {value}") from None
        size = getattr(getattr(value, "dtype", None), "itemsize", 8)
        return exact, _FORMATS.get(size, _DOUBLE)
    if not callable(getattr(value, "parent", None)):  # by which ring elements are known
        raise TypeError(
            "coefficients must be real numbers, int, Fraction, QuadraticNumber or a float of "
            "Python or NumPy, or elements of a polynomial ring or fraction field of SymPy; got "
            f"{value!r} of type {type(value).__name__}; convert it to one of these first"
        )
    return value, None


def _radii(row: tuple[tuple[Any, tuple[int, int] | None], ...], delta: Fraction) -> Row:
    radius = delta
    formats = [bits for _, bits in row if bits]
    if formats:
        unit, least = (Fraction(1, 2 ** min(bits)) for bits in zip(*formats, strict=True))
        radius += max(unit * max(abs(value) for value, _ in row), least)
    return tuple(radius if value != 0 else 0 for value, _ in row)
