"""Chebyshev coefficients, and whether they have decayed: is the number of nodes enough?"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from numbers import Real
from typing import Any

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from odecore._array import (
    as_float,
    as_state,
    constant_like,
    is_readable,
    namespace,
    on_host,
    require_broadcasts,
    require_real,
    tracks,
    widened,
)
from odecore._kept import kept_if_small
from odecore.interpolation._nodes import require_count, require_nodes

__all__ = ["chebyshev_coefficients", "coefficient_matrix", "coefficient_tail", "decay_ratio"]


@kept_if_small
def coefficient_matrix(m: int, /) -> NDArray[np.float64]:
    """The (m, m) matrix from values at the points of the second kind to coefficients of T_j."""
    j = np.arange(m)
    matrix = np.cos(np.pi * np.outer(j, j[::-1]) / (m - 1)) * (2 / (m - 1))
    matrix[:, [0, -1]] /= 2
    matrix[[0, -1], :] /= 2
    matrix.flags.writeable = False
    return matrix


def chebyshev_coefficients(values: Any, /) -> Any:
    """Coefficients of the interpolant in the Chebyshev polynomials T_0, ..., T_(m-1).

    Parameters
    ----------
    values : (m, ...) array
        Values at the points of the second kind in increasing order, m >= 2.

    Returns
    -------
    (m, ...) array
        Independent of the interval.

    Raises
    ------
    ValueError
        If there are fewer than 2 values.
    TypeError
        If the values are not floating-point numbers.

    Notes
    -----
    Trefethen, Approximation Theory and Approximation Practice, chapter 3.
    """
    values = as_state(values, "values")
    m = values.shape[0] if len(values.shape) else 0
    require_count(m, 2)
    xp = namespace(values)
    return xp.tensordot(constant_like(coefficient_matrix(m), values), values, axes=1)


def coefficient_tail(values: Any, /) -> Any:
    """Size of the last coefficients relative to the largest: small where m is enough.

    Parameters
    ----------
    values : (m, ...) array
        Values at the points of the second kind, m >= 2.

    Returns
    -------
    0-d array
        In the library of `values`; 0 for a constant zero or an empty array.

    Raises
    ------
    ValueError
        If there are fewer than 2 values.
    TypeError
        If the values are not floating-point numbers.

    Notes
    -----
    The last two from m = 5 on, because the coefficients of an even or odd function vanish
    alternately; the last one for fewer. Sizes are maximum norms over all trailing axes.
    """
    values = as_state(values, "values")
    require_nodes(values)
    xp = namespace(values)
    if 0 in values.shape:
        return xp.zeros((), dtype=xp.abs(values).dtype, device=device(values))
    last = 2 if values.shape[0] >= 5 else 1
    if is_readable(values) and not tracks(values):  # small operations cost less there
        host = np.abs(chebyshev_coefficients(on_host(values)))
        found = host[-last:].max() / (host.max() or 1.0)
        return xp.asarray(found, dtype=xp.abs(values[:1, ...]).dtype, device=device(values))
    coefficients = xp.abs(chebyshev_coefficients(values))
    largest = xp.max(coefficients)
    return xp.max(coefficients[-last:, ...]) / xp.where(largest > 0, largest, xp.ones_like(largest))


def decay_ratio(
    values: Any, rtol: Any, atol: Any, norm: Callable[[Any], Any] | None = None, /
) -> Any:
    """Size of the last coefficients in units of a tolerance: at most 1 where m is enough for it.

    Parameters
    ----------
    values : (m, ...) array
        Values at the points of the second kind, m >= 2.
    rtol, atol : float or array
        The unit of each entry is atol + rtol times its largest value.
    norm : callable, optional
        From an array (...) to a number; by default the root mean square.

    Returns
    -------
    number or 0-d array
        The larger of the norms of the last two coefficients; of the last one for m < 5.

    Raises
    ------
    ValueError, TypeError
        If there are fewer than 2 values, or they are not floating-point numbers, or a tolerance is
        no real number, or negative, or of a shape that does not go with one of the values.
    """
    values = widened(as_state(values, "values"))
    require_nodes(values)
    if is_readable(values) and norm is None:  # small operations cost less there
        values = on_host(values)
    rtol, atol = _tolerance("rtol", rtol, values), _tolerance("atol", atol, values)
    xp = namespace(values)
    if 0 in values.shape:
        return xp.zeros((), dtype=xp.abs(values).dtype, device=device(values))
    require_count(values.shape[0], 2)
    last = 2 if values.shape[0] >= 5 else 1
    rows = constant_like(coefficient_matrix(values.shape[0])[-last:], values)
    coefficients = xp.tensordot(rows, values, axes=1)
    unit = atol + rtol * xp.max(xp.abs(values), axis=0)
    unit = xp.where(unit > 0, unit, float(xp.finfo(unit.dtype).smallest_normal))
    if norm is not None:
        first, *rest = (norm(coefficients[k, ...] / unit) for k in range(last))
        return max([first, *rest])
    squares = (xp.abs(coefficients) / unit) ** 2
    means = xp.sum(xp.reshape(squares, (last, -1)), axis=1) / prod(values.shape[1:])
    return xp.max(means) ** 0.5


def _tolerance(label: str, value: Any, like: Any) -> Any:
    """A float, or an array that goes with others; not negative, if it may be read."""
    if isinstance(value, Real):
        value = as_float(value)
        fits = value >= 0
    else:
        if not hasattr(value, "shape") or is_readable(value):
            require_real(value, label)
            value = constant_like(value, namespace(like).abs(like))
        fits = not is_readable(value) or bool(np.all(on_host(value) >= 0))
    if not fits:
        raise ValueError(f"`{label}` must not be negative, got {value!r}")
    require_broadcasts(label, value, like.shape[1:], "a value of shape")
    return value
