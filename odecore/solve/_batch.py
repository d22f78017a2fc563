"""The loop for a batch whose samples have steps of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from array_api_compat import device, is_jax_array

from odecore._array import (
    as_float,
    as_float64,
    combiner,
    constant,
    constant_like,
    limits,
    namespace,
    tracks,
)
from odecore.solve._clock import clock_like
from odecore.solve._controllers import MAX_REJECTS, AdaptiveSteps, is_smallest
from odecore.solve._error_norm import starting_scale, tolerance_scale
from odecore.solve._explicit_step import checked_stage
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Samples, Trajectory
from odecore.tableaux import Coefficients, ContinuousExtension

__all__ = ["Batch", "take_rows"]

Field = Callable[[Any, Any], Any]


class Batch:
    """The state of a solve in which each sample has its own time and step.

    Times and steps are on the host, states where the caller put them: one number for each sample
    is read in a step.

    Parameters
    ----------
    fun : callable
        `fun(t, y, *args)` with t of shape (n,).
    method : Coefficients
        Explicit, with an error estimate.
    extension : callable
        Gives the `ContinuousExtension`; called if it is needed.
    controller : AdaptiveSteps
    times : list of float
        Output times, the first that of y; the last ends the solve.
    y : (n, ...) array
    args : sequence of (n, ...) array
    """

    def __init__(
        self,
        fun: Field,
        method: Coefficients,
        extension: Callable[[], ContinuousExtension | None],
        controller: AdaptiveSteps,
        times: list[float],
        y: Any,
        args: Sequence[Any],
    ) -> None:
        self.args = tuple(args)
        self.fun, self.method, self.extension = fun, method, extension
        self.controller, self.times, self.y = controller, np.array(times), y
        n = y.shape[0]
        self.real = namespace(y).abs(constant(y))  # of the dtype and on the device of steps
        self.clock = clock_like(self.real, times)
        self.combine = combiner(y)
        self.sign = 1.0 if times[-1] > times[0] else -1.0
        self.t = np.full(n, times[0])
        self.h = np.zeros(n)
        self.ratios = np.ones((2, n))
        self.rejects = np.zeros(n, dtype=int)
        self.accepted = np.zeros(n, dtype=int)
        self.rejected = np.zeros(n, dtype=int)
        self.forced = np.zeros(n, dtype=int)
        self.evaluations = 0
        self.active = np.ones(n, dtype=bool)
        self.status = np.full(n, Status.SUCCESS, dtype=object)
        self.next = np.ones(n, dtype=int)  # index of the next output
        self.samples = np.arange(n)  # in the whole batch, of which this may be a part
        #: Which outputs of which samples, and the states there.
        self.recorded = [(np.zeros(n, dtype=int), self.samples, y)]

    def start(self, first_step: float | None) -> None:
        """Evaluate fun and guess each sample's first step, as Hairer, Norsett, Wanner I do."""
        if not callable(self.fun):
            raise TypeError(f"`fun` must be callable as fun(t, y), got {type(self.fun).__name__}")
        self.slope = self._fun(self.t, self.y)
        finite = self._finite(self.y)
        self.fail(~finite, Status.NONFINITE_INPUT)
        self.fail(finite & ~self._finite(self.slope), Status.NONFINITE_RHS)
        span = abs(self.times[-1] - self.times[0])
        if first_step is not None:
            self.h[:] = self.sign * max(as_float(first_step), self.controller.min_step)
            return
        y, slope = constant(self.y), constant(self.slope)
        scale = starting_scale(y, self.controller.rtol, self.controller.atol)
        size, speed = self._norm(y / scale), self._norm(slope / scale)
        with np.errstate(all="ignore"):
            h0 = np.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
            floor = 16 * np.spacing(np.abs(self.t))  # below that, times do not move
            h0 = np.minimum(np.maximum(h0, floor), span)
            h0 = np.where(self.active, h0, 0.0)
            trial = self._column(self.sign * h0)
            later = constant(self._fun(self.t + self.sign * h0, y + trial * slope))
            bend = self._norm((later - slope) / scale) / h0
            steepest = np.maximum(speed, bend)
            power = 1 / (self.controller.order + 1)
            h1 = np.where(
                steepest <= 1e-15,
                np.maximum(np.maximum(1e-6, floor), h0 * 1e-3),
                (0.01 / steepest) ** power,
            )
            h = np.where(np.isfinite(steepest), np.minimum(100 * h0, h1), h0)
        h = np.minimum(np.maximum(h, self.controller.min_step), span)
        self.h = self.sign * np.where(self.active, h, 0.0)

    def step(self) -> None:
        """One attempt of every sample that is not done."""
        t_new = self._proposed()
        h = np.where(self.active, t_new - self.t, 0.0)
        stages, y_new = self._attempt(h, t_new)
        xp = namespace(self.y)
        assert self.method.error is not None  # the controller asked for it
        error = constant(self._column(h) * self.combine(None, 1.0, self.method.error, stages))
        top = xp.maximum(xp.abs(constant(self.y)), xp.abs(constant(y_new)))
        ratio = self._norm(error / tolerance_scale(top, self.controller.rtol, self.controller.atol))
        good = self._judge(ratio, h)
        if not good.any():
            return
        if tracks(y_new) and not good.all():
            # What is thrown away must not reach the graph, where 0 times its NaN is NaN.
            h = np.where(good, h, 0.0)
            stages, y_new = self._attempt(h, np.where(good, t_new, self.t))
        if self.method.last_stage_is_first:
            slope = stages[-1]
        else:
            slope = self._fun(np.where(good, t_new, self.t), y_new)
        self._record(good, t_new, h, y_new, stages, slope)
        mask = self._column(good)
        self.y = xp.where(mask, y_new, self.y)
        self.slope = xp.where(mask, slope, self.slope)
        self.t = np.where(good, t_new, self.t)
        self.active &= self.t != self.times[-1]

    def _proposed(self) -> np.ndarray:
        """Advance by h, land on the end if it is in reach, and halve what is left just beyond."""
        remaining = self.times[-1] - self.t
        size = np.minimum(np.abs(self.h), self.controller.max_step)
        lands = size >= np.abs(remaining) * (1 - 1e-10)
        halves = 2 * size > np.abs(remaining)
        step = np.where(halves, remaining / 2, self.sign * size)
        found: np.ndarray = np.where(lands, self.times[-1], self.t + step)
        return found

    def _attempt(self, h: np.ndarray, t_new: np.ndarray) -> tuple[list[Any], Any]:
        """The stages and the state at the end."""
        stages, column = [self.slope], self._column(h)
        assert self.method.c is not None  # valid once built
        for row, c in zip(self.method.A[1:], self.method.c[1:], strict=True):
            state = self.y + column * self.combine(None, 1.0, row, stages)
            stages.append(self._fun(np.where(c == 1.0, t_new, self.t + c * h), state))
        return stages, self.y + column * self.combine(None, 1.0, self.method.b, stages)

    def _judge(self, ratio: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Which samples accept; steps and failures are brought up to date."""
        controller, law = self.controller, self.controller.law
        finite = np.isfinite(ratio)
        smallest = is_smallest(self.t, h, controller.min_step)
        forced = finite & (ratio > 1) & smallest
        good = self.active & finite & ((ratio <= 1) | forced) & (h != 0)
        bad = self.active & ~good
        self.accepted += good
        self.rejected += bad
        self.forced += good & forced
        self.rejects = np.where(good, 0, self.rejects + bad)
        with np.errstate(all="ignore"):
            factor = np.full(len(h), law.safety)
            for gain, r in zip(law.gains, (ratio, *self.ratios), strict=True):
                factor = factor * np.maximum(r, 1e-10) ** (-gain / controller.order)
            factor = np.where(ratio == 0, law.grow, np.clip(factor, law.shrink, law.grow))
            factor = np.where(forced, np.minimum(factor, 1.0), factor)
            smaller = law.safety * ratio ** (-1 / controller.order)
            smaller = np.clip(np.where(finite, smaller, law.shrink), law.shrink, 0.9)
        was_cut = np.abs(h) < 0.99 * np.abs(self.h)
        grown = np.abs(h * factor)
        grown = np.where(was_cut & ~forced, np.maximum(grown, np.abs(self.h)), grown)
        new = np.where(good, grown, np.where(bad, np.abs(h * smaller), np.abs(self.h)))
        gone = self.t + self.sign * new == self.t
        stuck = bad & ((new < 16 * np.spacing(np.abs(self.t))) | gone)
        stuck |= bad & ~finite & smallest
        tired = bad & ~stuck & (self.rejects >= MAX_REJECTS)
        self.fail(stuck & finite, Status.STEP_UNDERFLOW)
        self.fail(tired & finite, Status.MAX_REJECTS)
        self.fail((stuck | tired) & ~finite, Status.NONFINITE_RHS)
        self.h = self.sign * np.maximum(new, controller.min_step)
        self.ratios = np.where(good, np.stack([ratio, self.ratios[0]]), self.ratios)
        return np.asarray(good)

    def _record(
        self,
        good: np.ndarray,
        t_new: np.ndarray,
        h: np.ndarray,
        y_new: Any,
        stages: Any,
        slope: Any,
    ) -> None:
        """The outputs that these steps pass, by dense output; the end of a step as it is."""
        steps = self.sign * self.times
        passed = np.searchsorted(steps, self.sign * t_new, side="right") - self.next
        counts = np.where(good, np.maximum(passed, 0), 0)
        if not counts.any():
            return
        rows = np.repeat(np.arange(len(counts)), counts)
        later = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        which, samples = self.next[rows] + later, self.samples[rows]
        at = self.times[which]
        if is_jax_array(self.y):  # which compiles for each length: few of them, the last repeated
            more = (0, 2 ** (len(rows) - 1).bit_length() - len(rows))
            rows, at = np.pad(rows, more, "edge"), np.pad(at, more, "edge")
        ends = t_new[rows]
        values = take_rows(y_new, rows)
        if np.any(at != ends):
            extension = self.extension()
            assert extension is not None  # the method is explicit
            basis = self._basis(extension, h, y_new, stages, slope)
            theta = (at - self.t[rows]) / h[rows]
            inside = self._polynomial(extension.weights, theta, h, basis, rows)
            values = namespace(self.y).where(self._column(at == ends), values, inside)
        self.recorded.append((which, samples, values))
        self.next = self.next + counts

    def _basis(
        self, extension: ContinuousExtension, h: np.ndarray, y_new: Any, stages: Any, slope: Any
    ) -> list[Any]:
        with np.errstate(all="ignore"):
            inverse = self._column(np.where(h == 0, 0.0, 1 / h))
        basis = [(y_new - self.y) * inverse]
        if extension.needs_slopes:
            basis += [self.slope, *stages, slope]
        for theta, weights in extension.extra:
            every = np.arange(len(h))
            state = self._polynomial(weights, np.full(len(h), theta), h, basis, every)
            basis.append(self._fun(self.t + theta * h, state))
        return basis

    def _polynomial(
        self, weights: np.ndarray, theta: np.ndarray, h: np.ndarray, basis: Any, rows: np.ndarray
    ) -> Any:
        """Y + h sum_i w_i(theta) v_i at rows of the batch, with a theta for each."""
        numbers = h[rows, None] * ContinuousExtension.rows(weights, theta)
        total = take_rows(self.y, rows)
        for i, v in enumerate(basis[: weights.shape[1]]):
            if np.any(numbers[:, i]):
                total = total + self._column(numbers[:, i]) * take_rows(v, rows)
        return total

    def fail(self, which: np.ndarray, status: Status) -> None:
        """End samples with a status."""
        self.status[which & self.active] = status
        self.active = self.active & ~which

    @property
    def slowest(self) -> float:
        """The earliest time of the samples that have not failed, and of all if all have."""
        going = self.status == Status.SUCCESS
        t = self.t[going] if going.any() else self.t
        return float(self.sign * np.min(self.sign * t))

    def trajectory(self, recorded: int) -> Trajectory:
        """The first outputs; the status is that of the first sample that failed."""
        failed = [s for s in self.status if s is not Status.SUCCESS]
        counts = Statistics(
            self.evaluations,
            int(self.accepted.sum()),
            int(self.rejected.sum()),
            forced=int(self.forced.sum()),
        )
        return Trajectory(
            self.times[:recorded],
            self._recorded(recorded),
            failed[0] if failed else Status.SUCCESS,
            counts,
            samples=Samples(tuple(self.status), self.t, self.accepted, self.rejected),
        )

    def _recorded(self, first: int) -> Any:
        """The states at so many outputs of all samples; NaN where there are none."""
        xp, n = namespace(self.y), len(self.samples)
        which, samples, values = zip(*self.recorded, strict=True)
        states = xp.concat([*values, float("nan") * xp.ones_like(values[0][:1, ...])])
        starts = np.cumsum([0, *(x.shape[0] for x in values)])
        rows = np.full(len(self.times) * n, starts[-1])
        for start, k, i in zip(starts[:-1], which, samples, strict=True):
            rows[k * n + i] = start + np.arange(len(k))
        return xp.reshape(take_rows(states, rows[: first * n]), (first, *self.y.shape))

    def _fun(self, t: np.ndarray, y: Any) -> Any:
        self.evaluations += 1
        value = self.fun(constant_like(t, self.clock), y, *self.args)
        xp = namespace(y)
        wider = self.clock.dtype != self.real.dtype and hasattr(value, "dtype")
        if wider and value.dtype == xp.result_type(self.clock.dtype, y.dtype):
            value = xp.astype(value, y.dtype)
        return checked_stage(value, y)

    def _norm(self, x: Any) -> np.ndarray:
        """Root mean square of each sample, read to the host."""
        xp = namespace(x)
        if 0 in x.shape:
            return np.zeros(x.shape[0])
        size = xp.reshape(xp.abs(x), (x.shape[0], -1))
        if limits(size).bits < 32:
            size = xp.astype(size, xp.float32)
        # Squares of shares do not overflow.
        top = xp.max(size, axis=1, keepdims=True)
        shares = size / xp.where(top > 0, top, xp.ones_like(top))
        root = xp.sqrt(xp.mean(shares**2, axis=1)) * xp.reshape(top, (x.shape[0],))
        return as_float64(root, "the error")

    def _finite(self, x: Any) -> np.ndarray:
        xp = namespace(x)
        finite = xp.reshape(xp.isfinite(constant(x)), (x.shape[0], prod(x.shape[1:])))
        return as_float64(xp.all(finite, axis=1), "the state") > 0

    def _column(self, values: np.ndarray) -> Any:
        """One number or flag for each sample, to be broadcast against the states."""
        xp = namespace(self.y)
        shape = (len(values),) + (1,) * (len(self.y.shape) - 1)
        column = xp.reshape(constant_like(values.astype(np.float64), self.real), shape)
        return column > 0.5 if values.dtype == bool else column


def take_rows(array: Any, rows: np.ndarray) -> Any:
    """Some rows, in a given order."""
    if np.array_equal(rows, np.arange(array.shape[0])):
        return array
    xp = namespace(array)
    return xp.take(array, xp.asarray(rows, device=device(array)), axis=0)
