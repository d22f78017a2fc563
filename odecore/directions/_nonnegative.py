"""Exact minimisers of convex quadratics over the non-negative orthant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_norm_minimizer", "nonnegative_minimizer"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Rounds of block pivoting; it takes 3 to 8 unless the matrix is nearly singular.
PIVOTS = 20
FIRST_PIVOTS = 10
EPS = float(np.finfo(np.float64).eps)


def _tolerance(m: int) -> float:
    return 64 * m * EPS


def nonnegative_minimizer(M: Vector, target: Vector, /) -> Vector:
    """Minimise a^T M a / 2 - target^T a over a >= 0, for positive semidefinite M.

    Notes
    -----
    Block pivoting (Portugal, Júdice and Vicente, Math. Comp. 63, 1994): few solves however many
    components are zero, the first of them the closed form M a = target. Where M is singular, by
    proximal steps (Rockafellar, SIAM J. Control Optim. 14, 1976), each regular and together
    without bias. At last the active set of Lawson and Hanson, Solving Least Squares Problems,
    chapter 23, which visits each support at most once.
    """
    every = np.ones(len(target), dtype=bool)
    a = _block_pivoting(M, target, every, FIRST_PIVOTS)
    if a is None:
        a = _proximal(M, target)
    return _active_set(M, target) if a is None else a


def _block_pivoting(M: Vector, target: Vector, free: Mask, rounds: int = PIVOTS) -> Vector | None:
    """Exchange all infeasible components at once; one at a time where that does not help."""
    m = len(target)
    tolerance = _tolerance(m)
    fewest, patience = m + 1, 3
    for _ in range(rounds):
        try:
            index = free.nonzero()[0]
            if len(index) == m:
                a = np.linalg.solve(M, target)
            else:
                a = np.zeros(m)
                a[index] = np.linalg.solve(M[index[:, None], index], target[index])
        except np.linalg.LinAlgError:
            return None
        # Near singularity the solution may be large or infinite, and its residual with it.
        if not np.abs(a).max() <= 1e8:
            return None
        slope = M @ a - target
        if np.abs(slope[free]).max(initial=0.0) > tolerance:
            return None
        wrong = np.where(free, a, slope) < -tolerance
        count = int(np.count_nonzero(wrong))
        if count == 0:
            found: Vector = np.maximum(a, 0.0)
            return found
        if count < fewest:
            fewest, patience = count, 3
        elif patience:
            patience -= 1
        else:  # Murty's rule, which can not cycle
            wrong[: np.flatnonzero(wrong)[-1]] = False
        free = free ^ wrong
    return None


def _proximal(M: Vector, target: Vector) -> Vector | None:
    """Minimise with shift |a - a_old|^2 / 2 added, again and again with less of it.

    The first problems are well conditioned, and each tells the next its support.
    """
    m = len(target)
    a, free = np.zeros(m), np.ones(m, dtype=bool)
    best, least = a, _tolerance(m)
    for shift in (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, *[1e-8] * 8):
        found = _block_pivoting(M + shift * np.eye(m), target + shift * a, free)
        if found is None:
            return None
        a, free = found, found > 0
        slope = M @ a - target
        error = float(np.where(free, np.abs(slope), -slope).max())
        if error <= least:
            best, least = a, error
        if error <= _tolerance(m) / 32:
            break
    return best if best.any() else None


def _active_set(M: Vector, target: Vector) -> Vector:
    """Let components in one by one, and pin those that become negative."""
    m = len(target)
    a = np.zeros(m)
    free = np.zeros(m, dtype=bool)
    tolerance = _tolerance(m)
    for _ in range(10 * m):
        slope = np.where(free, -np.inf, target - M @ a)
        entering = int(np.argmax(slope))
        if slope[entering] <= tolerance:
            break
        a = _entered(M, a, free, entering, float(slope[entering]))
        free = a > tolerance * a.max()
        a[~free] = 0.0
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


def _entered(M: Vector, a: Vector, free: Mask, entering: int, slope: float) -> Vector:
    """Let one component in, and go on until the slope is gone or another component is zero.

    A vector that depends on the others has no curvature: the step then ends at the other's zero.
    """
    z = np.zeros(len(a))
    z[entering] = 1.0
    index = free.nonzero()[0]
    if len(index):
        z[index] = -_solved(M[index[:, None], index], M[index, entering])
    curvature = float(M[entering] @ z)
    full = slope / curvature if curvature > _tolerance(len(a)) else np.inf
    falling = index[z[index] < 0]
    room = a[falling] / -z[falling]
    if len(room) and room.min() < full:
        a = a + room.min() * z
        a[falling[np.argmin(room)]] = 0.0
        return a
    return a + (full if np.isfinite(full) else 0.0) * z


def _solved(M: Vector, target: Vector) -> Vector:
    """Solve with a small residual also near singularity, where truncation leaves a large one."""
    try:
        return np.asarray(np.linalg.solve(M, target), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(M, target, rcond=None)[0], dtype=np.float64)


def least_norm_minimizer(M: Vector, target: Vector, a: Vector, /) -> Vector:
    """Of all minimisers, given one of them: that of least Euclidean norm.

    Notes
    -----
    All minimisers solve M_TT a_T = target_T on the tight set T, where the slope is zero. The one
    of least norm is a least-distance problem, which Lawson and Hanson, chapter 23.4, turn into a
    non-negative one: with the least solution s of either sign and the projector P on the kernel,
    a = s + P u / (1 + s^T u), u the minimiser for P + s s^T and -s.
    """
    m = len(target)
    slope = M @ a - target
    tight = slope <= 4 * _tolerance(m)
    index = tight.nonzero()[0]
    inside = M if len(index) == m else M[index[:, None], index]
    small = _tolerance(len(inside))
    shifted = inside.copy()
    shifted.flat[:: len(inside) + 1] -= small
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        pass
    else:
        return a  # the only one
    values, vectors = np.linalg.eigh(inside)
    kept = vectors[:, values > small * values[-1]]
    s = kept @ ((kept.T @ target[tight]) / values[values > small * values[-1]])
    if (s < -small).any():
        P = np.eye(len(s)) - kept @ kept.T
        u = nonnegative_minimizer(P + np.outer(s, s), -s)
        s = s + P @ u / (1.0 + s @ u)
    found = np.zeros(m)
    found[tight] = np.where(s > small, s, 0.0)
    better = M @ found - target
    sound = better.min() >= -4 * _tolerance(m) and np.abs(better[found > 0]).max() <= 1e-12
    return found if sound else a
