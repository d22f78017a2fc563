"""Where given steps end: equal ones in each interval, and those of a grid between two times."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

from odecore._array import is_readable
from odecore._step_counts import counts_of, is_count, require_attempts, steps_of_size
from odecore._times import read_times

__all__ = ["ends_between", "equal_steps", "landing_grid", "most_steps", "slack"]


def slack(*times: float) -> float:
    """How far apart times may be that only rounding keeps from being the same."""
    return 16 * 2.0**-52 * max(map(abs, times))


def ends_between(
    grid: Sequence[float], jumps: Collection[float] = ()
) -> Callable[[float, float], list[float]]:
    """From two times to those of a grid, in whatever order, that lie between them, and these, in
    order.

    Those that rounding alone keeps from the two are left out, for they would make a step of it,
    unless the right-hand side jumps there. The grid is gone through once for all intervals.

    Raises
    ------
    TypeError, ValueError
        If the grid is no sequence of finite times.
    """
    times = read_times(grid, "grid")
    if not all(map(isfinite, times)):
        raise ValueError(f"`grid` must hold finite times, got {grid!r}")
    ends = sorted(set(times))

    def between(first: float, last: float) -> list[float]:
        low, high = sorted((first, last))
        near, far = low + slack(low, high), high - slack(low, high)
        inside = ends[bisect_right(ends, low) : bisect_left(ends, high)]
        inside = [t for t in inside if near < t < far or t in jumps]
        return [first, *(inside[::-1] if last < first else inside), last]

    return between


def most_steps(options: dict[str, Any]) -> int:
    """`max_steps` of options of `solve_ivp`, which looks at it later; ValueError for no count."""
    most: int = options.get("max_steps", 100_000)
    require_attempts(most)
    return most


def landing_grid(times: Sequence[float], steps: Any, step_size: Any, most: int) -> list[float]:
    """Equal steps in each interval, which land on all times; `steps` may be one for each."""
    grid, intervals = [times[0]], list(pairwise(times))
    counts = counts_of(steps, len(intervals))
    for (a, b), n in zip(intervals, counts, strict=True):
        grid += [a + (b - a) * x for x in equal_steps(n, step_size, b - a, most)[1:-1]] + [b]
    return grid


def equal_steps(steps: Any, step_size: Any, length: Any, most: int) -> list[float]:
    """Equal steps from 0 to 1; ValueError if there are more than `most`, before they are listed."""
    if step_size is not None:
        if hasattr(length, "shape") and not is_readable(length):
            raise ValueError(
                "`step_size` needs times that can be read, got times on an accelerator: give "
                "`steps`, or keep the times on the host"
            )
        steps = steps_of_size(step_size, float(length), most)
    if not is_count(steps):
        raise ValueError(f"`steps` must be a positive int, got {steps!r}")
    if int(steps) > most:
        raise ValueError(
            f"{'`steps`' if step_size is None else '`step_size`'} asks for more than `max_steps` = "
            f"{most} steps in an interval; take fewer, or raise `max_steps`"
        )
    return [k / int(steps) for k in range(int(steps) + 1)]
