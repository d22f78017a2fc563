"""Dense sketches with independent entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import constant_like, namespace
from odecore.sketching._moments import Moments
from odecore.sketching._sketch import Draw, MomentSketch, random_signs, require_size, rows_of

__all__ = ["GaussianSketch", "RademacherSketch"]


@dataclass(frozen=True)
class GaussianSketch(MomentSketch):
    """Independent normal entries of variance 1/p.

    Parameters
    ----------
    size : int
        p; may exceed the number of rows.

    Raises
    ------
    ValueError
        If `size` is no positive int.

    Notes
    -----
    Its variance is (||X||^2 ||Y||^2 + ||X^T Y||^2)/p, Frobenius norms. The lemma of arXiv
    2201.13195, as its authors' code has it, carries a minus sign; that is the variance of
    sampling rows by their squared length. For X = Y a unit vector it would be 0, and it is 2/p.
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw the (p, B) matrix, which the draw keeps."""
        rows = rows_of(X, rng)
        return _dense(rng.standard_normal((self.size, rows)))

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        return (moments.x * moments.y + moments.product) / self.size


@dataclass(frozen=True)
class RademacherSketch(MomentSketch):
    """Independent entries -1/sqrt(p) or 1/sqrt(p), equally likely.

    Parameters
    ----------
    size : int
        p; may exceed the number of rows.

    Raises
    ------
    ValueError
        If `size` is no positive int.

    Notes
    -----
    Its variance is (||X||^2 ||Y||^2 + ||X^T Y||^2 - 2 T)/p with T = sum_k ||x_k||^2 ||y_k||^2.
    Independent entries with kurtosis kappa have the term (kappa - 3) T; signs have the smallest
    kurtosis, 1. The sketch is that of Achlioptas, J. Comput. Syst. Sci. 66 (2003).
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw the (p, B) matrix, which the draw keeps."""
        rows = rows_of(X, rng)
        return _dense(random_signs((self.size, rows), rng))

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        return moments.between_pairs / self.size


def _dense(R: NDArray[Any]) -> Draw:
    size, rows = R.shape
    return Draw(partial(_mixed, R), np.full(size, 1 / size), rows)


def _mixed(R: NDArray[Any], X: Any) -> Any:
    return namespace(X).matmul(constant_like(R, X), X)
