"""The equiangular direction: of all directions, the one with the best worst-case cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from odecore.directions._gramian import cosines
from odecore.directions._min_norm import smallest_in_hull

__all__ = ["EquiangularWeights", "equiangular_weights"]


@dataclass(frozen=True)
class EquiangularWeights:
    """Weights of the gradients in the direction d = sum_i w_i g_i, with a certificate.

    Parameters
    ----------
    weights : (m,) ndarray of float64
        w >= 0; all zero where the objectives are Pareto stationary.
    cosines : (m,) ndarray of float64
        Cosine between d and each g_i: equal for those with positive weight, larger for the rest.
    duality_gap : float
        How far the worst cosine is from the best possible one, in squares; zero up to rounding.
    stationary : bool
        Whether no direction descends on all objectives, to the precision of float64.
    """

    weights: NDArray[np.float64]
    cosines: NDArray[np.float64]
    duality_gap: float
    stationary: bool

    @property
    def worst_cosine(self) -> float:
        """The smallest cosine, which no other direction exceeds."""
        return float(self.cosines.min())


def equiangular_weights(
    gramian: Any, /, *, on_zero: Literal["stop", "drop"] = "stop"
) -> EquiangularWeights:
    """Weights of the equiangular direction for any number of objectives.

    Parameters
    ----------
    gramian : (m, m) array
        Inner products of the gradients; see `odecore.directions.gramian`. Solved in float64.
    on_zero : {"stop", "drop"}, optional
        A zero gradient means that its objective is stationary: "stop" returns zero weights,
        "drop" goes on with the others.

    Returns
    -------
    EquiangularWeights
        Descending along -d = -sum w_i g_i lowers every objective; those with positive weight fall
        equally, relative to the norms of their gradients. The weights sum to 1.

    Raises
    ------
    ValueError
        If the Gramian is not square, symmetric and finite with at least one row, or for another
        value of `on_zero`.

    Notes
    -----
    arXiv 2007.06937: alpha minimises the norm of d_u = sum alpha_i g_i/n_i over the simplex, n_i
    the norm of g_i; gamma = 1/sum(alpha_i/n_i) and w_i = gamma alpha_i/n_i. The minimum is exact
    here, by closed form or active set, where the published code iterates approximately.

    Examples
    --------
    The bisector of (1, 0) and (0, 100), whatever the lengths:

    >>> import numpy as np
    >>> J = np.array([[1.0, 0.0], [0.0, 100.0]])
    >>> d = J.T @ equiangular_weights(J @ J.T).weights
    >>> [round(float(x), 12) for x in d / np.linalg.norm(d) * np.sqrt(2)]
    [1.0, 1.0]
    """
    if on_zero not in ("stop", "drop"):
        raise ValueError(f'`on_zero` must be "stop" or "drop", got {on_zero!r}')
    norms, C = cosines(gramian)
    m = len(norms)
    kept = np.flatnonzero(norms > 0)
    if len(kept) == 0 or (len(kept) < m and on_zero == "stop"):
        return EquiangularWeights(np.zeros(m), np.zeros(m), 0.0, True)
    alpha = np.zeros(m)
    alpha[kept] = smallest_in_hull(C[np.ix_(kept, kept)])
    products = C @ alpha
    squared = float(alpha @ products)
    gap = squared - float(products[kept].min())
    if squared <= 64 * m * np.finfo(float).eps:
        return EquiangularWeights(np.zeros(m), np.zeros(m), gap, True)
    ratios = np.zeros(m)
    # Against the smallest norm first, so that 1/norm can not overflow.
    ratios[kept] = alpha[kept] * (norms[kept].min() / norms[kept])
    angles = products / np.sqrt(squared)
    angles[norms == 0] = 0.0
    return EquiangularWeights(ratios / ratios.sum(), angles, gap, False)
