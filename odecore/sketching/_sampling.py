"""Sketches that keep some of the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from array_api_compat import device

from odecore._array import namespace
from odecore.sketching._sketch import require_size
from odecore.sketching._variance import Moments

__all__ = ["UniformRows"]


@dataclass(frozen=True)
class UniformRows:
    """p distinct rows, each set of p equally likely, scaled by sqrt(B/p).

    Parameters
    ----------
    size : int
        p, at most the number of rows B; with p = B the product is exact.

    Notes
    -----
    Its variance is (B-p)/(B-1) (B T - ||X^T Y||^2)/p with T = sum_k ||x_k||^2 ||y_k||^2: sampling
    with replacement times the finite-population factor.
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, rows: int, rng: np.random.Generator, /) -> Callable[[Any], Any]:
        """Draw the indices; ValueError if there are fewer rows than the sketch size."""
        self._require_rows(rows)
        indices = rng.permutation(rows)[: self.size]
        scale = sqrt(rows / self.size)

        def apply(X: Any) -> Any:
            xp = namespace(X)
            return xp.take(X, xp.asarray(indices.tolist(), device=device(X)), axis=0) * scale

        return apply

    def variance(self, moments: Moments, /) -> Any:
        """Exact variance; see the notes of the class."""
        B, p = moments.rows, self.size
        self._require_rows(B)
        return (B - p) / max(B - 1, 1) * (B * moments.rowwise - moments.product) / p

    def _require_rows(self, rows: int) -> None:
        if self.size > rows:
            raise ValueError(
                f"the sketch size must not exceed the number of rows, got size {self.size} for "
                f"{rows} rows; rows are drawn without replacement"
            )
