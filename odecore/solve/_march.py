"""The loop of every solve: propose, judge, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from odecore._array import combiner, namespace, own
from odecore.solve._controllers import AdaptiveSteps, Control, GivenSteps
from odecore.solve._dense_output import DenseOutput, DenseStep, dense_step
from odecore.solve._events import Event, EventRecord, find_root
from odecore.solve._explicit_step import Attempt, checked_stage
from odecore.solve._first_step import first_step_size
from odecore.solve._kernels import Kernels
from odecore.solve._many_steps import leap_to, take_chunk
from odecore.solve._problem import Stop, beside, checked_field
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Trajectory
from odecore.tableaux import ContinuousExtension

__all__ = ["March", "Plan", "march"]

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Plan:
    """What a solve is asked to do.

    Parameters
    ----------
    fun : callable
    step : callable
        `step(fun, t, y, h, first_stage, t_new)` gives an `Attempt`.
    extension : callable
        Gives the `ContinuousExtension` of the method; called if it is needed.
    controller : AdaptiveSteps or GivenSteps
    stops : sequence of Stop
        Times at which steps end, in order.
    outputs : sequence of float
        Times to record that need not be stops, in order.
    every_step : bool
        Whether the end of each step is recorded.
    slopes : bool
        Whether each step starts from f at its start.
    """

    fun: Field
    step: Callable[..., Attempt]
    extension: Callable[[], ContinuousExtension]
    controller: AdaptiveSteps | GivenSteps
    stops: Sequence[Stop]
    outputs: Sequence[float] = ()
    every_step: bool = False
    slopes: bool = True
    first_step: float | None = None
    max_steps: int = 100_000
    events: tuple[Event, ...] = ()
    dense: bool = False
    jump_at_start: bool = False
    observe: Callable[[str, Any, Any, Any], None] | None = None
    report: Callable[[float], None] | None = None
    kernels: Kernels = field(default_factory=Kernels)

    @cached_property
    def passes_steps(self) -> bool:
        """Whether nothing is to be done at each step, so that many may be taken at once."""
        jumps = self.jump_at_start or any(stop.jump for stop in self.stops)
        return not (self.events or self.dense or self.observe or jumps)


def march(
    plan: Plan, t: Any, y: Any, reads: bool, convert: Callable[[Any], Any] | None = None
) -> Trajectory:
    """Carry out a plan from (t, y).

    Parameters
    ----------
    plan : Plan
    t : float or 0-d array
    y : array
    reads : bool
        Whether values may be read to look for NaN and infinity.
    convert : callable, optional
        From stacked states to what the caller's states look like.
    """
    solve = March(plan, t, y)
    if reads and not _is_finite(y):
        solve.status = Status.NONFINITE_INPUT
    else:
        solve.start()
        solve.run()
    return solve.trajectory(reads, convert or (lambda states: states))


@dataclass
class March:
    """The state of one solve while it runs."""

    plan: Plan
    t: Any
    y: Any
    slope: Any = None
    status: Status = Status.SUCCESS
    control: Control = field(default_factory=Control)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("evaluations", "accepted", "rejected", "newton"), 0)
    )
    recorded: list[tuple[Any, Any]] = field(default_factory=list)
    dense: list[DenseStep] = field(default_factory=list)
    waiting: int = 0  # index of the next output
    found: list[tuple[list[float], list[Any]]] = field(default_factory=list)
    signs: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Evaluate fun at the start, check what it returns, and find the first step."""
        plan = self.plan
        self.recorded.append((self.t, self.y))
        self.found = [([], []) for _ in plan.events]
        t = beside(self.t, plan.stops[-1].t, self.y) if plan.jump_at_start else self.t
        self.slope = own(checked_field(plan.fun, t, self.y))
        self.counts["evaluations"] += 1
        self.signs = [event.value(self.t, self.y) for event in plan.events]
        controller = plan.controller
        if isinstance(controller, GivenSteps):
            return
        if not _is_finite(self.slope):
            self.status = Status.NONFINITE_RHS
            return
        end, first_step = plan.stops[-1].t, plan.first_step
        if first_step is None:
            first_step = first_step_size(plan.fun, self.t, self.y, self.slope, end, controller)
            self.counts["evaluations"] += 1
        first_step = max(float(first_step), controller.min_step)
        self.control = Control(first_step if end > self.t else -first_step)

    def run(self) -> None:
        """Propose, judge, record, until the last stop or a failure."""
        stops, position = self.plan.stops, 0
        while position < len(stops) and self.status is Status.SUCCESS:
            taken = take_chunk(self, position)
            if not taken:
                self._go_to(stops[position])
            position += taken or 1

    def _go_to(self, stop: Stop) -> None:
        """Make steps up to a stop."""
        plan, counts = self.plan, self.counts
        controller, step, observe = plan.controller, plan.step, plan.observe
        kernel, tolerances = plan.kernels.step, None
        if isinstance(controller, AdaptiveSteps):
            tolerances = controller.rtol, controller.atol
        arrived = leap_to(self, stop)
        while not arrived and self.status is Status.SUCCESS:
            if counts["accepted"] + counts["rejected"] == plan.max_steps:
                self.status = Status.MAX_STEPS
                break
            t, y = self.t, self.y
            t_new = controller.propose(t, stop.t, self.control)
            arrived = t_new is stop.t
            if observe is not None:
                observe("step", t, y, t_new - t)
            end = beside(t_new, t, y) if arrived and stop.jump else t_new
            attempt = kernel and kernel(plan.fun, t, y, t_new - t, self.slope, end, tolerances)
            if attempt is None:
                attempt, kernel = step(plan.fun, t, y, t_new - t, self.slope, end), None
            counts["evaluations"] += attempt.evaluations
            counts["newton"] += attempt.newton
            good, self.control = controller.judge(attempt, y, t, t_new, self.control)
            if observe is not None:
                observe("accept" if good else "reject", t, y, t_new - t)
            if not good:
                counts["rejected"] += 1
                arrived = False
                self.slope = self.slope if attempt.first_stage is None else attempt.first_stage
                self.status = self.control.failure or self.status
                continue
            counts["accepted"] += 1
            self.accept(attempt, t_new, end)
            if plan.every_step and not arrived:
                self.recorded.append((self.t, self.y))
            if plan.report is not None:
                plan.report(self.t)
        if arrived and (plan.every_step or stop.recorded):
            self.recorded.append((self.t, self.y))
        if arrived and stop.jump and stop is not plan.stops[-1]:
            after = beside(self.t, plan.stops[-1].t, self.y)
            self.slope = checked_stage(plan.fun(after, self.y), self.y)
            counts["evaluations"] += 1

    def accept(self, attempt: Attempt, t_new: float, end: float) -> None:
        """Move to the end of the step, past its outputs and events."""
        plan = self.plan
        t, y = self.t, self.y
        slope, self.slope = self.slope, attempt.last_stage
        if attempt.first_stage is not None:
            slope = attempt.first_stage
        if not (plan.outputs or plan.events or plan.dense):
            self.t, self.y = t_new, attempt.y
            return
        step: DenseStep | None = None

        def inside(time: float) -> Any:
            nonlocal step
            if time == t_new:
                return attempt.y
            if step is None:
                step = self._dense_step(t, t_new, end, y, slope, attempt)
            return step(time)

        last = t_new
        if plan.events:
            last = self._events(t, t_new, attempt.y, inside)
        forward = t_new > t
        while self.waiting < len(plan.outputs):
            output = plan.outputs[self.waiting]
            if (output > last) if forward else (output < last):
                break
            self.recorded.append((output, inside(output)))
            self.waiting += 1
        if plan.dense:
            inside(t)
            assert step is not None
            step.end = last
            self.dense.append(step)
        self.t, self.y = last, inside(last)

    def _dense_step(
        self, t: float, t_new: float, end: float, y: Any, slope: Any, attempt: Attempt
    ) -> DenseStep:
        plan, extension = self.plan, self.plan.extension()
        if extension.needs_slopes:
            if slope is None:
                slope = checked_stage(plan.fun(t, y), y)
                self.counts["evaluations"] += 1
            if self.slope is None:
                self.slope = checked_stage(plan.fun(end, attempt.y), attempt.y)
                self.counts["evaluations"] += 1
        self.counts["evaluations"] += len(extension.extra)
        slopes = (slope, self.slope)
        return dense_step(plan.fun, t, t_new, y, attempt, slopes, extension, combiner(y))

    def _events(self, t: float, t_new: float, y_new: Any, inside: Callable[[float], Any]) -> float:
        """Record what happened in the step, and return where it ends."""
        happened = []
        for i, event in enumerate(self.plan.events):
            before, after = self.signs[i], event.value(t_new, y_new)
            if event.crossed(before, after):
                value = event.value
                time = find_root(lambda x, g=value: g(x, inside(x)), t, t_new, before, after)  # type: ignore[misc]
                happened.append((abs(time - t), i, time))
            self.signs[i] = after
        for _, i, time in sorted(happened):
            times, states = self.found[i]
            times.append(time)
            states.append(inside(time))
            if self.plan.events[i].terminal:
                self.status = Status.EVENT
                return time
        return t_new

    def trajectory(self, reads: bool, convert: Callable[[Any], Any]) -> Trajectory:
        """Collect the records, up to the first that is not finite where values may be read."""
        records, status = self.recorded, self.status
        xp = namespace(self.y)
        if reads and records and not _is_finite(xp.stack([y for _, y in records])):
            bad = [i for i, (_, y) in enumerate(records) if not _is_finite(y)]
            records, status = records[: bad[0]], Status.NONFINITE_RHS
        times = [t for t, _ in records]
        if all(isinstance(t, float) for t in times):
            t = np.array(times, dtype=np.float64)
        else:
            t = namespace(times[0]).stack(times)

        def stacked(states: list[Any]) -> Any:
            return convert(xp.stack(states) if states else xp.stack([self.y])[:0])

        found = tuple(EventRecord(np.array(t), stacked(y)) for t, y in self.found)
        return Trajectory(
            t,
            stacked([y for _, y in records]),
            status,
            Statistics(**self.counts, forced=self.control.forced),
            found,
            DenseOutput(self.dense, convert) if self.dense else None,
        )


def _is_finite(y: Any) -> bool:
    """Whether all entries are finite; the value is read."""
    xp = namespace(y)
    return bool(xp.all(xp.isfinite(y)))
