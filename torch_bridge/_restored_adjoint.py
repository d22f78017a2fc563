"""`odeint_adjoint`: the restored adjoint as a torch Function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from odecore.adjoint import Panel, record_panels, restored
from odecore.errors import UnresolvedInterpolantWarning
from odecore.interpolation import coefficient_tail
from odecore.tableaux import Coefficients
from torch_bridge._callbacks import observer_of
from torch_bridge._fields import Autocast, as_field, inside_torch_func, inside_transform
from torch_bridge._jacobian import newton_of
from torch_bridge._methods import Method, Solver, solver_of
from torch_bridge._odeint import Prepared, odeint, prepare
from torch_bridge._once import once_only
from torch_bridge._products import Products
from torch_bridge._states import Layout
from torch_bridge._times import shifted_outputs, shifted_start

__all__ = ["odeint_adjoint"]

NO_SECOND_DERIVATIVE = (
    "a gradient from the restored adjoint can not be differentiated again; use `odeint`, whose "
    "steps can be differentiated any number of times"
)


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
    nodes: int = 17,
) -> Any:
    """Like `odeint`, with gradients from the restored adjoint: memory does not grow with steps.

    Parameters
    ----------
    func, y0, t, rtol, atol, method, options, event_fn
        As for `odeint`.
    adjoint_rtol, adjoint_atol, adjoint_method, adjoint_options : optional
        The same for the backward solve; by default those of the forward solve.
    adjoint_params : iterable of Tensor, optional
        Tensors that receive a gradient; by default `func.parameters()`, for a Module. Those that
        do not require a gradient are dropped; `()` means none. A tensor that is computed from a
        parameter outside of `func` is listed itself, not the parameter.
    nodes : int, optional
        Chebyshev points stored in each interval between output times, at least 2. The forward
        solve lands on them. Memory: nodes times the state for each interval.

    Returns
    -------
    (n, ...) Tensor

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `odeint`. ValueError also where `func` is no Module and `adjoint_params` is missing;
        where the method's own coefficients require a gradient, which an adjoint of the flow does
        not have; and, in the backward pass, where `func` uses a tensor that requires a gradient
        and is not among the parameters. RuntimeError under torch.func.

    Warns
    -----
    odecore.errors.UnresolvedInterpolantWarning
        On the CPU, where the Chebyshev coefficients of the trajectory, or in the backward pass of
        the adjoint or of the integrand of the parameters' gradient, have not decayed to ten times
        rtol (in fixed steps, to 1e-3): the gradient is then no better than that. More nodes, or
        more output times, resolve it.

    Notes
    -----
    The state in the backward pass is the barycentric interpolant of the stored states, not a
    backward integration as in torchdiffeq, and the gradient of the parameters is a quadrature, not
    a part of the ODE state; see `odecore.adjoint.restored`. Differentiating twice is refused.
    """
    if event_fn is not None:
        # Memory grows with the steps up to the event, which is not known before.
        return odeint(
            func, y0, t, rtol=rtol, atol=atol, method=method, options=options, event_fn=event_fn
        )
    if inside_torch_func():
        raise RuntimeError(
            "the restored adjoint does not run under torch.func; use `odeint`, whose steps do"
        )
    if adjoint_method not in (None, method) and options and adjoint_options is None:
        raise ValueError(
            "`adjoint_method` is given, so `options` may not fit the backward solve; give "
            "`adjoint_options` too"
        )
    problem = prepare(func, y0, t, rtol, atol, method, options)
    if adjoint_options is None:
        adjoint_options = {k: v for k, v in (options or {}).items() if k != "norm"}
    chosen = method if adjoint_method is None else adjoint_method
    backward = solver_of(
        chosen,
        {k: v for k, v in adjoint_options.items() if k != "norm"},
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        newton_of(problem.field),
    )
    _require_methods(problem.solver, backward)
    parameters = _parameters(func, adjoint_params)
    if len(problem.times) == 1:
        return problem.layout.state(problem.y0[None])
    autocast = Autocast.current(problem.y0.device)
    start = shifted_start(problem.y0, t, problem.field)
    solve = _Solve(
        problem,
        _later(func, problem.layout, autocast),
        nodes,
        backward,
        parameters,
        _rounding(problem.y0, autocast),
        dict(adjoint_options),
    )
    with autocast.suspended():
        y, node_values = _RestoredSolve.apply(solve, start, *parameters)
        if node_values.device.type == "cpu" and not inside_transform():
            panels = solve.panels(node_values.detach())
            solve.warn(max(float(coefficient_tail(panel.values)) for panel in panels))
    return problem.layout.state(shifted_outputs(y, problem.y0, t, problem.field))


@dataclass(frozen=True)
class _Solve:
    """What a backward pass must know besides its saved tensors.

    `field_later`, called in the backward pass, gives the field that `field` was in the forward one.
    """

    problem: Prepared
    field_later: Callable[[Tensor], Callable[[Any, Any], Any]]
    nodes: int
    backward: Solver
    parameters: tuple[Tensor, ...]
    rounding: float
    adjoint_options: dict[str, Any]

    def backward_options(self, norm: Any) -> dict[str, Any]:
        """Keyword arguments of `odecore.adjoint.restored`, with the norm that is wanted now."""
        problem = self.problem
        grid = self.backward.grid(problem.func, problem.given, problem.t, problem.times)
        found = self.backward.panel_options(problem.times, grid)
        if self.backward.perturb:
            found["jump_at"] = problem.times
        if "grid" in found:  # as many steps in each panel, for they are taken one by one
            found["steps"] = ceil((len(found.pop("grid")) - 1) / (len(problem.times) - 1))
        observe = observer_of(self.problem.func, self.problem.layout, "_adjoint")
        found["observe"] = observe
        if norm is None or norm == "seminorm" or not self.backward.adaptive:
            return found
        state, zeros = self.problem.layout.state, [torch.zeros_like(p) for p in self.parameters]

        def of_adjoint(a: Tensor) -> Any:
            parts = state(torch.zeros_like(a)), state(a)
            if self.problem.layout.shapes is None:
                return norm((a.new_zeros(()), *parts, *zeros))
            return norm((a.new_zeros(()), *parts[0], *parts[1], *zeros))

        return {**found, "norm": of_adjoint}

    def panels(self, node_values: Tensor) -> list[Panel]:
        """Cut the states at all nodes into the intervals between output times."""
        last = self.nodes - 1
        return [
            Panel(a, b, node_values[last * i : last * (i + 1) + 1])
            for i, (a, b) in enumerate(pairwise(self.problem.times))
        ]

    def warn(self, tail: float, where: str = "trajectory") -> None:
        """Warn if the last Chebyshev coefficients are not small."""
        limit = max(10 * self.problem.solver.tolerance, self.rounding)
        if tail > limit:
            warnings.warn(
                f"{self.nodes} nodes do not resolve the {where}: its last Chebyshev coefficients "
                f"are about {tail:.0e} of the largest, above {limit:.0e}, and the gradient is no "
                "better; raise `nodes`, or add output times",
                UnresolvedInterpolantWarning,
                stacklevel=4,
            )


class _RestoredSolve(torch.autograd.Function):
    """Forward: solve onto the nodes. Backward: `odecore.adjoint.restored` with autograd's VJP."""

    @staticmethod
    def forward(solve: _Solve, y0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        problem = solve.problem
        trajectory, _ = record_panels(
            problem.field, problem.times, y0, nodes=solve.nodes, **problem.panel_options()
        )
        return trajectory.y[:: solve.nodes - 1].clone(), trajectory.y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        solve, _, *parameters = inputs
        ctx.solve = solve
        ctx.adjoint_options = solve.adjoint_options  # users replace its norm
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], *parameters)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor, _: Any) -> tuple[Any, ...]:
        solve: _Solve = ctx.solve
        node_values = ctx.saved_tensors[0]  # unpacking also checks that nothing was overwritten
        products = Products(solve.field_later(node_values), solve.parameters)
        with torch.no_grad(), Autocast.current(node_values.device).suspended():
            gradients = restored(
                products.state,
                solve.panels(node_values),
                list(y_grad.unbind()),
                vjp_parameters=products.parameters if solve.parameters else None,
                **solve.backward_options(ctx.adjoint_options.get("norm")),
            )
            if node_values.device.type == "cpu":
                solve.warn(float(gradients.tail), "adjoint, found in the backward pass")
        found = (gradients.y0, *gradients.parameters)
        anchor = torch.empty(0, requires_grad=True)
        return (None, *(once_only(g, anchor, NO_SECOND_DERIVATIVE) for g in found))


def _later(
    func: Callable[[Any, Any], Any], layout: Layout, autocast: Autocast
) -> Callable[[Tensor], Callable[[Any, Any], Any]]:
    """Remember parameters and autocast state for a backward pass, which may run without them.

    `torch.func.functional_call` has put a module's own parameters back by then.
    """
    if not isinstance(func, nn.Module):
        return lambda like: as_field(layout.field(func), like, autocast)
    kept = dict(func.named_parameters(remove_duplicate=False))

    def pinned(t: Tensor, y: Any) -> Any:
        return torch.func.functional_call(func, kept, (t, y), tie_weights=False)

    def field(like: Tensor) -> Callable[[Any, Any], Any]:
        present = func.named_parameters(remove_duplicate=False)
        same = all(p is kept.get(name) for name, p in present)
        return as_field(layout.field(func if same else pinned), like, autocast)

    return field


def _parameters(func: Any, adjoint_params: Iterable[Tensor] | None) -> tuple[Tensor, ...]:
    if adjoint_params is None:
        if not isinstance(func, nn.Module):
            raise ValueError(
                "`func` is not a Module, so its parameters are unknown; give `adjoint_params`, the "
                "tensors that need a gradient, or () for none"
            )
        adjoint_params = func.parameters()
        if getattr(func, "_is_replica", False):  # of DataParallel, without parameters of its own
            parts = (x for module in func.modules() for x in vars(module).values())
            adjoint_params = [x for x in parts if isinstance(x, Tensor)]
    parameters = tuple(adjoint_params)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"`adjoint_params` must hold tensors, got {type(p).__name__}")
    return tuple({id(p): p for p in parameters if p.requires_grad}.values())


def _rounding(y0: Tensor, autocast: Autocast) -> float:
    """Relative size below which Chebyshev coefficients are rounding noise."""
    lowest = torch.finfo(autocast.dtype).eps if autocast.enabled else 0.0
    return max(100 * torch.finfo(y0.dtype).eps, lowest)


def _require_methods(*solvers: Solver) -> None:
    """Refuse methods that are trained, and backward ones that leave their steps."""
    for solver in solvers:
        method = solver.method
        if method is None:
            raise ValueError(
                "SciPy's solvers have no dense output here, which the restored adjoint needs; "
                "choose another method"
            )
        if not isinstance(method, Coefficients):
            continue
        entries = (*method.b, *(a for row in method.A for a in row))
        if any(isinstance(x, Tensor) and x.requires_grad for x in entries):
            raise ValueError(
                "the coefficients of the method require a gradient, which the adjoint of the flow "
                "does not have; use `odeint`, which differentiates the steps"
            )
    last = solvers[-1].method
    outside = last.abscissae_outside if isinstance(last, Coefficients) else []
    if outside:
        raise ValueError(
            f"the backward method evaluates outside its steps, at c = {outside}, where the "
            "trajectory is not known; give an `adjoint_method` with abscissae in [0, 1]"
        )
