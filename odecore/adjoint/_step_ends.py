"""The steps of a grid between two of its times."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["step_ends"]


def step_ends(grid: Sequence[float], first: float, last: float) -> list[float]:
    """The times of a grid, in whatever order, that lie between two times, and these, in order."""
    low, high = sorted((first, last))
    inside = {float(t) for t in grid if low < t < high}
    return [first, *sorted(inside, reverse=last < first), last]
