"""Many steps at once, where the plan brings kernels for them: its part of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile
from math import inf, nan
from typing import TYPE_CHECKING, Any

from odecore.solve._controllers import AdaptiveSteps, Control
from odecore.solve._explicit_step import Attempt
from odecore.solve._problem import Stop

if TYPE_CHECKING:
    from odecore.solve._march import March

__all__ = ["leap_to", "take_chunk"]

FEW = 8  # outputs


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
        outputs, weights = _on_the_way(march)
        goal = stop.t
        if weights is None and outputs:
            goal = direction * min(direction * goal, direction * outputs[0])
        elif len(plan.outputs) - march.waiting > len(outputs):
            goal = direction * min(direction * goal, direction * outputs[-1])
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
            None if weights is None else [*outputs, *[nan] * (plan.kernels.outputs - len(outputs))],
            weights,
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
        if found.states is not None:
            passed = sum((t - output) * direction >= 0 for output in outputs)
            march.recorded += zip(outputs[:passed], found.states, strict=False)
            march.waiting += passed
        if (goal - t) * direction > 0:  # stuck, or out of attempts: single steps will say how
            march.t, march.y, march.slope = t, found.y, found.slope
            return False
        march.t, march.y, march.slope = t_old, found.y_old, stages[0]
        attempt = Attempt(found.y, None, stages[0], found.slope, 0, stages)
        march.accept(plan.fun, attempt, t)
        if plan.report is not None:
            plan.report(march.t)
    return True


def _on_the_way(march: March) -> tuple[Sequence[float], Any]:
    """The outputs that are next, and the weights by which a loop of steps records them, if any.

    For a few outputs a loop up to each is faster.
    """
    plan, most = march.plan, march.plan.kernels.outputs
    outputs = plan.outputs[march.waiting : march.waiting + max(1, most)]
    if len(outputs) < FEW or most < FEW:
        return outputs[:1], None
    extension = plan.extension()
    if extension is None or extension.extra or not extension.needs_slopes:
        return outputs[:1], None
    return outputs, extension.weights


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
