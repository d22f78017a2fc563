"""The adjoint that is taken, if the solvers can have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch_bridge._adjoint_refusals import (
    abscissae_outside,
    refuse_shards,
    require_inside,
    require_methods,
    warn_of_callbacks,
)
from torch_bridge._adjoint_setting import Setting
from torch_bridge._certifier import Certifier
from torch_bridge._restored_adjoint import Restored
from torch_bridge._step_adjoints import Discrete, Reversed

__all__ = ["adjoint_kind"]


def adjoint_kind(
    setting: Setting,
    chosen: str,
    given: Mapping[str, Any],
    nodes: int | None,
    memory: int | None,
    certifier: Certifier | None,
    compiles: bool,
) -> Restored | Reversed | Discrete:
    """The chosen adjoint; ValueError where a solver can not have it."""
    problem, backward = setting.problem, setting.backward
    by_scipy = problem.solver.method is None and chosen == "reversed" and certifier is None
    require_methods(*([] if by_scipy else [problem.solver]), backward)
    collocates = _collocated(setting, given) if chosen == "restored" else "none"
    warn_of_callbacks(problem.func, chosen, problem.solver, collocates != "none")
    if chosen == "reversed":
        refuse_shards(setting.parameters)
        return Reversed(setting)
    if chosen == "discrete":
        return Discrete(setting, memory, compiles)
    if collocates == "none" or memory is not None:  # beyond the budget it makes steps
        require_inside(backward, collocates != "none")
    return Restored(setting, nodes, memory, collocates, compiles)


def _collocated(setting: Setting, given: Mapping[str, Any]) -> Literal["all", "small", "none"]:
    """For which states the restored adjoint is solved at all nodes at once."""
    problem, method = setting.problem, given["adjoint_method"]
    if method is not None or given["adjoint_options"] is not None:
        return "all" if method == "collocation" else "none"
    if problem.observer("_adjoint") is not None:
        return "none"
    if abscissae_outside(problem.solver):
        return "all"
    by_tolerance = problem.solver.adaptive and problem.y0.device.type == "cpu"
    return "small" if by_tolerance else "none"
