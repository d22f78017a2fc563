"""How far chance takes the mean of draws from that of the estimator, entry by entry."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np

from odecore.testing._differences import Differences

__all__ = ["bernstein_limits", "require_within", "student_limits", "valid_bounds"]


def student_limits(found: Differences, z: float) -> Any:
    """Student's limit, wider by the first term of its expansion where draws are skewed."""
    root = sqrt(found.runs)
    return (z + z * z * found.skewness / (3 * root)) * found.spread / root


def bernstein_limits(found: Differences, bounds: tuple[Any, Any], false_alarm: float) -> Any:
    """The empirical Bernstein inequality (Maurer and Pontil 2009, theorem 4), on both sides."""
    width = found.in_unit(bounds[1] - bounds[0]).ravel()
    if found.direction is not None:
        width = np.append(width, np.abs(found.direction) @ width)
    n, level = found.runs, log(4 / false_alarm)
    return found.spread * sqrt(2 * level / (n - 1)) + 7 * width * level / (3 * (n - 1))


def valid_bounds(bounds: Any, mean: Any) -> tuple[Any, Any]:
    """Low and high in the shape of the mean, if it lies between them."""
    try:
        low, high = (np.broadcast_to(np.asarray(b, np.float64), mean.shape) for b in bounds)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`bounds` must be (low, high), numbers or arrays of the shape of the mean, "
            f"{mean.shape}; got {bounds!r}"
        ) from error
    if not np.all(np.isfinite(high - low)) or not np.all((low <= mean) & (mean <= high)):
        raise ValueError(
            f"`bounds` must be finite, with the mean that is claimed between them; got {bounds!r}"
        )
    return low, high


def require_within(value: Any, bounds: tuple[Any, Any]) -> None:
    """Refuse a draw that is out of bounds by more than rounding."""
    low, high = bounds
    slack = 1e-9 * (high - low)
    if np.any((value < low - slack) | (value > high + slack)):
        raise ValueError(
            f"a draw holds {value.min():.6g} to {value.max():.6g}, and `bounds` are "
            f"{low.min():.6g} to {high.max():.6g}; widen them"
        )
