"""The loop of every solve: propose, judge, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import isnan, nan
from typing import Any

import numpy as np

from odecore._array import all_finite, as_float, constant_like, namespace
from odecore.solve._adams import AdamsSteps
from odecore.solve._controllers import AdaptiveSteps, Control, GivenSteps
from odecore.solve._dense_output import (
    Again,
    DenseOutput,
    DenseStep,
    UnsolvedInsideError,
    polynomial,
    unchanged,
)
from odecore.solve._events import Event, EventRecord, find_root, numeric_part
from odecore.solve._explicit_step import Attempt, checked_stage
from odecore.solve._first_step import first_step_size
from odecore.solve._implicit_step import ImplicitStep
from odecore.solve._many_steps import begins_compiled, leap_to, take_given
from odecore.solve._one_sided import one_sided
from odecore.solve._plan import Plan
from odecore.solve._problem import Stop, beside, checked_field
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Trajectory
from odecore.solve._walk import walk, walks

__all__ = ["March", "march"]

Field = Callable[[Any, Any], Any]

NEAR = 1e-3  # share of a step after which an event's function has left an isolated zero


def march(
    plan: Plan, t: Any, y: Any, reads: bool | None, convert: Callable[[Any], Any] | None = None
) -> Trajectory:
    """Carry out a plan from (t, y).

    Parameters
    ----------
    plan : Plan
    t : float or 0-d array
    y : array
    reads : bool or None
        Whether values may be read to look for NaN and infinity; None for where that is free.
    convert : callable, optional
        From stacked states to what the caller's states look like.
    """
    solve = March(plan, t, y, compiled=plan.kernels.step is not None)
    if not all_finite(y, reads):
        solve.status = Status.NONFINITE_INPUT
    else:
        solve.start()
        solve.run()
    return solve.trajectory(reads, convert or unchanged)


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
    found: list[tuple[list[float], list[Any]]] = field(init=False)
    signs: list[float] = field(default_factory=list)
    behind_jump: bool = False  # t is seen from its later side
    compiled: bool = False  # whether there are compiled steps, until the compiler refuses one

    def __post_init__(self) -> None:
        self.found = [([], []) for _ in self.plan.events]

    def start(self) -> None:
        """Record the initial state, and begin, unless compiled steps do."""
        self.recorded.append((self.t, self.y))
        self.behind_jump = self.plan.jump_at_start
        if not begins_compiled(self.plan):
            self.begin()

    def begin(self) -> None:
        """Evaluate fun at the start, check what it returns, and find the first step."""
        plan = self.plan
        t = beside(self.t, plan.stops[-1].t, self.y) if plan.jump_at_start else self.t
        self.slope = checked_field(plan.fun, t, self.y)
        self.counts["evaluations"] += 1
        self.signs = [event.value(self.t, self.y) for event in plan.events]
        controller = plan.controller
        if isinstance(controller, GivenSteps):
            return
        if not all_finite(self.slope):
            self.status = Status.NONFINITE_RHS
            return
        end, first_step = plan.stops[-1].t, plan.first_step
        if first_step is None:
            first_step = first_step_size(plan.fun, self.t, self.y, self.slope, end, controller)
            self.counts["evaluations"] += 1
        first_step = max(as_float(first_step), controller.min_step)
        self.control = Control(first_step if end > self.t else -first_step)

    def run(self) -> None:
        """Propose, judge, record, until the last stop or a failure."""
        stops, position = self.plan.stops, 0
        many = self.plan.kernels.run or self.plan.kernels.chunk
        walking = walks(self.plan)
        try:
            while position < len(stops) and self.status is Status.SUCCESS:
                taken = take_given(self, position) if many else 0
                if walking and not taken and not self.compiled:
                    taken = walk(self, position)
                if not taken:
                    self._go_to(stops[position])
                position += taken or 1
        except UnsolvedInsideError:
            self.status = Status.NEWTON_FAILED

    def _go_to(self, stop: Stop) -> None:
        """Make steps up to a stop."""
        plan, counts = self.plan, self.counts
        controller, observe, report = plan.controller, plan.observe, plan.report
        arrived = plan.kernels.leap is not None and leap_to(self, stop)
        while not arrived and self.status is Status.SUCCESS:
            if counts["accepted"] + counts["rejected"] == plan.max_steps:
                self.status = Status.MAX_STEPS
                break
            t, y = self.t, self.y
            t_new = controller.propose(t, stop.t, self.control)
            arrived = t_new is stop.t
            if observe is not None:
                observe("step", t, y, t_new - t)
            jumps = arrived and stop.jump
            fun = plan.fun
            if jumps or self.behind_jump:
                fun = one_sided(fun, t, t_new, y, after=self.behind_jump, before=jumps)
            attempt = self._compiled_step(fun, t_new) if self.compiled else None
            attempt = attempt or plan.step(fun, t, y, t_new - t, self.slope, t_new)
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
            if plan.accepted is not None:
                slopes = attempt.stages if isinstance(plan.step, ImplicitStep) else ()
                plan.accepted(t, y, t_new - t, slopes)
            self.accept(fun, attempt, t_new)
            self.behind_jump = False
            if plan.every_step and not arrived:
                self.recorded.append((self.t, self.y))
            if report is not None:
                report(self.t)
        cut = self.status is Status.EVENT and self.t != stop.t  # by the event
        if arrived and (plan.every_step or (stop.recorded and not cut)):
            self.recorded.append((self.t, self.y))
        if arrived and stop.jump:
            self.behind_jump, self.slope = True, None
            if isinstance(plan.step, AdamsSteps):
                plan.step.forget()

    def _compiled_step(self, fun: Field, t_new: Any) -> Attempt | None:
        """A step of the compiled program, where there is one for this right-hand side."""
        plan, t = self.plan, self.t
        if plan.kernels.step is None or fun is not plan.fun:
            return None
        adaptive = plan.controller
        tolerances = (adaptive.rtol, adaptive.atol) if isinstance(adaptive, AdaptiveSteps) else None
        made = plan.kernels.step(fun, t, self.y, t_new - t, self.slope, t_new, tolerances)
        self.compiled = made is not None
        return made

    def accept(self, fun: Field, attempt: Attempt, t_new: float) -> None:
        """Move to the end of the step, past its outputs and events."""
        plan = self.plan
        t, y = self.t, self.y
        slope, self.slope = self.slope, attempt.last_stage
        if plan.passive:
            self.t, self.y = t_new, attempt.y
            return
        if attempt.first_stage is not None:
            slope = attempt.first_stage
        step: DenseStep | None = None

        def made() -> DenseStep:
            nonlocal step
            step = step or self._dense_step(fun, t_new, y, slope, attempt)
            return step

        def inside(time: float) -> Any:
            return attempt.y if time == t_new else made()(time)

        last = t_new
        if plan.events:
            last = self._events(t, t_new, attempt.y, inside)
        outputs = self._passed(last, t_new > t)
        states = made().states(outputs) if len(outputs) > 1 else map(inside, outputs)
        self.recorded += zip(outputs, states, strict=True)
        self.waiting += len(outputs)
        if plan.dense:
            made().end = last
            (self.dense.append if plan.dense is True else plan.dense)(made())
        self.t, self.y = last, inside(last)

    def _passed(self, t: float, forward: bool) -> Sequence[float]:
        """The outputs up to a time that are not recorded yet."""
        outputs, end = self.plan.outputs, self.waiting
        while end < len(outputs) and ((outputs[end] <= t) if forward else (outputs[end] >= t)):
            end += 1
        return outputs[self.waiting : end]

    def _dense_step(
        self, fun: Field, t_new: float, y: Any, slope: Any, attempt: Attempt
    ) -> DenseStep:
        t, extension, counts = self.t, self.plan.extension(), self.counts
        if extension is None:
            step: Any = self.plan.step
            inside = Again(step.again(bool(self.plan.dense)), fun, t, y, slope, counts)
            return DenseStep(t, t_new, y, attempt.y, inside)
        if extension.needs_slopes:
            if slope is None:
                slope = checked_stage(fun(t, y), y)
                counts["evaluations"] += 1
            if self.slope is None:
                self.slope = checked_stage(fun(t_new, attempt.y), attempt.y)
                counts["evaluations"] += 1
        counts["evaluations"] += len(extension.extra)
        found = polynomial(fun, t, t_new, y, attempt, (slope, self.slope), extension)
        return DenseStep(t, t_new, y, attempt.y, found)

    def _events(self, t: float, t_new: float, y_new: Any, inside: Callable[[float], Any]) -> float:
        """Record what happened in the step, and return where it ends."""
        if not all_finite(y_new):  # of a given step; the end of the solve sees it
            self.signs = [nan] * len(self.signs)
            return t_new
        happened = []
        for i, event in enumerate(self.plan.events):
            before, after = self.signs[i], event.value(t_new, y_new)

            def value(x: float, event: Event = event) -> float:
                return event.value(x, inside(x))

            if before == 0 != after:  # a zero to leave, or one to rest in
                before = value(t + NEAR * (t_new - t))
            self.signs[i] = after
            part = t, t_new, before, after
            if isnan(before) != isnan(after):
                part = numeric_part(value, *part)
            if event.crossed(*part[2:]):
                time = find_root(value, *part)
                happened.append((abs(time - t), i, time))
        for _, i, time in sorted(happened):
            times, states = self.found[i]
            times.append(time)
            states.append(inside(time))
            if 0 < self.plan.events[i].terminal <= len(times):
                self.status = Status.EVENT
                return time
        return t_new

    def trajectory(self, reads: bool | None, convert: Callable[[Any], Any]) -> Trajectory:
        """Collect the records, up to the first that is not finite where values may be read."""
        records, status, xp = self.recorded, self.status, namespace(self.y)
        known = takewhile(lambda step: all(all_finite(k, reads) for k in step.extra), self.dense)
        dense = list(known)
        finite = len(dense) == len(self.dense)
        ends = bool(records) and records[-1][1] is self.y
        states = xp.stack([y for _, y in records] + ([] if ends else [self.y]))
        if not all_finite(states, reads):
            bad = [i for i, (_, y) in enumerate(records) if not all_finite(y)]
            records, ends, finite = records[: bad[0]] if bad else records, False, False
            dense = list(takewhile(lambda step: all_finite(step.y_new), dense))
        if not finite and status is Status.SUCCESS:
            status = Status.NONFINITE_RHS
        times = [t for t, _ in records]
        arrays = [t for t in times if not isinstance(t, float)]
        if arrays:
            like = arrays[0]
            exact = [constant_like(t, like) if isinstance(t, float) else t for t in times]
            t = namespace(like).stack(exact)
        else:
            t = np.array(times, dtype=np.float64)

        def stacked(states: list[Any]) -> Any:
            return convert(xp.stack(states) if states else xp.stack([self.y])[:0, ...])

        found = tuple(EventRecord(np.array(t), stacked(y)) for t, y in self.found)
        failed = self.status not in (Status.SUCCESS, Status.EVENT)
        return Trajectory(
            t,
            convert(states) if ends else stacked([y for _, y in records]),
            status,
            Statistics(**self.counts, forced=self.control.forced),
            found,
            DenseOutput(dense, convert) if dense else None,
            reached=self.t if failed and isinstance(self.t, float) else None,
        )
