"""What an adjoint refuses, and what it warns of, before it solves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from odecore.tableaux import Coefficients
from torch_bridge._callbacks import warn_uncalled
from torch_bridge._fields import inside_torch_func
from torch_bridge._kinds import require_flags
from torch_bridge._odeint import SCIPY_STEPS, Prepared
from torch_bridge._solver import Solver

__all__ = [
    "TRAINED",
    "abscissae_outside",
    "refuse_interpolation",
    "refuse_shards",
    "refuse_unused",
    "refuse_wrappers",
    "require_inside",
    "require_methods",
    "warn_of_callbacks",
]

TRAINED = (
    "the coefficients of the method require a gradient, which the adjoint of the flow does not "
    'have; use `odeint`, which differentiates the steps, or in a NeuralODE adjoint="direct", or '
    "freeze the Module that makes them by `requires_grad_(False)`"
)


def refuse_interpolation(problem: Prepared, adjoint: str) -> None:
    """Raise ValueError for an `interp` that this adjoint would ignore in silence."""
    ignored = {"restored": ("linear", "hermite"), "discrete": ("linear", "hermite", "full")}
    grid, given = problem.grid, problem.solver.options.get("interpolation")
    if given in ignored[adjoint] and grid is not None and not set(problem.times) <= set(grid):
        outputs = {"restored": "have the full order", "discrete": "are ends of steps"}[adjoint]
        raise ValueError(
            f"`interp` has no effect with adjoint={adjoint!r}, whose outputs inside of steps "
            f"{outputs}: leave it out, or take adjoint='reversed', or `odeint`"
        )


def refuse_unused(
    adjoint: str, given: dict[str, Any], nodes: int | None, memory: float | None, compile: bool
) -> None:
    """Raise ValueError for an option that this adjoint would ignore in silence."""
    unused = {
        "restored": {},
        "reversed": {"nodes": nodes, "memory": memory},
        "discrete": {**given, "nodes": nodes},
    }[adjoint]
    found = [name for name, value in unused.items() if value is not None]
    if given["adjoint_method"] == "collocation" and adjoint != "restored":
        found.append("adjoint_method='collocation'")
    if found:
        raise ValueError(f"{', '.join(found)} have no effect with adjoint={adjoint!r}: leave out")
    require_flags(compile=compile)
    if compile and inside_torch_func():
        raise ValueError("`compile` is for solves outside of torch.func; leave it out")
    if compile and adjoint == "reversed":
        raise ValueError(
            "`compile` is for restored and discrete adjoints, got adjoint='reversed'; leave it out"
        )


def require_methods(*solvers: Solver) -> None:
    """Refuse methods that are trained, and those that an adjoint does not have."""
    for solver in solvers:
        method = solver.method
        if method is None:
            raise ValueError(
                "SciPy's solvers have no dense output here, and do not solve backward; choose "
                "another method, or adjoint='reversed' with an `adjoint_method` such as 'dopri5'"
            )
        if not isinstance(method, Coefficients) or not method.has_arrays:
            continue
        entries = (*method.b, *(a for row in method.A for a in row))
        if any(isinstance(x, Tensor) and x.requires_grad for x in entries):
            raise ValueError(TRAINED)


def abscissae_outside(solver: Solver) -> list[float]:
    """The c of a Runge-Kutta method that are outside of [0, 1], where no interpolant is."""
    method = solver.method
    return method.abscissae_outside if isinstance(method, Coefficients) else []


def require_inside(backward: Solver, collocates: bool) -> None:
    """Refuse steps along an interpolant that leave it; `collocates` says that a budget asks so."""
    outside = abscissae_outside(backward)
    if outside:
        why = "steps are made where `memory` is not enough for collocation, and " * collocates
        raise ValueError(
            f"{why}the backward method evaluates outside its steps, at c = {outside}, where the "
            "trajectory is not known; give an `adjoint_method` with abscissae in [0, 1], such as "
            "'dopri5' or 'kvaerno43', or adjoint='discrete'"
            f"{', or leave `memory` out' * collocates}"
        )


def refuse_shards(parameters: Iterable[Tensor]) -> None:
    """Raise ValueError for parameters in shards, for an adjoint that solves for their gradient."""
    if any(hasattr(type(p), "to_local") for p in parameters):
        raise ValueError(
            'adjoint="reversed" integrates the gradients of parameters in one vector with the '
            "state, where those in shards (DTensor), as of tensor-parallel layers, have no place: "
            'take adjoint="restored" or "discrete", or shard by fully_shard on the NeuralODE'
        )


def refuse_wrappers(modules: Iterable[nn.Module], parameters: Iterable[Tensor]) -> None:
    """Raise ValueError for wrappers inside of `func` that a backward pass which calls it breaks.

    What fully_shard wraps has whole parameters during its calls only, and a static graph is one
    that the first backward pass has seen, which was inside of another here.
    """
    modules = list(modules)
    kinds = {type(p) for p in parameters} - {Tensor, nn.Parameter}
    shards = any(hasattr(kind, "to_local") for kind in kinds)
    if shards and any(hasattr(type(module), "unshard") for module in modules):
        raise ValueError(
            "an adjoint needs the parameters of `func` whole from the solve to the end of the "
            "backward pass, and `func`, or a Module in it, is sharded by itself: call fully_shard "
            "on the NeuralODE, or on a Module around the solve, or take gradients through the "
            'steps by `odeint`, in a NeuralODE adjoint="direct"'
        )
    for module in modules:
        if isinstance(module, nn.parallel.DistributedDataParallel) and module.static_graph:
            raise ValueError(
                "DistributedDataParallel(static_graph=True) inside of `func` would not average "
                "gradients of an adjoint, whose backward pass calls `func` again: wrap the whole "
                "model, or leave static_graph out"
            )


def warn_of_callbacks(func: Any, adjoint: str, forward: Solver, collocates: bool) -> None:
    """Warn of callbacks that the forward or the backward pass has no steps for."""
    if forward.method is None:
        warn_uncalled(func, "", SCIPY_STEPS, stacklevel=7)
    reason = None
    if adjoint == "discrete":
        reason = "the discrete adjoint transposes the steps of the forward pass, and solves nothing"
    elif collocates:
        reason = (
            "collocation makes no steps, unless it fails; leave `adjoint_method` out, or choose one"
        )
    if reason is not None:
        warn_uncalled(func, "_adjoint", reason, stacklevel=7)
