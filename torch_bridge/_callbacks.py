"""Callbacks that users attach to a right-hand side, as torchdiffeq calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_bridge._states import Layout

__all__ = ["observer_of"]

NAMES = {
    "step": "callback_step",
    "accept": "callback_accept_step",
    "reject": "callback_reject_step",
}


def observer_of(
    func: Any, layout: Layout, suffix: str = ""
) -> Callable[[str, Any, Any, Any], None] | None:
    """The function that `odecore.solve.solve_ivp` calls at each attempt, or None.

    The attributes `callback_step`, `callback_accept_step` and `callback_reject_step` of `func`
    (with the suffix) are called as callback(t0, y0, dt): t0 in the user's direction of time and dt
    the length of the step, as float64 tensors; y0 in the user's structure.
    """
    found = {
        what: getattr(func, name + suffix, None)
        for what, name in NAMES.items()
        if callable(getattr(func, name + suffix, None))
    }
    if not found:
        return None

    def observe(what: str, t: Any, y: Tensor, h: Any) -> None:
        callback = found.get(what)
        if callback is not None:
            callback(_time(t, y), layout.state(y), abs(_time(h, y)))

    return observe


def _time(t: Any, y: Tensor) -> Tensor:
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64, device=y.device)
