"""`solve_ivp`: from the caller's words to a plan for the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odecore._array import as_state, copied
from odecore._flags import require_flags
from odecore._step_counts import require_attempts, require_one_way
from odecore._times import are_floats
from odecore.solve._accepted import Accepted
from odecore.solve._adams import Adams
from odecore.solve._calls import explaining_calls
from odecore.solve._controllers import GivenSteps, StepControl
from odecore.solve._dense_output import DenseStep
from odecore.solve._error_norm import root_mean_square
from odecore.solve._events import Event, as_events
from odecore.solve._kernels import Kernels
from odecore.solve._kinds import require_callable, require_flag, require_kind
from odecore.solve._march import march
from odecore.solve._newton import Newton
from odecore.solve._options import (
    adaptive_steps,
    as_method,
    extension_of,
    refuse_adaptive_options,
    step_of,
)
from odecore.solve._plan import Plan
from odecore.solve._problem import (
    adaptive_stops,
    given_stops,
    grid_stops,
    output_times,
    with_jumps,
)
from odecore.solve._progress import reporter
from odecore.solve._reuse import refusing_reuse
from odecore.solve._scanned_steps import scanned
from odecore.solve._scipy_words import refuse_unknown
from odecore.solve._states import Structure, StructuredField, is_structured
from odecore.solve._tracing import explaining_reads
from odecore.solve._trajectory import Trajectory
from odecore.tableaux import ButcherTableau, Coefficients

__all__ = ["solve_ivp"]

Field = Callable[[Any, Any], Any]


def solve_ivp(
    fun: Field,
    t_span: Sequence[Any],
    y0: Any,
    /,
    *,
    method: str | ButcherTableau | Coefficients | Adams = "dopri5",
    t_eval: Any = None,
    step_size: float | None = None,
    steps: int | Sequence[int] | None = None,
    grid: Sequence[float] | None = None,
    rtol: Any = None,
    atol: Any = None,
    norm: Callable[[Any], Any] | None = None,
    controller: str | StepControl | None = None,
    first_step: float | None = None,
    min_step: float | None = None,
    max_step: float | None = None,
    max_steps: int = 100_000,
    step_at: Sequence[float] | None = None,
    jump_at: Sequence[float] | None = None,
    events: Any = None,
    dense: bool | Callable[[DenseStep], None] = False,
    interpolation: str = "full",
    newton: Newton | None = None,
    check_finite: bool | None = None,
    observe: Callable[[str, Any, Any, Any], None] | Accepted | None = None,
    progress: bool | Callable[[float], None] = False,
    kernels: Kernels | None = None,
    throw: bool = True,
    **unknown: Any,
) -> Trajectory:
    """Integrate y' = fun(t, y) with a Runge-Kutta method, adaptively or in given steps.

    Parameters
    ----------
    fun : callable
        `fun(t, y)`, of the structure, shape and dtype of `y`, which it must not change; t is a
        Python float, or an array where times or coefficients are arrays.
    t_span : (2,) sequence
        First and last time; the last may be the smaller one.
    y0 : array, or tuple, list or dict of arrays
        Initial state, real or complex, of any shape, in NumPy, torch, jax or another array API
        library; Python numbers and lists of them become float64. The arrays of a structure, which
        may be nested, have one dtype.
    method : str, ButcherTableau, Coefficients or Adams, optional
        A name of `odecore.tableaux.catalogue()`, a tableau, or a family at values; explicit,
        diagonally implicit or fully implicit; or a multistep method, for given steps. Coefficients
        that are arrays carry their gradients through the steps.
    t_eval : (n,) sequence, optional
        Times to record besides `t_span[0]`, in the direction of integration. Adaptive steps and
        those of a `grid` pass them, and their states come from dense output; `steps` and
        `step_size` land on them. The interval is integrated to its end all the same. By default
        every accepted step is recorded. Where times can not be read it must begin and end as
        `t_span` does.
    step_size : float, optional
        Take steps of at most this size instead of adaptive ones, equal between output times.
    steps : int or sequence of int, optional
        Take this many equal steps between output times, the same in each interval or one number
        for each (the interval to the end of `t_span` included), instead of adaptive steps. Times
        may then be 0-d arrays on an accelerator: they are neither read nor checked.
    grid : sequence of float, optional
        Take the steps between these times, from the first to the last of `t_span`.
    rtol, atol : float or array, optional
        Tolerances of adaptive steps, by default 1e-6 and 1e-9; arrays broadcast against `y0`, and
        for a structure one like it holds one for each array, or for all arrays of a part. Where
        both are more than 100 times below the rounding of the state, as the defaults are in half
        precision, they are refused.
    norm : callable, optional
        From an array like the state (a structure like it) of errors in units of the tolerance to a
        number; by default the root mean square, and for structures the largest of those of the
        arrays.
    controller : {"I", "PI", "PID"} or StepControl, optional
        By default "I".
    first_step : float, optional
        Size of the first adaptive step; by default it is estimated, with one evaluation.
    min_step, max_step : float, optional
        Bounds of adaptive steps, 0 and infinity by default. At `min_step` a step is accepted
        whatever its error, and counted in `statistics.forced`.
    max_steps : int, optional
        Attempts, accepted or not, before an adaptive solve ends with MAX_STEPS; more given steps
        than this are refused.
    step_at, jump_at : sequence of float, optional
        Times at which adaptive steps must end; at those of `jump_at` the right-hand side is not
        continuous, and it is evaluated just before and just after. In given steps the times of
        `jump_at` must be ends of steps. Times outside of `t_span` have no effect.
    events : Event or callable, or sequence of these, optional
        Functions of (t, y) whose changes of sign are found on the dense output.
    dense : bool or callable, optional
        Keep the solution as a function of time: `trajectory(t)`. Or call `dense(step)` with the
        `DenseStep` of each accepted step, which is not kept then; for a structure, of the vector of
        its entries.
    interpolation : {"full", "hermite", "linear"}, optional
        Dense output of the method's full order: a polynomial for explicit Runge-Kutta methods,
        some of which need extra evaluations for it, and a step of the method to the time in
        question for implicit and multistep ones, so that it is as stable as they are; cubic
        Hermite; or linear.
    newton : Newton, optional
        How the stages of implicit methods are solved for. For a structure, its `jacobian` gets the
        vector of the entries, and it knows no samples.
    check_finite : bool, optional
        Whether a solve in given steps looks for NaN and infinity in its input and its result. By
        default it does where reading is free, that is, not on an accelerator.
    observe : callable, optional
        `observe(what, t, y, h)`, called with "step" before each attempt from (t, y) with step h,
        and with "accept" or "reject" after it; or an `Accepted`.
    progress : bool or callable, optional
        Show a bar (needs tqdm), or call the callable with the fraction of the interval done.
    kernels : Kernels, optional
        What a compiler made of the steps of `method`; `torch_bridge.odeint(compile=True)` is the
        way to use it.
    throw : bool, optional
        Raise the status's error (default), or return the partial trajectory with its status.
    **unknown
        Refused; the error says what SciPy's options are called here.

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

    Warns
    -----
    ToleranceWarning
        Where both tolerances are below the rounding of a state in half precision.
    UnconvergedCorrectorWarning
        Where the corrector of `Adams` does not converge, and the order falls.

    Notes
    -----
    Differentiating through the result with torch's autograd, or with jax's for given steps of
    explicit methods, holds the steps constant: times and step sizes are Python floats, and nothing
    leaks through the controller. Given steps that jax traces are one ``jax.lax.scan``, unless `fun`
    reads its arguments, or the state is in half precision. Adaptive steps and Newton's method read
    values, which jax does not allow there. Through implicit steps only first derivatives are right.

    Examples
    --------
    >>> import numpy as np
    >>> solution = solve_ivp(lambda t, y: -y, (0, 1), np.ones(1), rtol=1e-8, atol=1e-10)
    >>> bool(abs(solution.y[-1, 0] - np.exp(-1)) < 1e-8), solution.status.name
    (True, 'SUCCESS')
    """
    with explaining_reads(y0, rtol, atol):
        refuse_unknown(unknown, tuple(solve_ivp.__kwdefaults__ or ()))
        _require_kinds(newton, y0, kernels, dense, norm, observe, check_finite, throw)
        problem = _problem(fun, y0, as_events(events), rtol, atol, norm, bool(dense))
        y, method = problem.y, as_method(method)
        require_attempts(max_steps)
        times, end = output_times(t_span, t_eval)
        chosen = require_one_way(steps, step_size, grid)
        _require_times(chosen, times, bool(problem.events or dense) or jump_at is not None)
        steering = {
            "rtol": problem.rtol,
            "atol": problem.atol,
            "controller": controller,
            "first_step": first_step,
            "min_step": min_step,
            "max_step": max_step,
        }
        control = None
        if chosen is None:
            if check_finite is not None:
                raise ValueError(
                    "`check_finite` has no effect in adaptive steps: they always check"
                )
            control = adaptive_steps(method, y, norm=problem.norm, **steering)
            stops = adaptive_stops(step_at, times[0], end)
        else:
            refuse_adaptive_options(**steering, norm=norm, step_at=step_at)
            if chosen == "grid":
                stops = grid_stops(grid, times[0], end, max_steps)
            else:
                stops = given_stops(times, step_size, steps, end, max_steps, t_eval is not None)
        stops, jumps_first = with_jumps(stops, jump_at, times[0], end, method, control is not None)
        report, done = reporter(progress, times[0], end)
        plan = Plan(
            problem.fun,
            step_of(method, y, newton, control),
            extension_of(method, interpolation, y),
            control or GivenSteps(),
            stops,
            outputs=times[1:] if chosen in (None, "grid") and t_eval is not None else (),  # passed
            every_step=t_eval is None,
            first_step=first_step,
            max_steps=max_steps,
            events=problem.events,
            dense=dense if callable(dense) else bool(dense),
            jump_at_start=jumps_first,
            report=report,
            kernels=kernels or scanned(method, y, stops if chosen else (), chosen == "grid"),
            **_observers(observe, problem.convert),
        )
        reads = control is not None or check_finite
        try:
            with explaining_calls(fun, "t", "y"):
                trajectory = march(plan, times[0], y, reads, problem.convert)
        finally:
            done()
        if throw:
            trajectory.raise_for_status()
        return trajectory


def _require_kinds(
    newton: Any,
    y0: Any,
    kernels: Any,
    dense: Any,
    norm: Any,
    observe: Any,
    check_finite: Any,
    throw: Any,
) -> None:
    require_flags(throw=throw, check_finite=False if check_finite is None else check_finite)
    require_kind("newton", newton, Newton, "a Newton, as in newton=Newton(jacobian=...)")
    if newton is not None and newton.samples and is_structured(y0):
        raise ValueError("Newton(samples=True) is for a state that is one array, got several")
    require_kind("kernels", kernels, Kernels, "a Kernels")
    require_flag("dense", dense, "dense(step)")
    require_callable("norm", norm, "norm(error), giving a number", 1)
    if not isinstance(observe, Accepted):  # which has looked itself
        require_callable("observe", observe, "observe(what, t, y, h)", 4)


def _observers(observe: Any, state: Callable[[Any], Any] | None) -> dict[str, Any]:
    """What the plan is to tell of its steps; of a structure, as the user's."""
    told = observe if isinstance(observe, Accepted) else Accepted(None, observe)
    take, look = told.take, told.observe
    if state is None:
        return {"accepted": take, "observe": look}
    return {
        "accepted": take and (lambda t, y, h, k: take(t, state(y), h, tuple(map(state, k)))),
        "observe": look and (lambda what, t, y, h: look(what, t, state(y), h)),
    }


def _require_times(chosen: str | None, times: list[Any], reads_times: bool) -> None:
    """Raise ValueError for times that can not be read, unless this way of steps reads none."""
    if not are_floats(times) and (chosen != "steps" or reads_times):
        raise ValueError(
            "adaptive steps, `grid`, events, dense output and jumps need times that can be read, "
            "got times on an accelerator: give `steps`, the number of steps between output times, "
            "or keep the times on the host"
        )


@dataclass(frozen=True)
class _Problem:
    """The problem as the loop sees it: one array for the state."""

    fun: Field
    y: Any
    events: tuple[Event, ...]
    rtol: Any
    atol: Any
    norm: Callable[[Any], Any] | None
    convert: Callable[[Any], Any] | None = None


def _problem(
    fun: Field, y0: Any, events: tuple[Event, ...], rtol: Any, atol: Any, norm: Any, keeps: bool
) -> _Problem:
    """Where steps are kept, from a copy of the state, into which the caller may go on to write."""
    if not is_structured(y0):
        y = as_state(y0, "y0")
        y = copied(y) if keeps else y
        return _Problem(refusing_reuse(fun, y), y, events, rtol, atol, norm)
    structure, y = Structure.of(y0)
    state = structure.state
    if not callable(fun):
        raise TypeError(f"`fun` must be callable as fun(t, y), got {type(fun).__name__}")

    def of_state(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda t, vector: function(t, state(vector))

    return _Problem(
        StructuredField(structure, fun),
        y,
        tuple(replace(event, function=of_state(event.function)) for event in events),
        structure.tolerance("rtol", rtol, y),
        structure.tolerance("atol", atol, y),
        structure.largest(root_mean_square) if norm is None else lambda v: norm(state(v)),
        state,
    )
