"""The loop of every solve: propose, judge, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from odecore._array import (
    as_float64,
    as_state,
    constant_like,
    is_like,
    is_readable,
    namespace,
    own,
)
from odecore.solve._controllers import AdaptiveSteps, Control, GivenSteps
from odecore.solve._explicit_step import explicit_step
from odecore.solve._first_step import first_step_size
from odecore.solve._problem import Stop, checked_field, given_stops, is_count, output_times
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Trajectory
from odecore.tableaux import ButcherTableau, Coefficients, tableau

__all__ = ["solve_ivp"]

Field = Callable[[Any, Any], Any]


def solve_ivp(
    fun: Field,
    t_span: Sequence[Any],
    y0: Any,
    /,
    *,
    method: str | ButcherTableau | Coefficients = "dopri5",
    t_eval: Any = None,
    step_size: float | None = None,
    steps: int | Sequence[int] | None = None,
    rtol: float | None = None,
    atol: Any = None,
    first_step: float | None = None,
    max_steps: int = 100_000,
    check_finite: bool | None = None,
    throw: bool = True,
) -> Trajectory:
    """Integrate y' = fun(t, y) with an explicit Runge-Kutta method, adaptively or in given steps.

    Parameters
    ----------
    fun : callable
        `fun(t, y)`, of the shape and dtype of `y`, which it must not change; t is a Python float,
        or an array where times or coefficients are arrays.
    t_span : (2,) sequence
        First and last time; the last may be the smaller one.
    y0 : array
        Initial state, of any shape, in NumPy, torch, jax or another array API library; Python
        numbers and lists become float64. One error norm is taken over all entries.
    method : str, ButcherTableau or Coefficients, optional
        A name of `odecore.tableaux.catalogue()`, a tableau, or a family at values. Coefficients
        that are arrays carry their gradients through the steps.
    t_eval : (n,) sequence, optional
        Times to record besides `t_span[0]`, in the direction of integration. Steps land on them,
        so that each recorded state has the method's full order; the interval is integrated to its
        end all the same. By default every accepted step is recorded. Where times can not be read
        it must begin and end as `t_span` does.
    step_size : float, optional
        Take steps of at most this size instead of adaptive ones, equal between output times.
    steps : int or sequence of int, optional
        Take this many equal steps between output times, the same in each interval or one number
        for each (the interval to the end of `t_span` included), instead of adaptive steps. Times
        may then be 0-d arrays on an accelerator: they are neither read nor checked.
    rtol, atol : float, optional
        Tolerances of adaptive steps, by default 1e-6 and 1e-9; `atol` may be an array that
        broadcasts against `y0`.
    first_step : float, optional
        Size of the first adaptive step; by default it is estimated, with one evaluation.
    max_steps : int, optional
        Attempts, accepted or not, before an adaptive solve ends with MAX_STEPS; more given steps
        than this are refused.
    check_finite : bool, optional
        Whether a solve in given steps looks for NaN and infinity in its input and its result. By
        default it does where reading is free, that is, not on an accelerator.
    throw : bool, optional
        Raise the status's error (default), or return the partial trajectory with its status.

    Returns
    -------
    Trajectory
        With time as the first axis of `y` (SciPy puts it last).

    Raises
    ------
    ValueError, TypeError
        For input that breaks a rule above.
    SolveError
        The subclass that belongs to the status, with the partial trajectory, unless `throw=False`.

    Notes
    -----
    Differentiating through the result with torch's autograd, or with jax's for given steps, holds
    the steps constant: times and step sizes are Python floats, and nothing leaks through the
    controller. Adaptive steps read values, which jax does not allow under its transformations.

    Examples
    --------
    >>> import numpy as np
    >>> solution = solve_ivp(lambda t, y: -y, (0, 1), np.ones(1), rtol=1e-8, atol=1e-10)
    >>> bool(abs(solution.y[-1, 0] - np.exp(-1)) < 1e-8), solution.status.name
    (True, 'SUCCESS')
    """
    coefficients = _coefficients(method)
    y = as_state(y0, "y0")
    if not is_count(max_steps):
        raise ValueError(f"`max_steps` must be a positive int, got {max_steps!r}")
    times = output_times(t_span, t_eval)
    floats = all(isinstance(t, float) for t in times)
    last = len(times) - 1
    if floats and times[-1] != float(t_span[-1]):
        times.append(float(t_span[-1]))  # integrated to, and not recorded
    adaptive = step_size is None and steps is None
    controller: AdaptiveSteps | GivenSteps
    if adaptive:
        if not floats:
            raise ValueError(
                "adaptive steps need times that can be read, got times on an accelerator: give "
                "`steps`, the number of steps between output times, or keep the times on the host"
            )
        if check_finite is not None:
            raise ValueError("`check_finite` has no effect with adaptive steps, which always check")
        controller = _adaptive_controller(coefficients, y, rtol, atol, first_step)
        stops = [Stop(t, True) for t in times[1:]]
    else:
        if step_size is not None and steps is not None:
            raise ValueError("give one of `step_size` and `steps`, got both")
        _refuse_adaptive_options(rtol=rtol, atol=atol, first_step=first_step)
        controller = GivenSteps()
        stops = given_stops(times, step_size, steps, floats, max_steps)
    if last < len(times) - 1 and t_eval is not None:
        stops[-1] = Stop(stops[-1].t, False)
    reads = adaptive or (is_readable(y) if check_finite is None else check_finite)

    march = _March(y, times[0])
    if reads and not _is_finite(y):
        march.status = Status.NONFINITE_INPUT
    else:
        march.start(fun, controller, first_step, times[-1])
        march.run(fun, coefficients, controller, stops, max_steps, every_step=t_eval is None)
    trajectory = march.trajectory(reads)
    if throw:
        trajectory.raise_for_status()
    return trajectory


class _March:
    """The state of one solve while it runs; only `solve_ivp` sees it."""

    def __init__(self, y: Any, t: Any) -> None:
        self.t, self.y, self.slope = t, y, None
        self.recorded: list[tuple[Any, Any]] = []
        self.status = Status.SUCCESS
        self.evaluations = self.accepted = self.rejected = 0
        self.control = Control()

    def start(
        self, fun: Field, controller: AdaptiveSteps | GivenSteps, first_step: Any, end: Any
    ) -> None:
        """Evaluate fun at the start, check what it returns, and find the first step."""
        self.recorded.append((self.t, self.y))
        self.slope = own(checked_field(fun, self.t, self.y))
        self.evaluations += 1
        if isinstance(controller, GivenSteps):
            return
        if not _is_finite(self.slope):
            self.status = Status.NONFINITE_RHS
            return
        if first_step is None:
            first_step = first_step_size(fun, self.t, self.y, self.slope, end, controller)
            self.evaluations += 1
        self.control = Control(float(first_step) if end > self.t else -float(first_step))

    def run(
        self,
        fun: Field,
        coefficients: Coefficients,
        controller: AdaptiveSteps | GivenSteps,
        stops: list[Stop],
        max_steps: int,
        every_step: bool,
    ) -> None:
        """Propose, judge, record, until the last stop or a failure."""
        for stop in stops:
            arrived = False
            while not arrived and self.status is Status.SUCCESS:
                if self.accepted + self.rejected == max_steps:
                    self.status = Status.MAX_STEPS
                    break
                t, y = self.t, self.y
                t_new = controller.propose(t, stop.t, self.control)
                attempt = explicit_step(
                    fun, t, y, t_new - t, coefficients, first_stage=self.slope, t_new=t_new
                )
                self.evaluations += attempt.evaluations
                good, self.control = controller.judge(attempt, y, t, t_new, self.control)
                if not good:
                    self.rejected += 1
                    self.slope = attempt.first_stage
                    self.status = self.control.failure or self.status
                    continue
                self.accepted += 1
                arrived = t_new is stop.t
                self.t, self.y, self.slope = t_new, attempt.y, attempt.last_stage
                if every_step or (arrived and stop.recorded):
                    self.recorded.append((self.t, self.y))

    def trajectory(self, reads: bool) -> Trajectory:
        """Collect the records, up to the first that is not finite where values may be read."""
        records, status = self.recorded, self.status
        if reads:
            bad = [i for i, (_, y) in enumerate(records) if not _is_finite(y)]
            if bad:
                records, status = records[: bad[0]], Status.NONFINITE_RHS
        xp = namespace(self.y)
        times = [t for t, _ in records]
        if all(isinstance(t, float) for t in times):
            t = np.array(times, dtype=np.float64)
        else:
            t = namespace(times[0]).stack(times)
        y = xp.stack([y for _, y in records]) if records else xp.stack([self.y])[:0]
        return Trajectory(t, y, status, Statistics(self.evaluations, self.accepted, self.rejected))


def _coefficients(method: str | ButcherTableau | Coefficients) -> Coefficients:
    if isinstance(method, Coefficients):
        return method
    if isinstance(method, ButcherTableau):
        return method.coefficients
    if isinstance(method, str):
        return tableau(method).coefficients
    raise TypeError(
        "`method` must be a catalogue name, a ButcherTableau or Coefficients, got "
        f"{type(method).__name__}"
    )


def _adaptive_controller(
    coefficients: Coefficients, y: Any, rtol: Any, atol: Any, first_step: Any
) -> AdaptiveSteps:
    if coefficients.error is None or coefficients.order is None:
        raise ValueError(
            "adaptive steps need a method with an embedded error estimate and a known order, such "
            "as dopri5; for this method give `step_size` or `steps`"
        )
    rtol = 1e-6 if rtol is None else rtol
    atol = 1e-9 if atol is None else atol
    if not isinstance(rtol, Real) or not 0 <= float(rtol) < 1:
        raise ValueError(f"`rtol` must be a number with 0 <= rtol < 1, got {rtol!r}")
    if not isinstance(atol, Real):
        atol = _elementwise(atol, y)
    smallest = as_float64(atol, "atol")
    if not np.all(np.isfinite(smallest)) or np.any(smallest < 0):
        raise ValueError(f"`atol` must be finite and not negative, got {atol!r}")
    if rtol == 0 and np.any(smallest == 0):
        raise ValueError("one of `rtol` and `atol` must be positive: with both 0 no step is good")
    eps = float(namespace(y).finfo(y.dtype).eps)
    if rtol < eps / 100 and np.all(smallest < eps / 100):
        raise ValueError(
            f"rtol = {rtol} and atol = {atol} are below the rounding of {y.dtype}, whose eps is "
            f"{eps:.1e}: raise one of them, or use a wider dtype"
        )
    if first_step is not None and (
        not isinstance(first_step, Real) or not 0 < float(first_step) < float("inf")
    ):
        raise ValueError(f"`first_step` must be a positive finite number, got {first_step!r}")
    return AdaptiveSteps(float(rtol), atol, coefficients.order)


def _elementwise(atol: Any, y: Any) -> Any:
    """A tolerance for each entry as an array like the state."""
    shape = np.shape(atol)
    if len(shape) > len(y.shape) or any(
        a not in (1, b) for a, b in zip(reversed(shape), reversed(y.shape), strict=False)
    ):
        raise ValueError(
            f"`atol` of shape {shape} does not broadcast against `y0` {tuple(y.shape)}"
        )
    return atol if is_like(atol, y) else constant_like(atol, y)


def _refuse_adaptive_options(**options: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)} steer adaptive steps and have no effect in given steps; leave "
            "them out, or leave out `step_size` and `steps`"
        )


def _is_finite(y: Any) -> bool:
    xp = namespace(y)
    return bool(xp.all(xp.isfinite(y)))
