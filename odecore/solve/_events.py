"""Events: times at which a function of the solution changes its sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import copysign, isnan, ulp
from numbers import Real
from typing import Any

import numpy as np

from odecore._array import constant
from odecore.solve._calls import takes
from odecore.solve._tracing import is_tracing

__all__ = ["Event", "EventRecord", "as_events", "find_root", "numeric_part"]


TINY = 1e-300  # in place of zero, where only the sign counts


@dataclass(frozen=True)
class Event:
    """A function whose sign changes along the solution are looked for.

    Parameters
    ----------
    function : callable
        `function(t, y)`, one real number.
    terminal : bool or int, optional
        Whether the solve ends at the first of these events, with status EVENT; an int ends it at
        that one of them.
    direction : {-1, 0, 1}, optional
        Only changes from below (1), from above (-1), or both (0).

    Raises
    ------
    TypeError
        If the function is not callable with two arguments.
    ValueError
        For another direction, or a negative `terminal`.

    Notes
    -----
    Of several changes of sign in one step one is found at most; `max_step` bounds the steps. A
    function that reaches zero and rests there has changed its sign, and one that leaves it has,
    too; a zero at the start of the solve is none. The state at an event is off zero by rounding, to
    either side: a solve that goes on from it, as that of a bouncing ball, gives `direction`, or
    finds the same event again. Where the function is NaN there are no events: of a step that ends
    or begins there the other part is searched.
    """

    function: Callable[[Any, Any], Any]
    terminal: bool | int = False
    direction: int = 0

    def __post_init__(self) -> None:
        if not callable(self.function) or not takes(self.function, 2):
            raise TypeError(f"an event must be callable as event(t, y), got {self.function!r}")
        if np.ndim(self.direction) or self.direction not in (-1, 0, 1):
            raise ValueError(f"`direction` must be -1, 0 or 1, got {self.direction!r}")
        if not isinstance(self.terminal, int | np.integer | np.bool_) or self.terminal < 0:
            raise ValueError(
                f"`terminal` must be a bool or the number of events, got {self.terminal!r}"
            )

    def value(self, t: float, y: Any) -> float:
        """`function(t, y)` as a Python float; ValueError unless it is one real number."""
        found = constant(self.function(t, y))
        try:
            if "complex" in str(getattr(found, "dtype", type(found))):
                raise TypeError("a complex number has no sign")
            return float(found)
        except (TypeError, ValueError) as error:
            if is_tracing(error):
                raise
            raise ValueError(
                f"an event must return one real number, got {found!r}; reduce it, say by a minimum"
            ) from error

    def crossed(self, before: float, after: float) -> bool:
        """Whether the sign, of which zero is a third one, changes so from `before` to `after`."""
        if isnan(before) or isnan(after):
            return False
        change = _sign(after) - _sign(before)
        return change != 0 and (self.direction == 0 or self.direction * change > 0)


@dataclass(frozen=True, eq=False)
class EventRecord:
    """Where one event happened.

    Parameters
    ----------
    t : (k,) array
        Times, in the direction of integration.
    y : (k, ...) array
        States at these times.
    """

    t: Any
    y: Any


def as_events(events: Any) -> tuple[Event, ...]:
    """Events from one or several of them, or from plain functions as SciPy's are.

    Parameters
    ----------
    events : Event, callable, or sequence of these, or None

    Returns
    -------
    tuple of Event

    Raises
    ------
    TypeError, ValueError
        As `Event`.

    Notes
    -----
    A function's attributes `terminal` and `direction` mean what they do there: None is no terminal
    event, whole floats are numbers of events, and only the sign of a direction counts.
    """
    if events is None:
        return ()
    listed: Sequence[Any] = events if isinstance(events, Sequence) else (events,)
    return tuple(e if isinstance(e, Event) else _as_in_scipy(e) for e in listed)


def _as_in_scipy(event: Any) -> Event:
    terminal, direction = getattr(event, "terminal", None), getattr(event, "direction", 0)
    if isinstance(terminal, Real) and terminal % 1 == 0:
        terminal = int(float(terminal))
    if isinstance(direction, Real) and not isnan(direction):
        direction = _sign(float(direction))
    return Event(event, False if terminal is None else terminal, direction)


def numeric_part(
    g: Callable[[float], float], a: float, b: float, ga: float, gb: float, /
) -> tuple[float, float, float, float]:
    """The part of [a, b] in which g is a number, or begins to change its sign, with g at its ends.

    One of the values at a and b is NaN. Bisection, as far as the other sign or the last place.
    """
    from_start = isnan(gb)
    x, gx, undefined = (a, ga, b) if from_start else (b, gb, a)
    sign, limit = _sign(gx), 4 * ulp(max(abs(a), abs(b)))
    while abs(undefined - x) > limit and _sign(gx) == sign:
        middle = x + (undefined - x) / 2
        found = g(middle)
        if isnan(found):
            undefined = middle
        else:
            x, gx = middle, found
    return (a, x, ga, gx) if from_start else (x, b, gx, gb)


def find_root(g: Callable[[float], float], a: float, b: float, ga: float, gb: float, /) -> float:
    """A time between a and b where g changes its sign, just behind the change.

    Where g is zero at an end, where that begins or ceases. Bisection, or inverse quadratic
    interpolation where it can be trusted (Chandrupatla 1997), until the bracket is not wider than
    four units in the last place of its ends.
    """
    zero = copysign(TINY, -ga if ga != 0 else -gb)  # on the other side, or on that of the start
    (x1, g1), (x2, g2) = (b, gb or zero), (a, ga or zero)
    behind, share = g1 > 0, 0.5
    limit = 4 * ulp(max(abs(a), abs(b)))
    while abs(x2 - x1) > limit:
        least = limit / (2 * abs(x2 - x1))
        x = x1 + min(max(share, least), 1 - least) * (x2 - x1)
        gx = g(x) or zero
        (x3, g3) = (x1, g1) if (gx > 0) == (g1 > 0) else (x2, g2)
        if (x3, g3) == (x2, g2):
            x2, g2 = x1, g1
        x1, g1 = x, gx
        share = 0.5
        if g3 not in (g1, g2):
            xi, phi = (x1 - x2) / (x3 - x2), (g1 - g2) / (g3 - g2)
            if phi * phi < xi and (1 - phi) * (1 - phi) < 1 - xi:  # powers of floats may raise
                share = g1 / (g2 - g1) * g3 / (g2 - g3)
                share += (x3 - x1) / (x2 - x1) * g1 / (g3 - g1) * g2 / (g3 - g2)
    return x1 if (g1 > 0) == behind else x2


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
