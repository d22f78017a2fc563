"""Steps of a given size, as torchdiffeq has them: over all output times, not within intervals."""

from __future__ import annotations

from math import ceil

__all__ = ["equal_grid"]


def equal_grid(times: list[float], step_size: float, rounding: float, most: int) -> list[float]:
    """Steps of the given size from the first time, the last one shorter.

    An end of a step that rounding alone keeps from one of the times is that time, which can be an
    end then; there is no last step of rounding alone.

    Raises
    ------
    ValueError
        For more steps than `most`, before they are made.
    """
    start, end = times[0], times[-1]
    gap = rounding * max(abs(start), abs(end))
    if (abs(end - start) - gap) / most * (1 - 1e-12) > step_size:
        raise ValueError(
            f"`step_size` = {step_size} asks for more than {most} steps from {start} to {end}; "
            "take larger steps, or raise `max_num_steps`, which is for each interval of `t`"
        )
    signed = step_size if end > start else -step_size
    count = max(1, ceil((end - start) / signed * (1 - 1e-12)))
    ends = [start + signed * k for k in range(count)]
    if count > 1 and abs(end - ends[-1]) <= gap:
        ends.pop()
    for t in times[1:-1]:
        k = round((t - start) / signed)
        if 0 < k < len(ends) and abs(ends[k] - t) <= gap:
            ends[k] = t
    return [*ends, end]
