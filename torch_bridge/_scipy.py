"""SciPy's solvers behind torchdiffeq's name for them; forward only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from odecore.errors import SolveError
from odecore.solve import Statistics, Status, Trajectory
from torch_bridge._unknown_options import require_choice

__all__ = ["SOLVERS", "scipy_solve"]

SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")


def scipy_solve(
    field: Callable[[Any, Any], Tensor], y0: Tensor, times: list[float], options: dict[str, Any]
) -> Tensor:
    """States (n, ...) at the times, without gradients.

    Raises
    ------
    ValueError
        For an unknown solver, or a state that is complex or has a tangent.
    SolveError
        If SciPy's solver fails or returns values that are not finite.
    """
    from scipy.integrate import solve_ivp

    options = dict(options)
    solver = options.pop("solver", "LSODA")
    require_choice("solver", solver, SOLVERS)
    if y0.is_complex():
        raise ValueError("SciPy's solvers take real states here; view the state as real pairs")

    if forward_ad.unpack_dual(y0).tangent is not None:
        raise ValueError(
            "SciPy's solvers have no derivatives, and `y0` has a tangent of torch's forward mode: "
            "choose another method, or leave it out"
        )

    def flat(t: float, y: np.ndarray) -> np.ndarray:
        state = torch.as_tensor(y, dtype=y0.dtype, device=y0.device).reshape(y0.shape)
        with torch.no_grad():
            return field(float(t), state).reshape(-1).double().cpu().numpy()

    start = y0.detach().reshape(-1).double().cpu().numpy()
    for name in ("rtol", "atol"):
        if isinstance(options[name], Tensor):
            options[name] = options[name].expand(y0.shape).reshape(-1).double().cpu().numpy()
    found = solve_ivp(flat, (times[0], times[-1]), start, method=solver, t_eval=times, **options)
    y = torch.as_tensor(found.y.T, dtype=y0.dtype, device=y0.device)
    y = y.reshape(len(found.t), *y0.shape)
    if not found.success or not bool(torch.isfinite(y).all()):
        counts = Statistics(evaluations=found.nfev)
        partial = Trajectory(found.t, y, Status.NONFINITE_RHS, counts)
        raise SolveError(f"SciPy's {solver} failed: {found.message}", partial)
    return y
