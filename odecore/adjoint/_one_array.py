"""The state of an adjoint: one array, which linearizations and cotangents are like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odecore._array import as_state

__all__ = ["one_array"]


def one_array(y0: Any) -> Any:
    """The initial state as an array.

    Raises
    ------
    TypeError
        If it is several arrays, as solves take them, or as `as_state`.
    """
    several = isinstance(y0, tuple | list) and any(getattr(part, "ndim", 0) for part in y0)
    if several or isinstance(y0, Mapping):
        raise TypeError(
            f"`y0` must be one array in an adjoint, got {type(y0).__name__}: put its parts into "
            "one, as concatenate does, and take them apart in `fun` and `linearize`"
        )
    return as_state(y0, "y0")
