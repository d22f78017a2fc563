"""Whether a point is Pareto stationary, with one vector that proves either answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import require_real
from odecore.directions._equiangular import equiangular_weights
from odecore.directions._gramian import cosines
from odecore.directions._nonnegative import nonnegative_minimizer

__all__ = ["ParetoCertificate", "pareto_stationarity"]

#: Squared distances, of unit vectors, that rounding must let tell from zero.
_RESOLVED = 1e-4


@dataclass(frozen=True, eq=False)
class ParetoCertificate:
    """The answer, and convex weights of the gradients that prove it.

    Parameters
    ----------
    stationary : bool
        Whether no direction lowers all objectives at first order.
    multipliers : (m,) ndarray of float64
        At least 0, of sum 1. If stationary they combine the gradients to zero; if not, descending
        along their combination lowers every objective.
    worst_cosine : float
        Norm of the shortest convex combination of the unit gradients: the best worst-case cosine.
    tolerance : float
        Largest `worst_cosine` that counts as zero.
    proper : bool
        Whether, besides, no direction lowers some objectives at first order and raises none: so
        where some proof has positive multipliers only (Stiemke's theorem). False also where
        rounding hides it: in float64 if unit gradients need multipliers below about 1e-5.
    """

    stationary: bool
    multipliers: NDArray[np.float64]
    worst_cosine: float
    tolerance: float
    proper: bool


def pareto_stationarity(gramian: Any, /, *, tolerance: float | None = None) -> ParetoCertificate:
    """Decide whether any direction lowers all objectives at first order.

    Parameters
    ----------
    gramian : (m, m) array
        Inner products of the gradients; see `odecore.directions.gramian`.
    tolerance : float, optional
        On the best worst-case cosine; by default what rounding of the Gramian can make of zero,
        about 1.2e-7 sqrt(m) in float64 and 1.4e-3 in float32.

    Returns
    -------
    ParetoCertificate

    Raises
    ------
    ValueError
        As `equiangular_weights`, or if the tolerance is not in [0, 1).
    TypeError
        If the tolerance is no real number, and as `equiangular_weights`.

    Notes
    -----
    Gordan's theorem: either some d has g_i^T d > 0 for all i, or a convex combination of the g_i
    is zero. Lengths do not matter, so the gradients are normalised first: the answer does not
    depend on the losses' scales, as a test of the norm of a combination would. Stationary is
    necessary for weak Pareto optimality, and sufficient if the objectives are convex.

    Examples
    --------
    >>> import numpy as np
    >>> J = np.array([[1.0, 0.0], [-100.0, 0.0]])
    >>> found = pareto_stationarity(J @ J.T)
    >>> found.stationary, found.multipliers.round(4)
    (True, array([0.9901, 0.0099]))
    """
    if tolerance is not None:
        require_real(tolerance, "tolerance")
        if np.ndim(tolerance) or not 0 <= tolerance < 1:
            raise ValueError(f"`tolerance` is a cosine and must be in [0, 1), got {tolerance!r}")
    norms, C, precision = cosines(gramian)
    limit = float(np.sqrt(precision)) if tolerance is None else float(tolerance)
    found = equiangular_weights(gramian)
    stationary = found.stationary or found.worst_cosine <= limit
    proper = stationary and _all_positive(C, found.multipliers * norms, norms > 0, limit, precision)
    return ParetoCertificate(stationary, found.multipliers, found.worst_cosine, limit, proper)


def _all_positive(
    C: NDArray[np.float64], proof: NDArray[np.float64], kept: Any, limit: float, precision: float
) -> bool:
    """Whether a combination of the non-zero gradients with positive multipliers is zero.

    The sum of proofs is one, so ask for each objective whether one includes it. The first `proof`
    may be one of many. One includes all that wait where minus their sum is in the cone of all. Else
    its distance from that cone is a direction that lowers one of them and raises none. What
    rounding leaves open is asked of one objective after another: whether -u_i is in the cone of the
    others, which is so where it has no distance from that cone.
    """
    waiting = kept & ~_included(C, proof, limit, precision)
    if not waiting.any():
        return True
    every, proof = np.flatnonzero(kept), waiting.astype(np.float64)
    inner = C[np.ix_(every, every)]
    proof[every] += nonnegative_minimizer(inner, -inner @ proof[every])
    waiting &= ~_included(C, proof, limit, precision)
    lowered = C @ proof
    while waiting.any():
        i = int(np.argmax(np.where(waiting, lowered, -np.inf)))
        others = np.flatnonzero(kept & (np.arange(len(kept)) != i))
        if len(others) == 0:
            return False
        proof = np.zeros(len(kept))
        proof[i] = 1.0
        proof[others] = nonnegative_minimizer(C[np.ix_(others, others)], -C[others, i])
        included = _included(C, proof, limit, precision)
        if not included[i]:
            return False
        waiting &= ~included
    return True


def _included(
    C: NDArray[np.float64], a: NDArray[np.float64], limit: float, precision: float
) -> NDArray[np.bool_]:
    """Which objectives a combination of unit gradients shows to be in a proof.

    For objective i, all in units of its multiplier: the combination is then u_i and a point of the
    cone of the others.
    """
    # Rounding of C makes about 2 eps (sum a)^2 of zero, and less for many objectives.
    squared, rounding, unit = a @ C @ a, precision / 4 * a.sum() ** 2, a * a
    zero = np.maximum(max(limit**2, 1e-14) * unit, rounding)
    return (unit > 0) & (rounding <= _RESOLVED * unit) & (squared <= zero)  # type: ignore[no-any-return]
