"""Sketches that keep some of the rows, all equally likely."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._flags import require_flags
from odecore.sketching._moments import Moments
from odecore.sketching._sketch import (
    Draw,
    MomentSketch,
    require_at_most,
    require_size,
    rows_of,
    take_rows,
)

__all__ = ["UniformRows", "sampling_factor", "uniform_indices"]


@dataclass(frozen=True)
class UniformRows(MomentSketch):
    """p rows, all equally likely: distinct ones, or independent ones with replacement.

    Parameters
    ----------
    size : int
        p. Without replacement at most the number of rows B; with p = B the product is exact.
    replacement : bool, optional
        Whether the same row may be drawn again.

    Raises
    ------
    ValueError
        If `size` is no positive int; at the draw without replacement, if there are fewer rows.

    Notes
    -----
    The variance with replacement is (B T - ||X^T Y||^2)/p with T = sum_k ||x_k||^2 ||y_k||^2;
    without, it is (B - p)/(B - 1) times that, the finite-population factor.
    """

    size: int
    replacement: bool = False

    def __post_init__(self) -> None:
        require_size(self.size)
        require_flags(replacement=self.replacement)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw the indices; ValueError if there are fewer rows than distinct ones to draw."""
        rows = rows_of(X, rng)
        indices = uniform_indices(rows, self.size, self.replacement, rng)
        weights = np.full(self.size, rows / self.size)
        return Draw(partial(take_rows, indices=indices), weights, rows)

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        factor = sampling_factor(moments.rows, self.size, self.replacement)
        return factor * moments.between_rows


def uniform_indices(
    rows: int, size: int, replacement: bool, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw `size` of the indices of `rows` rows."""
    if replacement:
        return rng.integers(0, rows, size=size)
    _require_distinct(size, rows)
    return rng.permutation(rows)[:size]


def sampling_factor(rows: int, size: int, replacement: bool) -> float:
    """1/p, times the finite-population factor if rows are drawn without replacement."""
    if replacement:
        return 1 / size
    _require_distinct(size, rows)
    return (rows - size) / (max(rows - 1, 1) * size)


def _require_distinct(size: int, rows: int) -> None:
    require_at_most(
        size, rows, "rows are drawn without replacement: lower it or set replacement=True"
    )
