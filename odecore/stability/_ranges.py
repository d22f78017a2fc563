"""Ranges of parameters, and how many points there are along an axis."""

from __future__ import annotations

from math import isfinite
from operator import index
from typing import Any

__all__ = ["is_range", "require_points"]


def is_range(found: Any) -> bool:
    """Whether this is a pair (low, high) of finite numbers with low < high."""
    try:
        low, high = found
        return bool(low < high) and isfinite(high - low)
    except (TypeError, ValueError):  # no pair, or of other things than numbers
        return False


def require_points(points: Any) -> None:
    """Raise ValueError unless this is a whole number from 2."""
    try:
        enough = index(points) >= 2
    except TypeError:
        enough = False
    if not enough:
        raise ValueError(f"`points` of an axis must be a whole number from 2, got {points!r}")
