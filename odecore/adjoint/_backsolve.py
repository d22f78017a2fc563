"""The reversed adjoint: state, adjoint and gradient integrated backwards together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

from odecore._array import largest, namespace
from odecore._step_counts import require_one_way
from odecore._times import read_times, require_monotone
from odecore.adjoint._backward_options import require_backward_options
from odecore.adjoint._drift import Watch
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize, checked
from odecore.adjoint._quadrature import norm_of
from odecore.adjoint._step_ends import ends_between, landing_grid, most_steps
from odecore.adjoint._sweep import product
from odecore.adjoint._unit import in_their_unit, observing
from odecore.errors import DriftError, SolveError
from odecore.solve import Statistics, solve_ivp

__all__ = ["backsolve"]


def backsolve(
    linearize: Linearize,
    times: Sequence[float],
    states: Any,
    cotangents: Sequence[Any],
    /,
    *,
    parameters: Sequence[Any] = (),
    seminorm: bool = False,
    norm: Callable[[Any], Any] | None = None,
    steps: int | Sequence[int] | None = None,
    step_size: float | None = None,
    grid: Sequence[float] | None = None,
    **options: Any,
) -> Gradients:
    """Integrate y, a and the gradient of the parameters backwards as one ODE: the baseline.

    Parameters
    ----------
    linearize : callable
        As for `restored`.
    times : (n,) sequence of float
        Output times.
    states : (n, ...) array or sequence of arrays
        The states there; y starts from them in each interval.
    cotangents : sequence of arrays
        dL/dy at each output time, the initial one included.
    parameters : sequence of arrays, optional
        The parameters, for the shapes and dtypes of their gradients; of the device of the state.
    seminorm : bool, optional
        Whether the error of the gradient of the parameters is left out of the step control, which
        it never feeds back into (Kidger, Chen, Lyons, "Hey, that's not an ODE", 2021).
    norm : callable, optional
        From the tuple (y, a, gradients...) of errors in units of the tolerance to a number; by
        default the largest root mean square of these.
    steps : int or sequence of int, optional
        Equal steps in each interval, or for each of them, in forward order.
    step_size : float, optional
        The largest of equal steps.
    grid : sequence of float, optional
        The ends of the steps in all intervals, to which the output times are added.
    **options
        Further options of `solve_ivp`, but for events, dense output, `t_eval` and `throw`. An
        `observe` gets the tuple (y, a, gradients...), as they are; gradients of real parameters of
        a complex state are the real parts.

    Returns
    -------
    Gradients
        `tail` is 0: nothing is interpolated.

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two times, or not one state and cotangent for each, like each other,
        or both norms are given.
    SolveError
        If a backward solve fails: DriftError where y has left the trajectory and its steps get ever
        smaller.

    Notes
    -----
    The reverse dynamic method of arXiv 2003.05271, and what torchdiffeq's `odeint_adjoint` and
    diffrax's `BacksolveAdjoint` do. Where the flow contracts, y is unstable backwards: its error
    grows by up to exp(L T), and no tolerance of the step control sees it. `restored` has none of
    this; this one is here to compare with.

    As in `restored`, a is solved for in the unit of the largest entry of all cotangents, and so is
    the gradient of the parameters: the absolute tolerance is relative to that entry.
    """
    require_backward_options(options, seminorm=seminorm)
    states = _listed(states)
    times = read_times(times, "times")
    if len(times) < 2 or len(times) != len(states):
        raise ValueError(
            "give one state for each of at least 2 times, got "
            f"{len(times)} times and {len(states)} states"
        )
    require_monotone(times)
    require_one_way(steps, step_size, grid)

    linearize = checked(linearize)
    field = _augmented(linearize, parameters)

    def of_state(t: Any, y: Any) -> Any:
        return linearize(t, y)[0]

    xp = namespace(states[0])
    adaptive = steps is None and step_size is None and grid is None
    if isinstance(steps, Sequence):
        grid, steps = landing_grid(times, steps, step_size, most_steps(options)), None
    if seminorm:
        if norm is not None:
            raise ValueError("`seminorm` is a norm: give it or `norm`, not both")
        norm = _of_state_and_adjoint
    options = {"steps": steps, "step_size": step_size, "norm": norm, **options}
    between = None if grid is None else ends_between(grid, options.get("jump_at") or ())

    def solve(cotangents: Sequence[Any], whole: Any) -> Gradients:
        a = cotangents[-1]

        def as_they_are(state: Any) -> Any:
            y, a, *sums = state
            return y, *map(whole, (a, *map(_like, sums, parameters)))

        observed = observing(options, as_they_are)
        total = tuple(xp.astype(x * 0, a.dtype) for x in parameters)
        slopes, statistics = [], Statistics()
        for i in reversed(range(1, len(times))):
            slopes.append(product(cotangents[i], linearize(times[i], states[i])[0], xp))
            span, start = (times[i], times[i - 1]), (states[i], a, *total)
            ends = None if between is None else between(*span)
            watch = Watch(of_state, span, (states[i], states[i - 1]), observed)
            watched = {**observed, "observe": watch} if adaptive else observed
            with _backwards():
                found = solve_ivp(field, span, start, t_eval=span, grid=ends, **watched)
            statistics = statistics + Statistics(watch.evaluations)
            _, a, *sums = (leaf[-1, ...] for leaf in found.y)
            total = tuple(sums)
            statistics = statistics + found.statistics + Statistics(evaluations=1)
            if i == 1:
                slopes.append(-product(a, linearize(times[0], states[0])[0], xp))
            a = a + cotangents[i - 1]
        statistics = statistics + Statistics(evaluations=1)
        total = tuple(map(_like, total, parameters))
        none = xp.sum(xp.abs(a) * 0)
        return Gradients(a, total, none, statistics, tuple(reversed(slopes)))

    return in_their_unit(solve, cotangents, len(times), states[0])


@contextmanager
def _backwards() -> Iterator[None]:
    """Say of a solve that fails inside that it is a backward one."""
    try:
        yield
    except SolveError as error:
        if not isinstance(error, DriftError):
            error.add_note(
                "this was the backward solve of the reversed adjoint, in which the state, too, is "
                "solved for and may run away: take another adjoint, or add output times, at which "
                "the state starts again"
            )
        raise


def _listed(states: Any) -> Sequence[Any]:
    """States as a sequence of arrays."""
    if len(getattr(states, "shape", ())):
        return [states[i, ...] for i in range(states.shape[0])]
    if not isinstance(states, Sequence):
        raise TypeError(f"`states` must be an array (n, ...) or a sequence of arrays, got {states}")
    return states


def _augmented(linearize: Linearize, parameters: Sequence[Any]) -> Callable[[Any, Any], Any]:
    """The right-hand side of y, a and the gradients of the parameters."""
    if not isinstance(parameters, Sequence) or not all(hasattr(x, "shape") for x in parameters):
        raise TypeError(
            "`parameters` must be a sequence of arrays, for the shapes of their gradients, got "
            f"{parameters!r}; put a single array into a tuple, (array,)"
        )
    shapes = [tuple(x.shape) for x in parameters]

    def field(t: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        y, a, *_ = state
        value, pull = linearize(t, y)
        moved, terms = pull(a, bool(parameters))
        if parameters and (found := [tuple(x.shape) for x in terms]) != shapes:
            raise ValueError(
                "`pull(a, parameters)[1]` must hold an array for each of `parameters`, of shapes "
                f"{shapes}, got {found}"
            )
        xp = namespace(y)
        return (value, -moved, *(-xp.astype(term, y.dtype) for term in terms))

    return field


def _of_state_and_adjoint(state: tuple[Any, ...]) -> Any:
    """The larger root mean square of the first two parts; 0 where they are empty."""
    xp = namespace(state[0])
    return largest(norm_of([part], xp) / max(1, prod(part.shape)) ** 0.5 for part in state[:2])


def _like(x: Any, parameter: Any) -> Any:
    """A gradient in the dtype of its parameter."""
    xp = namespace(x)
    real = not xp.isdtype(parameter.dtype, "complex floating")
    if real and xp.isdtype(x.dtype, "complex floating"):
        x = xp.real(x)
    return xp.astype(x, parameter.dtype)
