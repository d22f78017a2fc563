"""Many steps at once, where the plan brings kernels for them: its part of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from odecore.solve._adaptive_leap import Leap
from odecore.solve._controllers import AdaptiveSteps, Control
from odecore.solve._explicit_step import Attempt, ExplicitStep
from odecore.solve._problem import Stop
from odecore.solve._weighted_sums import weighted_sums

if TYPE_CHECKING:
    from odecore.solve._march import March
    from odecore.solve._plan import Plan

__all__ = ["begins_compiled", "leap_to", "record", "take_given"]

FEW = 8  # outputs
NEAR = 64  # steps to the next output


def begins_compiled(plan: Plan) -> bool:
    """Whether compiled steps make the first evaluation, and adaptive ones choose the first step."""
    begins, adaptive = plan.kernels.begins, isinstance(plan.controller, AdaptiveSteps)
    if adaptive:
        many = _leaps(plan) and plan.first_step is None and len(plan.stops) == 1
    else:
        many = plan.kernels.run is not None and _passes(plan)
    return many and begins is not None and begins(adaptive)


def _leaps(plan: Plan) -> bool:
    """Whether many adaptive steps may be taken at once."""
    adaptive = isinstance(plan.controller, AdaptiveSteps) and plan.kernels.leap is not None
    return adaptive and _passes(plan)


def _passes(plan: Plan) -> bool:
    """Whether compiled loops go over steps, each of which they record if that is wanted."""
    return plan.passes_steps and (plan.kernels.records or not plan.wants_steps)


def leap_to(march: March, stop: Stop) -> bool:
    """Take the steps up to a stop in compiled loops, as far as they go; whether all the way."""
    plan, counts, controller = march.plan, march.counts, march.plan.controller
    leap = plan.kernels.leap
    if not _leaps(plan) or leap is None or not isinstance(controller, AdaptiveSteps):
        return False
    direction = 1.0 if stop.t > march.t else -1.0
    every = {"every": True} if plan.wants_steps else {}
    while march.t != stop.t:
        left = plan.max_steps - counts["accepted"] - counts["rejected"]
        begins = march.control.h == 0
        every = every or ({"stages": True} if _outputs_are_near(march) else {})
        goal = stop.t
        for output in [] if "stages" in every else plan.outputs[march.waiting : march.waiting + 1]:
            goal = direction * min(direction * goal, direction * output)
        found = leap(
            plan.fun, controller.law, (controller.rtol, controller.atol), march.y, march.slope,
            [
                march.t, march.control.h, *march.control.ratios, march.control.rejects,
                direction, goal, stop.t, controller.min_step, controller.max_step, left,
            ],
            **every,
        )  # fmt: skip
        if found is None:
            if begins:
                march.begin()
            return False
        t, h, *ratios, accepted, rejected, rejects, forced, t_old = found.numbers.tolist()
        if begins and accepted + rejected == 0:  # f is not finite
            march.begin()
            return False
        counts["accepted"] += int(accepted)
        counts["rejected"] += int(rejected)
        each = len(found.stages) - (found.slope is not None)
        counts["evaluations"] += int(accepted + rejected) * each + 2 * begins
        march.control = Control(
            h,
            rejects=int(rejects) if rejects < inf else 0,
            ratios=(ratios[0], ratios[1]),
            forced=march.control.forced + int(forced),
        )
        arrived = (goal - t) * direction <= 0
        made = [] if found.times is None else found.times[: int(accepted)].tolist()
        if every.get("every"):
            states = [*(found.each[k, ...] for k in range(1, len(made))), found.y]
            ends = list(zip(made, states, strict=False))
            _tell(march, ends)
            march.recorded += ends[: len(made) - arrived] if plan.every_step else []
        elif every:
            _pass_outputs(march, found, made)
        if arrived and "stages" not in every:
            march.t, march.y, march.slope = t_old, found.y_old, found.stages[0]
            last = Attempt(found.y, None, march.slope, found.slope, 0, found.stages)
            march.accept(plan.fun, last, t)
        else:
            march.t, march.y, march.slope = t, found.y, found.slope
        if not arrived and not (every and rejects < inf and accepted + rejected < left):
            return False  # stuck, or out of attempts: single steps will say how
        _report(march)
    return True


def _outputs_are_near(march: March) -> bool:
    """Whether a loop should record its steps for the outputs inside of them.

    Where they are few or far apart a loop up to each is faster, or needs no program of its own.
    """
    plan, far = march.plan, NEAR * abs(march.control.h)
    outputs = plan.outputs[march.waiting : march.waiting + FEW]
    if len(outputs) < FEW or not plan.kernels.stages or 0 < far < abs(outputs[0] - march.t):
        return False
    extension, step = plan.extension(), plan.step
    known = isinstance(step, ExplicitStep) and step.last_is_first  # f at the ends of the steps
    return known and extension is not None and not extension.extra


def _pass_outputs(march: March, found: Leap, ends: Sequence[float]) -> None:
    """Record the outputs inside of the steps that a loop has recorded."""
    plan, direction = march.plan, 1.0 if march.control.h > 0 else -1.0
    extension, step = plan.extension(), plan.step
    assert extension is not None  # as `_outputs_are_near` says
    assert isinstance(step, ExplicitStep)
    times = np.array([march.t, *ends])
    outputs = np.array(plan.outputs[march.waiting :])
    outputs = outputs[direction * outputs <= direction * times[-1]]
    if not len(outputs):
        return
    steps = np.searchsorted(direction * times[1:], direction * outputs)
    h = np.diff(times)[steps]
    theta = (outputs - times[steps]) / h
    weights = h[:, None] * extension.on_stages(theta, step.b, len(step.rows) + 1)
    states = weighted_sums(found.each, steps.tolist(), weights)
    if outputs[-1] == times[-1]:
        states[-1] = found.y
    march.recorded += zip(outputs.tolist(), states, strict=True)
    march.waiting += len(outputs)


def _tell(march: March, ends: Sequence[tuple[float, Any]]) -> None:
    """Tell of steps to these times and states."""
    t, y, tell = march.t, march.y, march.plan.accepted
    if tell is None:
        return
    for t_new, y_new in ends:
        tell(t, y, t_new - t, ())
        t, y = t_new, y_new


def _report(march: March) -> None:
    if march.plan.report is not None:
        march.plan.report(march.t)


def take_given(march: March, position: int) -> int:
    """Take several given steps at once, if that is possible; how many."""
    plan, takes = march.plan, march.plan.kernels.takes
    if not plan.passes_steps or (takes is not None and not takes(march.y, march.slope)):
        return 0
    made = _run(march, position) or _chunk(march, position)
    if made is None:
        return 0
    stops, states, march.slope, evaluations = made
    _tell(march, [(stop.t, y) for stop, y in zip(stops[-len(states) :], states, strict=True)])
    for stop, y in zip(stops[-len(states) :], states, strict=True):
        record(march, stop, y)
    march.t, march.y = stops[-1].t, states[-1]
    march.counts["accepted"] += len(stops)
    march.counts["evaluations"] += evaluations
    _report(march)
    return len(stops)


def record(march: March, stop: Stop, y: Any) -> None:
    """Record the state at a stop, if it is to be."""
    plan = march.plan
    waited = plan.outputs[march.waiting : march.waiting + 1] == [stop.t]
    march.waiting += waited
    if plan.every_step or stop.recorded or waited:
        march.recorded.append((stop.t, y))


_Made = tuple[Sequence[Stop], Sequence[Any], Any, int]  # the last states, f there, evaluations


def _run(march: March, position: int) -> _Made | None:
    """Many steps, of which the last state is recorded, or each."""
    plan, kernels = march.plan, march.plan.kernels
    stops = plan.stops[position : position + kernels.most]
    if kernels.run is None or len(stops) < kernels.length:
        return None
    silent = [] if plan.wants_steps else _to_the_first_output(march, stops)
    if len(silent) >= kernels.length:
        found = kernels.run(plan.fun, [march.t, *_ends(silent)], march.y, march.slope)
        return found and (silent, found[:1], *found[1:])
    if not kernels.records or not _lands(march, stops):
        return None
    found = kernels.run(plan.fun, [march.t, *_ends(stops)], march.y, march.slope, every=True)
    return found and (stops, *found)


def _chunk(march: March, position: int) -> _Made | None:
    """Steps of which any state may be recorded."""
    plan, kernels = march.plan, march.plan.kernels
    stops = plan.stops[position : position + kernels.length]
    if kernels.chunk is None or len(stops) < kernels.length:
        return None
    if not _lands(march, stops):
        return None
    found = kernels.chunk(plan.fun, [march.t, *_ends(stops)], march.y, march.slope)
    return found and (stops, *found)


def _to_the_first_output(march: March, stops: Sequence[Stop]) -> Sequence[Stop]:
    recorded = [i for i, stop in enumerate(stops) if stop.recorded]
    stops = stops[: recorded[0] + 1] if recorded else stops
    for output in march.plan.outputs[march.waiting : march.waiting + 1]:
        stops = [stop for stop in stops if abs(stop.t - march.t) <= abs(output - march.t)]
    return stops


def _lands(march: March, stops: Sequence[Stop]) -> bool:
    """Whether all outputs up to the last stop are stops."""
    ends = _ends(stops)
    waiting = islice(march.plan.outputs, march.waiting, None)
    passed = set(takewhile(lambda t: abs(t - march.t) <= abs(ends[-1] - march.t), waiting))
    return not passed or passed <= set(ends)  # times that jax traces have no outputs, nor hashes


def _ends(stops: Sequence[Stop]) -> list[float]:
    return [stop.t for stop in stops]
