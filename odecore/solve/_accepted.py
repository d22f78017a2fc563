"""An observer of accepted steps only, for which loops of many steps need not stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odecore.solve._kinds import require_callable

__all__ = ["Accepted"]


@dataclass(frozen=True)
class Accepted:
    """What `solve_ivp(..., observe=)` tells of accepted steps only, in order, but maybe later.

    Many steps may then be taken at once, without a look at each.

    Parameters
    ----------
    take : callable
        `take(t, y, h, stages)` is called for each accepted step, from (t, y) with step h; `stages`
        is the tuple of the slopes of an implicit method, which are dear to find again, and empty
        for other methods.
    observe : callable, optional
        An observer of all attempts beside it, as `solve_ivp` takes one.

    Raises
    ------
    TypeError
        If one of them can not be called with these arguments.
    """

    take: Callable[[Any, Any, Any, tuple[Any, ...]], None] | None
    observe: Callable[[str, Any, Any, Any], None] | None = None

    def __post_init__(self) -> None:
        require_callable("take", self.take, "take(t, y, h, stages)", 4)
        require_callable("observe", self.observe, "observe(what, t, y, h)", 4)
