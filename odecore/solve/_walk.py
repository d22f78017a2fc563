"""Given steps of an explicit method, one after another, with nothing else to do at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from odecore._times import are_floats
from odecore.solve._controllers import GivenSteps
from odecore.solve._explicit_step import ExplicitStep
from odecore.solve._many_steps import record
from odecore.solve._problem import Stop

if TYPE_CHECKING:
    from odecore.solve._march import March
    from odecore.solve._plan import Plan

__all__ = ["walk", "walks"]

MOST = 64  # steps whose times are made at once


def walks(plan: Plan) -> bool:
    """Whether steps are given, and there is nothing else to do at each."""
    given = isinstance(plan.controller, GivenSteps) and isinstance(plan.step, ExplicitStep)
    return given and plan.passes_steps


def walk(march: March, position: int) -> int:
    """Take given steps, up to the first with an output inside of it; how many.

    A right-hand side may have a function `as_times`, which turns the times of many stages into what
    it takes, at once.
    """
    plan, step = march.plan, march.plan.step
    assert isinstance(step, ExplicitStep)  # as `walks` says
    stops = list(_free(march, plan.stops[position : position + MOST]))
    ends = [march.t, *[stop.t for stop in stops]]
    times = []
    for t, t_new in pairwise(ends):
        times += step.times(t, t_new - t, t_new)
    if hasattr(plan.fun, "as_times") and are_floats(times):
        times = plan.fun.as_times(times)
    t, y, slope, length = march.t, march.y, march.slope, len(step.rows) + 1
    for k, stop in enumerate(stops):
        stages = [] if slope is None else [slope]
        before = y
        y = step.advance(plan.fun, times[k * length : (k + 1) * length], y, stop.t - t, stages)
        march.counts["evaluations"] += length - (slope is not None)
        slope = stages[-1] if step.last_is_first else None
        if plan.accepted is not None:
            plan.accepted(t, before, stop.t - t, ())
        t = stop.t
        record(march, stop, y)
        if plan.report is not None:
            plan.report(t)
    march.t, march.y, march.slope = t, y, slope
    march.counts["accepted"] += len(stops)
    return len(stops)


def _free(march: March, stops: Sequence[Stop]) -> Iterator[Stop]:
    """Stops up to the first step with an output inside of it."""
    t, outputs = march.t, iter(march.plan.outputs[march.waiting : march.waiting + MOST])
    output = next(outputs, None)
    for stop in stops:
        if output is not None and abs(output - t) < abs(stop.t - t):
            return
        if output == stop.t:
            output = next(outputs, None)
        t = stop.t
        yield stop
