"""Many steps at once, where the plan brings kernels for them: its part of the loop."""

from __future__ import annotations

from itertools import islice, takewhile
from math import inf
from typing import TYPE_CHECKING

from odecore.solve._controllers import AdaptiveSteps, Control
from odecore.solve._explicit_step import Attempt
from odecore.solve._problem import Stop

if TYPE_CHECKING:
    from odecore.solve._march import March

__all__ = ["leap_to", "take_chunk"]


def leap_to(march: March, stop: Stop) -> bool:
    """Take the steps up to a stop in compiled loops, as far as they go; whether all the way."""
    plan, counts, controller = march.plan, march.counts, march.plan.controller
    leap = plan.kernels.leap
    if not isinstance(controller, AdaptiveSteps) or leap is None:
        return False
    if not plan.passes_steps or plan.every_step:
        return False
    direction = 1.0 if stop.t > march.t else -1.0
    while march.t != stop.t:
        goal = stop.t
        if march.waiting < len(plan.outputs):
            goal = direction * min(direction * goal, direction * plan.outputs[march.waiting])
        found = leap(
            plan.fun,
            controller.law,
            (controller.rtol, controller.atol),
            march.y,
            march.slope,
            [
                march.t, march.control.h, *march.control.ratios, march.control.rejects,
                direction, goal, stop.t, controller.min_step, controller.max_step,
                plan.max_steps - counts["accepted"] - counts["rejected"],
            ],
        )  # fmt: skip
        if found is None:
            return False
        t, h, *ratios, accepted, rejected, rejects, forced, t_old = found.numbers.tolist()
        stages = found.stages
        reuses = found.slope is not None
        counts["accepted"] += int(accepted)
        counts["rejected"] += int(rejected)
        counts["evaluations"] += int(accepted + rejected) * (len(stages) - reuses)
        march.control = Control(
            h,
            rejects=int(rejects) if rejects < inf else 0,
            ratios=(ratios[0], ratios[1]),
            forced=march.control.forced + int(forced),
        )
        if (goal - t) * direction > 0:  # stuck, or out of attempts: single steps will say how
            march.t, march.y, march.slope = t, found.y, found.slope
            return False
        march.t, march.y, march.slope = t_old, found.y_old, stages[0]
        attempt = Attempt(found.y, None, stages[0], found.slope, 0, stages)
        march.accept(plan.fun, attempt, t)
        if plan.report is not None:
            plan.report(march.t)
    return True


def take_chunk(march: March, position: int) -> int:
    """Take several given steps at once, if that is possible; how many."""
    plan, kernels = march.plan, march.plan.kernels
    if kernels.chunk is None or not plan.passes_steps:
        return 0
    stops = plan.stops[position : position + kernels.length]
    ends = [stop.t for stop in stops]
    waiting = islice(plan.outputs, march.waiting, None)
    passed = list(takewhile(lambda t: abs(t - march.t) <= abs(ends[-1] - march.t), waiting))
    if len(stops) < kernels.length or not set(passed) <= set(ends):
        return 0
    found = kernels.chunk(plan.fun, [march.t, *ends], march.y, march.slope)
    if found is None:
        return 0
    states, march.slope, evaluations = found
    march.waiting += len(passed)
    for stop, y in zip(stops, states, strict=True):
        if plan.every_step or stop.recorded or stop.t in passed:
            march.recorded.append((stop.t, y))
    march.t, march.y = ends[-1], states[-1]
    march.counts["accepted"] += len(stops)
    march.counts["evaluations"] += evaluations
    if plan.report is not None:
        plan.report(march.t)
    return len(stops)
