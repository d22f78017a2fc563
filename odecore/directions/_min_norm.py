"""The point of smallest norm in the convex hull of the gradients: the direction of MGDA."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from odecore.directions._gramian import cosines
from odecore.directions._nonnegative import least_norm_minimizer, nonnegative_minimizer
from odecore.directions._weights import DirectionWeights, directed, kept_objectives

__all__ = ["min_norm_weights", "smallest_among"]


def smallest_in_hull(C: NDArray[np.float64], v: NDArray[np.float64], /) -> NDArray[np.float64]:
    """Minimise b^T C b over b >= 0 with v^T b = 1, exactly; of several minimisers the least.

    C (m, m) is positive semidefinite with unit diagonal, v (m,) positive, its largest entry 1; with
    v = 1 the hull is that of the unit vectors. With M = C + v v^T, the non-negative minimiser a of
    a^T M a / 2 - v^T a is b up to scale, for both have the same Karush-Kuhn-Tucker conditions.
    """
    if len(C) == 1:
        return 1.0 / v
    if len(C) == 2 and v[0] == v[1]:
        return 0.5 / v  # the bisector
    v = np.where(v > 1e-14, v, 0.0)  # what the slopes can not resolve
    M = C + np.outer(v, v)
    a = nonnegative_minimizer(M, v)
    if 1.0 - v @ a > 1e-12:  # at stationarity, where only the certificate is used, any will do
        a = least_norm_minimizer(M, v, a)
    b: NDArray[np.float64] = a / (v @ a)
    return b


def smallest_among(
    kept: NDArray[np.bool_], C: NDArray[np.float64], v: NDArray[np.float64], /
) -> NDArray[np.float64]:
    """The same for some of the vectors; zero for the others."""
    if kept.all():
        return smallest_in_hull(C, v)
    b = np.zeros(len(v))
    b[kept] = smallest_in_hull(C[np.ix_(kept, kept)], v[kept])
    return b


def min_norm_weights(
    gramian: Any, /, *, on_zero: Literal["stop", "drop"] = "stop"
) -> DirectionWeights:
    """Weights of the shortest convex combination of the gradients, the direction of MGDA.

    Parameters
    ----------
    gramian : (m, m) array
        Inner products of the gradients; see `odecore.directions.gramian`. Solved in float64.
    on_zero : {"stop", "drop"}, optional
        A zero gradient is itself the shortest: "stop" returns zero weights, "drop" goes on with
        the others.

    Returns
    -------
    DirectionWeights
        Weights with sum 1. Objectives with positive weight fall equally in absolute terms, so the
        smallest gradient rules: prefer `equiangular_weights` where losses differ in scale.

    Raises
    ------
    ValueError, TypeError
        As `equiangular_weights`.

    Notes
    -----
    Désidéri, C. R. Acad. Sci. Paris 350 (2012), 313, equation (3): the minimum of alpha^T G alpha
    over the simplex. Implementations for several objectives iterate by Frank and Wolfe; the
    minimum is exact here. In the unknowns b_i = alpha_i n_i / n_min, n_i the norms, the matrix has
    a unit diagonal however different the norms are. Whether zero is in the hull is decided by the
    cosines, which are resolved to about 1e-14, whatever the norms.

    Examples
    --------
    >>> import numpy as np
    >>> min_norm_weights(np.diag([1.0, 4.0])).weights
    array([0.8, 0.2])
    """
    norms, C, precision = cosines(gramian)
    kept = kept_objectives(norms, on_zero)
    if not kept.any():
        return DirectionWeights.at_zero(norms)
    # Whether zero is in the hull does not depend on the lengths, but there b grows with 1 / v.
    v = kept.astype(np.float64)
    found = DirectionWeights(*directed(norms, C, precision, smallest_among(kept, C, v), v, "min"))
    if found.stationary:
        return found
    v[kept] = norms[kept].min() / norms[kept]
    b = smallest_among(kept, C, v)
    return DirectionWeights(*directed(norms, C, precision, b, v, "min"))
