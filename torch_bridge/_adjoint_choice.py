"""Which adjoint is taken where none is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from odecore.tableaux import Coefficients
from torch_bridge._odeint import Prepared

__all__ = ["default_adjoint"]

FEW = 4  # steps in an interval: no more states than the fewest nodes of an interpolant would be


def default_adjoint(problem: Prepared, options: Iterable[Any]) -> str:
    """Either "discrete", where steps are few and given, or "restored".

    Options that are for the restored adjoint, if one is not None, ask for that.
    """
    asked = any(value is not None for value in options)
    if asked or problem.observer("_adjoint") is not None:
        return "restored"
    return "discrete" if _steps_are_few(problem) else "restored"


def _steps_are_few(problem: Prepared) -> bool:
    """Whether the steps of a Runge-Kutta method are given, end at all outputs, and are few."""
    solver, times = problem.solver, problem.times
    if solver.adaptive or not isinstance(solver.method, Coefficients):
        return False
    if not all(isinstance(t, float) for t in times):
        return False
    grid = solver.grid(problem.func, problem.given, problem.t, times)
    if grid is None:
        return bool(solver.options["steps"] <= FEW)
    return len(grid) - 1 <= FEW * (len(times) - 1) and set(times) <= set(grid)
