"""Clenshaw-Curtis quadrature: the integral of the interpolant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odecore._kept import kept_if_small
from odecore.interpolation._conditioning import coefficient_matrix
from odecore.interpolation._nodes import require_count

__all__ = ["clenshaw_curtis_weights"]


def clenshaw_curtis_weights(m: int, /) -> NDArray[np.float64]:
    """Weights w_k with sum_k w_k g(x_k) the integral over [-1, 1] of the interpolant of g.

    Parameters
    ----------
    m : int
        Number of points of the second kind, at least 2.

    Returns
    -------
    (m,) ndarray of float64
        Read-only; positive, with sum 2. For an interval of length L multiply by L/2.

    Raises
    ------
    ValueError
        If `m` is less than 2.

    Notes
    -----
    The integral of T_j over [-1, 1] is 2/(1-j^2) for even j and 0 for odd j, applied to the rows
    that give the coefficients. Trefethen, Is Gauss quadrature better than Clenshaw-Curtis?, SIAM
    Review 50 (2008).
    """
    require_count(m, 2)
    return _weights(int(m))


@kept_if_small
def _weights(m: int) -> NDArray[np.float64]:
    even = np.arange(0, m, 2)
    weights: NDArray[np.float64] = (2 / (1 - even.astype(float) ** 2)) @ coefficient_matrix(m)[even]
    weights.flags.writeable = False
    return weights
