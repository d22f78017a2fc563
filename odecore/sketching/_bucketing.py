"""Sketches that add rows, with random signs, in buckets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from math import prod
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import constant_like
from odecore.sketching._moments import Moments
from odecore.sketching._sketch import (
    Draw,
    MomentSketch,
    random_signs,
    require_at_most,
    require_size,
    rows_of,
    take_rows,
)

__all__ = ["BalancedCountSketch", "CountSketch", "SparseSignSketch", "bucket_sums"]

Indices = NDArray[np.int64]
TOGETHER = 2**18  # numbers of the rows that are added at once


@dataclass(frozen=True)
class CountSketch(MomentSketch):
    """Each row is added, with a random sign, to one of p buckets, all equally likely.

    Parameters
    ----------
    size : int
        p, the number of buckets; may exceed the number of rows.

    Raises
    ------
    ValueError
        If `size` is no positive int.

    Notes
    -----
    Its variance is that of `RademacherSketch`, at the cost O(B N). Charikar, Chen and
    Farach-Colton (2002); Clarkson and Woodruff (2013).
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw a bucket and a sign for each row."""
        rows = rows_of(X, rng)
        buckets = rng.integers(0, self.size, size=(1, rows))
        return _signed_sums(buckets, random_signs((1, rows), rng), self.size)

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        return moments.between_pairs / self.size


@dataclass(frozen=True)
class BalancedCountSketch(MomentSketch):
    """CountSketch whose buckets hold equally many rows, up to one: a random permutation deals them.

    Parameters
    ----------
    size : int
        p, at most the number of rows B; with p = B the product is exact.

    Raises
    ------
    ValueError
        If `size` is no positive int; at the draw, if there are fewer rows.

    Notes
    -----
    Its variance is c (||X||^2 ||Y||^2 + ||X^T Y||^2 - 2 T), where c is the probability that two
    rows share a bucket, sum_b n_b (n_b - 1) / (B (B - 1)): (B - p)/(p (B - 1)) if p divides B. It
    never exceeds that of `CountSketch`.
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw a permutation and a sign for each row."""
        rows = rows_of(X, rng)
        require_at_most(self.size, rows, "more buckets than rows stay empty: use size = rows")
        place = np.argsort(rng.permutation(rows))
        buckets, signs = place % self.size, random_signs(rows, rng)[place]
        return _signed_sums(buckets[None, :], signs[None, :], self.size)

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        B, p = moments.rows, self.size
        require_at_most(p, B, "more buckets than rows stay empty: use size = rows")
        full, larger = divmod(B, p)
        together = p * full * (full - 1) + larger * 2 * full  # sum_b n_b (n_b - 1)
        return together / (B * max(B - 1, 1)) * moments.between_pairs


@dataclass(frozen=True)
class SparseSignSketch(MomentSketch):
    """Each row is added, with independent signs, to several of p buckets.

    Parameters
    ----------
    size : int
        p, the number of buckets; may exceed the number of rows.
    nonzeros : int, optional
        zeta, the number of different buckets of each row, at most p. With 1 it is `CountSketch`.

    Raises
    ------
    ValueError
        If `size` or `nonzeros` is no positive int, or the latter above the former.

    Notes
    -----
    Its variance is that of `RademacherSketch` whatever zeta, which only changes higher moments,
    at the cost O(zeta B N), with memory for one copy of the rows. Kane and Nelson, J. ACM 61
    (2014).
    """

    size: int
    nonzeros: int = 8

    def __post_init__(self) -> None:
        require_size(self.size)
        zeta = self.nonzeros
        if not isinstance(zeta, int | np.integer) or isinstance(zeta, bool) or zeta < 1:
            raise ValueError(f"`nonzeros` must be a positive int, got {zeta!r}; take 1 or more")
        if zeta > self.size:
            raise ValueError(
                "a row can not be in more buckets than there are, got `nonzeros` "
                f"{zeta} for size {self.size}; lower `nonzeros` or take RademacherSketch"
            )

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw zeta different buckets and as many signs for each row."""
        rows, zeta = rows_of(X, rng), self.nonzeros
        buckets = _subsets(rows, self.size, zeta, rng)
        draw = _signed_sums(buckets, random_signs((rows, zeta), rng).T, self.size)
        return Draw(draw.compress, draw.weights / zeta)

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        return moments.between_pairs / self.size


def bucket_sums(X: Any, buckets: Indices, count: int, signs: Indices | None = None) -> Any:
    """Sum the rows of X (B, N), times their signs, in each of `count` buckets, (count, N).

    Where there are buckets for more than B rows, they begin anew with the first.
    In pairs, then in pairs of pairs: O(B N) operations with take and +, which every array library
    has, and rounding errors that grow with the logarithm of the rows in a bucket.
    """
    order = np.argsort(buckets, kind="stable")
    buckets, rows = buckets[order], order % X.shape[0]
    sign = np.ones(len(order)) if signs is None else signs[order]
    while True:
        place = np.arange(len(buckets)) - np.searchsorted(buckets, buckets)  # in its bucket
        if not place.any():
            break
        first = np.flatnonzero(place % 2 == 0)
        after = np.minimum(first + 1, len(buckets) - 1)
        paired = place[after] == place[first] + 1
        # A pair has the sign of its first row from here on, so that one of two is multiplied.
        change = _column(paired * sign[first] * sign[after], X)
        X = take_rows(X, rows[first]) + change * take_rows(X, rows[after])
        buckets, sign, rows = buckets[first], sign[first], np.arange(len(first))
    # Each bucket has one row now, or none.
    where = np.minimum(np.searchsorted(buckets, np.arange(count)), len(buckets) - 1)
    found = (buckets[where] == np.arange(count)) * sign[where]
    return _column(found, X) * take_rows(X, rows[where])


def _column(values: NDArray[Any], like: Any) -> Any:
    return constant_like(values[:, None], like)


def _signed_sums(buckets: Indices, signs: Indices, size: int) -> Draw:
    """Rows added in as many buckets as each has, (zeta, B)."""
    return Draw(partial(_added, buckets, signs, size), np.ones(size), buckets.shape[1])


def _added(buckets: Indices, signs: Indices, size: int, X: Any) -> Any:
    """The sums of all buckets, from one copy of the rows at a time, or a few of small matrices."""
    together = max(1, TOGETHER // max(1, prod(X.shape)))
    parts = [slice(i, i + together) for i in range(0, len(buckets), together)]
    sums = (bucket_sums(X, buckets[k].reshape(-1), size, signs[k].reshape(-1)) for k in parts)
    return reduce(add, sums)


def _subsets(rows: int, n: int, k: int, rng: np.random.Generator) -> Indices:
    """Draw a uniform k-subset of range(n) for each row, (k, rows); Floyd's algorithm on all."""
    chosen = np.empty((k, rows), dtype=np.int64)
    for i, last in enumerate(range(n - k, n)):
        candidate = rng.integers(0, last + 1, size=rows)
        taken = (chosen[:i] == candidate).any(axis=0)
        chosen[i] = np.where(taken, last, candidate)
    return chosen
