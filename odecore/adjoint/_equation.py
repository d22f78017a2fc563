"""The adjoint equation a' = -(df/dy)^T a, along a known state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["adjoint_field"]


def adjoint_field(
    vjp: Callable[[Any, Any, Any], Any],
    time: Callable[[float], Any],
    state: Callable[[float], Any],
    length: Any,
    /,
) -> Callable[[float, Any], Any]:
    """Right-hand side of the adjoint equation in normalised time s.

    Parameters
    ----------
    vjp : callable
        `vjp(t, y, a)` returns (df/dy)^T a at (t, y).
    time, state : callable
        From s to t and to y(t).
    length : float or 0-d array
        dt/ds. Integrating in s keeps the grid on the host whatever device holds the times.

    Returns
    -------
    callable
        (s, a) -> da/ds.
    """
    return lambda s, a: -length * vjp(time(s), state(s), a)
