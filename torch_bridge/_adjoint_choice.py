"""Which adjoint is taken where none is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from odecore.tableaux import Coefficients
from torch_bridge._odeint import Prepared

__all__ = ["default_adjoint"]

FEW = 64  # steps, of which all states are kept
FEW_EACH = 4  # steps in an interval, whose outputs are kept anyway


def default_adjoint(problem: Prepared, options: Iterable[Any]) -> str:
    """Either "discrete", where steps are few and given, or "restored".

    Given steps are transposed in less time than an interpolant is restored at their stages, and the
    gradient is that of what was computed; but the states are as many as the steps.

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
    steps, intervals = solver.options.get("steps"), len(times) - 1
    if problem.grid is not None:
        count, lands = len(problem.grid) - 1, set(times) <= set(problem.grid)
    else:  # where these are no numbers, the solve says so
        each = steps if isinstance(steps, list | tuple) else [steps] * intervals
        lands = all(isinstance(n, Integral) for n in each)
        count = sum(each) if lands else 0
    return lands and count <= max(FEW, FEW_EACH * intervals)
