"""`odeint_adjoint`: the restored adjoint as a torch Function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import ceil
from typing import Any

import torch
from torch import Tensor

from odecore.adjoint import Gradients, Panel, collocated, record_panels, restored
from odecore.errors import UnresolvedInterpolantWarning
from odecore.interpolation import coefficient_tail
from odecore.tableaux import Coefficients
from torch_bridge._callbacks import observer_of
from torch_bridge._captured import field_later, parameters_of
from torch_bridge._fields import Autocast, inside_torch_func, inside_transform
from torch_bridge._jacobian import newton_of
from torch_bridge._methods import Method, Solver, solver_of
from torch_bridge._odeint import Prepared, odeint, prepare
from torch_bridge._once import once_only
from torch_bridge._products import Products
from torch_bridge._times import shifted_outputs, shifted_start

__all__ = ["odeint_adjoint"]

UNREAD = 17  # nodes where no tolerance is there to choose them

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
    nodes: int | None = None,
    memory: int | None = None,
) -> Any:
    """Like `odeint`, with gradients from the restored adjoint: memory does not grow with steps.

    Parameters
    ----------
    func, y0, t, rtol, atol, method, options, event_fn
        As for `odeint`.
    adjoint_rtol, adjoint_atol : optional
        Tolerances of the backward solve; by default those of the forward solve.
    adjoint_method : str, ButcherTableau or Coefficients, optional
        "collocation" solves the adjoint equation at all nodes of a panel at once, by evaluating
        func there in one batch (torch.vmap where it can), instead of stepping through it; it is
        the default of adaptive solves on the CPU. A method as for `odeint` makes steps; the default
        of fixed steps, on other devices, and with `adjoint_options`, is `method`.
    adjoint_options : mapping, optional
        Options of the steps; by default those of the forward solve.
    adjoint_params : iterable of Tensor, optional
        Tensors that receive a gradient; by default `func.parameters()`, for a Module. Those that
        do not require a gradient are dropped; `()` means none. A tensor that is computed from a
        parameter outside of `func` is listed itself, not the parameter.
    nodes : int, optional
        Chebyshev points stored in each interval between output times, at least 2. By default of
        adaptive solves on the CPU as many as the tolerance asks for, in panels if need be;
        otherwise 17.
    memory : int, optional
        A budget in bytes for the backward pass: for the states at the nodes, of which there are
        fewer if need be, and for what func saves at nodes that are evaluated together. Where that
        is beyond the budget, the adjoint equation is stepped through.

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
    problem = prepare(func, y0, t, rtol, atol, method, options)
    collocates = adjoint_method == "collocation" or (
        adjoint_method is None
        and adjoint_options is None
        and problem.solver.adaptive
        and problem.y0.device.type == "cpu"
        and observer_of(func, problem.layout, "_adjoint") is None
    )
    if adjoint_method in (None, "collocation"):
        adjoint_method = method
    elif adjoint_method != method and options and adjoint_options is None:
        raise ValueError(
            "`adjoint_method` is given, so `options` may not fit the backward solve; give "
            "`adjoint_options` too"
        )
    if adjoint_options is None:
        adjoint_options = {k: v for k, v in (options or {}).items() if k != "norm"}
    backward = solver_of(
        adjoint_method,
        {k: v for k, v in adjoint_options.items() if k != "norm"},
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        newton_of(problem.field),
    )
    _require_methods(problem.solver, backward)
    autocast = Autocast.current(problem.y0.device)
    solve = _Solve(
        problem,
        field_later(func, problem.layout, autocast),
        UNREAD if nodes is None and not problem.solver.adaptive else nodes,
        memory,
        backward,
        collocates,
        parameters_of(func, adjoint_params),
        autocast,
        dict(adjoint_options),
    )
    if len(problem.times) == 1:
        return problem.layout.state(problem.y0[None])
    start = shifted_start(problem.y0, t, problem.field)
    with autocast.suspended():
        y, node_values = _RestoredSolve.apply(solve, start, *solve.parameters)
        if node_values.device.type == "cpu" and not inside_transform():
            solve.warn_of_panels(node_values.detach())
    return problem.layout.state(shifted_outputs(y, problem.y0, t, problem.field))


@dataclass(frozen=True)
class _Solve:
    """What a backward pass must know besides its saved tensors.

    `field_later`, called in the backward pass, gives the field that `field` was in the forward one.
    `panels` is filled by the forward pass, without the states, which are saved by autograd.
    """

    problem: Prepared
    field_later: Callable[[Tensor], Callable[[Any, Any], Any]]
    nodes: int | None
    memory: int | None
    backward: Solver
    collocates: bool
    parameters: tuple[Tensor, ...]
    autocast: Autocast
    adjoint_options: dict[str, Any]
    panels: list[Panel] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def record(self, y0: Tensor) -> tuple[Tensor, Tensor]:
        """Solve forward; the states at output times and at all nodes."""
        trajectory, panels = record_panels(
            self.problem.field,
            self.problem.times,
            y0,
            nodes=self.nodes,
            memory=self.memory,
            **self.problem.panel_options(),
        )
        self.panels[:] = [replace(panel, values=None) for panel in panels]
        self.counts[:] = [panel.values.shape[0] for panel in panels]
        ends = accumulate(m - 1 for m in self.counts)
        outputs = [0, *(k for k, panel in zip(ends, panels, strict=True) if panel.is_last)]
        return trajectory.y[outputs], trajectory.y

    def filled(self, node_values: Tensor) -> list[Panel]:
        """The panels with their states."""
        starts = accumulate((m - 1 for m in self.counts), initial=0)
        return [
            replace(panel, values=node_values[k : k + m])
            for panel, k, m in zip(self.panels, starts, self.counts, strict=False)
        ]

    def gradients(self, node_values: Tensor, y_grad: Tensor, norm: Any) -> Gradients:
        """The backward pass."""

        def traced() -> Callable[[Any, Any], Any]:
            return self.field_later(node_values)

        # torch.vmap does not see autocast.
        batched = None if self.autocast.enabled else traced
        products = Products(traced(), self.parameters, batched)
        panels, cotangents = self.filled(node_values), list(y_grad.unbind())
        wanted: dict[str, Any] = {"parameters": bool(self.parameters)}
        batch = None
        if self.memory is not None:
            batch = max(1, self.memory // max(1, products.bytes_saved(panels[-1])))
        if self.collocates and (batch is None or batch >= max(self.counts)):
            tolerances = {k: self.backward.options.get(k) for k in ("rtol", "atol")}
            found = {k: v for k, v in tolerances.items() if v is not None}
            return collocated(products.nodes, panels, cotangents, **wanted, **found)
        return restored(
            products.point,
            panels,
            cotangents,
            linearize_nodes=products.nodes,
            batch=batch,
            **wanted,
            **self.backward_options(norm),
        )

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

    def warn_of_panels(self, node_values: Tensor) -> None:
        """Warn if the nodes do not resolve the trajectory."""
        if self.nodes is not None:
            panels = self.filled(node_values)
            self.warn(max(float(coefficient_tail(panel.values)) for panel in panels), "trajectory")
            return
        tail = max(panel.tail or 0.0 for panel in self.panels)
        if tail > 10:
            self.warn(tail * self.problem.solver.tolerance, "trajectory")

    def warn(self, tail: float, where: str) -> None:
        """Warn if the last Chebyshev coefficients are not small."""
        lowest = torch.finfo(self.autocast.dtype).eps if self.autocast.enabled else 0.0
        rounding = max(100 * torch.finfo(self.problem.y0.dtype).eps, lowest)
        limit = max(10 * self.problem.solver.tolerance, rounding)
        if tail > limit:
            remedy = "raise `nodes`" if self.memory is None else "raise `nodes` or `memory`"
            warnings.warn(
                f"{max(self.counts)} nodes do not resolve the {where}: its last Chebyshev "
                f"coefficients are about {tail:.0e} of the largest, above {limit:.0e}, and the "
                f"gradient is no better; {remedy}, or add output times",
                UnresolvedInterpolantWarning,
                stacklevel=5,
            )


class _RestoredSolve(torch.autograd.Function):
    """Forward: solve and keep the nodes. Backward: the adjoint equation, with autograd's VJP."""

    @staticmethod
    def forward(solve: _Solve, y0: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return solve.record(y0)

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
        with torch.no_grad(), Autocast.current(node_values.device).suspended():
            found = solve.gradients(node_values, y_grad, ctx.adjoint_options.get("norm"))
            if node_values.device.type == "cpu":
                solve.warn(float(found.tail), "adjoint, found in the backward pass")
                solve.warn(float(found.quadrature), "integrand, found in the backward pass")
        anchor = torch.empty(0, requires_grad=True)
        gradients = (found.y0, *found.parameters)
        return (None, *(once_only(g, anchor, NO_SECOND_DERIVATIVE) for g in gradients))


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
