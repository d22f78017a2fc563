"""The flow of the equiangular direction, to where no direction lowers all losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odecore.directions import equiangular_weights
from odecore.solve import Event, Trajectory, solve_ivp
from torch_bridge._kinds import require_callable
from torch_bridge._listed import checked_losses
from torch_bridge._numbers import is_number
from torch_bridge._objective_rows import differentiated, gramian_of
from torch_bridge._objectives import Scaling

__all__ = ["descent_flow"]


def descent_flow(
    losses: Callable[[Tensor], Iterable[Tensor]],
    y0: Tensor,
    duration: float,
    /,
    *,
    worst_cosine: float = 0.01,
    scaling: Scaling = "unit",
    **options: Any,
) -> Trajectory:
    """Follow dy/dt = -d(y), d the equiangular direction, until y is nearly Pareto stationary.

    Every loss falls all the way: a curve to the Pareto front that no step size shapes, to compare
    the steps of an optimizer with, or to find a point of the front that is better for all.

    Parameters
    ----------
    losses : callable
        From y to its losses, 0-d tensors; smooth, for else the solver takes small steps.
    y0 : Tensor
        Where to start; float64 where the tolerances ask for it.
    duration : float
        Where to end at the latest. With `scaling="unit"` the curve is no longer than this.
    worst_cosine : float, optional
        The flow ends where the best worst-case cosine falls to this.
    scaling : {"unit", "harmonic", "min"}, optional
        As for `odecore.directions.equiangular_weights`: the curve is the same for all scalings,
        with another time along it.
    **options
        All those of `odecore.solve.solve_ivp`: `method`, `rtol`, `t_eval`, `events`, ... The
        event that ends the flow is put before yours.

    Returns
    -------
    odecore.solve.Trajectory
        With status EVENT where it ended at the event, and SUCCESS after `duration` without it. It
        has no history: derivatives by y0 are not computed.

    Raises
    ------
    ValueError
        If `worst_cosine` is not in (0, 1), y0 is nearly stationary already, `duration` is not
        positive, or as `equiangular_backward` for the losses.
    TypeError
        If y0 is no real tensor.
    odecore.errors.SolveError
        As `solve_ivp`.

    Notes
    -----
    d is not smooth where the set of active losses changes, and is not continuous at stationary
    points, hence the positive `worst_cosine`. At a minimum that all losses share, or the one of a
    single loss, the worst cosine is no sign, and with "unit" the flow runs back and forth across it
    in ever smaller steps: there use "harmonic", whose speed falls with the gradients. By default
    the solve ends with an error after 2000 steps.

    Examples
    --------
    >>> import torch
    >>> ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    >>> distances = lambda y: [(y - end).square().sum() for end in ends]
    >>> found = descent_flow(distances, torch.tensor([0.0, 2.0], dtype=torch.float64), 10.0)
    >>> found.status.name, [round(float(v), 2) for v in found.y[-1]]
    ('EVENT', [0.0, 0.01])
    """
    require_callable("losses", losses, "losses(y)", 1)
    if not is_number(worst_cosine) or not 0 < worst_cosine < 1:
        raise ValueError(f"`worst_cosine` must be in (0, 1), got {worst_cosine!r}")
    if not is_number(duration) or not duration > 0:
        raise ValueError(f"`duration` must be positive, got {duration!r}")
    if not isinstance(y0, Tensor) or not y0.is_floating_point():
        found = y0.dtype if isinstance(y0, Tensor) else type(y0).__name__
        raise TypeError(f"`y0` must be a real tensor, got {found}")

    def direction(y: Tensor) -> tuple[Tensor, float]:
        """And its worst cosine; NaN, which the solver handles, where a gradient is not finite."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            rows = differentiated(checked_losses(losses(y)), [y], retain_graph=False)
        for i, (gradient,) in enumerate(rows):
            if gradient is None:
                raise ValueError(f"losses[{i}] does not depend on y; leave it out")
        G = gramian_of(rows, 1).cpu().numpy()
        if not np.isfinite(G).all():
            return torch.full_like(y, torch.nan), float("nan")
        found = equiangular_weights(G, scaling=scaling)
        d = torch.zeros_like(y)
        for w, (gradient,) in zip(found.weights, rows, strict=True):
            d.add_(gradient, alpha=float(w))
        return d, found.worst_cosine

    start = direction(y0)[1]
    if start <= worst_cosine:
        raise ValueError(
            f"`y0` must not be Pareto stationary; its best worst-case cosine is {start:.3g}, and "
            f"the flow ends at {worst_cosine:g}: start elsewhere, or choose a smaller "
            "`worst_cosine`"
        )
    end = Event(lambda t, y: direction(y)[1] - worst_cosine, terminal=True, direction=-1)
    more = options.pop("events", None) or []
    events = [end, *more] if isinstance(more, Sequence) else [end, more]
    options.setdefault("max_steps", 2000)
    return solve_ivp(
        lambda t, y: -direction(y)[0], (0.0, duration), y0.detach(), events=events, **options
    )
