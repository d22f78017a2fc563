"""An observer of accepted steps only, for which loops of many steps need not stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Accepted"]


@dataclass(frozen=True)
class Accepted:
    """What `solve_ivp(..., observe=)` tells of accepted steps only, in order, but maybe later.

    Many steps may then be taken at once, without a look at each.

    Parameters
    ----------
    take : callable
        `take(t, y, h)` is called for each accepted step, from (t, y) with step h.
    """

    take: Callable[[Any, Any, Any], None]

    def __call__(self, what: str, t: Any, y: Any, h: Any) -> None:
        """Pass on what was accepted."""
        if what == "accept":
            self.take(t, y, h)
