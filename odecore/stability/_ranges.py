"""Ranges of parameters, and how many points there are along an axis."""

from __future__ import annotations

from math import isfinite
from operator import index
from typing import Any

__all__ = ["is_range", "require_points"]

MOST = 10_000  # points along an axis


def is_range(found: Any) -> bool:
    """Whether this is a pair (low, high) of finite numbers with low < high."""
    try:
        low, high = found
        return bool(low < high) and isfinite(high - low)
    except (TypeError, ValueError, OverflowError):  # no pair, no numbers, or ints above all floats
        return False


def require_points(points: Any) -> None:
    """Raise ValueError unless this is a whole number from 2 to 10,000."""
    try:
        good = 2 <= index(points) <= MOST
    except TypeError:
        good = False
    if not good:
        raise ValueError(
            f"`points` of an axis must be a whole number from 2 to {MOST}, got {points!r}"
        )
