"""How many equal steps there are between times, as the caller asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from numbers import Integral
from typing import Any

from odecore._array import as_float
from odecore._times import is_length

__all__ = ["counts_of", "is_count", "require_attempts", "require_one_way", "steps_of_size"]


def require_one_way(steps: Any, step_size: Any, grid: Any) -> str | None:
    """Which of these is given, if one is; ValueError for several, of which one would be ignored."""
    ways = {"steps": steps, "step_size": step_size, "grid": grid}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"give one of `steps`, `step_size` and `grid`, got {' and '.join(given)}")
    return given[0] if given else None


def is_count(n: Any) -> bool:
    """Whether n is a positive integer, of Python or NumPy."""
    return isinstance(n, Integral) and n is not True and int(n) >= 1


def require_attempts(max_steps: Any) -> None:
    """Raise ValueError unless this is a number of steps."""
    if not is_count(max_steps):
        raise ValueError(f"`max_steps` must be a positive int, got {max_steps!r}")


def counts_of(steps: Any, intervals: int) -> list[Any]:
    """One of `steps` for each interval, from one for all or, else ValueError, one for each."""
    several = isinstance(steps, Sequence) and not isinstance(steps, str | bytes)
    counts = list(steps) if several else [steps] * intervals
    if len(counts) != intervals:
        raise ValueError(
            f"`steps` must be one int or one for each of the {intervals} intervals between "
            f"output times, got {len(counts)}"
        )
    return counts


def steps_of_size(step_size: Any, length: float, most: int) -> int:
    """The fewest equal steps that are not longer than a size; `most` + 1 if they are more.

    ValueError unless the size is a positive finite number.
    """
    if not is_length(step_size) or not 0 < as_float(step_size) < inf:
        raise ValueError(f"`step_size` must be a positive finite number, got {step_size!r}")
    # The slack keeps 0.6000000000000001 / 0.2 at three steps.
    share = abs(length) / as_float(step_size) * (1 - 1e-12)
    return max(1, ceil(min(share, most + 1)))
