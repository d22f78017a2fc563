"""Units in which Newton's corrections of the stages of a step are measured."""

from __future__ import annotations

from math import inf
from typing import Any

from odecore._array import largest, limits, namespace
from odecore.solve._error_norm import root_mean_square
from odecore.solve._stage_inverse import product

__all__ = ["StageScale"]


class StageScale:
    """Sizes of corrections, against the tolerance or, without one, the sizes of the entries.

    Parameters
    ----------
    start : (n,) array
        State at the start of the step, real.
    h : float
    tolerance : (n,) array or None
        What an error of each entry may be; None in given steps.
    """

    def __init__(self, start: Any, h: float, tolerance: Any) -> None:
        self.start, self.h, self.tolerance = start, h, tolerance
        # (s, n): that times eps is what rounding in f may do to the states of the stages.
        self.doubt: Any = inf

    @property
    def rounding(self) -> float:
        """The size of a correction that is rounding."""
        share = 1.0
        if self.tolerance is not None:
            share = max(share, float(namespace(self.start).max(abs(self.start / self.tolerance))))
        return 10 * float(limits(self.start).eps) * share

    def learn(self, inverse: Any, jacobian: Any, slope: Any, s: int) -> None:
        """Find `doubt` from df/dy and f at the start, and the matrix of the simplified iterations.

        f has at least the rounding of J y and of its own value.
        """
        xp = namespace(slope)
        inside = product(xp.abs(jacobian), xp.abs(self.start))
        moved = abs(self.h) * (inside + xp.abs(slope))
        found = inverse.bound(xp.stack([moved] * s))
        self.doubt = xp.where(xp.isfinite(found), found, xp.full_like(found, inf))

    def sizes(self, k: Any, change: Any) -> tuple[float, float]:
        """Sizes of a change of the slopes k (s, n) of the stages: of each entry, and of the whole.

        In given steps the units are the states, each entry by itself where it is known:
        an entry may be the small difference of large ones, of which only a multiple of `doubt` is
        known. The whole is measured in one unit throughout, for comparisons alone.
        """
        if self.tolerance is not None:
            size = self._norm(change, self.tolerance)
            return size, size
        xp = namespace(k)
        move = abs(self.h) * xp.maximum(xp.abs(k), xp.abs(k + change))
        size = xp.abs(self.start) + move
        known = xp.minimum(xp.zeros_like(k) + self.doubt, xp.max(size))
        scale = xp.maximum(size, known)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        return self._norm(change, scale), float(xp.max(xp.abs(change)))

    def _norm(self, change: Any, scale: Any) -> float:
        shares = self.h * change / scale
        if change.shape[0] == 1:
            return float(root_mean_square(shares[0, ...]))
        return largest(root_mean_square(shares[i, ...]) for i in range(change.shape[0]))
