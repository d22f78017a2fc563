"""`odeint_adjoint`: adjoints as a torch Function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from odecore.adjoint import Gradients, budget
from torch_bridge._adjoint_choice import default_adjoint
from torch_bridge._adjoint_kind import adjoint_kind
from torch_bridge._adjoint_refusals import (
    refuse_unused,
)
from torch_bridge._adjoint_setting import Setting
from torch_bridge._backward_solver import backward_solver, without_norm
from torch_bridge._captured import FieldLater, give_shapes, parameters_of
from torch_bridge._certifier import Certifier
from torch_bridge._events import solved_again
from torch_bridge._fields import Autocast, inside_torch_func, inside_transform, is_batched
from torch_bridge._methods import Method, is_implicit
from torch_bridge._odeint import Prepared, odeint, prepare
from torch_bridge._once import once_only
from torch_bridge._one_solve import one_solve, untraced
from torch_bridge._restored_adjoint import Restored
from torch_bridge._step_adjoints import Discrete, Reversed
from torch_bridge._straight import straight
from torch_bridge._times import only_output, shifted_outputs, shifted_start
from torch_bridge._transformed import NO_FORWARD_MODE, NO_SECOND_DERIVATIVE, transformed
from torch_bridge._unknown_options import require_choice

__all__ = ["ADJOINTS", "odeint_adjoint"]

ADJOINTS = ("restored", "reversed", "discrete")

NO_BATCHES = (
    "the adjoint is solved for one gradient at a time, not for a batch, as `is_grads_batched` and "
    "`vectorize` ask for: use torch.func.jacrev, leave them out, or take adjoint='discrete' with "
    "an explicit method"
)


@untraced
def odeint_adjoint(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: float = 1e-7,
    atol: float | Tensor = 1e-9,
    method: Method = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: float | None = None,
    adjoint_atol: float | Tensor | None = None,
    adjoint_method: Method = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
    nodes: int | None = None,
    memory: float | None = None,
    adjoint: str | None = None,
    certificate: Certifier | float | bool | None = None,
    compile: bool = False,
) -> Any:
    """Like `odeint`, with gradients by an adjoint: memory does not grow with the steps.

    Parameters
    ----------
    func, y0, t, rtol, atol, method, options, event_fn
        As for `odeint`.
    adjoint_rtol, adjoint_atol : optional
        Tolerances of the backward solve; by default those of the forward solve. The absolute one
        is relative to the largest entry of dL/dy, over all times, so that the size of the loss
        does not matter.
    adjoint_method : str, ButcherTableau or Coefficients, optional
        "collocation" solves the adjoint equation at all nodes of a panel at once, by evaluating
        func there in one batch (torch.vmap where it can), instead of stepping through it; it is
        the default of adaptive solves on the CPU for states of up to 16 KiB, times the number of
        output times in a panel, and of methods that evaluate outside their steps. A method as for
        `odeint` makes steps; the default of larger states, where these are faster and keep less, of
        fixed steps, on other devices, and with `adjoint_options`, is `method`.
    adjoint_options : mapping, optional
        Options of the steps; by default those of the forward solve.
    adjoint_params : iterable of Tensor, optional
        Tensors that receive a gradient; by default `func.parameters()`, for a Module. Those that
        do not require a gradient are dropped; `()` means none. A tensor that is computed from a
        parameter outside of `func` is listed itself, not the parameter.
    nodes : int, optional
        Chebyshev points stored in each interval between output times, at least 2. By default on
        the CPU as many as the tolerance asks for, or as resolve what fixed steps do, in panels if
        need be; otherwise 17.
    memory : int or infinity, optional
        A budget in bytes for the backward pass: for the states at the nodes, of which there are
        fewer if need be, and for what func saves at nodes that are evaluated together. Where that
        is beyond the budget, the adjoint equation is stepped through. By default nodes of states
        above 16 KiB are evaluated in groups of about 1 MiB. A certificate evaluates all nodes of a
        panel together in any case.
    adjoint : {"restored", "reversed", "discrete"}, optional
        "restored": the state comes from an interpolant of the forward solve. "reversed": it is
        integrated backwards, as in torchdiffeq, which drifts, and raises DriftError where it runs
        away; `adjoint_options` takes {"norm": "seminorm"}. "discrete": the exact transpose of the
        steps of a Runge-Kutta method, made again from checkpoints; they land on the output times,
        and `memory` is for states between them, and implicit stages. Outputs inside fixed steps
        have `interp` in "reversed" alone, and full order in "restored". By default "restored";
        "discrete", where no option is for another adjoint, of fixed steps that end at all outputs:
        implicit ones, up to 64 or 4 for each interval, or of 32 entries; and of adaptive implicit
        ones that damp what is stiff (not kvaerno43). Compiled, also of others of a Module, adaptive
        ones in up to 8 intervals.
    certificate : Certifier, float or bool, optional
        Estimate the relative error of the gradient in the backward pass, and warn where it is above
        the limit given, or, for True, above 100 rtol; see `Certifier`.
    compile : bool, optional
        Compile the forward steps, as `odeint` does, and the backward pass: the transposes of steps
        ("discrete"; of a Module with its own parameters, without `jump_t`, while their states are
        at most 64, or 64 MiB, or `memory`), or the collocated adjoint as a whole ("restored"). The
        first calls take up to a minute, for the latter for each number of nodes that the trajectory
        asks for (9, 17, 33). What can not be compiled runs without, after a CompileWarning; so,
        without, does of the restored adjoint what is faster: forward, given steps; backward, all
        steps, as through states above 64 KiB.

    Returns
    -------
    (n, ...) Tensor

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `odeint`. ValueError also where `func` is no Module and `adjoint_params` is missing;
        where the method's own coefficients require a gradient, which an adjoint of the flow does
        not have; and where `func` uses a tensor that requires a gradient and is not among the
        parameters: in the backward pass, or, where nothing else requires one, after the solve.
    odecore.errors.ChangedTensorError
        In the backward pass, where a tensor that `func` reads was changed or replaced meanwhile.

    Warns
    -----
    odecore.errors.CallbackWarning
        Where `func` has callbacks that will not be called.
    odecore.errors.RightHandSideWarning
        In the backward pass, where `func` draws other random numbers than in the forward pass.
    odecore.errors.UnresolvedInterpolantWarning
        On the CPU, where the Chebyshev coefficients of the trajectory, or in the backward pass of
        the adjoint or of the integrand of the parameters' gradient, have not decayed to ten times
        rtol (in fixed steps, to 1e-3): the gradient is then no better than that. More nodes, or
        more output times, resolve it.

    Notes
    -----
    The state in the backward pass is the barycentric interpolant of the stored states, not a
    backward integration as in torchdiffeq, and the gradient of the parameters is a quadrature, not
    a part of the ODE state; see `odecore.adjoint.restored`. Differentiating twice is refused. Where
    nothing requires a gradient, as under torch.no_grad, no states are stored.

    The backward pass evaluates `func` again, with its modules in the mode, training or evaluation,
    of the forward pass, and what requires a gradient as there. Of modules and changed tensors those
    are noticed that `func` holds, closes over or names; what it reaches otherwise, attributes bound
    to other tensors, and values written through `.data` are not. Nor are draws from other random
    generators than torch's global ones. Lazy parameters get their shapes first, by one more
    evaluation, as by a dry run of torch's.

    With `event_fn` the event is found first, and the solve is made again up to it: twice the
    evaluations, and the memory of an adjoint. Gradients of the state are those for the time held as
    it is; one of the time raises RuntimeError (torchdiffeq's is zero), and
    `odeint_event(odeint_interface=odeint_adjoint)` has both.

    `callback_step_adjoint`, `callback_accept_step_adjoint` and `callback_reject_step_adjoint` of
    `func` are called in the backward solve with (t, state, dt), t in the direction of the forward
    solve. With "restored" the state is dL/dy, in the structure of y; with "reversed" it is
    torchdiffeq's ``(vjp_t, y, adj_y, *params)``, where y and adj_y of a tuple are vectors, and
    vjp_t is 0 unless `t` requires a gradient. "discrete" and `adjoint_method="collocation"` have
    no such steps, and warn.

    Under torch.func (grad, vmap, jacrev) the parameters are those of `func`, a Module; vmap solves
    one sample after another, each with steps of its own, for the same `t`. Forward mode is refused.
    """
    if adjoint is not None:
        require_choice("adjoint", adjoint, ADJOINTS)
    given = {
        "adjoint_rtol": adjoint_rtol,
        "adjoint_atol": adjoint_atol,
        "adjoint_method": adjoint_method,
        "adjoint_options": adjoint_options,
    }
    forward = {"rtol": rtol, "atol": atol, "method": method, "options": options}
    others = (*given.values(), adjoint_params, nodes, memory, certificate, event_fn)
    by_default = adjoint in (None, "discrete") and all(x is None for x in others)
    if compile is True and by_default and isinstance(func, nn.Module):  # the adjoint is "discrete"
        found = straight(func, y0, t, **forward, records=True)
        if found is not None:
            return found
    if event_fn is not None:
        solve = partial(
            odeint_adjoint, adjoint_params=adjoint_params, nodes=nodes, memory=memory,
            adjoint=adjoint, certificate=certificate, compile=compile, **forward, **given,
        )  # fmt: skip
        with one_solve():
            return solved_again(partial(odeint, **forward), solve, func, y0, t, event_fn)
    refuse_unused(adjoint or "restored", given, nodes, memory, compile)
    memory, certifier = budget(memory), Certifier.of(certificate)
    of_restored = (*given.values(), nodes, certifier)

    def make(func: Any, y0: Any, t: Tensor, parameters: Iterable[Tensor] | None) -> Any:
        problem = prepare(func, y0, t, rtol, atol, method, options, compile)
        setting = _setting(problem, method, options, (rtol, atol), parameters, given)
        compiles = compile and problem.y0.numel() > 0
        chosen = adjoint or default_adjoint(problem, of_restored, compiles, memory)
        return adjoint_kind(setting, chosen, given, nodes, memory, certifier, compiles)

    if inside_torch_func():
        with one_solve():
            pulled = partial(_gradients, certifier)
            return transformed(make, pulled, func, y0, t, adjoint_params)
    kind: Restored | Reversed | Discrete = make(func, y0, t, adjoint_params)
    setting, problem = kind.setting, kind.setting.problem
    if len(problem.times) == 1:
        return problem.layout.state(only_output(problem.y0, t))
    # The pass ends when all that the solve moves is moved.
    with setting.forward_pass(), problem.autocast.suspended(), one_solve():
        start = shifted_start(problem.y0, t, problem.field)
        if isinstance(kind, Restored) and kind.is_needless(start):
            y = kind.outputs(start)
        else:
            y, _, *saved = _Solve.apply(kind, certifier, start, *setting.parameters)
        if adjoint_params is None and torch.is_grad_enabled() and not y.requires_grad:
            setting.refuse_lost(y)
        if y.requires_grad and y.device.type == "cpu" and not inside_transform():
            kind.warn_of_trajectory([x.detach() for x in saved])
        return problem.layout.state(shifted_outputs(y, problem.y0, t, problem.field))


class _Solve(torch.autograd.Function):
    """Forward: solve and save; the second output is empty, and depends on all inputs, as y does."""

    @staticmethod
    def forward(
        kind: Any, certifier: Certifier | None, y0: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        # Nothing is recorded here; func may use forward mode, which Functions switch off.
        with forward_ad._set_fwd_grad_enabled(True):
            y, *saved = kind.record(y0.detach())
        return y, y.new_empty(0), *saved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.kind, ctx.certifier, _, *parameters = inputs
        ctx.adjoint_options = ctx.kind.setting.adjoint_options  # users replace its norm
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(*output[1:], *parameters)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor, *_: Any) -> tuple[Any, ...]:
        kind, setting = ctx.kind, ctx.kind.setting
        explicit = isinstance(kind, Discrete) and not is_implicit(setting.problem.solver.method)
        if is_batched(y_grad) and not explicit:
            raise RuntimeError(NO_BATCHES)
        empty, *tensors = ctx.saved_tensors  # unpacking also checks that nothing was overwritten
        saved = tensors[: len(tensors) - len(setting.parameters)]
        found = _gradients(ctx.certifier, kind, saved, y_grad, ctx.needs_input_grad[2:])
        gradients, depends_on = (found.y0, *found.parameters), (empty, y_grad)
        return None, None, *(once_only(g, depends_on, NO_SECOND_DERIVATIVE) for g in gradients)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> tuple[Tensor, ...]:
        raise NotImplementedError(NO_FORWARD_MODE)


def _gradients(
    certifier: Certifier | None,
    kind: Any,
    saved: Sequence[Tensor],
    y_grad: Tensor,
    asked: Sequence[bool],
) -> Gradients:
    """Solve backward, and look how good that is."""
    setting, cotangents = kind.setting, list(y_grad.unbind())
    autocast = Autocast.current(y_grad.device)
    with torch.no_grad(), autocast.suspended(), one_solve(), setting.backward_pass():
        found: Gradients = kind.gradients(saved, cotangents)
        if y_grad.device.type == "cpu":
            kind.warn_of_gradients(found)
        if certifier is not None:
            found = certifier.checked(
                found, setting.products(saved[0]).nodes, lambda: kind.panels(saved),
                cotangents, setting.problem.solver.tolerance,
                {
                    **setting.accuracy, **setting.implicit_steps, "asked": asked,
                    "parameters": setting.parameters, "rounding": setting.problem.autocast.rounding,
                },
            )  # fmt: skip
    return found


def _setting(
    problem: Prepared,
    method: Method,
    options: Mapping[str, Any] | None,
    tolerances: tuple[Any, Any],
    adjoint_params: Iterable[Tensor] | None,
    given: Mapping[str, Any],
) -> Setting:
    """The backward solver and the parameters."""
    backward, accuracy = backward_solver(problem, method, options, tolerances, **given)
    parameters = parameters_of(problem.func, adjoint_params)
    give_shapes(problem.func, parameters, partial(problem.field, problem.times[0], problem.y0))
    later = FieldLater.of(problem.func, problem.layout, problem.autocast)
    own = given["adjoint_options"]
    backward_options = without_norm(options) if own is None else dict(own)
    return Setting(
        problem, later, backward, accuracy, parameters, backward_options, own is not None
    )
