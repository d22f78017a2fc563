"""A right-hand side that jumps at an end of a step, as it is inside of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odecore.solve._problem import beside
from odecore.solve._reuse import unchecked

__all__ = ["OneSided", "one_sided"]


@dataclass(frozen=True)
class OneSided:
    """`fun` with its times kept between two of them, and the times at which to evaluate others."""

    fun: Callable[[Any, Any], Any]
    low: float
    high: float

    def time(self, t: float) -> float:
        """The time nearest to t that is on the inside."""
        return min(max(t, self.low), self.high)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the user's function."""
        return OneSided, (unchecked(self.fun), self.low, self.high)

    def __call__(self, t: float, y: Any) -> Any:
        """The right-hand side there."""
        return self.fun(self.time(t), y)


def one_sided(
    fun: Callable[[Any, Any], Any], t: float, t_new: float, y: Any, /, *, after: bool, before: bool
) -> Callable[[Any, Any], Any]:
    """A right-hand side that jumps at ends of a step, as `solve_ivp` sees it inside.

    Parameters
    ----------
    fun : callable
        `fun(t, y)`.
    t, t_new : float
        The ends of the step.
    y : array
        The state, in whose precision times are told apart.
    after, before : bool
        Whether it jumps at t, so that it is seen just after it, and at t_new.

    Returns
    -------
    callable
        `fun` at times kept to the inside, or itself where it does not jump.
    """
    if not (after or before):
        return fun
    first = beside(t, t_new, y) if after else t
    last = beside(t_new, t, y) if before else t_new
    return OneSided(fun, *sorted((first, last)))
