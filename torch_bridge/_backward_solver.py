"""The solver of a backward pass: of the forward one what is not given, checked at the call."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from odecore.solve import Newton
from torch_bridge._kinds import require_constant
from torch_bridge._methods import Method, require_mapping, solver_of
from torch_bridge._odeint import Prepared
from torch_bridge._solver import Solver

__all__ = ["backward_solver", "without_norm"]


def backward_solver(
    problem: Prepared,
    method: Method,
    options: Mapping[str, Any] | None,
    tolerances: tuple[Any, Any],
    *,
    adjoint_rtol: Any,
    adjoint_atol: Any,
    adjoint_method: Method,
    adjoint_options: Mapping[str, Any] | None,
) -> tuple[Solver, dict[str, Any]]:
    """Check what is given for a backward solve; `tolerances` are rtol and atol of the forward one.

    The second value holds those that a collocation has, too: of given steps what is given itself.

    Raises
    ------
    ValueError, TypeError
        As `solver_of`, and for tolerances that do not fit the state.
    """
    if adjoint_method in (None, "collocation"):
        adjoint_method = method
    elif adjoint_method != method and options and adjoint_options is None:
        raise ValueError(
            "`adjoint_method` is given, so `options` may not fit the backward solve; give "
            "`adjoint_options` too"
        )
    if adjoint_options is not None:
        require_mapping("adjoint_options", adjoint_options)
        _require_norm(adjoint_options.get("norm"))
    rtol = _tolerance(problem, "rtol", tolerances[0], adjoint_rtol)
    atol = _tolerance(problem, "atol", tolerances[1], adjoint_atol)
    own = without_norm(options if adjoint_options is None else adjoint_options)
    # Differences for Newton's method are exact for the adjoint's equation, which is linear.
    found = solver_of(adjoint_method, own, rtol, atol, Newton)
    ways = ("rtol", rtol, adjoint_rtol), ("atol", atol, adjoint_atol)
    return found, {k: x for k, x, given in ways if found.adaptive or given is not None}


def without_norm(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options but for the norm: that of the forward solve is for other states."""
    return {k: v for k, v in (options or {}).items() if k != "norm"}


def _require_norm(norm: Any) -> None:
    if not (norm is None or norm == "seminorm" or callable(norm)):
        raise ValueError(
            "`norm` of `adjoint_options` must be 'seminorm', or a function of the parts of the "
            f"adjoint's state, got {norm!r}"
        )


def _tolerance(problem: Prepared, name: str, forward: Any, given: Any) -> Any:
    """One number, or a tensor that broadcasts against the state."""
    label, like = name if given is None else f"adjoint_{name}", problem.y0
    value = problem.layout.tolerance(forward if given is None else given, label, like)
    rule = f"`{label}` must be finite and not negative, got {value!r}"
    if isinstance(value, Real):
        if not 0 <= value < float("inf"):
            raise ValueError(rule)
        return value
    found, dtype = value, None if hasattr(value, "dtype") else torch.float64
    try:
        if not isinstance(value, Tensor):
            found = torch.as_tensor(value, dtype=dtype, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or found.is_complex():
        raise TypeError(f"`{label}` must be a real number, or a tensor of them, got {value!r}")
    require_constant({label: found})
    value = found.to(like.device, like.dtype.to_real())
    try:
        fits = torch.broadcast_shapes(value.shape, like.shape) == like.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{label}` must be a number or broadcast against the state of shape "
            f"{tuple(like.shape)}, got shape {tuple(value.shape)}"
        )
    if value.is_cpu and not bool(((value >= 0) & value.isfinite()).all()):
        raise ValueError(rule)
    return value
