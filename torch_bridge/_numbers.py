"""Options that are numbers: text, None and several of them are not."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["are_numbers", "is_number", "require_whole", "scalar", "several_numbers"]


def is_number(value: Any) -> bool:
    """Whether this is one real number that can be read, of Python, NumPy or torch."""
    if isinstance(value, Tensor):
        return not (value.ndim or value.is_complex() or value.is_meta)
    is_array = isinstance(value, np.ndarray) and not value.ndim and value.dtype.kind in "biuf"
    return isinstance(value, Real) or is_array


def are_numbers(values: Any) -> bool:
    """Whether this is a real number, or a list, tuple or array of such, nested as may be."""
    if isinstance(values, list | tuple):
        return all(map(are_numbers, values))
    if isinstance(values, Tensor):
        return not values.is_complex()
    is_array = isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
    return is_number(values) or is_array


def scalar(value: Any) -> Any:
    """The number in a tensor or array of one; other values as they are, to be checked."""
    return value.item() if getattr(value, "shape", None) in ((), (1,)) else value


def several_numbers(label: str, values: Any) -> tuple[float, ...]:
    """Numbers as floats; TypeError for what is no row of them."""
    is_row = isinstance(values, Iterable) and getattr(values, "ndim", 1) > 0
    found = list(values) if is_row else [None]
    if not all(map(is_number, found)):
        raise TypeError(f"`{label}` must be a sequence of numbers, got {values!r}")
    return tuple(map(float, found))


def require_whole(**values: Any) -> None:
    """Raise ValueError unless all these options are whole numbers from 1."""
    for label, value in values.items():
        if not isinstance(value, Integral) or value is True or value < 1:
            raise ValueError(f"`{label}` must be a whole number from 1, got {value!r}")
