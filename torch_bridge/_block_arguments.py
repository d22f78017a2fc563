"""What a `NeuralODE` refuses when it is made, rather than in the first step of a training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from numbers import Integral
from typing import Any

from torch import nn

from odecore.solve import Adams, Newton
from odecore.tableaux import ButcherTableau, Coefficients
from torch_bridge._adjoint import ADJOINTS
from torch_bridge._adjoint_refusals import TRAINED, require_methods
from torch_bridge._certifier import Certifier
from torch_bridge._compiled import compilable
from torch_bridge._kinds import require_flags
from torch_bridge._methods import ADAMS, is_adaptive, solver_of
from torch_bridge._numbers import are_numbers, several_numbers
from torch_bridge._solver import Solver
from torch_bridge._unknown_options import require_choice

__all__ = [
    "SETTINGS",
    "check_batched",
    "check_settings",
    "require_solver",
    "times_of_block",
    "tolerances",
]

#: What can be set in a block that is made, and is checked together.
SETTINGS = ("solver", "steps", "rtol", "atol", "adjoint", "nodes", "certificate", "compiles")


def times_of_block(t: Sequence[float]) -> tuple[float, ...]:
    """The times as floats, finite and strictly monotone."""
    times = several_numbers("t", t)
    if len(times) < 2:
        raise ValueError(f"`t` must hold at least 2 times, got {len(times)}")
    rises = {b > a for a, b in pairwise(times)}
    if not all(map(isfinite, times)) or len(rises) > 1 or len(set(times)) < len(times):
        raise ValueError(
            f"`t` must hold finite times, strictly increasing or strictly decreasing, got {times}"
        )
    return times


def check_settings(
    *,
    solver: Any,
    steps: Any,
    rtol: Any,
    atol: Any,
    adjoint: str,
    nodes: Any,
    certificate: Any,
    compiles: bool,
) -> None:
    """Raise ValueError or TypeError for settings that are none, or have no effect together."""
    chosen = _checked_solver(solver, steps, rtol, atol)
    _check_gradients(chosen, adjoint, nodes, certificate, compiles)
    check_batched(solver, adjoint)
    made_by = solver.parameters() if isinstance(solver, nn.Module) else ()
    if adjoint != "direct" and any(p.requires_grad for p in made_by):
        raise ValueError(TRAINED)


def check_batched(solver: Any, adjoint: str) -> None:
    """Raise ValueError for an ensemble in one pass with an adjoint that knows none."""
    if getattr(solver, "batched", False) and adjoint != "direct":
        raise ValueError(f'`batched` is for adjoint="direct", got {adjoint!r}; leave it out')


def require_solver(solver: Any) -> None:
    """Raise TypeError or ValueError for what is no solver of a block, and for an unknown name."""
    if not isinstance(solver, str | ButcherTableau | Coefficients | Adams | nn.Module | None):
        raise TypeError(
            "`solver` must be a name, a ButcherTableau, Coefficients, Adams or a Module that makes "
            f"Coefficients, got {solver!r}"
        )
    if isinstance(solver, str):
        solver_of(solver, None, *tolerances(None, None), Newton)


def _checked_solver(solver: Any, steps: Any, rtol: Any, atol: Any) -> Solver | None:
    """The solver that all calls will have, checked; None for a Module, which makes others."""
    if steps is not None and (not isinstance(steps, Integral) or steps is True or steps < 1):
        raise ValueError(f"`steps` must be a positive int, got {steps!r}")
    require_solver(solver)
    if steps is None and not is_adaptive(solver):
        raise ValueError("this solver takes fixed steps; give `steps`, their number")
    given = {name: x for name, x in (("rtol", rtol), ("atol", atol)) if x is not None}
    for name, value in given.items():
        if not are_numbers(value):
            raise TypeError(f"`{name}` must be a number, or several for the state, got {value!r}")
    if given and steps is not None and not (isinstance(solver, str) and solver in ADAMS):
        raise ValueError(
            f"{', '.join(given)} have no effect in {steps} given steps: leave them out, or give "
            "steps=None with an adaptive solver such as 'dopri5'"
        )
    if isinstance(solver, nn.Module):
        return None
    rtol, atol = tolerances(rtol, atol)
    found = solver_of(solver, None if steps is None else {"steps": steps}, rtol, atol, Newton)
    if found.adaptive:
        if isinstance(rtol, float | int) and rtol >= 1:
            raise ValueError(f"`rtol` must be a number with 0 <= rtol < 1, got {rtol!r}")
        if isinstance(rtol, float | int) and isinstance(atol, float | int) and rtol == atol == 0:
            raise ValueError(
                "one of `rtol` and `atol` must be positive: with both 0 no step is good"
            )
    return found


def tolerances(rtol: Any, atol: Any) -> tuple[Any, Any]:
    """Tolerances, by default 1e-6 and 1e-8."""
    return 1e-6 if rtol is None else rtol, 1e-8 if atol is None else atol


def _check_gradients(
    solver: Solver | None, adjoint: str, nodes: Any, certificate: Any, compile: bool
) -> None:
    """Raise ValueError for gradients that can not be had so."""
    require_choice("adjoint", adjoint, ("direct", *ADJOINTS))
    unused = ["nodes"] if nodes is not None and adjoint != "restored" else []
    if adjoint == "direct" and certificate is not None and certificate is not False:
        unused.append("certificate")
    if unused:
        raise ValueError(
            f"{', '.join(unused)} have no effect with adjoint={adjoint!r}: leave out, or give "
            'adjoint="restored"'
        )
    if nodes is not None and (not isinstance(nodes, Integral) or nodes is True or nodes < 2):
        raise ValueError(f"`nodes` must be an int of at least 2, got {nodes!r}")
    Certifier.of(certificate)
    require_flags(compile=compile)
    if compile and (adjoint == "reversed" or solver is None):
        found = "a Module" if solver is None else repr(adjoint)
        raise ValueError(
            '`compile` is for other adjoints than "reversed" and for a solver that is no '
            f"Module, got {found}; leave it out"
        )
    if solver is None:
        return
    if compile:
        compilable(solver.method)
    if adjoint != "direct":
        require_methods(solver)
