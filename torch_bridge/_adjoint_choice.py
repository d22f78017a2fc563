"""Which adjoint is taken where none is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from numbers import Integral
from typing import Any

from torch import nn

from odecore.tableaux import Coefficients
from torch_bridge._odeint import Prepared

__all__ = ["FEW", "default_adjoint"]

FEW = 64  # steps, of which all states are kept
FEW_EACH = 4  # steps in an interval, whose outputs are kept anyway
FEW_INTERVALS = 8  # to which adaptive steps are cut


def default_adjoint(problem: Prepared, options: Iterable[Any], compiles: bool) -> str:
    """Either "discrete", where steps are few and given, or compiled, or "restored".

    Such steps are transposed in less time than an interpolant is restored at their stages, and the
    gradient is that of what was computed; but the states are as many as the steps.

    Options that are for the restored adjoint, if one is not None, ask for that.
    """
    asked = any(value is not None for value in options)
    if asked or problem.observer("_adjoint") is not None:
        return "restored"
    steps, intervals = _given_steps(problem), len(problem.times) - 1
    discrete = steps <= max(FEW, FEW_EACH * intervals)
    jumps = problem.panel_options().get("jump_at")
    if compiles and isinstance(problem.func, nn.Module) and jumps is None:
        adaptive = problem.solver.adaptive and intervals <= FEW_INTERVALS
        discrete = discrete or adaptive or steps < inf
    return "discrete" if discrete else "restored"


def _given_steps(problem: Prepared) -> float:
    """How many steps of a Runge-Kutta method are given; infinity unless they end at all outputs."""
    solver, times = problem.solver, problem.times
    if solver.adaptive or not isinstance(solver.method, Coefficients):
        return inf
    if not all(isinstance(t, float) for t in times):
        return inf
    if problem.grid is not None:
        return len(problem.grid) - 1 if set(times) <= set(problem.grid) else inf
    steps = solver.options.get("steps")
    each = steps if isinstance(steps, list | tuple) else [steps] * (len(times) - 1)
    # Where these are no numbers, the solve says so.
    return sum(each) if all(isinstance(n, Integral) for n in each) else inf
