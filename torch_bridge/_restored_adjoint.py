"""The restored adjoint: states at nodes are saved, and interpolated in the backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from odecore.adjoint import Gradients, Panel, collocated, record_panels, restored
from odecore.errors import UnresolvedInterpolantWarning
from odecore.interpolation import chebyshev_points, coefficient_tail
from odecore.solve import solve_ivp
from torch_bridge._adjoint_refusals import refuse_interpolation
from torch_bridge._adjoint_setting import Setting
from torch_bridge._compiled_adjoint import compiled_adjoint

__all__ = ["Restored"]

TRAJECTORY = "trajectory: relative to the largest, its last Chebyshev coefficients are about"
ADJOINT = "adjoint, found in the backward pass: its relative error is about"
QUADRATURE = (
    "integrand of the backward pass: the parameters' gradient has a relative error of about"
)
KINKS = "where the function has kinks (ReLU) give it a smooth activation"

SMALL = 2**14  # bytes of a state; collocation is slower than steps for larger ones,
COMPILED = 2**16  # or, compiled, than steps
TOGETHER = 2**20  # bytes of the states at nodes that are evaluated together


@dataclass(frozen=True)
class Restored:
    """Saves the states at the nodes; `made` holds the panels without them, and their numbers.

    `collocates` says for which states the adjoint is collocated, and `compiles` whether that is
    compiled.
    """

    setting: Setting
    nodes: int | None
    memory: int | None
    collocates: Literal["all", "small", "none"]
    compiles: bool = False
    made: list[tuple[Panel, int]] = field(default_factory=list)

    @property
    def inside(self) -> bool:
        """Whether output times may be inside of panels."""
        return self.collocates != "none" and self.nodes is None

    def is_needless(self, y0: Tensor) -> bool:
        """Whether there will be no backward pass; compiled loops record their steps all the same,
        as another program would have to be compiled for others.
        """
        wanted = any(x.requires_grad for x in (y0, *self.setting.parameters))
        followed = (wanted and torch.is_grad_enabled()) or forward_ad._current_level >= 0
        return not (followed or self.compiles)

    def outputs(self, y0: Tensor) -> Tensor:
        """Solve forward: the states at output times alone, by the steps of `record`."""
        problem = self.setting.problem
        refuse_interpolation(problem, "restored")
        if self.nodes is not None:
            chebyshev_points(self.nodes)  # raises unless there can be so many
        span, arguments = (problem.times[0], problem.times[-1]), problem.arguments("full")
        with torch.no_grad():
            return solve_ivp(problem.field, span, y0, t_eval=problem.times, **arguments).y

    def record(self, y0: Tensor) -> tuple[Tensor, ...]:
        """Solve forward: the states at output times, and those to be saved."""
        problem = self.setting.problem
        refuse_interpolation(problem, "restored")
        options = problem.panel_options()
        if self.nodes is None and not problem.solver.adaptive:
            options.pop("kernels", None)
        trajectory, panels = record_panels(
            problem.field, problem.times, y0, nodes=self.nodes, memory=self.memory,
            inside=self.inside, **options,
        )  # fmt: skip
        self.made[:] = [(replace(p, values=None), p.values.shape[0]) for p in panels]
        if self.inside:
            return trajectory.y, torch.cat([y0[None], *(p.values[1:] for p in panels)])
        ends = accumulate(m - 1 for _, m in self.made)
        outputs = [0, *(k for k, panel in zip(ends, panels, strict=True) if panel.is_last)]
        return trajectory.y[outputs], trajectory.y

    def panels(self, saved: Sequence[Tensor]) -> list[Panel]:
        """The panels with their states."""
        starts = accumulate((m - 1 for _, m in self.made), initial=0)
        return [
            replace(panel, values=saved[0][k : k + m])
            for (panel, m), k in zip(self.made, starts, strict=False)
        ]

    def gradients(self, saved: Sequence[Tensor], cotangents: list[Tensor]) -> Gradients:
        """Solve backward."""
        setting, panels = self.setting, self.panels(saved)
        products = setting.products(saved[0])
        wanted: dict[str, Any] = {"parameters": bool(setting.parameters)}
        batch = self._together(products, panels, len(cotangents) - 1)
        if self.collocates != "none" and batch is None:
            wanted.update(setting.accuracy, **setting.implicit_steps)
            if self.compiles:
                products.look(panels[-1].start, panels[-1].values[0])
                wanted["kernel"] = compiled_adjoint(
                    setting.problem.func, products.field, setting.parameters
                )
            return collocated(products.nodes, panels, cotangents, **wanted)
        wanted.update(setting.backward_options())
        norm = setting.norm
        if callable(norm):
            zeros = [torch.zeros_like(p) for p in setting.parameters]
            wanted["norm"] = lambda a: norm(setting.parts(torch.zeros_like(a), a, *zeros))
        return restored(
            products.point, panels, cotangents, linearize_nodes=products.nodes, batch=batch,
            **wanted,
        )  # fmt: skip

    def _together(self, products: Any, panels: list[Panel], intervals: int) -> int | None:
        """How many nodes are evaluated together; None for all of a panel."""
        size = panels[-1].values[0].nbytes
        # Steps begin anew at each output, and collocated panels do not.
        most = (COMPILED if self.compiles else SMALL) * max(1, intervals // len(panels))
        small = size <= most or self.collocates == "all"
        if self.memory is None:
            return None if small else max(1, TOGETHER // size)
        kept = products.bytes_saved(panels[-1].start, panels[-1].values[0])
        batch = max(1, int(self.memory // max(1, kept)))
        return None if small and batch >= max(m for _, m in self.made) else batch

    def warn_of_trajectory(self, saved: Sequence[Tensor]) -> None:
        """Warn if the nodes do not resolve the trajectory."""
        solver, found = self.setting.problem.solver, max(p.tail or 0.0 for p, _ in self.made)
        chosen = self.nodes is None
        if chosen and found <= 10:
            tail = 0.0
        elif chosen and solver.adaptive:
            tail = found * solver.tolerance
        else:
            tail = max(float(coefficient_tail(panel.values)) for panel in self.panels(saved))
        self._warn(tail, TRAJECTORY)

    def warn_of_gradients(self, found: Gradients) -> None:
        """Warn if they do not resolve the adjoint, or the integrand of the parameters."""
        rounds = partial(found.is_rounding, self.setting.problem.y0, self.setting.parameters)
        self._warn(float(found.tail), ADJOINT, KINKS)
        self._warn(float(found.quadrature), QUADRATURE, KINKS, unless=rounds)

    def _limit(self) -> float:
        """The relative error above which a user is warned."""
        problem = self.setting.problem
        rounding = max(100 * torch.finfo(problem.y0.dtype).eps, problem.autocast.rounding)
        return max(10 * problem.solver.tolerance, rounding)

    def _warn(
        self, size: float, what: str, *remedies: str, unless: Callable[[], bool] = lambda: False
    ) -> None:
        problem, limit = self.setting.problem, self._limit()
        if size > limit and not unless():
            more = ["raise `nodes`"] * (self.nodes is not None)
            more += ["raise `memory`"] * (self.memory is not None)
            more += ["add output times" if problem.solver.adaptive else "take smaller steps"]
            warnings.warn(
                f"{max(m for _, m in self.made)} nodes do not resolve the {what} {size:.0e}, above "
                f"{limit:.0e}, and the gradient is no better: {' or '.join((*more, *remedies))}",
                UnresolvedInterpolantWarning,
                stacklevel=5,
            )
