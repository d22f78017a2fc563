"""Which adjoint is taken where none is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
from torch import nn

from odecore.tableaux import Coefficients
from torch_bridge._methods import is_implicit
from torch_bridge._odeint import Prepared

__all__ = ["FEW", "default_adjoint"]

FEW = 64  # steps, of which all states are kept
FEW_EACH = 4  # steps in an interval, whose outputs are kept anyway
SMALL = 32  # entries of a state, of which all are kept, and which go back many at once
FEW_INTERVALS = 8  # to which adaptive steps are cut
DAMPED = 1e-2  # share of what is stiff that a step leaves


def default_adjoint(
    problem: Prepared, options: Iterable[Any], compiles: bool, memory: float | None = None
) -> str:
    """Either "discrete", where steps are implicit, or few and given, or compiled, or "restored".

    Such steps are transposed in less time than an interpolant is restored at their stages, and the
    gradient is that of what was computed; but the states are as many as the steps. It is as good
    as the states only where steps damp what is stiff, for the sensitivities have layers that the
    states do not have, and no step was made for them.

    Options that are for the restored adjoint, if one is not None, ask for that, and so does a
    budget of memory for explicit steps.
    """
    asked = any(value is not None for value in options)
    if asked or problem.observer("_adjoint") is not None:
        return "restored"
    steps, intervals = _given_steps(problem), len(problem.times) - 1
    if is_implicit(problem.solver.method):
        damped = problem.solver.adaptive and _damps(problem.solver.method)
        return "discrete" if damped or steps < inf else "restored"
    if memory is not None:
        return "restored"
    small = steps < inf and problem.y0.numel() <= SMALL
    discrete = small or steps <= max(FEW, FEW_EACH * intervals)
    jumps = problem.panel_options().get("jump_at")
    if compiles and isinstance(problem.func, nn.Module) and jumps is None:
        adaptive = problem.solver.adaptive and intervals <= FEW_INTERVALS
        discrete = discrete or adaptive or steps < inf
    return "discrete" if discrete else "restored"


@lru_cache(maxsize=64)
def _damps(method: Coefficients) -> bool:
    """Whether the stability function of an implicit method is small far out, R(z) at -1e6."""
    s, z = len(method.b), -1e6
    A = np.array([[*row, *[0.0] * (s - len(row))] for row in method.A])
    stages = np.linalg.solve(np.eye(s) - z * A, np.ones(s))
    return bool(abs(1 + z * np.array(method.b) @ stages) < DAMPED)


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
