"""Where a solve ends at an event: how its time and the state there depend on the state before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odecore._array import is_readable, limits, namespace
from odecore.adjoint._linearization import require_like
from odecore.adjoint._sweep import product

__all__ = ["EventCotangent", "event_cotangent"]


@dataclass(frozen=True, eq=False)
class EventCotangent:
    """Derivatives of a loss that depends on an event's time and on the state there.

    Parameters
    ----------
    state : array
        With respect to the state at the time of the event, that time held: the cotangent to give
        to `collocated`, `restored`, `discrete` or `backsolve` for this time.
    parameters : tuple of arrays
        With respect to the parameters of the event's function, in the order they were given.
    rate : 0-d array
        Of the event's function along the trajectory.
    """

    state: Any
    parameters: tuple[Any, ...]
    rate: Any


def event_cotangent(
    slope: Any, partials: tuple[Any, Any, tuple[Any, ...]], cotangent: Any, moves: Any = 0.0, /
) -> EventCotangent:
    r"""Turn derivatives at an event into one with respect to the state at a held time.

    Parameters
    ----------
    slope : array
        f(t, y) at the event, before any jump.
    partials : (g_t, g_y, (g_theta, ...)) tuple
        Of the event's function g(t, y, theta) there: a number, an array like the state, one array
        for each group of its parameters; as `jax.grad(g, (0, 1, 2))` gives them.
    cotangent : array
        dL/dy, of the state at the event.
    moves : float or 0-d array, optional
        dL/dt, of its time, the state held.

    Returns
    -------
    EventCotangent

    Raises
    ------
    ValueError
        If g does not change along the trajectory, so that its zero has no derivative (not looked
        at where values may not be read), or if an array does not have the state's shape.
    TypeError
        If an array does not have the state's dtype, or `partials` are not three.

    Notes
    -----
    By the implicit function theorem :math:`g(t, y(t), \theta) = 0` gives

    .. math:: dt = -\frac{g_y\,\delta y + g_\theta\,d\theta}{g_t + g_y f}, \qquad
       dy = \delta y + f\,dt,

    with :math:`\delta y` the change of the state at the held time (Chen, Amos, Nickel, "Learning
    neural event functions for ordinary differential equations", 2021, section 3). Where the state
    jumps at the event and another solve starts there, `cotangent` is that solve's gradient pulled
    back through the jump, and `moves` its derivative with respect to its first time.
    """
    require_like(slope, slope, "slope")  # an array
    require_like(cotangent, slope, "cotangent")
    if not isinstance(partials, tuple | list) or len(partials) != 3:
        raise TypeError(f"`partials` must be (g_t, g_y, (g_theta, ...)), got {partials!r}")
    g_t, g_y, terms = partials
    rate = _rate(slope, g_t, g_y)
    share = (moves + product(cotangent, slope, namespace(slope))) / rate
    return EventCotangent(cotangent - share * g_y, tuple(-share * term for term in terms), rate)


def _rate(slope: Any, g_t: Any, g_y: Any) -> Any:
    """The rate g_t + g_y f of an event's function along a trajectory; ValueError if it is zero."""
    require_like(g_y, slope, "partials[1]")
    xp = namespace(slope)
    rate = g_t + product(g_y, slope, xp)
    if is_readable(rate):
        size = abs(float(g_t)) + float(xp.sum(xp.abs(g_y) * xp.abs(slope)))
        if not abs(float(rate)) > 10 * float(limits(slope).eps) * size:
            raise ValueError(
                "an event's function must cross its zero for its time to have a derivative; its "
                f"rate along the trajectory is {float(rate):.1e}, where its parts are {size:.1e}: "
                "take a function that changes its sign there at a rate of its own"
            )
    return rate
