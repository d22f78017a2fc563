"""`odeint` in torchdiffeq's call form, differentiable through its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from odecore.solve import explaining_reads, solve_ivp
from torch_bridge._callbacks import observer_of, warn_uncalled
from torch_bridge._compiled import compilable, compiled_kernels
from torch_bridge._events import moved_to_event, until_event
from torch_bridge._fields import (
    Autocast,
    as_field,
    inside_transform,
    require_times,
    times_of,
)
from torch_bridge._jacobian import newton_of
from torch_bridge._kinds import require_flags
from torch_bridge._methods import Method, is_implicit, solver_of
from torch_bridge._once import IMPLICIT, first_only
from torch_bridge._one_solve import one_solve, untraced
from torch_bridge._scipy import scipy_solve
from torch_bridge._signature import check_function
from torch_bridge._solver import Solver
from torch_bridge._states import Layout, layout_of
from torch_bridge._straight import straight
from torch_bridge._times import only_output, shifted_outputs, shifted_start

__all__ = ["SCIPY_STEPS", "odeint", "odeint_event", "prepare"]

SCIPY_STEPS = "SciPy's solvers take steps of their own; choose another method"


@untraced
def odeint(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: Method = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    compile: bool = False,
) -> Any:
    """Integrate dy/dt = func(t, y) and return the states at the times t.

    Parameters
    ----------
    func : callable
        `func(t, y)` with t a 0-d tensor; returns a tensor of the shape and dtype of y, or a tuple
        of such. Its attributes `callback_step`, `callback_accept_step` and `callback_reject_step`,
        if it has them, are called with (t0, y0, dt).
    y0 : Tensor or tuple of Tensor
        Initial state, of any shape; the tensors of a tuple are on one device, and are promoted to
        one dtype.
    t : (n,) Tensor
        Strictly monotone times, of either direction; the first is that of `y0`. May require a
        gradient: the flow's, dL/dt_i from func(t_i, y_i).
    rtol, atol : float or Tensor, or a tuple of these for a tuple state, optional
        Tolerances of adaptive methods; fixed steps do not use them.
    method : str, ButcherTableau, Coefficients or Adams, optional
        Adaptive: "dopri5" (default), "dopri8", "tsit5", "bosh3", "fehlberg2", "adaptive_heun".
        Fixed steps: "euler", "midpoint", "heun2", "heun3", "rk4" (the 3/8 rule, as in torchdiffeq),
        "explicit_adams", "implicit_adams", "fixed_adams"; implicit ones "implicit_euler",
        "implicit_midpoint", "trapezoid", "radauIIA3", "radauIIA5", "gl4", "gl6", "sdirk2",
        "trbdf2". "scipy_solver", without gradients. Or another name of
        `odecore.tableaux.catalogue()`, a tableau, or a family at values; in fixed steps without an
        embedded error estimate or with one of the options that give steps.
    options : mapping, optional
        Adaptive: `norm`, `first_step`, `min_step`, `max_step`, `step_t`, `jump_t`, `safety`,
        `ifactor`, `dfactor`, or `controller` as in `odecore.solve.solve_ivp`; `dtype`, which must
        be torch.float64. Fixed steps: none, so that t is the grid; `step_size` or
        `grid_constructor(func, y0, t)`, with outputs between the steps by `interp`, "linear"
        (torchdiffeq's default, of second order only), "cubic" or "full"; or `steps`, equal ones
        between output times, which land on them, or a list with a number for each interval.
        `perturb` evaluates just beside the ends of other steps than `steps`; `check_finite`,
        whether to look for NaN in the result (default: on the CPU, where it is free). Implicit
        methods: `max_iters`; Adams: also `max_order` (12). All: `max_num_steps`, attempts in each
        interval of t; `norm`, which only adaptive steps use.
        "scipy_solver": `solver` and SciPy's `min_step`, `max_step`, `first_step`.
    event_fn : callable, optional
        `event_fn(t, y)`, a tensor: the solve ends where the first of its entries changes its sign.
        An entry that is NaN at the end of a step before that is a ValueError.
        t then holds two times, of which the second gives the direction only.
    compile : bool, optional
        Compile the steps of an explicit method with `torch.compile`, at the first call for a
        function and kind of state, which takes from seconds to a minute: adaptive solves without
        gradients as a whole, given steps several at once, others one at a time. Times, step sizes
        and tolerances may change from call to call. `func` must not change its own attributes; what
        can not be compiled runs without, after a CompileWarning. Steps that begin or end at a
        time of `jump_t`, and those with `perturb`, run without.

    Returns
    -------
    (n, ...) Tensor, or tuple of such
        States at the times t, in the dtype and device of `y0`; with `event_fn` the time of the
        event and the states at the start and there, with gradients for the time held as it is
        (`odeint_event` has those of the time, and of the state that moves with it).

    Raises
    ------
    ValueError, TypeError
        For input that breaks a rule above, unknown options included.
    odecore.errors.SolveError
        When the solve fails, a subclass for each cause, with the partial trajectory.

    Warns
    -----
    odecore.errors.UnconvergedCorrectorWarning
        Where the corrector of "implicit_adams" does not converge, and the order falls (CPU).
    odecore.errors.ToleranceWarning
        Where both tolerances are below the rounding of a state in half precision.
    odecore.errors.CallbackWarning, odecore.errors.CompileWarning
        Where callbacks of `func` can not be called, or it can not be compiled.

    Notes
    -----
    Gradients go through the steps, with their sizes held constant; second derivatives raise
    RuntimeError through steps of implicit Runge-Kutta methods. Those of the times are the flow's:
    first ones from autograd, up to fourth ones where torch.func nests its transformations. Outputs
    of adaptive methods come from dense output of the method's full order.

    torch.vmap maps over explicit methods in given steps. Steps of others (adaptive, implicit, with
    a corrector) are chosen by values of the state, which it hides: ValueError; `odeint_adjoint`
    solves each sample by itself there.

    On an accelerator a solve in fixed steps never waits for the device: times there are not read
    (nor checked to be monotone), unless a grid needs them.

    Examples
    --------
    >>> import torch
    >>> y = odeint(lambda t, y: -y, torch.ones(2), torch.tensor([0.0, 0.5, 1.0]))
    >>> y.shape
    torch.Size([3, 2])
    """
    if compile is True and event_fn is None:
        found = straight(func, y0, t, rtol, atol, method, options)
        if found is not None:
            return found
    problem = prepare(func, y0, t, rtol, atol, method, options, compile)
    with one_solve(), explaining_reads(problem.y0), problem.autocast.suspended():
        return problem.until(event_fn) if event_fn is not None else problem.outputs()


@dataclass(frozen=True)
class Prepared:
    """A problem and its solver, checked and in the words of `odecore.solve`."""

    func: Any
    given: Any
    t: Tensor
    layout: Layout
    y0: Tensor
    field: Callable[[Any, Any], Any]
    times: list[Any]
    solver: Solver
    autocast: Autocast

    @cached_property
    def grid(self) -> list[float] | None:
        """The ends of given steps, where the options determine them: asked for once."""
        return self.solver.grid(self.func, self.given, self.t, self.times)

    def arguments(self, interpolation: str = "full") -> dict[str, Any]:
        """Keyword arguments of `solve_ivp`, with an interpolation where the user chose none."""
        found = self.solver.arguments(self.times, self.grid, interpolation)
        return {**found, "observe": self.observer()}

    def panel_options(self) -> dict[str, Any]:
        """Keyword arguments of `odecore.adjoint.record_panels`."""
        found = self.solver.panel_options(self.times, self.grid, len(self.times) - 1)
        return {**found, "observe": self.observer()}

    def observer(self, suffix: str = "") -> Callable[[str, Any, Any, Any], None] | None:
        """The user's callbacks with this suffix, which get states as the user's."""
        found = observer_of(self.func, lambda _, y: self.layout.state(y), suffix)
        return found and self.autocast.restored(found)

    def outputs(self) -> Any:
        """Solve, and give the states at all times."""
        if len(self.times) == 1:
            return self.layout.state(only_output(self.y0, self.t))
        start = shifted_start(self.y0, self.t, self.field)
        if self.solver.method is None:
            warn_uncalled(self.func, "", SCIPY_STEPS, stacklevel=5)
            y = scipy_solve(self.field, start, self.times, self.solver.options)
        else:
            span, arguments = (self.times[0], self.times[-1]), self.arguments("linear")
            y = solve_ivp(self.field, span, start, t_eval=self.times, **arguments).y
            y = self.derived(y)
        return self.layout.state(shifted_outputs(y, self.y0, self.t, self.field))

    def until(self, event_fn: Callable[[Tensor, Any], Tensor]) -> tuple[Tensor, Any]:
        """Solve until an event."""
        check_function(event_fn, "event_fn")
        if len(self.times) != 2:
            raise ValueError(
                f"with `event_fn`, `t` must hold two times, the start and one in the direction to "
                f"go; got {len(self.times)}"
            )
        if self.times[0] == self.times[1]:
            raise ValueError(
                "with `event_fn`, the second time of `t` says the direction to go, and must not be "
                f"the first one, got {self.times}"
            )
        if self.solver.method is None:
            raise ValueError("SciPy's solvers do not look for events here; choose another method")
        start = shifted_start(self.y0, self.t, self.field)
        arguments = self.solver.arguments(self.times, None, "full")  # no grid to the end
        time, y = until_event(
            self.field,
            self.autocast.restored(self.layout.function(event_fn)),
            start,
            self.times,
            {**arguments, "observe": self.observer()},
            self.solver.step_size,
            self.solver.per_interval,
        )
        event_t = torch.tensor(time, dtype=self.t.dtype, device=self.t.device)
        return event_t, self.layout.state(torch.stack([self.y0, self.derived(y)]))

    def derived(self, y: Tensor) -> Tensor:
        """States whose second derivatives raise where they would be wrong."""
        return first_only(y, IMPLICIT) if is_implicit(self.solver.method) else y


def prepare(
    func: Any,
    y0: Any,
    t: Tensor,
    rtol: Any,
    atol: Any,
    method: Method,
    options: Any,
    compile: bool = False,
) -> Prepared:
    """Check the arguments that all solves share."""
    layout = layout_of(y0)
    vector = layout.vector(y0)
    autocast = Autocast.current(vector.device)
    field = as_field(func, vector, autocast, layout)
    require_times(t)
    solver = solver_of(
        method,
        options,
        layout.tolerance(rtol, "rtol", vector),
        layout.tolerance(atol, "atol", vector),
        partial(newton_of, field, vector, t),
    )
    if torch.compiler.is_exporting() and (solver.adaptive or is_implicit(solver.method)):
        raise ValueError(
            "torch.export records one path, and values of the state steer adaptive steps and the "
            "iterations of implicit methods: give `steps` and an explicit method"
        )
    user_norm = solver.options.get("norm")
    user_norm = user_norm and autocast.restored(user_norm)
    require_flags(compile=compile)
    if compile:
        method = compilable(solver.method)
        if vector.numel():  # an empty batch is solved as it is
            solver.options["kernels"] = compiled_kernels(func, method, layout, vector, user_norm)
    if solver.adaptive and solver.method is not None:
        norm = layout.norm(user_norm)
        if norm is not None:
            solver.options["norm"] = norm
    elif inside_transform():
        solver.options.setdefault("check_finite", False)
    times = times_of(t, vector, needed="steps" not in solver.options)
    return Prepared(func, y0, t, layout, vector, field, times, solver, autocast)


@untraced
def odeint_event(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Any], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Integrate until an event, with the gradient of its time.

    Parameters
    ----------
    func, y0
        As for `odeint`.
    t0 : 0-d Tensor
        The first time; may require a gradient.
    event_fn : callable
        `event_fn(t, y)`, a tensor of any number of entries; the solve ends where the first of them
        changes its sign. May depend on parameters.
    reverse_time : bool, optional
        Whether to go back in time.
    odeint_interface : callable, optional
        `odeint`, or another function of the same call form.
    **kwargs
        Further arguments of `odeint_interface`.

    Returns
    -------
    event_t : 0-d Tensor
    solution : (2, ...) Tensor, or tuple of such
        The states at the start and at the event.

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `odeint`; MaxStepsError where no event is found.

    Notes
    -----
    Gradients of the time and of the state at it are those of the implicit function theorem: the
    state moves along func as the event does. Second derivatives raise RuntimeError.

    An entry of `event_fn` that is zero at t0 is an event there, as in torchdiffeq, and the state at
    an event is off zero by rounding, to either side: a solve that goes on from it, as that of a
    bouncing ball, starts a little beyond, say 1e-6 above ground, or finds the same event again.
    """
    if not isinstance(t0, Tensor) or t0.numel() != 1:
        raise TypeError(f"`t0` must be a tensor with one time, got {t0!r}")
    check_function(event_fn, "event_fn")
    require_flags(reverse_time=reverse_time)
    first = t0.reshape(1)
    ahead = first.detach().abs().clamp(min=1.0)  # in any dtype another time
    t = torch.cat([first, first.detach() + (-ahead if reverse_time else ahead)])  # the direction
    layout = layout_of(y0)
    vector = layout.vector(y0)
    field = as_field(func, vector, layout=layout)
    with one_solve(), explaining_reads(vector):
        start = shifted_start(vector, first, field)
        event_t, solution = odeint_interface(
            func, layout.state(start), t.detach(), event_fn=event_fn, **kwargs
        )
        end = layout.vector(layout.at(solution, -1))
        event_t, end = moved_to_event(field, layout.function(event_fn), event_t.detach(), end)
    return event_t, layout.state(torch.stack([vector, end]))
