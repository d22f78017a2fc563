"""A right-hand side that jumps at an end of a step, as it is inside of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["OneSided"]


@dataclass(frozen=True)
class OneSided:
    """`fun` with its times kept between two of them, and the times at which to evaluate others."""

    fun: Callable[[Any, Any], Any]
    low: float
    high: float

    def time(self, t: float) -> float:
        """The time nearest to t that is on the inside."""
        return min(max(t, self.low), self.high)

    def __call__(self, t: float, y: Any) -> Any:
        """The right-hand side there."""
        return self.fun(self.time(t), y)
