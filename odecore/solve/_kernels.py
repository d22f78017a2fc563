"""Many steps as one pure function of arrays, which compilers take whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odecore.solve._explicit_step import Attempt, explicit_step, require_coefficients
from odecore.tableaux import Coefficients

__all__ = ["Kernels", "given_run", "given_steps"]


@dataclass(frozen=True)
class Kernels:
    """What a compiler made of the steps of a method, for `solve_ivp(..., kernels=)`.

    Where a part is missing or returns None, or there is something to do at each step (events, dense
    output, `observe`, jumps), the library makes its own steps one by one.

    Parameters
    ----------
    step : callable, optional
        `step(fun, t, y, h, first_stage, t_new, tolerances)` gives an `Attempt`, whose `ratio` is
        set unless the tolerances are None, as they are for given steps.
    leap : callable, optional
        `leap(fun, law, tolerances, y, slope, numbers)` gives what `adaptive_leap` does.
    begins : callable, optional
        `begins(adaptive)` says whether `leap`, or `run` for given steps, also makes the first
        evaluation, where it gets no slope. `leap` then gets a step of 0 and chooses the first one;
        if it attempts none, the library finds out why.
    chunk : callable, optional
        `chunk(fun, times, y, slope)` gives what `given_steps` does.
    length : int, optional
        How many steps `chunk` takes.
    run : callable, optional
        `run(fun, times, y, slope)` gives the last state of `given_steps`, f there or None, and the
        number of evaluations.
    most : int, optional
        How many steps `run` takes at most; it is asked for `length` at least.
    records : bool, optional
        Whether both take the keyword `every`: `run` then gives the states after each step (n, ...)
        in place of the last one, and `leap` the states at the starts of the accepted steps; it may
        end after any number of attempts there.
    stages : bool, optional
        Whether `leap` takes the keyword `stages`, for these states and the stages.
    takes : callable, optional
        `takes(y, slope)` says whether `run` and `chunk` are asked at all for steps from there.
    """

    step: Callable[..., Attempt | None] | None = None
    leap: Callable[..., Any] | None = None
    begins: Callable[[bool], bool] | None = None
    chunk: Callable[..., Any] | None = None
    length: int = 8
    run: Callable[..., Any] | None = None
    most: int = 64
    records: bool = False
    stages: bool = False
    takes: Callable[[Any, Any], bool] | None = None


def given_steps(
    fun: Callable[[Any, Any], Any], method: Coefficients, times: Any, y: Any, slope: Any
) -> tuple[tuple[Any, ...], Any, int]:
    """Take the steps between times (n + 1,), an array.

    Parameters
    ----------
    fun : callable
    method : Coefficients
        Of an explicit method.
    times : (n + 1,) array
    y : array
        The state at the first of them.
    slope : array or None
        f there, where it is known.

    Returns
    -------
    states : (n,) tuple of array
    slope : array or None
        f at the last time, where the method computes it.
    evaluations : int

    Raises
    ------
    ValueError, TypeError
        If `times` are no array (n + 1,), or as `explicit_step`.
    """
    _require_times(times)
    states, evaluations = [], 0
    for i in range(times.shape[0] - 1):
        t, t_new = times[i], times[i + 1]
        step = explicit_step(fun, t, y, t_new - t, method, first_stage=slope, t_new=t_new)
        y, slope = step.y, step.last_stage
        states.append(y)
        evaluations += step.evaluations
    return tuple(states), slope, evaluations


def _require_times(times: Any) -> None:
    """Raise TypeError unless these are an array (n + 1,)."""
    if len(getattr(times, "shape", ())) != 1:
        raise TypeError(f"`times` must be an array of shape (n + 1,), got {times!r}")


def given_run(
    while_loop: Callable[..., Any],
    fun: Callable[[Any, Any], Any],
    method: Coefficients,
    times: Any,
    count: Any,
    y: Any,
    slope: Any,
    xp: Any,
    record: Callable[[Any, Any], None] | None = None,
) -> tuple[Any, Any]:
    """Take the first steps between times (n + 1,), an array; how many are an array (1,) of int64.

    Parameters
    ----------
    while_loop : callable
        `while_loop(condition, body, carried)` of tuples, as ``jax.lax.while_loop``.
    fun, method, times, y, slope
        As for `given_steps`.
    count : (1,) array of int64
    xp : namespace
        Of the arrays.
    record : callable, optional
        `record(k, y)` writes down the state after step k, an array (1,) that begins with 0, where
        the compiler lets a loop write into an array that it does not carry, as torch's does.

    Returns
    -------
    y : array
        The last state.
    slope : array or None
        f there, for methods that end with it; they begin with it too, and find it if it is None.

    Raises
    ------
    ValueError, TypeError
        As `given_steps`.
    """
    require_coefficients(method, explicit=True)
    _require_times(times)
    reuses = method.last_stage_is_first
    if reuses and slope is None:
        slope = fun(times[0], y)

    def runs(carried: Any) -> Any:
        return xp.reshape(carried[0] < count, ())

    def step(carried: Any) -> Any:
        k, y, *slopes = carried
        t, t_new = (xp.reshape(xp.take(times, i, axis=0), ()) for i in (k, k + 1))
        first = slopes[0] if slopes else None
        made = explicit_step(fun, t, y, t_new - t, method, first_stage=first, t_new=t_new)
        if record is not None:
            record(k, made.y)
        return k + 1, made.y, *([made.last_stage] if slopes else [])

    _, y, *slopes = while_loop(runs, step, (count * 0, y + 0, *([slope + 0] if reuses else [])))
    return y, slopes[0] if slopes else None
