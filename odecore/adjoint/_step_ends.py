"""The steps of a grid between two of its times."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["slack", "step_ends"]


def slack(*times: float) -> float:
    """How far apart times may be that only rounding keeps from being the same."""
    return 16 * 2.0**-52 * max(map(abs, times))


def step_ends(grid: Sequence[float], first: float, last: float) -> list[float]:
    """The times of a grid, in whatever order, that lie between two times, and these, in order.

    Those that rounding alone keeps from the two are left out, for they would make a step of it.
    """
    low, high = sorted((first, last))
    gap = slack(low, high)
    inside = {float(t) for t in grid if low + gap < t < high - gap}
    return [first, *sorted(inside, reverse=last < first), last]
