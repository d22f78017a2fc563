"""The precision in which the times of a batch are given to the right-hand side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from odecore._array import doubled, limits, widened

__all__ = ["clock_like"]

FAR = 8  # spans from zero beyond which times have the precision of the host


def clock_like(real: Any, times: Sequence[float], /) -> Any:
    """An array of the dtype and on the device of times, for states with real parts like `real`.

    Its dtype is that of the state, at least float32, and float64 for an interval that is far from
    zero for its length: rounded times would be those of another problem.

    Raises
    ------
    ValueError
        If float64 is needed, and the library or the device has none.
    """
    reach, span = max(abs(times[0]), abs(times[-1])), abs(times[-1] - times[0])
    clock = widened(real)
    if limits(clock).bits >= 64 or reach <= FAR * span:
        return clock
    wide = doubled(clock[:1, ...])
    if limits(wide).bits < 64:
        raise ValueError(
            f"times from {times[0]} to {times[-1]} are known to {limits(clock).eps * reach:.1g} in "
            f"{clock.dtype}, and float64 is not available here: let the interval start at 0"
        )
    return wide
