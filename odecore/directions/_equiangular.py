"""The equiangular direction: of all directions, the one with the best worst-case cosine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from odecore.directions._gramian import cosines
from odecore.directions._min_norm import smallest_among
from odecore.directions._weights import EquiangularWeights, directed, kept_objectives

__all__ = ["equiangular_weights"]


def equiangular_weights(
    gramian: Any,
    /,
    *,
    scaling: Literal["harmonic", "min", "unit"] = "harmonic",
    on_zero: Literal["stop", "drop"] = "stop",
) -> EquiangularWeights:
    """Weights of the equiangular direction for any number of objectives.

    Parameters
    ----------
    gramian : (m, m) array
        Inner products of the gradients; see `odecore.directions.gramian`. Solved in float64.
    scaling : {"harmonic", "min", "unit"}, optional
        Length of d = gamma d_u, d_u the shortest combination of the unit gradients. "harmonic":
        weights of sum 1. "min": gamma is the smallest norm; with an L-smooth objective a step of
        size below 2/L along -d lowers all of them. "unit": d = d_u, as long as its cosine.
    on_zero : {"stop", "drop"}, optional
        A zero gradient means that its objective is stationary: "stop" returns zero weights,
        "drop" goes on with the others.

    Returns
    -------
    EquiangularWeights
        Descending along -d = -sum w_i g_i lowers every objective; those with positive weight fall
        equally, relative to the norms of their gradients.

    Raises
    ------
    ValueError
        If the Gramian is not square, symmetric and finite with at least one row, not one of
        vectors, or for another value of `scaling` or `on_zero`.
    TypeError
        If it holds anything but real numbers.

    Notes
    -----
    arXiv 2007.06937: alpha minimises the norm of d_u = sum alpha_i g_i/n_i over the simplex, n_i
    the norm of g_i; gamma = 1/sum(alpha_i/n_i) and w_i = gamma alpha_i/n_i. The minimum is exact
    here, by closed form, block pivoting or active set, where the published code iterates
    approximately. Of dependent gradients d_u is unique but alpha, and so gamma, is not: we take
    alpha of least norm, so that equal gradients have equal weights. They count as equal where their
    cosine is 1 to about 1e-14: there alpha and gamma jump, d_u does not.

    Invariant to permutation, rotation and, in direction, to positive rescaling of any objective;
    d is homogeneous of degree 1 (of degree 0 with "unit"), and not linear.

    Examples
    --------
    The bisector of (1, 0) and (0, 100), whatever the lengths:

    >>> import numpy as np
    >>> J = np.array([[1.0, 0.0], [0.0, 100.0]])
    >>> d = J.T @ equiangular_weights(J @ J.T).weights
    >>> [round(float(x), 12) for x in d / np.linalg.norm(d) * np.sqrt(2)]
    [1.0, 1.0]
    """
    if scaling not in ("harmonic", "min", "unit"):
        raise ValueError(f'`scaling` must be "harmonic", "min" or "unit", got {scaling!r}')
    norms, C, precision = cosines(gramian)
    kept = kept_objectives(norms, on_zero)
    if not kept.any():
        return EquiangularWeights.at_zero(norms)
    v = kept.astype(np.float64)
    alpha = smallest_among(kept, C, v)
    return EquiangularWeights(*directed(norms, C, precision, alpha, v, scaling))
