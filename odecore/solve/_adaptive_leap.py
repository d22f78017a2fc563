"""An adaptive solve as one pure function of arrays, which compilers take whole."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from odecore.solve._controllers import MAX_REJECTS, StepControl, is_smallest
from odecore.solve._error_norm import starting_scale, tolerance_scale
from odecore.solve._explicit_step import (
    Attempt,
    checked_stage,
    explicit_step,
    require_coefficients,
    require_estimate,
)
from odecore.tableaux import Coefficients

__all__ = ["Leap", "adaptive_leap", "adaptive_step"]


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
    stages : (s, ...) array
        Those of the last attempt.
    times : (n,) array or None
        The ends of the accepted steps, where they are recorded.
    each : (n, ...) or (n, s + 1, ...) array or None
        The states at their starts, or these and the stages.
    """

    numbers: Any
    y: Any
    slope: Any
    y_old: Any
    stages: Any
    times: Any = None
    each: Any = None


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
    record: Callable[[Any, Any, Any, Any], None] | None = None,
) -> Leap:
    """Take adaptive steps until one passes a time, with the decisions of `solve_ivp`.

    Parameters
    ----------
    while_loop : callable
        `while_loop(condition, body, carried)` on tuples of arrays; `jax.lax.while_loop` is one.
    fun : callable
    method : Coefficients
        Explicit, with an error estimate.
    law : StepControl
    norm : callable
        From the error in units of the tolerance to a 0-d array.
    y, slope : array
        State at the start and, for methods that end with it, f there.
    numbers : (11,) array
        float64: t, h, the errors of the last two accepted steps, the number of rejected steps in a
        row; the direction +1 or -1, the time to pass, the time not to pass, the smallest and
        largest step, and how many attempts there may be. Their values are not part of a compiled
        program. Where h is 0, the slope and the first step are found here; if f is not finite
        there, no step is attempted.
    tolerances : (2,) tuple of array
        rtol and atol.
    xp : namespace
        Of the arrays; looked up outside of what is compiled.
    record : callable, optional
        `record(k, t, y, stages)` writes down an attempt to t from y after k accepted steps, an
        array (1,) of int64, as for `given_run`, with stages (s, ...); the next attempt takes its
        place if it is rejected.

    Returns
    -------
    Leap

    Raises
    ------
    ValueError, TypeError
        If the method has no error estimate or order, or as `explicit_step`.
    """
    require_coefficients(method, explicit=True)
    reuses, order = method.last_stage_is_first, require_estimate(method)

    def starts(carried: Any) -> Any:
        return carried[0][1] == 0

    def start(carried: Any) -> Any:
        given = _unpacked(_Given, carried[0])
        slope = checked_stage(fun(given.t, y), y)
        h = _first_size(fun, given, y, slope, norm, tolerances, order, xp)
        rejects = xp.where(xp.all(xp.isfinite(slope)), given.rejects, inf)
        return xp.stack(given._replace(h=given.direction * h, rejects=rejects)), slope

    def runs(carried: Any) -> Any:
        now, given = _unpacked(_Now, carried[0]), _unpacked(_Given, numbers)
        ahead = (given.goal - now.t) * given.direction > 0
        return ahead & (now.rejects < inf) & (now.accepted + now.rejected < given.attempts)

    def attempt(carried: Any) -> Any:
        given, (packed, y, slope, *_) = _unpacked(_Given, numbers), carried
        now = _unpacked(_Now, packed)
        t_new = _proposed(now, given, xp)
        first = slope if reuses else None
        step, ratio = adaptive_step(fun, method, norm, now.t, t_new, y, first, tolerances, xp)
        ratio = xp.astype(ratio, packed.dtype)
        good, later = _judged(now, given, t_new, ratio, law, order, xp)
        stages = xp.stack(step.stages)
        if record is not None:
            k = xp.astype(xp.reshape(now.accepted, (1,)), xp.int64)
            record(k, t_new, y, stages)
        return (
            xp.stack(later),
            xp.where(good, step.y, y),
            xp.where(good, step.last_stage, slope) if reuses else slope + 0,
            y + 0,
            stages,
        )

    # From arguments as they are: torch reuses other memory, which the results share after no turn.
    numbers, slope = while_loop(starts, start, (numbers, slope))
    given = _unpacked(_Given, numbers)
    zero = given.t * 0
    now = [*given[:4], zero, zero, given.rejects, zero, given.t]
    arrays = xp.stack(now), y + 0, slope + 0, y + 1, xp.stack([y] * len(method.b))
    packed, y_new, slope, y_old, stages = while_loop(runs, attempt, arrays)
    return Leap(packed, y_new, slope if reuses else None, y_old, stages)


class _Given(NamedTuple):
    """The numbers that `adaptive_leap` gets."""

    t: Any
    h: Any
    ratio: Any
    before: Any
    rejects: Any
    direction: Any
    goal: Any
    stop: Any
    least: Any
    most: Any
    attempts: Any


class _Now(NamedTuple):
    """The numbers that the loop carries from one attempt to the next."""

    t: Any
    h: Any
    ratio: Any
    before: Any
    accepted: Any
    rejected: Any
    rejects: Any
    forced: Any
    t_old: Any


def _unpacked(kind: Any, numbers: Any) -> Any:
    return kind(*(numbers[i] for i in range(len(kind._fields))))


def _judged(
    now: _Now, given: _Given, t_new: Any, ratio: Any, law: StepControl, order: int, xp: Any
) -> tuple[Any, _Now]:
    """`AdaptiveSteps.judge`."""
    used = t_new - now.t
    finite = xp.isfinite(ratio)
    smallest = is_smallest(now.t, used, given.least)
    good = (ratio <= 1) | (smallest & finite)
    longer = _after_success(now, used, ratio, law, order, xp)
    h = xp.where(good, longer, _shorter(used, ratio, law, order, xp))
    rejects = xp.where(good, 0.0, now.rejects + 1)
    stuck = (abs(h) < 2.0**-48 * abs(now.t)) | (now.t + h == now.t) | (rejects >= MAX_REJECTS)
    stuck = ~good & (stuck | (smallest & ~finite) | (used == 0))
    return good, _Now(
        t=xp.where(good, t_new, now.t),
        h=given.direction * xp.where(abs(h) < given.least, given.least, abs(h)),
        ratio=xp.where(good, ratio, now.ratio),
        before=xp.where(good, now.ratio, now.before),
        accepted=xp.where(good, now.accepted + 1, now.accepted),
        rejected=xp.where(good, now.rejected, now.rejected + 1),
        rejects=xp.where(stuck, inf, rejects),
        forced=xp.where(good & (ratio > 1), now.forced + 1, now.forced),
        t_old=now.t + 0,
    )


def _first_size(
    fun: Any,
    given: _Given,
    y: Any,
    slope: Any,
    norm: Callable[[Any], Any],
    tolerances: tuple[Any, Any],
    order: int,
    xp: Any,
) -> Any:
    """`first_step_size`, and the smallest step at least."""
    span = abs(given.stop - given.t)
    scale = starting_scale(y, *tolerances, xp)

    def size(x: Any) -> Any:
        return xp.astype(norm(x / scale), span.dtype)

    speed, level = size(slope), size(y)
    h0 = 0.01 * level / xp.where(speed > 1e-5, speed, 1.0)
    h0 = xp.where((level > 1e-5) & (speed > 1e-5), h0, 1e-6)
    floor = 2.0**-48 * abs(given.t)  # below that, times do not move
    h0 = _bounded(h0, floor, span, xp)
    h0 = xp.where(h0 == 0, span, h0)
    move = given.direction * h0
    later = fun(given.t + move, y + xp.astype(move, y.dtype) * slope)
    bend = size(later - slope) / h0
    steepest = xp.where(bend > speed, bend, speed)
    h1 = (0.01 / xp.where(steepest > 1e-15, steepest, 1.0)) ** (1 / (order + 1))
    at_rest = _bounded(xp.where(h0 > 1e-3, h0 * 1e-3, 1e-6), floor, span, xp)
    h1 = xp.where(steepest <= 1e-15, at_rest, h1)
    h = _bounded(xp.where(h1 > 100 * h0, 100 * h0, h1), 0.0, span, xp)
    h = xp.where(steepest < inf, h, h0)
    return xp.where(h < given.least, given.least, h)


def _proposed(now: _Now, given: _Given, xp: Any) -> Any:
    """`AdaptiveSteps.propose`."""
    left = given.stop - now.t
    h = _bounded(now.h, -given.most, given.most, xp)
    t_new = now.t + xp.where(2 * abs(h) > abs(left), left / 2, h)
    return xp.where(abs(h) >= abs(left) * (1 - 1e-10), given.stop, t_new)


def _after_success(now: _Now, used: Any, ratio: Any, law: StepControl, order: int, xp: Any) -> Any:
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
    """One step from t to t_new, and the norm of its error in units of the tolerance.

    Parameters
    ----------
    fun, method, norm
        As for `adaptive_leap`.
    t, t_new : 0-d array
    y : array
    slope : array or None
        f at the start, where it is known.
    tolerances, xp
        As for `adaptive_leap`.

    Returns
    -------
    attempt : Attempt
    norm : 0-d array
    """
    step = explicit_step(fun, t, y, t_new - t, method, first_stage=slope, t_new=t_new)
    size = xp.maximum(abs(y), abs(step.y))
    return step, norm(step.error / tolerance_scale(size, *tolerances, xp))
