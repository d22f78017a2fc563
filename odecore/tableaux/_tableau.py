"""The Butcher tableau: exact coefficients of one method, valid once built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

from odecore.exact import QuadraticNumber, exact_number
from odecore.order import order_of_accuracy
from odecore.tableaux._coefficients import Coefficients, valid_order
from odecore.tableaux._printing import as_latex, as_text

__all__ = ["ButcherTableau", "Number"]

Number = Any  # Fraction or QuadraticNumber


@dataclass(frozen=True)
class ButcherTableau:
    """A Runge-Kutta method with exact coefficients, and its embedded row if it has one.

    Parameters
    ----------
    A : (s, s) nested sequence of int, Fraction, Decimal or QuadraticNumber
        Rows may be given as strict lower triangle, `((), (a21,), (a31, a32), ...)`.
    b : (s,) sequence of the same
        Weights; their sum is 1.
    b_hat : (s,) sequence of the same, optional
        Weights of the embedded method, whose difference to `b` estimates the local error.
    name : str, optional
    order : int, optional
        Declared order of `b`. `coefficients` decides it where `b_hat` is given and this is not.
    uncertainty : Fraction, optional
        Largest error of a published coefficient that is known as a decimal only; 0 means exact.
    source : str, optional
        Where the coefficients were published.
    embedded_order : int, optional
        Declared order of `b_hat`.
    note : str, optional
        What else should be known, such as misprints of the source.

    Raises
    ------
    TypeError
        If a coefficient is neither rational nor quadratic; a float is not exact, so it is refused.
        If `name`, `source` or `note` is no string.
    ValueError
        If shapes disagree, the weights do not sum to 1, coefficients lie in different fields, an
        order is no positive integer, `uncertainty` is negative, or `b_hat` is equal to `b` or
        missing where its order is given.

    Examples
    --------
    >>> from fractions import Fraction
    >>> midpoint = ButcherTableau(((), (Fraction(1, 2),)), (0, 1), name="midpoint", order=2)
    >>> midpoint.c, midpoint.is_explicit
    ((Fraction(0, 1), Fraction(1, 2)), True)
    """

    A: tuple[tuple[Number, ...], ...]
    b: tuple[Number, ...]
    b_hat: tuple[Number, ...] | None = None
    name: str = ""
    order: int | None = None
    uncertainty: Fraction = Fraction(0)
    source: str = ""
    embedded_order: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        rows, b = [_exact(row, "A") for row in _listed(self.A, "A")], _exact(self.b, "b")
        s = len(b)
        lengths = [len(row) for row in rows]
        if lengths != [s] * s and lengths != list(range(s)):
            raise ValueError(
                f"`A` must have {s} rows of length {s}, one for each weight, or the rows of its "
                f"strict lower triangle; got rows of lengths {lengths}"
            )
        zeros = (Fraction(0),)
        object.__setattr__(self, "A", tuple(row + zeros * (s - len(row)) for row in rows))
        object.__setattr__(self, "b", b)
        (uncertainty,) = _exact([self.uncertainty], "uncertainty")
        if isinstance(uncertainty, QuadraticNumber):
            raise TypeError(f"`uncertainty` must be rational, got {uncertainty}; round it up")
        object.__setattr__(self, "uncertainty", uncertainty)
        if self.uncertainty < 0:
            raise ValueError(f"`uncertainty` is a bound, not negative; got {self.uncertainty}")
        self._require_sum("b", b)
        if self.b_hat is not None:
            b_hat = _exact(self.b_hat, "b_hat")
            if len(b_hat) != s:
                raise ValueError(f"`b_hat` must have {s} weights like `b`, got {len(b_hat)}")
            object.__setattr__(self, "b_hat", b_hat)
            self._require_sum("b_hat", b_hat)
            if b_hat == b:
                raise ValueError("`b_hat` is equal to `b`, so it estimates nothing; leave it out")
        elif self.embedded_order is not None:
            raise ValueError("`embedded_order` needs `b_hat`, the row that it is the order of")
        self._require_one_field()
        for label in ("order", "embedded_order"):
            object.__setattr__(self, label, valid_order(getattr(self, label), label))
        for label in ("name", "source", "note"):
            if not isinstance(getattr(self, label), str):
                raise TypeError(f"`{label}` must be a string, got {getattr(self, label)!r}")

    def _require_sum(self, label: str, weights: tuple[Number, ...]) -> None:
        if abs(sum(weights, Fraction(-1))) > len(weights) * self.uncertainty:
            raise ValueError(
                f"the weights `{label}` must sum to 1, got {sum(weights, Fraction(0))}; if one "
                "coefficient is misprinted, odecore.order.locate_typo finds it"
            )

    def _require_one_field(self) -> None:
        entries = [a for row in self.A for a in row] + [*self.b, *(self.b_hat or ())]
        fields = {a.radicand for a in entries if isinstance(a, QuadraticNumber)}
        if len(fields) > 1:
            roots = ", ".join(f"sqrt({d})" for d in sorted(fields))
            raise ValueError(f"all coefficients must lie in one quadratic field, got {roots}")

    @cached_property
    def c(self) -> tuple[Number, ...]:
        """Abscissae (s,): the row sums of A."""
        return _exact([sum(row, Fraction(0)) for row in self.A], "c")

    def __str__(self) -> str:
        return as_text(self)

    def latex(self) -> str:
        """The tableau as a LaTeX array, with exact entries."""
        return as_latex(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {as_latex(self)}$"

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return len(self.b)

    @cached_property
    def is_explicit(self) -> bool:
        """Whether A is strictly lower triangular."""
        return all(a == 0 for i, row in enumerate(self.A) for a in row[i:])

    @cached_property
    def coefficients(self) -> Coefficients:
        """The same numbers as Python floats, each correctly rounded, for a solver to use.

        The order of a pair steers adaptive steps. It is decided where none is declared; ValueError
        if the conditions of the declared one do not hold, or a number is beyond all floats.
        """
        try:
            return self._in_floats()
        except OverflowError:
            raise ValueError(
                f"a coefficient of {self.name or 'this method'} is beyond the largest float, "
                "1.8e308: no solver can use it; choose smaller ones"
            ) from None

    def _in_floats(self) -> Coefficients:
        diagonal = all(a == 0 for i, row in enumerate(self.A) for a in row[i + 1 :])
        cut = 0 if self.is_explicit else 1 if diagonal else self.stages
        rows = (row[: i + cut] for i, row in enumerate(self.A))
        error = None
        if self.b_hat is not None:
            pairs = zip(self.b, self.b_hat, strict=True)
            error = tuple(float(weight - embedded) for weight, embedded in pairs)
        return Coefficients(
            A=tuple(tuple(map(float, row)) for row in rows),
            b=tuple(map(float, self.b)),
            error=error,
            order=self._decided_order(),
            last_stage_is_first=self.A[-1] == self.b,
            c=tuple(map(float, self.c)),
        )

    def _decided_order(self) -> int | None:
        if self.b_hat is None:
            return self.order
        try:
            found = order_of_accuracy(self, max_order=self.order or 12)
        except ValueError:  # all conditions up to there hold
            return self.order
        if self.order is not None:
            raise ValueError(
                f"order={self.order} is declared, but the conditions hold up to order {found} "
                "only; odecore.order.failing_trees names the others: correct the coefficients, "
                "or leave `order` out to have it decided"
            )
        return found


def _listed(values: Any, label: str) -> list[Any]:
    """What is listed; TypeError for what can not be gone through in order."""
    if not isinstance(values, Iterable) or isinstance(values, Mapping | Set | str):
        rule = "rows of numbers" if label == "A" else "a sequence of numbers"
        raise TypeError(f"`{label}` must be {rule}, got {values!r}")
    return list(values)


def _exact(values: Iterable[Any], label: str) -> tuple[Number, ...]:
    """Fractions, also of Decimals, and irrational QuadraticNumbers; anything else is refused."""
    found = []
    for value in _listed(values, label):
        is_decimal = isinstance(value, Decimal) and value.is_finite()
        try:
            found.append(exact_number(Fraction(value) if is_decimal else value))
        except TypeError as error:
            raise TypeError(
                f"the entries of `{label}` must be exact, int, Fraction, Decimal, QuadraticNumber, "
                f"or SymPy's a + b*sqrt(d); got {value!r} of type {type(value).__name__}; write it "
                "as a Fraction, say Fraction(1, 3), with a root by QuadraticNumber.sqrt(3), or "
                "text by odecore.exact.parse_number"
            ) from error
    return tuple(found)
