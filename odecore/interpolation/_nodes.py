"""Chebyshev nodes of both kinds, in increasing order."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import is_readable, on_host, require_real, tracks
from odecore._kept import kept_if_small

__all__ = ["chebyshev_points", "ends_of", "host_points", "require_count", "require_nodes"]

MOST = 10**9


def chebyshev_points(
    n: int, /, *, kind: int = 2, interval: tuple[float, float] = (-1.0, 1.0)
) -> NDArray[np.float64]:
    """Return n Chebyshev points in an interval.

    Parameters
    ----------
    n : int
        At least 1; at least 2 for the second kind, whose points include both ends.
    kind : {1, 2}, optional
        1: roots of the Chebyshev polynomial T_n; 2: extrema of T_(n-1) (Lobatto points).
    interval : (2,) tuple of float, optional
        First and last end; a first end above the last gives decreasing points.

    Returns
    -------
    (n,) ndarray of float64
        From the first end to the last, symmetric about the middle to the last bit on [-1, 1].

    Raises
    ------
    ValueError
        If `n` or `kind` is out of range or the ends are not finite and distinct.
    TypeError
        If an end is not a real number.

    Notes
    -----
    Trefethen, Approximation Theory and Approximation Practice, chapter 2; computed as sines, which
    keeps the symmetry that cosines lose to rounding.
    """
    require_count(n, kind)
    start, end = ends_of(interval)
    if not (isfinite(start) and isfinite(end) and start != end):
        raise ValueError(f"`interval` must have two finite and distinct ends, got {interval}")
    return _points(int(n), int(kind), start, end).copy()


@kept_if_small
def _points(n: int, kind: int, start: float, end: float) -> NDArray[np.float64]:
    x = np.sin(np.pi * (2 * np.arange(n) - n + 1) / (2 * n if kind == 1 else 2 * n - 2))
    points: NDArray[np.float64] = start * ((1 - x) / 2) + end * ((1 + x) / 2)
    if kind == 2:
        points[0], points[-1] = start, end
    return points


def ends_of(interval: Any) -> tuple[float, float]:
    """The two ends as floats; ValueError or TypeError if they are no two real numbers."""
    if np.shape(interval) != (2,):
        raise ValueError(f"`interval` must hold two numbers, its ends, got {interval!r}")
    for end in interval:
        require_real(end, "interval")
    start, end = map(float, interval)
    return start, end


def host_points(x: Any, label: str = "x") -> NDArray[np.float64]:
    """Points of an interpolant on the host; TypeError unless they are numbers to be read."""
    require_real(x, label)
    if hasattr(x, "shape") and (tracks(x) or not is_readable(x)):
        raise TypeError(
            f"`{label}` is read on the host, and gets no gradient: give Python numbers, a NumPy "
            f"array, or `{label}.detach().cpu()`; got values that are traced, elsewhere, or "
            "require a gradient"
        )
    return np.asarray(on_host(x), dtype=np.float64)


def require_count(n: int, kind: int) -> None:
    """Raise ValueError unless there is a set of n points of this kind."""
    if isinstance(kind, bool) or not isinstance(kind, int | np.integer) or kind not in (1, 2):
        raise ValueError(f"`kind` must be 1 (roots) or 2 (extrema), got {kind!r}")
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or not kind <= n <= MOST:
        raise ValueError(
            f"points of kind {kind} number at least {kind}, got n = {n!r}; their number is an int, "
            f"at most {MOST}"
        )


def require_nodes(values: Any) -> None:
    """Raise ValueError unless values have a first axis, that of the nodes."""
    if len(values.shape) == 0:
        raise ValueError("`values` must have the node as its first axis, got a 0-d array")
