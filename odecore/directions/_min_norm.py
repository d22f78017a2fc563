"""The point of smallest norm in the convex hull of vectors, from their Gramian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["smallest_in_hull"]


def smallest_in_hull(C: NDArray[np.float64], /) -> NDArray[np.float64]:
    """Minimise alpha^T C alpha over the simplex, exactly.

    Parameters
    ----------
    C : (m, m) ndarray
        Positive semidefinite, with unit diagonal.

    Returns
    -------
    (m,) ndarray
        alpha >= 0 with sum 1.

    Notes
    -----
    With M = C + 11^T, the non-negative minimiser a of a^T M a / 2 - 1^T a is alpha up to scale, for
    both have the same Karush-Kuhn-Tucker conditions. It solves M a = 1 where that is non-negative;
    else the active-set method of Lawson and Hanson, Solving Least Squares Problems, chapter 23,
    finds it in finitely many steps, because it visits each support at most once.
    """
    M = C + 1.0
    ones = np.ones(len(C))
    if len(C) == 1:
        return ones
    try:
        np.linalg.cholesky(M - 64 * np.finfo(float).eps * len(C) * np.eye(len(C)))
    except np.linalg.LinAlgError:  # dependent vectors: the minimiser is unique, alpha is not
        a = None
    else:
        a = np.linalg.solve(M, ones)
    if a is None or (a < 0).any():
        a = _active_set(M, ones)
    alpha: NDArray[np.float64] = a / a.sum()
    return alpha


def _active_set(M: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise a^T M a / 2 - target^T a over a >= 0."""
    m = len(target)
    a = np.zeros(m)
    free = np.zeros(m, dtype=bool)
    tolerance = 64 * m * np.finfo(float).eps
    for _ in range(10 * m):
        slope = np.where(free, -np.inf, target - M @ a)
        entering = int(np.argmax(slope))
        if slope[entering] <= tolerance:
            break
        free[entering] = True
        while True:
            trial = np.zeros(m)
            index = np.flatnonzero(free)
            trial[index] = _solved(M[np.ix_(index, index)], target[index])
            if (trial[index] > 0).all():
                break
            # Go towards the trial until the first component reaches zero, and pin that one.
            blocking = index[trial[index] <= 0]
            room = a[blocking] - trial[blocking]
            step = np.min(np.divide(a[blocking], room, out=np.zeros_like(room), where=room > 0))
            a = a + step * (trial - a)
            free &= a > tolerance * a.max()
            a[~free] = 0.0
            if not free.any():
                break
        a = trial if free.any() else a
    return a


def _solved(M: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve with a small residual also near singularity, where truncation leaves a large one."""
    try:
        return np.asarray(np.linalg.solve(M, target), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(M, target, rcond=None)[0], dtype=np.float64)
