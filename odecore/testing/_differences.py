"""Differences between draws and a claim: their mean, spread and skewness, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Differences", "numbers"]

_ROUNDINGS = 1000  # units of rounding of the largest value: no difference of means


class Differences:
    """Weighted sums of the first three powers of draws less the claim.

    Parameters
    ----------
    claimed : array
    along : bool
        Whether the component along the claim is kept too, behind the entries.
    size : float, optional
        Size of the numbers that draws are made from, where their rounding is above that of draws.
    """

    def __init__(self, claimed: Any, along: bool, size: float = 0.0) -> None:
        self.claimed = claimed
        self.length = float(np.linalg.norm(claimed))
        self.direction = claimed.ravel() / self.length if along else None
        self.runs, self.weight, self.eps = 0, 0.0, float(np.finfo(claimed.dtype).eps)
        self.largest = max(size, float(np.max(np.abs(claimed), initial=0)))
        self.powers = np.zeros((3, claimed.size + along))

    def add(self, found: Any, weight: float = 1.0) -> None:
        """Add one draw."""
        self.largest = max(self.largest, float(np.abs(found).max(initial=0)))
        self.eps = max(self.eps, float(np.finfo(found.dtype).eps))
        d = np.subtract(found, self.claimed, dtype=np.float64).ravel()
        if self.direction is not None:
            d = np.append(d, d @ self.direction)
        square = weight * d * d
        self.powers += (weight * d, square, square * d)
        self.weight += weight
        self.runs += 1

    @property
    def rounding(self) -> float:
        """Differences up to this size may come from rounding."""
        return _ROUNDINGS * self.eps * self.largest

    @property
    def mean(self) -> Any:
        """The mean difference."""
        return self.powers[0] / self.weight

    @property
    def spread(self) -> Any:
        """Standard deviations of one draw."""
        first, second, _ = self.powers / self.weight
        return np.sqrt(np.maximum(second - first**2, 0))

    @property
    def skewness(self) -> Any:
        """Absolute skewness; 0 where draws are constant to rounding."""
        first, second, third = self.powers / self.weight
        spread = self.spread
        moment = third - 3 * first * second + 2 * first**3
        varies = spread > self.rounding
        return np.abs(np.divide(moment, spread**3, out=np.zeros_like(spread), where=varies))

    def in_spreads(self, off: Any) -> float:
        """The largest of |off| in standard deviations of one draw, where draws vary."""
        off, spread = np.broadcast_arrays(np.abs(off), self.spread)
        varies = spread > self.rounding
        return float(np.max(off[varies] / spread[varies], initial=0))

    def place(self, k: int) -> tuple[str, float]:
        """The name of component k, and what is claimed there."""
        if k == self.claimed.size:
            return " along the claim", self.length
        at = tuple(map(int, np.unravel_index(k, self.claimed.shape)))
        return f" of entry {at}" if at else "", float(self.claimed[at])


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
