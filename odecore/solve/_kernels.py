"""Many steps as one pure function of arrays, which compilers take whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from odecore.solve._controllers import MAX_REJECTS, StepControl
from odecore.solve._error_norm import tolerance_scale
from odecore.solve._explicit_step import Attempt, explicit_step
from odecore.tableaux import Coefficients

__all__ = ["Kernels", "Leap", "adaptive_leap", "adaptive_step", "given_steps"]


@dataclass(frozen=True)
class Kernels:
    """What a compiler made of the steps of a method, for `solve_ivp(..., kernels=)`.

    Where a part is missing or returns None, or there is something to do at each step (events, dense
    output, `observe`, jumps, every step recorded), the library makes its own steps one by one.

    Parameters
    ----------
    step : callable, optional
        `step(fun, t, y, h, first_stage, t_new, tolerances)` gives an `Attempt`, whose `ratio` is
        set unless the tolerances are None, as they are for given steps.
    leap : callable, optional
        `leap(fun, law, tolerances, y, slope, numbers, outputs, weights)` gives what `adaptive_leap`
        does; the last two, on the host, are None where nothing is to be recorded on the way.
    chunk : callable, optional
        `chunk(fun, times, y, slope)` gives what `given_steps` does.
    length : int, optional
        How many steps `chunk` takes.
    outputs : int, optional
        How many outputs `leap` records on the way; the times are filled up with NaN. 0 where it
        does not.
    """

    step: Callable[..., Attempt | None] | None = None
    leap: Callable[..., Any] | None = None
    chunk: Callable[..., Any] | None = None
    length: int = 8
    outputs: int = 0


class Leap(NamedTuple):
    """Where a loop of adaptive steps ended.

    Parameters
    ----------
    numbers : (9,) array
        t, h, the errors of the last two accepted steps in units of the tolerance, the numbers of
        accepted, rejected, rejected in a row and forced steps, and the time at which the last
        attempt started.
    y : array
    slope : array or None
        f there, for methods whose last stage it is.
    y_old : array
        State where the last attempt started.
    stages : tuple of array
        Those of the last attempt.
    states : (n, ...) array or None
        States at the outputs that were passed.
    """

    numbers: Any
    y: Any
    slope: Any
    y_old: Any
    stages: tuple[Any, ...]
    states: Any = None


def adaptive_leap(
    while_loop: Callable[..., Any],
    fun: Callable[[Any, Any], Any],
    method: Coefficients,
    law: StepControl,
    norm: Callable[[Any], Any],
    y: Any,
    slope: Any,
    numbers: Any,
    tolerances: tuple[Any, Any],
    xp: Any,
    outputs: Any = None,
    weights: Any = None,
) -> Leap:
    """Take adaptive steps until one passes a time, with the decisions of `AdaptiveSteps`.

    Parameters
    ----------
    while_loop : callable
        `while_loop(condition, body, carried)` on tuples of arrays, of which no two may share
        memory; `jax.lax.while_loop` is one.
    fun : callable
    method : Coefficients
        Explicit, with an error estimate.
    law : StepControl
    norm : callable
        From the error in units of the tolerance to a 0-d array.
    y, slope : array
        State at the start and, for methods that end with it, f there.
    numbers : (11,) sequence of array
        float64: t, h, the errors of the last two accepted steps, the number of rejected steps in a
        row; the direction +1 or -1, the time to pass, the time not to pass, the smallest and
        largest step, and how many attempts there may be. Their values are not part of a compiled
        program.
    tolerances : (2,) tuple of array
        rtol and atol.
    xp : namespace
        Of the arrays; looked up outside of what is compiled.
    outputs : (n,) array, optional
        Times, float64, at which to record the state; NaN for none.
    weights : (degree, s + 3) array, optional
        Those of the method's `ContinuousExtension`, which must need no extra stages; for methods
        whose last stage is the next step's first.
    """
    reuses, order = method.last_stage_is_first, method.order
    assert order is not None
    t, h, ratio, before, rejects, direction, goal, stop, least, most, attempts = numbers

    def runs(now: _Carried) -> Any:
        tried = now.accepted + now.rejected
        return ((goal - now.t) * direction > 0) & (now.rejects < inf) & (tried < attempts)

    def attempt(now: _Carried) -> _Carried:
        t_new = _proposed(now, stop, most, xp)
        used = t_new - now.t
        first = now.slope if reuses else None
        step, ratio = adaptive_step(fun, method, norm, now.t, t_new, now.y, first, tolerances, xp)
        ratio = xp.astype(ratio, used.dtype)
        finite = xp.isfinite(ratio)
        at_least = abs(used) <= least * (1 + 1e-12)
        good = (ratio <= 1) | (at_least & finite)
        longer = _after_success(now, used, ratio, law, order, xp)
        h = xp.where(good, longer, _shorter(used, ratio, law, order, xp))
        rejects = xp.where(good, 0.0, now.rejects + 1)
        stuck = (abs(h) < 2.0**-48 * abs(now.t)) | (now.t + h == now.t) | (rejects >= MAX_REJECTS)
        stuck = ~good & (stuck | (at_least & ~finite) | (used == 0))
        arrays = tuple(stage + 0 for stage in step.stages)
        if outputs is not None:
            passed = good & ((outputs - now.t) * direction > 0)
            passed = passed & ((t_new - outputs) * direction >= 0)
            theta = xp.where(passed, (outputs - now.t) / used, 0.0)
            states = _inside(theta, used, now.y, step, weights, xp)
            passed = xp.reshape(passed, (-1, *[1] * len(y.shape)))
            arrays = (*arrays, xp.where(passed, states, now.arrays[-1]))
        return _Carried(
            t=xp.where(good, t_new, now.t),
            h=direction * xp.where(abs(h) < least, least, abs(h)),
            ratio=xp.where(good, ratio, now.ratio),
            before=xp.where(good, now.ratio, now.before),
            accepted=xp.where(good, now.accepted + 1, now.accepted),
            rejected=xp.where(good, now.rejected, now.rejected + 1),
            rejects=xp.where(stuck, inf, rejects),
            forced=xp.where(good & (ratio > 1), now.forced + 1, now.forced),
            t_old=now.t + 0,
            y=xp.where(good, step.y, now.y),
            slope=xp.where(good, step.last_stage, now.slope) if reuses else now.slope + 0,
            y_old=now.y + 0,
            arrays=arrays,
        )

    zero = t * 0
    s = len(method.b)
    empty = tuple(y * 0 + i for i in range(s))
    if outputs is not None:
        empty = (*empty, xp.stack([y * 0] * outputs.shape[0]))
    start = _Carried(
        t + 0, h + 0, ratio + 0, before + 0, zero, zero + 0, rejects + 0, zero + 0, t + 0,
        y + 0, slope + 0, y + 1, empty,
    )  # fmt: skip
    end = while_loop(runs, attempt, start)
    slope = end.slope if reuses else None
    return Leap(xp.stack(end[:9]), end.y, slope, end.y_old, end.arrays[:s], *end.arrays[s:])


class _Carried(NamedTuple):
    """What the loop carries from one attempt to the next: the last its stages, and the outputs."""

    t: Any
    h: Any
    ratio: Any
    before: Any
    accepted: Any
    rejected: Any
    rejects: Any
    forced: Any
    t_old: Any
    y: Any
    slope: Any
    y_old: Any
    arrays: tuple[Any, ...]


def _inside(theta: Any, h: Any, y: Any, step: Attempt, weights: Any, xp: Any) -> Any:
    """The `ContinuousExtension` of a step at (n,) points."""
    powers, power = [], theta * 0 + 1
    for _ in range(weights.shape[0]):
        power = power * theta
        powers.append(power)
    numbers = xp.matmul(xp.astype(xp.stack(powers, axis=1), weights.dtype), weights)
    h = xp.astype(h, weights.dtype)
    basis = xp.stack([(step.y - y) / h, step.first_stage, *step.stages, step.last_stage])
    return y + h * xp.tensordot(xp.astype(numbers, y.dtype), basis, axes=1)


def _proposed(now: _Carried, stop: Any, most: Any, xp: Any) -> Any:
    """`AdaptiveSteps.propose`."""
    left = stop - now.t
    h = _bounded(now.h, -most, most, xp)
    t_new = now.t + xp.where(2 * abs(h) > abs(left), left / 2, h)
    return xp.where(abs(h) >= abs(left) * (1 - 1e-10), stop, t_new)


def _after_success(
    now: _Carried, used: Any, ratio: Any, law: StepControl, order: int, xp: Any
) -> Any:
    """The next step of `AdaptiveSteps.judge` after one that was accepted."""
    factor = ratio * 0 + law.safety
    for gain, r in zip(law.gains, (ratio, now.ratio, now.before), strict=True):
        factor = factor * _power(r, -gain / order, xp) if gain else factor
    factor = xp.where(ratio > 0, factor, law.grow)
    factor = xp.where((ratio > 1) & (factor > 1), 1.0, factor)
    h = used * _bounded(factor, law.shrink, law.grow, xp)
    was_cut = (abs(used) < 0.99 * abs(now.h)) & (ratio <= 1) & (abs(h) < abs(now.h))
    return xp.where(was_cut, now.h, h)


def _shorter(used: Any, ratio: Any, law: StepControl, order: int, xp: Any) -> Any:
    """The next step of `AdaptiveSteps.judge` after one that was rejected."""
    factor = law.safety * _power(ratio, -1 / order, xp)
    factor = xp.where(xp.isfinite(ratio), factor, law.shrink)
    return used * _bounded(factor, law.shrink, 0.9, xp)


def _power(ratio: Any, exponent: float, xp: Any) -> Any:
    return xp.where(ratio < 1e-10, 1e-10, ratio) ** exponent


def _bounded(x: Any, low: Any, high: Any, xp: Any) -> Any:
    x = xp.where(x < low, low, x)
    return xp.where(x > high, high, x)


def adaptive_step(
    fun: Callable[[Any, Any], Any],
    method: Coefficients,
    norm: Callable[[Any], Any],
    t: Any,
    t_new: Any,
    y: Any,
    slope: Any,
    tolerances: tuple[Any, Any],
    xp: Any,
) -> tuple[Attempt, Any]:
    """One step from t to t_new, arrays, and the norm of its error in units of the tolerance.

    The arguments are those of `adaptive_leap`; `slope` may be None.
    """
    step = explicit_step(fun, t, y, t_new - t, method, first_stage=slope, t_new=t_new)
    size = xp.maximum(abs(y), abs(step.y))
    return step, norm(step.error / tolerance_scale(size, *tolerances, xp))


def given_steps(
    fun: Callable[[Any, Any], Any], method: Coefficients, times: Any, y: Any, slope: Any
) -> tuple[tuple[Any, ...], Any, int]:
    """Take the steps between times (n + 1,), an array.

    Returns
    -------
    states : (n,) tuple of array
    slope : array or None
        f at the last time, where the method computes it.
    evaluations : int
    """
    states, evaluations = [], 0
    for i in range(times.shape[0] - 1):
        t, t_new = times[i], times[i + 1]
        step = explicit_step(fun, t, y, t_new - t, method, first_stage=slope, t_new=t_new)
        y, slope = step.y, step.last_stage
        states.append(y)
        evaluations += step.evaluations
    return tuple(states), slope, evaluations
