"""Where given steps end: equal ones in each interval, and those of a grid between two times."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil, isfinite
from numbers import Integral
from typing import Any

from odecore._array import as_float, is_readable
from odecore._times import is_length, read_times

__all__ = ["MAX_STEPS", "ends_between", "equal_steps", "landing_grid", "require_one_way", "slack"]

MAX_STEPS = 100_000  # where `max_steps` of `solve_ivp` is not given


def slack(*times: float) -> float:
    """How far apart times may be that only rounding keeps from being the same."""
    return 16 * 2.0**-52 * max(map(abs, times))


def ends_between(grid: Sequence[float]) -> Callable[[float, float], list[float]]:
    """From two times to those of a grid, in whatever order, that lie between them, and these, in
    order.

    Those that rounding alone keeps from the two are left out, for they would make a step of it. The
    grid is gone through once for all intervals.

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
        gap = slack(low, high)
        inside = ends[bisect_right(ends, low + gap) : bisect_left(ends, high - gap)]
        return [first, *(inside[::-1] if last < first else inside), last]

    return between


def require_one_way(steps: Any, step_size: Any, grid: Any) -> None:
    """Raise ValueError for steps that are given in two ways, of which one would be ignored."""
    ways = {"steps": steps, "step_size": step_size, "grid": grid}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"give one of `steps`, `step_size` and `grid`, got {' and '.join(given)}")


def landing_grid(times: Sequence[float], steps: Any, step_size: Any, most: int) -> list[float]:
    """Equal steps in each interval, which land on all times; `steps` may be one for each."""
    grid, intervals = [times[0]], list(pairwise(times))
    counts = list(steps) if isinstance(steps, Sequence) else [steps] * len(intervals)
    if len(counts) != len(intervals):
        raise ValueError(
            f"`steps` must be one int or one for each of the {len(intervals)} intervals between "
            f"output times, got {len(counts)}"
        )
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
        if not is_length(step_size) or not 0 < as_float(step_size) < float("inf"):
            raise ValueError(f"`step_size` must be a positive finite number, got {step_size!r}")
        share = abs(float(length)) / as_float(step_size) * (1 - 1e-12)
        steps = max(1, ceil(min(share, most + 1)))
    if not isinstance(steps, Integral) or steps is True or int(steps) < 1:
        raise ValueError(f"`steps` must be a positive int, got {steps!r}")
    if int(steps) > most:
        raise ValueError(
            f"{'`steps`' if step_size is None else '`step_size`'} asks for more than `max_steps` = "
            f"{most} steps in an interval; take fewer, or raise `max_steps`"
        )
    return [k / int(steps) for k in range(int(steps) + 1)]
