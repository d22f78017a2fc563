"""The problem of a solve: where it starts, at which times it must stop, what it records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite, ulp
from typing import Any, NamedTuple

from odecore._array import limits
from odecore._step_counts import counts_of, is_count, steps_of_size
from odecore._times import are_floats, read_times, read_unordered, require_monotone
from odecore.solve._explicit_step import checked_stage
from odecore.solve._tracing import require_read
from odecore.tableaux import Coefficients

__all__ = [
    "Stop",
    "adaptive_stops",
    "beside",
    "checked_field",
    "given_stops",
    "grid_stops",
    "output_times",
    "with_jumps",
]


class Stop(NamedTuple):
    """A time at which a step must end.

    Parameters
    ----------
    t : float or 0-d array
    recorded : bool
        Whether the state there is part of the trajectory.
    jump : bool
        Whether the right-hand side jumps there, so that it is evaluated just before and just after.
    """

    t: Any
    recorded: bool
    jump: bool = False


def output_times(t_span: Sequence[Any], t_eval: Any) -> tuple[list[Any], Any]:
    """Check and list the output times, t_span[0] first, and the end; floats where they are read.

    The end of `t_span` is not among them where `t_eval` stops before it.

    Raises
    ------
    ValueError
        If there are fewer than two, if one is not finite, if they do not move strictly in one
        direction, or if `t_eval` leaves `t_span`, or has other ends where they are not read.
    """
    if type(t_span) is tuple and type(t_eval) is list and len(t_eval) > 1:
        floats = {*map(type, t_span), *map(type, t_eval)} == {float}
        if floats and t_span == (t_eval[0], t_eval[-1]):  # nothing to read
            require_monotone(t_eval)
            return list(t_eval), t_eval[-1]
    shape = tuple(getattr(t_span, "shape", (2,)))
    span = read_times(t_span, "t_span") if len(shape) == 1 else []
    if len(span) != 2:
        found = f"shape {shape}" if hasattr(t_span, "shape") else f"{len(span)} entries"
        raise ValueError(
            f"`t_span` must hold the first and the last time, got {found}; the arguments come in "
            "SciPy's order, the function, `t_span`, `y0`"
        )
    require_monotone(span)
    times = span
    if t_eval is not None:
        times = read_times(t_eval, "t_eval")
        if not times:
            raise ValueError("`t_eval` must hold at least one time, got none")
        require_monotone(times)
        if are_floats((*span, *times)):
            low, high = sorted(span)
            outside = [t for t in times if not low <= t <= high]
            if outside:
                more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
                raise ValueError(
                    f"`t_eval` must lie in t_span = {span}, got {outside[0]!r}{more} outside; "
                    "extend `t_span`, or leave out what lies outside"
                )
            if times[0] != span[0]:
                times = [span[0], *times]
                require_monotone(times)
            return times, span[-1]
        if len(times) < 2:
            raise ValueError(
                "`t_eval` needs two times at least where they can not be read, got one"
            )
        for own, other in ((times[0], span[0]), (times[-1], span[-1])):
            if isinstance(own, float) and not (isinstance(other, float) and own == other):
                raise ValueError(
                    "`t_eval` must begin and end as `t_span` does where times can not be read, on "
                    f"an accelerator or under jax's transformations; got {own} for {other}"
                )
    return times, times[-1]


def given_stops(
    times: Sequence[Any], step_size: Any, steps: Any, end: Any, max_steps: int, chosen: bool
) -> list[Stop]:
    """Divide each interval between output times into equal steps.

    An interval to the end that follows the last chosen output time is integrated, not recorded.

    Raises
    ------
    ValueError
        If the step size is not a positive finite number, a count is not a positive integer, or
        there is not one count for each interval, or there are more steps than `max_steps`, or than
        times between the ends of an interval.
    """
    floats = are_floats(times)
    beyond = floats and times[-1] != end
    if beyond:
        times = [*times, end]
    if step_size is None:
        counts = counts_of(steps, len(times) - 1)
        if not all(map(is_count, counts)):
            raise ValueError(
                "`steps` must be positive ints, numbers of steps between output times, got "
                f"{steps!r}; for steps of a size give `step_size`"
            )
    else:
        require_read("step_size", step_size)
        counts = [steps_of_size(step_size, b - a, max_steps) for a, b in pairwise(times)]
    if sum(counts) > max_steps:
        raise ValueError(
            f"{'`step_size`' if step_size is not None else '`steps`'} asks for more than "
            f"`max_steps` = {max_steps} steps; take fewer, or raise `max_steps` (`max_num_steps` "
            "for each interval in torch_bridge.odeint)"
        )
    stops = []
    for (a, b), n in zip(pairwise(times), counts, strict=True):
        if floats:
            _require_spaced(a, b, n)
        stops += [Stop(a + (b - a) * (k / n), False) for k in range(1, n)]
        stops.append(Stop(b, True))
    if beyond and chosen:
        stops[-1] = Stop(end, False)
    return stops


def _require_spaced(a: float, b: float, n: int) -> None:
    """Raise ValueError where n steps from a to b are below the spacing of times."""
    spacing = ulp(max(abs(a), abs(b)))
    if abs(b - a) < n * spacing:
        raise ValueError(
            f"{n} steps from {a!r} to {b!r} are of {abs(b - a) / n:.2g}, and times there are "
            f"spaced by {spacing:.2g}: take fewer, or let times start at 0"
        )


def adaptive_stops(step_at: Any, first: float, last: float) -> list[Stop]:
    """The times at which adaptive steps must end: those asked for, and the last."""
    times = {t for t in _times_inside(step_at, "step_at", first, last) if t != first}
    return [Stop(t, False) for t in sorted(times | {last}, reverse=last < first)]


def with_jumps(
    stops: list[Stop], jump_at: Any, first: Any, last: Any, method: Any, adaptive: bool
) -> tuple[list[Stop], bool]:
    """Mark the stops at which the right-hand side jumps; adaptive steps get new stops there.

    Returns also whether it jumps at the first time.

    Raises
    ------
    ValueError
        If given steps do not end at one of the times, or the method looks beyond its steps.
    """
    if jump_at is None:
        return stops, False
    outside = method.abscissae_outside if isinstance(method, Coefficients) else []
    if outside:
        raise ValueError(
            f"this method evaluates outside its steps, at c = {outside}, so beyond the times of "
            "`jump_at`; choose one with abscissae in [0, 1]"
        )
    inside = set(_times_inside(jump_at, "jump_at", first, last))
    jumps = inside - {first}
    ends = {stop.t for stop in stops}
    if not adaptive and not jumps <= ends:
        raise ValueError(
            f"in given steps the times of `jump_at` must be ends of steps; {min(jumps - ends)} is "
            "none: give a `grid` that holds it, or take adaptive steps"
        )
    stops = stops + [Stop(t, False) for t in jumps - ends]
    stops.sort(key=lambda stop: stop.t, reverse=last < first)
    return [Stop(s.t, s.recorded, s.t in jumps) for s in stops], first in inside


def grid_stops(grid: Any, first: float, last: float, max_steps: int) -> list[Stop]:
    """Steps from each time of a grid to the next.

    Raises
    ------
    ValueError
        If the grid does not lead from the first time to the last, strictly in one direction, or in
        more than `max_steps` steps.
    """
    times = read_times(grid, "grid")
    if len(times) < 2 or times[0] != first or times[-1] != last:
        raise ValueError(
            f"`grid` must begin and end as `t_span` does, at {first} and {last}; got "
            f"{times[:1]} to {times[-1:]}"
        )
    require_monotone(times)
    if len(times) - 1 > max_steps:
        raise ValueError(
            f"`grid` asks for more than `max_steps` = {max_steps} steps; take fewer, or raise "
            "`max_steps` (`max_num_steps` for each interval in torch_bridge.odeint)"
        )
    return [Stop(t, False) for t in times[1:]]


def beside(t: float, toward: float, y: Any) -> float:
    """The time next to t on the side of another one.

    In the precision of the state, to which `fun` may convert times, unless that is a notable part
    of the way: then in that of t.
    """
    info = limits(y)
    gap = max(abs(t) * float(info.eps), float(info.smallest_normal))
    if gap > 2**-14 * abs(toward - t):
        gap = max(abs(t) * 2**-52, 2**-1022)
    return t + gap if toward > t else t - gap


def checked_field(fun: Callable[[Any, Any], Any], t: Any, y: Any) -> Any:
    """Evaluate fun once, and check it and its value.

    Raises
    ------
    TypeError, ValueError
        If `fun` is not callable, or its value does not fit the state.
    """
    if not callable(fun):
        raise TypeError(f"`fun` must be callable as fun(t, y), got {type(fun).__name__}")
    return checked_stage(fun(t, y), y)


def _times_inside(times: Any, label: str, first: float, last: float) -> list[float]:
    """Times given by the caller that lie inside or at the ends of the interval, in any order.

    Raises
    ------
    ValueError
        If a time is not finite.
    """
    found = read_unordered(times, label)
    if not all(map(isfinite, found)):
        raise ValueError(f"`{label}` must hold finite times, got {found}")
    low, high = sorted((first, last))
    return [t for t in found if low <= t <= high]
