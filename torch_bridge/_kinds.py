"""What kinds of things arguments are: one sentence for each that is another."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["require_callable", "require_flags", "require_tensor"]


def require_callable(label: str, value: Any, how: str, arguments: int | None = None) -> None:
    """Raise TypeError unless the value can be called, with so many arguments."""
    if not callable(value) or (arguments is not None and not _takes(value, arguments)):
        raise TypeError(f"`{label}` must be callable as {how}, got {value!r}")


def require_flags(**values: Any) -> None:
    """Raise TypeError unless all these options are bools: text and arrays are not."""
    for label, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"`{label}` must be a bool, got {value!r}")


def _takes(value: Any, arguments: int) -> bool:
    """Whether it can be called with so many arguments, as far as that is known."""
    try:
        found = signature(value, follow_wrapped=False)  # what a decorator takes
    except (TypeError, ValueError):  # not written in Python
        return True
    try:
        found.bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def require_tensor(label: str, value: Any) -> None:
    """Raise TypeError unless the value is a Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`{label}` must be a Tensor, got {type(value).__name__}")
