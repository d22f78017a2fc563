"""Sketch sizes of many layers under one memory budget."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import as_float64

__all__ = ["optimal_ranks"]

Numbers = NDArray[np.float64]


def optimal_ranks(variances: Any, costs: Any, budget: float, rows: Any) -> NDArray[np.int64]:
    """Sketch sizes p_l that minimize sum_l v_l/p_l with sum_l N_l p_l <= budget, 1 <= p_l <= B_l.

    Parameters
    ----------
    variances : (L,) array_like
        v_l >= 0, p times the variance of each layer's sketch at size p. In proportion to its
        mini-batch variance, for example `Alignment.rademacher_ratio`, each layer counts the same.
    costs : (L,) array_like
        N_l > 0, what one kept row costs: the number of columns of X.
    budget : float
        Sum over layers of size times cost, at least sum_l N_l. Rounding of these sums, at most
        (L + 4) eps of the budget, costs no row: ten rows of 0.1 are within 1.
    rows : int or (L,) array_like of int
        B_l, the largest size of each layer.

    Returns
    -------
    (L,) numpy.ndarray of int

    Raises
    ------
    ValueError
        If the arguments do not fit each other or the budget is too small for one row a layer.

    Notes
    -----
    Without the limits p_l = budget sqrt(v_l/N_l)/sum_j sqrt(v_j N_j). With them, the conditions
    of Karush, Kuhn and Tucker give p_l = min(B_l, max(1, lambda sqrt(v_l/N_l))) with one lambda,
    found exactly between its breakpoints: what one layer can not use goes to the others. Integers
    come from below by the largest gain per cost until no further row that lowers the sum fits. For
    equal costs that is the optimum (Hochbaum, Math. Oper. Res. 19 (1994): greedy from L below the
    real solution); for unequal costs, a knapsack problem, it is a good solution.

    Examples
    --------
    >>> optimal_ranks([100.0, 1.0, 1.0], [1, 1, 1], 24, 16)
    array([16,  4,  4])
    """
    v, N = as_float64(variances, "variances"), as_float64(costs, "costs")
    B = as_float64(rows, "rows")
    if as_float64(budget, "budget").ndim:
        raise ValueError(f"`budget` must be one number, got {budget!r}")
    _require_plan(v, N, B, float(budget))
    B = np.broadcast_to(B, v.shape)
    sizes = np.floor(_real_sizes(v, N, float(budget), B)).astype(np.int64)
    sizes = np.maximum(1, sizes - len(v))
    queue = [(-v[k] / N[k] / (p * (p + 1)), k) for k, p in enumerate(sizes.tolist()) if v[k] > 0]
    heapify(queue)
    while queue:
        _, k = heappop(queue)
        # What does not fit now never will: the budget that is left only shrinks.
        if sizes[k] < B[k] and _fits(float(sizes @ N) + float(N[k]), float(budget), len(v)):
            sizes[k] += 1
            p = int(sizes[k])
            heappush(queue, (-v[k] / N[k] / (p * (p + 1)), k))
    return sizes


def _fits(cost: float, budget: float, layers: int) -> bool:
    """Whether a sum over layers is within the budget, up to its rounding and that of the budget."""
    return cost <= budget * (1 + (layers + 4) * float(np.finfo(np.float64).eps))


def _real_sizes(v: Numbers, N: Numbers, budget: float, B: Numbers) -> Numbers:
    """The minimum over real sizes: min(B, max(1, lambda s)), s = sqrt(v/N), with cost `budget`."""
    s = np.sqrt(v / N)
    positive = s > 0
    breakpoints = np.unique(np.concatenate([1 / s[positive], B[positive] / s[positive]]))
    below = 0.0
    for above in breakpoints:
        cost = float(N @ np.clip(above * s, 1, B))
        if cost > budget:
            # The cost is linear here; the layers that are free lie strictly between their limits.
            middle = (below + above) / 2
            free = (middle * s > 1) & (middle * s < B)
            fixed = float(N[~free] @ np.clip(middle * s[~free], 1, B[~free]))
            return np.clip((budget - fixed) / float(N[free] @ s[free]) * s, 1, B)
        below = above
    return np.where(positive, B, 1.0)


def _require_plan(v: Numbers, N: Numbers, B: Numbers, budget: float) -> None:
    if not (v.ndim == N.ndim == 1 and len(v) == len(N) > 0):
        raise ValueError(
            "`variances` and `costs` must have one entry for each layer, got shapes "
            f"{v.shape} and {N.shape}"
        )
    if not (np.all(np.isfinite(v)) and np.all(v >= 0)):
        raise ValueError(f"`variances` must be finite and >= 0, got {v}; check them by `variance`")
    if not (np.all(np.isfinite(N)) and np.all(N > 0)):
        raise ValueError(
            f"`costs` must be finite and > 0, got {N}; a layer without cost needs none"
        )
    if B.shape not in ((), v.shape):
        raise ValueError(
            f"`rows` must be one number, or one for each of the {len(v)} layers, got shape "
            f"{B.shape}"
        )
    if not np.all(np.isfinite(B) & (B >= 1) & (np.floor(B) == B)):
        raise ValueError(
            f"`rows` must be finite integers >= 1, got {B}; give each layer's number of rows, and "
            "leave empty batches out"
        )
    if not np.isfinite(budget):
        raise ValueError(
            f"`budget` must be finite, got {budget}; where all fits, keep all `rows` of each layer"
        )
    if not _fits(float(N.sum()), budget, len(N)):
        raise ValueError(
            f"the budget must pay one row for each layer, {N.sum():g} in all, got {budget:g}; "
            "raise it or leave layers out"
        )
