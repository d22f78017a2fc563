"""Derivative and integral of the interpolant at Chebyshev points, as matrices."""

from __future__ import annotations

from math import fsum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from odecore._kept import kept_if_small
from odecore.interpolation._barycentric import barycentric_weights
from odecore.interpolation._conditioning import coefficient_matrix
from odecore.interpolation._nodes import require_count

__all__ = ["differentiation_matrix", "integration_matrix"]


def differentiation_matrix(m: int, /) -> NDArray[np.float64]:
    """Matrix from values at the points of the second kind to the interpolant's derivatives there.

    Parameters
    ----------
    m : int
        Number of points on [-1, 1] in increasing order, at least 2.

    Returns
    -------
    (m, m) ndarray of float64
        Read-only. For an interval of length L multiply by 2/L.

    Raises
    ------
    ValueError
        If `m` is less than 2.

    Notes
    -----
    Off the diagonal (w_j / w_i) / (x_i - x_j), where the differences are products of sines, which
    do not cancel; on it minus the sum of the rest of the row, so that the derivative of a constant
    vanishes. Baltensperger, Trummer, Spectral differencing with a twist, SIAM J. Sci. Comput. 24
    (2003).
    """
    require_count(m, 2)
    return _differentiation(int(m))


@kept_if_small
def _differentiation(m: int) -> NDArray[np.float64]:
    k = np.arange(m)
    total, apart = k[:, None] + k, k[:, None] - k
    angle = np.pi / (2 * m - 2)
    # sin(pi - a) = sin(a): the smaller of the two angles has the smaller error.
    difference = 2 * np.sin(angle * np.minimum(total, 2 * m - 2 - total)) * np.sin(angle * apart)
    weights = barycentric_weights(m)
    np.fill_diagonal(difference, np.inf)
    matrix: NDArray[np.float64] = weights / weights[:, None] / difference
    np.fill_diagonal(matrix, [-fsum(row) for row in matrix])
    matrix.flags.writeable = False
    return matrix


def integration_matrix(
    m: int, /, from_end: Literal["first", "last"] = "first"
) -> NDArray[np.float64]:
    """Matrix from values at the points of the second kind to integrals of the interpolant.

    Parameters
    ----------
    m : int
        Number of points on [-1, 1] in increasing order, at least 2.
    from_end : {"first", "last"}, optional
        Row k integrates from the first point to x_k, or from x_k to the last point.

    Returns
    -------
    (m, m) ndarray of float64
        Read-only. The row of an empty integral is exactly zero, that of the whole interval is
        `clenshaw_curtis_weights(m)` to rounding. For an interval of length L multiply by L/2.

    Raises
    ------
    ValueError
        If `m` is less than 2 or `from_end` is neither of the two.

    Notes
    -----
    The integral of T_j is (T_(j+1)/(j+1) - T_(j-1)/(j-1))/2, applied to the rows that give the
    coefficients. Clenshaw, Curtis, A method for numerical integration on an automatic computer,
    Numer. Math. 2 (1960).
    """
    require_count(m, 2)
    if not isinstance(from_end, str) or from_end not in ("first", "last"):
        raise ValueError(f'`from_end` must be "first" or "last", got {from_end!r}')
    return _integration(int(m), from_end)


@kept_if_small
def _integration(m: int, from_end: str) -> NDArray[np.float64]:
    j = np.arange(m + 1)
    # The row of cosines at the first point is T_j(-1): subtracting it starts the integral there.
    chebyshev = np.cos(np.pi * np.outer(np.arange(m)[::-1], j) / (m - 1))
    chebyshev -= (-1.0) ** j
    integrals = np.empty((m, m))
    integrals[:, 0] = chebyshev[:, 1]
    integrals[:, 1] = chebyshev[:, 2] / 4
    high = j[2:m]
    integrals[:, 2:] = (chebyshev[:, 3:] / (high + 1) - chebyshev[:, 1 : m - 1] / (high - 1)) / 2
    matrix: NDArray[np.float64] = integrals @ coefficient_matrix(m)
    matrix[0] = 0.0
    # The interval's reflection exchanges its ends.
    matrix = matrix if from_end == "first" else matrix[::-1, ::-1].copy()
    matrix.flags.writeable = False
    return matrix
