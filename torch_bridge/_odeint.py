"""`odeint` in torchdiffeq's call form, differentiable through its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from numbers import Real
from typing import Any

from torch import Tensor

from odecore.solve import solve_ivp
from odecore.tableaux import ButcherTableau, Coefficients, tableau
from torch_bridge._fields import as_field, inside_transform, require_state, times_of
from torch_bridge._times import shifted_outputs, shifted_start

__all__ = ["METHODS", "Method", "odeint", "refuse_events", "solver_options"]

Method = str | ButcherTableau | Coefficients | None

#: From torchdiffeq's names to the catalogue's. Its "rk4" is Kutta's 3/8 rule.
METHODS = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "rk4": "three_eighths",
    "bosh3": "bosh3",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
}
FIXED_OPTIONS = ("step_size", "steps", "check_finite", "max_num_steps")
ADAPTIVE_OPTIONS = ("first_step", "max_num_steps")


def odeint(
    func: Callable[[Tensor, Tensor], Tensor],
    y0: Tensor,
    t: Tensor,
    *,
    rtol: float = 1e-7,
    atol: float | Tensor = 1e-9,
    method: Method = None,
    options: Mapping[str, Any] | None = None,
    event_fn: None = None,
) -> Tensor:
    """Integrate dy/dt = func(t, y) and return the states at the times t.

    Parameters
    ----------
    func : callable
        `func(t, y)` with t a 0-d tensor; returns a tensor of the shape and dtype of y.
    y0 : Tensor
        Initial state, of any shape.
    t : (n,) Tensor
        At least two strictly monotone times, of either direction; the first is that of `y0`. May
        require a gradient: the flow's, dL/dt_i from func(t_i, y_i).
    rtol, atol : float, optional
        Tolerances of adaptive methods; fixed steps do not use them.
    method : str, ButcherTableau or Coefficients, optional
        Adaptive: "dopri5" (default), "tsit5", "bosh3". Fixed steps: "euler", "midpoint", "heun2",
        "rk4" (the 3/8 rule, as in torchdiffeq). Or a tableau, or a family at values; with the
        option `step_size` or `steps`, or without an embedded error estimate, in fixed steps.
    options : mapping, optional
        Fixed steps: `step_size`, or `steps` between output times (default 1, so that t is the
        grid); `check_finite`, whether to look for NaN in the result (default: on the CPU, where it
        is free). Adaptive: `first_step`. Both: `max_num_steps`.
    event_fn : None
        Events are not supported; anything but None is refused.

    Returns
    -------
    (n, ...) Tensor
        States at the times t, in the dtype and device of `y0`.

    Raises
    ------
    ValueError, TypeError
        For input that breaks a rule above, unknown options included.
    odecore.errors.SolveError
        When the solve fails, a subclass for each cause, with the partial trajectory.

    Notes
    -----
    Where torchdiffeq interpolates linearly between fixed steps, steps are shortened here to land
    on the output times, at full order. Gradients go through the steps, with their sizes held
    constant.

    On an accelerator a solve in fixed steps never waits for the device: times there are not read
    (nor checked to be monotone), unless `step_size` needs them.

    Examples
    --------
    >>> import torch
    >>> y = odeint(lambda t, y: -y, torch.ones(2), torch.tensor([0.0, 0.5, 1.0]))
    >>> y.shape
    torch.Size([3, 2])
    """
    refuse_events(event_fn)
    require_state(y0)
    solver = solver_options(method, options, rtol, atol)
    times = times_of(t, y0, needed="steps" not in solver)
    field = as_field(func, y0)
    start = shifted_start(y0, t, field)
    trajectory = solve_ivp(field, (times[0], times[-1]), start, t_eval=times, **solver)
    return shifted_outputs(trajectory.y, y0, t, field)


def solver_options(
    method: Method, options: Mapping[str, Any] | None, rtol: float, atol: float | Tensor
) -> dict[str, Any]:
    """Translate torchdiffeq's arguments into those of `odecore.solve.solve_ivp`."""
    options = dict(options or {})
    if isinstance(method, str) and method not in METHODS:
        near = get_close_matches(method, METHODS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no method {method!r}: {hint}known names are {', '.join(METHODS)}")
    if method is None:
        method = "dopri5"
    chosen = tableau(METHODS[method]) if isinstance(method, str) else method
    if isinstance(chosen, ButcherTableau):
        chosen = chosen.coefficients
    if not isinstance(chosen, Coefficients):
        raise TypeError(
            "`method` must be a name, a ButcherTableau or Coefficients, got "
            f"{type(method).__name__}"
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if isinstance(value, Real) and not 0 <= value < float("inf"):
            raise ValueError(f"`{name}` must be finite and not negative, got {value!r}")
    fixed = chosen.error is None or "steps" in options or "step_size" in options
    known = FIXED_OPTIONS if fixed else ADAPTIVE_OPTIONS
    unknown = [name for name in options if name not in known]
    if unknown:
        kind = "in fixed steps" if fixed else "with adaptive steps"
        raise ValueError(
            f"unknown options {unknown} for a solve {kind}; the options are {', '.join(known)}"
        )
    if "max_num_steps" in options:
        options["max_steps"] = options.pop("max_num_steps")
    if not fixed:
        return {"method": chosen, "rtol": rtol, "atol": atol, **options}
    if "step_size" not in options:
        options.setdefault("steps", 1)
    if inside_transform():
        options.setdefault("check_finite", False)
    return {"method": chosen, **options}


def refuse_events(event_fn: Any) -> None:
    """Raise ValueError for an event function: silence would ignore it."""
    if event_fn is not None:
        raise ValueError("`event_fn` must be None: events are not supported yet")
