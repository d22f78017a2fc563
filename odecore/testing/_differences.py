"""Differences between draws and a claim: their mean, spread and tails, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Differences", "Drawn", "numbers"]

_ROUNDINGS = 1000  # units of rounding of the largest value: no difference of means


class Drawn(NamedTuple):
    """What an estimator has returned, in float64.

    Parameters
    ----------
    value : array
    eps : float
        Unit of rounding of the dtype that it came in.
    root : float
        For a squared error, the size of the numbers whose difference was squared.
    """

    value: Any
    eps: float
    root: float = 0.0


class Differences:
    """Weighted sums of the first four powers of draws less the first, in a unit near the largest.

    Parameters
    ----------
    claimed : array
    along : bool
        Whether the component along the claim is kept too, behind the entries.
    size : float, optional
        Size of the numbers that draws are made from, where their rounding is above that of draws.

    Notes
    -----
    The unit is a power of 2, so that claims and draws that are scaled together are judged alike,
    as long as they are floats: no power overflows or vanishes.
    """

    def __init__(self, claimed: Any, along: bool, size: float = 0.0) -> None:
        self.claimed = claimed
        self.runs, self.weight, self.eps = 0, 0.0, float(np.finfo(claimed.dtype).eps)
        self.largest = max(size, float(np.max(np.abs(claimed), initial=0)))
        self.root, self.off, self.exponent = 0.0, 0.0, _exponent(self.largest)
        self.powers = np.zeros((4, claimed.size + along))
        self.first = np.zeros(claimed.size + along)  # draw less the claim
        scaled = self.in_unit(claimed)
        self.length = float(np.linalg.norm(scaled))
        self.direction = scaled.ravel() / self.length if along else None
        self.length = self.in_numbers(self.length)

    def add(self, draws: Sequence[Drawn], weight: float = 1.0, off: float = 0.0) -> None:
        """Add draws, each with this weight, which is known to a relative error of `off`."""
        values = np.array([found.value.ravel() for found in draws])
        self.largest = max(self.largest, float(np.abs(values).max(initial=0)))
        self.eps = max(self.eps, *(found.eps for found in draws))
        self.root = max(self.root, *(found.root for found in draws))
        self.off = max(self.off, off)
        exponent = _exponent(self.largest)
        if exponent > self.exponent:
            shift = (self.exponent - exponent) * np.array([[1], [2], [3], [4]])
            self.powers, self.first = np.ldexp(self.powers, shift), np.ldexp(self.first, shift[0])
            self.exponent = exponent
        d = self.in_unit(values) - self.in_unit(self.claimed).ravel()
        if self.direction is not None:
            d = np.column_stack([d, d @ self.direction])
        if not self.runs:
            self.first = d[0]
        d = d - self.first
        square = d * d
        sums = [power.sum(axis=0) for power in (d, square, square * d, square * square)]
        self.powers += weight * np.array(sums)
        self.weight += weight * len(draws)
        self.runs += len(draws)

    def in_unit(self, found: Any) -> Any:
        """How many units it is."""
        return np.ldexp(np.asarray(found, dtype=np.float64), -self.exponent)

    def in_numbers(self, found: Any) -> float:
        """What is so many units."""
        with np.errstate(over="ignore"):
            return float(np.ldexp(found, self.exponent))

    @property
    def rounding(self) -> float:
        """Differences up to this size may come from rounding."""
        if not self.largest:
            return 0.0
        # (v - m)^2 is known to eps |v| |v - m|.
        amplified = max(1.0, self.root / sqrt(self.largest))
        relative = _ROUNDINGS * self.eps * amplified + self.off
        return relative * float(self.in_unit(self.largest))

    @property
    def mean(self) -> Any:
        """The mean difference."""
        return self.first + self.powers[0] / self.weight

    @property
    def spread(self) -> Any:
        """Standard deviations of one draw."""
        first, second, *_ = self.powers / self.weight
        return np.sqrt(np.maximum(second - first**2, 0))

    @property
    def varies(self) -> Any:
        """Where draws are not constant to rounding."""
        return self.spread > self.rounding

    @property
    def skewness(self) -> Any:
        """Absolute skewness; 0 where draws are constant to rounding."""
        first, second, third, _ = self.powers / self.weight
        moment, cube = third - 3 * first * second + 2 * first**3, self.spread**3
        return np.abs(np.divide(moment, cube, out=np.zeros_like(cube), where=self.varies))

    @property
    def carriers(self) -> Any:
        """How many draws carry the sum of squares: runs / kurtosis; where all are equal, nan."""
        first, second, third, fourth = self.powers / self.weight
        moment = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        square = self.runs * self.spread**4
        return np.divide(square, moment, out=np.full_like(square, np.nan), where=self.varies)

    def in_spreads(self, off: Any) -> float:
        """The largest of |off| in standard deviations of one draw, where draws vary."""
        off, spread = np.broadcast_arrays(np.abs(off), self.spread)
        varies = self.varies
        return float(np.max(off[varies] / spread[varies], initial=0))

    def place(self, k: int) -> tuple[str, float]:
        """The name of component k, and what is claimed there."""
        if k == self.claimed.size:
            return " along the claim", self.length
        at = tuple(map(int, np.unravel_index(k, self.claimed.shape)))
        return f" of entry {at}" if at else "", float(self.claimed[at])


def _exponent(size: float) -> int:
    return int(np.frexp(size)[1]) if size else -1074


def numbers(found: Any, name: str) -> Any:
    """Real numbers as an array, in float64 or, where they are, in float32."""
    try:
        array = np.asarray(found)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(f"`{name}` must be an array of real numbers: {error}") from error
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and array.dtype.itemsize < 4):
        raise TypeError(
            f"`{name}` must be real numbers in single precision at least, got {array.dtype} "
            f"({type(found).__name__})"
        )
    return array if array.dtype == np.float32 else array.astype(np.float64)
