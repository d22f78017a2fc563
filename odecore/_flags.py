"""Flags: bools, of Python or NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["require_flags"]


def require_flags(**values: Any) -> None:
    """Raise TypeError unless all these options are bools: text, numbers and arrays are not."""
    for label, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"`{label}` must be a bool, got {value!r}")
