"""Bounds of measured numbers, and how both are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Bound", "agrees", "at_least", "at_most", "between", "told"]


@dataclass(frozen=True)
class Bound:
    """An interval, its ends included.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"at most {self.high:g}"
        return (
            f"at least {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"
        )


def at_most(high: float) -> Bound:
    """From minus infinity."""
    return Bound(-math.inf, high)


def at_least(low: float) -> Bound:
    """To infinity."""
    return Bound(low, math.inf)


def between(low: float, high: float) -> Bound:
    """Both ends."""
    return Bound(low, high)


def agrees(value: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether a value is what is expected: each of a mapping by its name, a number by its bound."""
    if isinstance(expected, Mapping):
        if set(value) != set(expected):
            raise ValueError(f"measured {sorted(value)}, but {sorted(expected)} are expected")
        return all(agrees(value[name], bound, tolerance) for name, bound in expected.items())
    if isinstance(expected, Bound):
        return bool(expected.low <= value <= expected.high)  # not a number is in no bound
    if tolerance:
        return math.isclose(value, expected, rel_tol=tolerance)
    return bool(value == expected)


def told(value: Any) -> str:
    """In words: each of a mapping after its name, but for a bound that is alone."""
    if isinstance(value, Mapping):
        if [type(one) for one in value.values()] == [Bound]:
            return str(*value.values())
        return "; ".join(f"{name}: {_short(one)}" for name, one in value.items())
    return str(value)


def _short(one: Any) -> str:
    return f"{one:.3g}" if isinstance(one, float) and not float(one).is_integer() else str(one)
