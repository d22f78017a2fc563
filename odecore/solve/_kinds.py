"""What kinds of things options are: one sentence for each that is another."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from odecore.solve._calls import takes

__all__ = ["require_callable", "require_count", "require_flag", "require_kind", "require_number"]


def require_kind(label: str, value: Any, kind: type, example: str) -> None:
    """Raise TypeError unless the value is None or of the kind."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"`{label}` must be {example}, got {value!r}")


def require_callable(label: str, value: Any, example: str, arguments: int | None = None) -> None:
    """Raise TypeError unless the value is None or can be called, with so many arguments."""
    if value is None:
        return
    if not callable(value) or (arguments is not None and not takes(value, arguments)):
        raise TypeError(f"`{label}` must be callable as {example}, got {value!r}")


def require_flag(label: str, value: Any, example: str) -> None:
    """Raise TypeError unless the value is None, a bool, or can be called."""
    if not (value is None or isinstance(value, bool | np.bool_) or callable(value)):
        raise TypeError(f"`{label}` must be a bool, or callable as {example}, got {value!r}")


def require_number(label: str, value: Any) -> None:
    """Raise TypeError unless the value is a real number."""
    if not isinstance(value, Real):
        raise TypeError(f"`{label}` must be a number, got {value!r}")


def require_count(label: str, value: Any) -> None:
    """Raise TypeError unless the value is an integer."""
    if not isinstance(value, Integral):
        raise TypeError(f"`{label}` must be an int, got {value!r}")
