"""What kinds of things arguments are: one sentence for each that is another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from torch_bridge._signature import refused_signature

__all__ = ["require_callable", "require_constant", "require_flags", "require_tensor"]


def require_callable(label: str, value: Any, how: str, arguments: int | None = None) -> None:
    """Raise TypeError unless the value can be called, with so many arguments."""
    if not callable(value):
        raise TypeError(f"`{label}` must be callable as {how}, got {value!r}")
    takes = None if arguments is None else refused_signature(value, arguments)
    if takes is not None:
        name = getattr(value, "__name__", type(value).__name__)
        raise TypeError(f"`{label}` must be callable as {how}, got {name} of {takes}")


def require_constant(values: Mapping[Any, Any]) -> None:
    """Raise ValueError for tensors, also in lists, whose derivatives are recorded, in either mode:
    they are read, and would get none.
    """
    for label, value in values.items():
        parts = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(part, Tensor) and _is_recorded(part) for part in parts):
            raise ValueError(
                f"`{label}` must not require a gradient, or have a tangent: it is read, and gets "
                "none; detach it"
            )


def _is_recorded(x: Tensor) -> bool:
    if x.requires_grad and torch.is_grad_enabled():
        return True
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def require_flags(**values: Any) -> None:
    """Raise TypeError unless all these options are bools: text and arrays are not."""
    for label, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"`{label}` must be a bool, got {value!r}")


def require_tensor(label: str, value: Any) -> None:
    """Raise TypeError unless the value is a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`{label}` must be a Tensor, got {type(value).__name__}")
