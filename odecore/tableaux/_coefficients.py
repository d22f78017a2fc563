"""Coefficients of an explicit method in the form a step uses: floats, or arrays with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Coefficients"]


@dataclass(frozen=True)
class Coefficients:
    """An explicit Runge-Kutta method as numbers.

    Parameters
    ----------
    A : tuple of tuples
        Strict lower triangle: row i has i entries. Floats, or arrays that broadcast against the
        state (0-d for one method; shape (k, 1, ..., 1) for k methods at once on a state whose
        first axis is the method).
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
        If row lengths and weights disagree.
    """

    A: tuple[tuple[Any, ...], ...]
    b: tuple[Any, ...]
    error: tuple[float, ...] | None = None
    order: int | None = None
    last_stage_is_first: bool = False
    c: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        lengths = [len(row) for row in self.A]
        if lengths != list(range(len(self.b))) or not self.b:
            raise ValueError(
                "row i of `A` must have i entries, one row for each of the weights `b`; got rows "
                f"of lengths {lengths} for {len(self.b)} weights"
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
