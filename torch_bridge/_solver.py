"""A method with its options: what it asks of `odecore.solve` for given times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from odecore.solve import Adams
from odecore.tableaux import Coefficients
from torch_bridge._equal_grid import equal_grid

__all__ = ["Solver"]

MOST_GIVEN = 10_000_000  # steps that options and times may ask for without `max_num_steps`


@dataclass(frozen=True)
class Solver:
    """A method with its options, checked.

    Parameters
    ----------
    method : Coefficients, Adams or None
        None stands for SciPy's solvers.
    options : dict
        Keyword arguments of `odecore.solve.solve_ivp`, or of SciPy's solver.
    step_size, grid_constructor : optional
        How given steps follow from the times, as torchdiffeq has it.
    perturb : bool
        Whether f is evaluated just beside the ends of given steps.
    per_interval : int or None
        Attempts allowed in each interval between output times.
    """

    method: Coefficients | Adams | None
    options: dict[str, Any]
    step_size: float | None = None
    grid_constructor: Callable[..., Any] | None = None
    perturb: bool = False
    per_interval: int | None = None

    @property
    def adaptive(self) -> bool:
        """Whether steps follow the tolerance."""
        return "rtol" in self.options

    def arguments(
        self, times: list[Any], grid: list[float] | None, interpolation: str
    ) -> dict[str, Any]:
        """Keyword arguments of `solve_ivp`, with an interpolation where the user chose none."""
        found = self._of_solve(times, grid, len(times) - 1)
        if found.get("interpolation", "") is None:
            found["interpolation"] = interpolation
        return found

    def panel_options(
        self, times: list[Any], grid: list[float] | None, intervals: int = 1
    ) -> dict[str, Any]:
        """Keyword arguments for `odecore.adjoint`, whose outputs are nodes of dense output."""
        found = self._of_solve(times, grid, intervals)
        found.pop("interpolation", None)
        return found

    def _of_solve(
        self, times: list[Any], grid: list[float] | None, intervals: int
    ) -> dict[str, Any]:
        """What all solves are given, of which one goes through so many intervals of the times."""
        found = {"method": self.method, **self.options}
        if self.per_interval is not None:
            found["max_steps"] = self.per_interval * intervals
        elif not self.adaptive:
            found["max_steps"] = MOST_GIVEN
        ends = {"grid": grid, "jump_at": (grid or times) if self.perturb else None}
        return found | {name: value for name, value in ends.items() if value is not None}

    @property
    def tolerance(self) -> float:
        """Relative size of the errors that the solve allows; a guess for given steps."""
        rtol = self.options.get("rtol", 1e-4)
        return float(torch.as_tensor(rtol, device="cpu").max())

    def grid(self, func: Any, y0: Any, t: Tensor, times: list[Any]) -> list[float] | None:
        """The ends of given steps, where the options determine them."""
        if self.step_size is None and self.grid_constructor is None:
            return None
        if not all(isinstance(time, float) for time in times):
            raise ValueError(
                "`step_size` and `grid_constructor` need times that can be read, got times on an "
                "accelerator: give `steps`, the number of steps between output times, or keep the "
                "times on the host"
            )
        if self.step_size is not None:
            eps = torch.finfo(t.dtype).eps if t.is_floating_point() else 2**-52
            most = MOST_GIVEN
            if self.per_interval is not None:
                most = self.per_interval * max(1, len(times) - 1)
            return equal_grid(times, self.step_size, 16 * eps, most)
        made = self.grid_constructor(func, y0, t)
        if not isinstance(made, Tensor) or made.ndim != 1:
            raise TypeError(
                "`grid_constructor` must return a one-dimensional tensor of times, got "
                f"{type(made).__name__}"
            )
        grid = made.detach().tolist()
        if len(grid) < 2 or grid[0] != times[0] or grid[-1] != times[-1]:
            raise ValueError(
                f"the grid of `grid_constructor` must lead from t[0] = {times[0]} to t[-1] = "
                f"{times[-1]}, got {grid[:1]} to {grid[-1:]}"
            )
        return grid
