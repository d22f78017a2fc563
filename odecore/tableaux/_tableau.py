"""The Butcher tableau: exact coefficients of one method, valid once built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Rational
from typing import Any

from odecore.tableaux._coefficients import Coefficients

__all__ = ["ButcherTableau"]


@dataclass(frozen=True)
class ButcherTableau:
    """A Runge-Kutta method with rational coefficients, and its embedded row if it has one.

    Parameters
    ----------
    A : (s, s) nested sequence of int or Fraction
        Rows may be given as strict lower triangle, `((), (a21,), (a31, a32), ...)`.
    b : (s,) sequence of int or Fraction
        Weights; their sum is 1.
    b_hat : (s,) sequence of int or Fraction, optional
        Weights of the embedded method, whose difference to `b` estimates the local error.
    name : str, optional
    order : int, optional
        Declared order of `b`.
    uncertainty : Fraction, optional
        Largest error of a published coefficient that is known as a decimal only; 0 means exact.
    source : str, optional
        Where the coefficients were published.

    Raises
    ------
    TypeError
        If a coefficient is not rational; a float is not exact, so it is refused.
    ValueError
        If shapes disagree or the weights do not sum to 1.

    Examples
    --------
    >>> from fractions import Fraction
    >>> midpoint = ButcherTableau(((), (Fraction(1, 2),)), (0, 1), name="midpoint", order=2)
    >>> midpoint.c, midpoint.is_explicit
    ((Fraction(0, 1), Fraction(1, 2)), True)
    """

    A: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    b_hat: tuple[Fraction, ...] | None = None
    name: str = ""
    order: int | None = None
    uncertainty: Fraction = Fraction(0)
    source: str = ""

    def __post_init__(self) -> None:
        b = _rationals(self.b, "b")
        s = len(b)
        triangular = s > 0 and [len(row) for row in self.A] == list(range(s))
        if not triangular and (len(self.A) != s or any(len(row) != s for row in self.A)):
            raise ValueError(
                f"`A` must have {s} rows of length {s}, one for each weight, or the rows of its "
                f"strict lower triangle; got rows of lengths {[len(row) for row in self.A]}"
            )
        zeros = (Fraction(0),)
        A = tuple(_rationals(row, "A") + zeros * (s - len(row)) for row in self.A)
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        self._require_sum("b", b)
        if self.b_hat is not None:
            b_hat = _rationals(self.b_hat, "b_hat")
            if len(b_hat) != s:
                raise ValueError(f"`b_hat` must have {s} weights like `b`, got {len(b_hat)}")
            object.__setattr__(self, "b_hat", b_hat)
            self._require_sum("b_hat", b_hat)
            if b_hat == b:
                raise ValueError("`b_hat` is equal to `b`, so it estimates nothing; leave it out")

    def _require_sum(self, label: str, weights: tuple[Fraction, ...]) -> None:
        if abs(sum(weights, Fraction(-1))) > len(weights) * self.uncertainty:
            raise ValueError(f"the weights `{label}` must sum to 1, got {sum(weights)}")

    @cached_property
    def c(self) -> tuple[Fraction, ...]:
        """Abscissae (s,): the row sums of A."""
        return tuple(sum(row, Fraction(0)) for row in self.A)

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
        """The same numbers as Python floats, each correctly rounded, for a solver to use."""
        rows = (row[:i] for i, row in enumerate(self.A))
        if not self.is_explicit:
            raise ValueError(
                f"{self.name or 'this tableau'} is implicit and the solver steps explicit methods "
                "only; choose a tableau whose A is strictly lower triangular"
            )
        error = None
        if self.b_hat is not None:
            pairs = zip(self.b, self.b_hat, strict=True)
            error = tuple(float(weight - embedded) for weight, embedded in pairs)
        return Coefficients(
            A=tuple(tuple(map(float, row)) for row in rows),
            b=tuple(map(float, self.b)),
            error=error,
            order=self.order,
            last_stage_is_first=self.A[-1] == self.b,
            c=tuple(map(float, self.c)),
        )


def _rationals(values: Sequence[Any], label: str) -> tuple[Fraction, ...]:
    for value in values:
        if not isinstance(value, Rational):
            raise TypeError(
                f"the entries of `{label}` must be exact, int or Fraction; got {value!r} of type "
                f"{type(value).__name__}; write it as a Fraction, say Fraction(1, 3)"
            )
    return tuple(map(Fraction, values))
