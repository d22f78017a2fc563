"""Solves with more than states at given times: dense output, the full `Trajectory`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from odecore.solve import Newton, Trajectory, as_events, explaining_reads, solve_ivp
from torch_bridge._fields import Autocast, as_field, read_times
from torch_bridge._jacobian import newton_of, require_seen
from torch_bridge._methods import Method, is_implicit
from torch_bridge._numbers import is_number
from torch_bridge._odeint import prepare
from torch_bridge._once import IMPLICIT, first_only
from torch_bridge._one_solve import one_solve, untraced
from torch_bridge._states import Layout, layout_of
from torch_bridge._times import shifted, shifted_start

__all__ = ["odeint_dense", "solve"]


@untraced
def odeint_dense(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t0: Any,
    t1: Any,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: Method = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[[Any], Any]:
    """Integrate from t0 to t1 and return the solution as a function of time.

    Parameters
    ----------
    func, y0, rtol, atol, method, options
        As for `odeint`.
    t0, t1 : float or Tensor
        First and last time. The first may require a gradient, the flow's.

    Returns
    -------
    callable
        From a time, or from a tensor of times (n,), to the state there or to states (n, ...), of
        the method's full order and with gradients through the steps. Times that require a gradient
        get the flow's. Outside of [t0, t1] it raises ValueError.

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `odeint`.
    """
    numbers = [_number("t0", t0), _number("t1", t1)]
    ends = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    problem = prepare(func, y0, ends, rtol, atol, method, options)
    if problem.solver.method is None:
        raise ValueError("SciPy's solvers have no dense output here; choose another method")
    arguments = problem.arguments()
    with one_solve(), explaining_reads(problem.y0), problem.autocast.suspended():
        start = problem.y0
        if isinstance(t0, Tensor):
            start = shifted_start(start, t0.reshape(1), problem.field)
        found = solve_ivp(problem.field, problem.times, start, dense=True, **arguments)

    def solution(t: Any) -> Any:
        times = read_times(t) if isinstance(t, Tensor) else t
        with Autocast.current(problem.y0.device).suspended():
            y = problem.derived(found(times))
        if isinstance(t, Tensor):
            y = shifted(y, t, problem.field)
        return problem.layout.state(y)

    return solution


def _number(label: str, t: Any) -> float:
    """A time, also below the transformations of torch.func."""
    if isinstance(t, Tensor) and t.numel() == 1:
        return float(read_times(t.reshape(1))[0])
    if isinstance(t, Tensor) or not is_number(t):
        found = f"a tensor of shape {tuple(t.shape)}" if isinstance(t, Tensor) else repr(t)
        raise TypeError(f"`{label}` must be one time, got {found}")
    try:
        return float(t)
    except OverflowError as error:
        raise ValueError(f"`{label}` must be finite, got an int above all floats") from error


@untraced
def solve(
    func: Callable[[Tensor, Any], Any], t_span: Sequence[Any], y0: Any, /, **options: Any
) -> Trajectory:
    """`odecore.solve.solve_ivp` for a torch right-hand side, with the full Trajectory.

    Parameters
    ----------
    func : callable
        `func(t, y)` with t a 0-d tensor, and y a tensor or a tuple of tensors.
    t_span : (2,) sequence
        First and last time; times are read, and get no gradients here.
    y0 : Tensor or tuple of Tensor
    **options
        All those of `solve_ivp`: `method`, `t_eval`, `events`, `dense`, ... Implicit methods take
        their Jacobian from autograd.

    Returns
    -------
    odecore.solve.Trajectory
        States, status, statistics, events and dense output; tuples where `y0` is one.

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `solve_ivp`.

    Examples
    --------
    >>> import torch
    >>> found = solve(lambda t, y: -y, (0, 1), torch.ones(2), rtol=1e-6)
    >>> found.status.name, found.y[-1].shape
    ('SUCCESS', torch.Size([2]))
    """
    layout = layout_of(y0)
    vector = layout.vector(y0)
    autocast = Autocast.current(vector.device)
    field = _Field(func, vector, autocast, layout)
    options["events"] = tuple(
        replace(event, function=autocast.restored(_with_tensors(event.function, vector)))
        for event in as_events(options.get("events"))
    )
    for name in ("dense", "norm", "observe"):
        if callable(options.get(name)):
            options[name] = autocast.restored(options[name])
    method = options.get("method", "dopri5")
    implicit = is_implicit(method)
    if implicit:
        own = newton_of(field, vector, t_span)
        newton = options.setdefault("newton", own)
        require_seen(newton)
        if isinstance(newton, Newton) and newton.differentiate is None:
            options["newton"] = replace(newton, differentiate=own.differentiate)
    with one_solve(), explaining_reads(vector), autocast.suspended():
        fun = field if layout.shapes is None else partial(_on_parts, field, layout)
        found = solve_ivp(fun, t_span, y0, **options)
    if not implicit:
        return found
    y = found.y
    y = _first(y) if layout.shapes is None else layout.rebuilt(map(_first, y))
    return replace(found, y=y)


class _Field:
    """The user's function as the core sees it; steps that dense output makes again pickle it."""

    refuses_reuse = True

    def __init__(
        self, func: Callable[..., Any], like: Tensor, autocast: Autocast, layout: Layout
    ) -> None:
        self._made = func, like.detach().new_empty(0), autocast, layout
        self._field = as_field(func, like, autocast, layout)

    def __call__(self, t: Any, y: Tensor) -> Any:
        return self._field(t, y)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Field, self._made


def _on_parts(field: _Field, layout: Layout, t: Any, y: Any) -> Any:
    return layout.state(field(t, layout.vector(y)))


def _first(y: Tensor) -> Tensor:
    return first_only(y, IMPLICIT)


def _with_tensors(function: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """A function that gets its time as func does, as a 0-d tensor."""
    dtype, device = like.dtype.to_real(), like.device
    return lambda t, y: function(torch.as_tensor(t, dtype=dtype, device=device), y)
