"""Sketches with independent entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from odecore._array import constant_like, namespace
from odecore.sketching._sketch import require_size
from odecore.sketching._variance import Moments

__all__ = ["GaussianSketch"]


@dataclass(frozen=True)
class GaussianSketch:
    """Independent normal entries of variance 1/p.

    Parameters
    ----------
    size : int
        p; may exceed the number of rows.

    Notes
    -----
    Its variance is (||X||^2 ||Y||^2 + ||X^T Y||^2)/p, Frobenius norms. The lemma of arXiv
    2201.13195, as its authors' code has it, carries a minus sign; that is the variance of
    sampling rows by their squared length. For X = Y a unit vector it would be 0, and it is 2/p.
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, rows: int, rng: np.random.Generator, /) -> Callable[[Any], Any]:
        """Draw S^T, (p, rows), on the host, so that every array library sees the same numbers."""
        S_T = rng.standard_normal((self.size, rows)) / sqrt(self.size)
        return lambda X: namespace(X).matmul(constant_like(S_T, X), X)

    def variance(self, moments: Moments, /) -> Any:
        """Exact variance; see the notes of the class."""
        return (moments.x * moments.y + moments.product) / self.size
