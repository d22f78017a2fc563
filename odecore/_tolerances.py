"""Tolerances: a number, or one for each entry of a state."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any

import numpy as np

from odecore._array import (
    as_float,
    as_float64,
    constant,
    constant_like,
    is_like,
    namespace,
    require_broadcasts,
    require_real,
)
from odecore._recording import records

__all__ = ["given_tolerances", "tolerance_like"]


def tolerance_like(label: str, value: Any, y: Any, /) -> Any:
    """A float, or a tolerance for each entry as an array like the state.

    Raises
    ------
    TypeError
        If it does not hold real numbers, or their derivatives are recorded.
    ValueError
        If it does not broadcast against the state, or is negative or not finite.
    """
    if isinstance(value, Real):
        value = as_float(value)
        good = 0 <= value < inf
    else:
        require_real(value, label)
        if records(value):
            raise TypeError(f"`{label}` is read, and gets no gradient: give it detached")
        require_broadcasts(label, value, y.shape)
        like = namespace(y).abs(constant(y))  # real
        if not is_like(value, like) or value.dtype != like.dtype:
            value = constant_like(value, like)
        numbers = as_float64(value, label)
        good = bool(np.all(np.isfinite(numbers) & (numbers >= 0)))
    if not good:
        raise ValueError(
            f"`{label}` must be finite and not negative, got {value!r}; 0 leaves errors to the "
            "other tolerance"
        )
    return value


def given_tolerances(options: dict[str, Any], y: Any, /) -> dict[str, Any]:
    """Those of `rtol` and `atol` that are given, for a state."""
    named = {k: options[k] for k in ("rtol", "atol") if options.get(k) is not None}
    return {label: tolerance_like(label, value, y) for label, value in named.items()}
