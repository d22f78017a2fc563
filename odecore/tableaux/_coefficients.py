"""Coefficients of a method in the form a step uses: floats, or arrays with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np

from odecore._array import Terms, as_float, nonzero
from odecore._flags import require_flags

__all__ = ["Coefficients", "valid_order"]

Vector = np.ndarray | None
MANY = 3  # terms of a sum for which NumPy takes a product sooner than one after another


@dataclass(frozen=True)
class Coefficients:
    """A Runge-Kutta method as numbers.

    Parameters
    ----------
    A : tuple of tuples
        Explicit methods: the strict lower triangle, row i with i entries. Diagonally implicit ones:
        row i with i + 1 entries. Fully implicit ones: rows with s entries. Numbers, which become
        floats, or, for explicit methods, arrays that broadcast against the state (0-d for one
        method; shape (k, 1, ..., 1) for k methods at once on a state whose first axis is the
        method).
    b : tuple
        Weights, one for each row of A.
    error : tuple, optional
        b - b_hat of an embedded pair.
    order : int, optional
        Order of `b`; the step-size controller needs it.
    last_stage_is_first : bool, optional
        Whether the last stage of a step is the first of the next (FSAL).
    c : tuple, optional
        Abscissae, where they are known better than as the row sums of A in floats.

    Raises
    ------
    ValueError
        If row lengths and weights disagree, or the order is no positive integer.
    TypeError
        If the coefficients are no tuples or lists.
    """

    A: tuple[tuple[Any, ...], ...]
    b: tuple[Any, ...]
    error: tuple[float, ...] | None = None
    order: int | None = None
    last_stage_is_first: bool = False
    c: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        require_flags(last_stage_is_first=self.last_stage_is_first)
        A = tuple(_numbers("A", row) for row in _row("A", self.A))
        object.__setattr__(self, "A", A)
        for label in ("b", "error", "c"):
            if label == "b" or getattr(self, label) is not None:
                object.__setattr__(self, label, _numbers(label, getattr(self, label)))
        object.__setattr__(self, "order", valid_order(self.order, "order"))
        lengths = [len(row) for row in self.A]
        s = len(self.b)
        shapes = [list(range(s)), list(range(1, s + 1)), [s] * s]
        if lengths not in shapes or not self.b:
            raise ValueError(
                "row i of `A` must have i entries (explicit), i + 1 (diagonally implicit) or s "
                "(fully implicit), one row for each of the weights `b`; got rows of lengths "
                f"{lengths} for {s} weights"
            )
        if self.error is not None and len(self.error) != len(self.b):
            raise ValueError(
                f"`error` must have {len(self.b)} entries like `b`, got {len(self.error)}"
            )
        if self.c is None:
            sums = tuple(sum(row[1:], row[0]) if row else 0.0 for row in self.A)
            object.__setattr__(self, "c", sums)
        elif len(self.c) != len(self.b):
            raise ValueError(f"`c` must have {len(self.b)} entries like `b`, got {len(self.c)}")

    @cached_property
    def has_arrays(self) -> bool:
        """Whether a coefficient is an array."""
        rows = (*self.A, self.b, self.error or (), self.c or ())
        return any(not isinstance(x, Real) for row in rows for x in row)

    @cached_property
    def terms(self) -> tuple[tuple[Terms, ...], Terms, Terms | None]:
        """Rows of A, b and the error as pairs (j, w_j), without those that are the float 0."""
        error = None if self.error is None else nonzero(self.error)
        return tuple(map(nonzero, self.A)), nonzero(self.b), error

    @cached_property
    def products(self) -> tuple[tuple[Vector, ...], Vector, Vector]:
        """Rows of A, b and the error as vectors; None for those of few terms."""
        rows, b, error = self.terms
        return tuple(map(_vector, rows)), _vector(b), _vector(error or ())

    @property
    def is_explicit(self) -> bool:
        """Whether each stage depends on earlier ones only."""
        return len(self.A[0]) == 0

    @property
    def abscissae_outside(self) -> list[float]:
        """Those known to be outside of [0, 1], where a step looks beyond its ends."""
        known = (c for c in self.c or () if isinstance(c, float))
        return [c for c in known if not -1e-9 < c < 1 + 1e-9]

    @property
    def is_diagonally_implicit(self) -> bool:
        """Whether the stages can be solved for one after another."""
        return not self.is_explicit and len(self.A[0]) == 1


def _vector(terms: Terms) -> Vector:
    if len(terms) < MANY:
        return None
    weights = np.zeros(max(j for j, _ in terms) + 1)
    for j, weight in terms:
        weights[j] = weight
    return weights


def _row(label: str, value: Any) -> Any:
    """A sequence as it is, an array as a tuple of its rows; TypeError for what is neither."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    if not len(getattr(value, "shape", ())):
        rule = "a tuple of rows, tuples of numbers" if label == "A" else "a tuple of numbers"
        raise TypeError(f"`{label}` must be {rule}, got {value!r}")
    return tuple(value[i] for i in range(value.shape[0]))


def _numbers(label: str, value: Any) -> tuple[Any, ...]:
    """A row as a tuple, with numbers of any kind, such as Fractions, as floats."""
    return tuple(as_float(x) if isinstance(x, Real) else x for x in _row(label, value))


def valid_order(order: Any, label: str) -> int | None:
    """A declared order as an int, or None; ValueError for anything else."""
    if order is None:
        return None
    if isinstance(order, bool) or not isinstance(order, Integral) or int(order) < 1:
        raise ValueError(f"`{label}` must be a positive integer, or None; got {order!r}")
    return int(order)
