"""What a step is, and what it must return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Step", "precision", "require_step", "state"]

Step = Callable[[Callable[[Any, Any], Any], float, Any, float], Any]


def require_step(step: Any) -> None:
    """Refuse what is not called, such as the tableau of a method, whose order needs no steps."""
    if not callable(step):
        raise TypeError(
            f"`step` must be a function step(f, t, y, h) to the state at t + h, got "
            f"{type(step).__name__}; the order of a tableau is odecore.order.order_of_accuracy"
        )


def state(found: Any, shape: tuple[int, ...], numbers: str = "real") -> Any:
    """What a step has returned, as an array, if it is a state of this shape in these numbers."""
    try:
        array = np.asarray(found)
        kind = array.dtype.kind
    except ValueError:  # parts of different shapes
        array, kind = np.zeros(0), "O"
    if array.shape != shape or kind not in ("fiu" if numbers == "real" else "fiuc"):
        got = array.dtype if array.shape == shape else f"shape {array.shape}"
        raise ValueError(
            f"`step` must return a state of the shape of y, {shape}, in {numbers} numbers; got "
            f"{got if kind in 'fiuc' else 'no array of numbers'} "
            f"({type(found).__name__}); if it returns more than the state, wrap it, such as "
            "lambda f, t, y, h: step(f, t, y, h)[0]"
        )
    return array


def precision(array: Any) -> float:
    """Relative spacing of the numbers that an array holds: single if all are single numbers."""
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return float(np.finfo(array.dtype).eps)
    with np.errstate(all="ignore"):
        single = bool((array.astype(np.float32) == array).all()) and bool(array.any())
    return float(np.finfo(np.float32 if single else np.float64).eps)
