"""Lebesgue constants: how far interpolation may stay behind the best approximation."""

from __future__ import annotations

from math import ceil, frexp, isfinite, ldexp, sqrt
from sys import float_info

import numpy as np
from numpy.typing import ArrayLike, NDArray

from odecore.interpolation._nodes import ends_of, host_points

__all__ = ["lebesgue_constant"]

#: Numbers in one array of distances, so that thousands of nodes do not fill the memory.
_BLOCK = 2**20
#: Steps of the golden section; they leave 4e-5 of a gap, and of a flat maximum its square.
_STEPS = 21


def lebesgue_constant(
    nodes: ArrayLike, weights: ArrayLike, /, *, interval: tuple[float, float] = (-1.0, 1.0)
) -> float:
    """Maximum over an interval of the sum of the absolute values of the Lagrange polynomials.

    Parameters
    ----------
    nodes : (m,) array_like
        In any order.
    weights : (m,) array_like
        Their barycentric weights; a common factor cancels.
    interval : (2,) tuple of float, optional
        Contains the nodes, and may be wider: points of the first kind leave out the ends.

    Returns
    -------
    float
        At least 1, to a relative error of 1e-8; infinity beyond the largest float.

    Raises
    ------
    ValueError
        If the nodes do not lie in the interval, it is not finite, or the weights are not theirs.
    TypeError
        If one of them holds anything but real numbers, is traced, elsewhere, or requires a
        gradient.

    Notes
    -----
    Between neighbouring nodes the sum has one maximum, found by golden section in all gaps at once.
    The sum is that of abs(w_j / (x - x_j)) times the product of abs(x - x_j), without a common
    factor; unlike the quotient form it cancels nothing where the constant is large. Trefethen,
    Approximation Theory and Approximation Practice, chapter 15; Brutman, Lebesgue functions for
    polynomial interpolation, Ann. Numer. Math. 4 (1997).
    """
    x, w = _sorted(nodes, weights)
    low, high = sorted(ends_of(interval))
    if not isfinite(low) or not isfinite(high):
        raise ValueError(f"`interval` must have two finite ends, got {interval}")
    if not (low < high and low <= x[0] and x[-1] <= high):
        raise ValueError(
            f"`nodes` must lie in the interval, got nodes from {x[0]} to {x[-1]} and `interval` "
            f"{interval}; pass the interval of the nodes"
        )
    # Exactly, by a power of 2: the interval gets a length of 1/2 to 1, the longest one below 2.
    _, exponent = frexp(min(high - low, float_info.max))
    x, low, high = np.ldexp(x, -exponent), ldexp(low, -exponent), ldexp(high, -exponent)
    at_nodes = _log_sum(x, x, w)  # the sum is 1 there: this is the common factor
    if not (np.ptp(at_nodes) <= 1e-6 and np.all(np.sign(w[1:]) == -np.sign(w[:-1]))):
        raise ValueError(
            "`weights` must be the barycentric weights of the `nodes`, 1 / prod_k (x_j - x_k) up "
            "to a common factor, got others; for Chebyshev points take `barycentric_weights` of "
            "the same kind"
        )
    edges = np.unique(np.concatenate([[low], x, [high]]))
    ends = _log_sum(edges[[0, -1]], x, w).max()
    with np.errstate(over="ignore"):
        largest = np.exp(max(ends, _highest(edges, x, w)) - at_nodes.mean())
    return max(1.0, float(largest))


def _sorted(
    nodes: ArrayLike, weights: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes in increasing order, and their weights with largest absolute value 1."""
    x, w = host_points(nodes, "nodes"), host_points(weights, "weights")
    if x.ndim != 1 or x.shape != w.shape or x.size == 0:
        raise ValueError(
            "`nodes` and `weights` must be one-dimensional, of one length and not empty, got "
            f"shapes {x.shape} and {w.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(w).all() and w.all()):
        raise ValueError(
            "`nodes` must be finite and `weights` finite and not zero; a common factor of the "
            "weights may be left out"
        )
    order = np.argsort(x)
    x, w = x[order], w[order]
    if not np.all(x[1:] > x[:-1]):
        raise ValueError("`nodes` must be distinct, got some twice; drop the repetitions")
    return x, w / np.abs(w).max()


def _log_sum(
    x: NDArray[np.float64], nodes: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of |prod_j (x - x_j)| sum_j |w_j / (x - x_j)|, at nodes as next to them."""
    size = np.abs(weights)
    found = []
    for block in np.array_split(x, ceil(x.size * nodes.size / _BLOCK)):
        distance = np.maximum(np.abs(block[:, None] - nodes), 1e-300)
        found.append(np.log(distance).sum(axis=1) + np.log((size / distance).sum(axis=1)))
    return np.concatenate(found)


def _highest(
    edges: NDArray[np.float64], nodes: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Largest value of `_log_sum` inside the gaps between the edges."""
    ratio = (sqrt(5) - 1) / 2
    low, high = edges[:-1], edges[1:]
    x1, x2 = high - ratio * (high - low), low + ratio * (high - low)
    f1, f2 = _log_sum(x1, nodes, weights), _log_sum(x2, nodes, weights)
    for step in range(_STEPS):
        up = f2 > f1
        low, high = np.where(up, x1, low), np.where(up, high, x2)
        x = np.where(up, low + ratio * (high - low), high - ratio * (high - low))
        f = _log_sum(x, nodes, weights)
        x1, x2 = np.where(up, x2, x), np.where(up, x, x1)
        f1, f2 = np.where(up, f2, f), np.where(up, f, f1)
        # A gap may still rise by its curvature times the square of the width that is left.
        value = np.maximum(f1, f2)
        keep = value >= value.max() - 100 * ratio ** (2 * step)
        low, high, x1, x2, f1, f2 = (a[keep] for a in (low, high, x1, x2, f1, f2))
    return float(np.maximum(f1, f2).max())
