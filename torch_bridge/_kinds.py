"""What kinds of things arguments are: one sentence for each that is another."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from torch_bridge._signature import refused_signature

__all__ = ["require_callable", "require_flags", "require_tensor"]


def require_callable(label: str, value: Any, how: str, arguments: int | None = None) -> None:
    """Raise TypeError unless the value can be called, with so many arguments."""
    if not callable(value):
        raise TypeError(f"`{label}` must be callable as {how}, got {value!r}")
    takes = None if arguments is None else refused_signature(value, arguments)
    if takes is not None:
        name = getattr(value, "__name__", type(value).__name__)
        raise TypeError(f"`{label}` must be callable as {how}, got {name} of {takes}")


def require_flags(**values: Any) -> None:
    """Raise TypeError unless all these options are bools: text and arrays are not."""
    for label, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"`{label}` must be a bool, got {value!r}")


def require_tensor(label: str, value: Any) -> None:
    """Raise TypeError unless the value is a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`{label}` must be a Tensor, got {type(value).__name__}")
