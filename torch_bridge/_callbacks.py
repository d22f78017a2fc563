"""Callbacks that users attach to a right-hand side, as torchdiffeq calls them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from odecore.errors import CallbackWarning

__all__ = ["observer_of", "warn_uncalled"]

NAMES = {
    "step": "callback_step",
    "accept": "callback_accept_step",
    "reject": "callback_reject_step",
}


def observer_of(
    func: Any, state: Callable[[Any, Any], Any], suffix: str = ""
) -> Callable[[str, Any, Any, Any], None] | None:
    """The function that `odecore.solve.solve_ivp` calls at each attempt, or None.

    The attributes `callback_step`, `callback_accept_step` and `callback_reject_step` of `func`
    (with the suffix) are called as callback(t0, state(t, y), dt): t0 in the user's direction of
    time and dt the length of the step, as float64 tensors.
    """
    found = _found(func, suffix)
    if not found:
        return None

    def observe(what: str, t: Any, y: Any, h: Any) -> None:
        callback = found.get(what)
        if callback is not None:
            device = (y if isinstance(y, Tensor) else y[0]).device
            callback(_time(t, device), state(t, y), abs(_time(h, device)))

    return observe


def warn_uncalled(func: Any, suffix: str, reason: str, stacklevel: int) -> None:
    """Warn if `func` has callbacks with this suffix, which will not be called."""
    names = [NAMES[what] + suffix for what in _found(func, suffix)]
    if names:
        message = f"{', '.join(names)} will not be called: {reason}"
        warnings.warn(message, CallbackWarning, stacklevel=stacklevel)


def _found(func: Any, suffix: str) -> dict[str, Callable[..., Any]]:
    names = {what: getattr(func, name + suffix, None) for what, name in NAMES.items()}
    return {what: callback for what, callback in names.items() if callable(callback)}


def _time(t: Any, device: torch.device) -> Tensor:
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64, device=device)
