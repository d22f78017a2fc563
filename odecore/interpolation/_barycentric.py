"""Barycentric interpolation: exact at the nodes, stable near them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from odecore._array import as_state, constant_like, is_readable, namespace
from odecore.interpolation._nodes import (
    chebyshev_points,
    host_points,
    require_count,
    require_nodes,
)

__all__ = ["Interpolant", "barycentric_weights", "lagrange_rows"]


def barycentric_weights(n: int, /, *, kind: int = 2) -> NDArray[np.float64]:
    """Barycentric weights of the points of `chebyshev_points(n, kind=kind)`, on any interval.

    Parameters
    ----------
    n : int
    kind : {1, 2}, optional

    Returns
    -------
    (n,) ndarray of float64
        Second kind: (-1)^k, halved at both ends. First kind: (-1)^k sin((2k+1) pi / 2n). A common
        factor is left out; it cancels. Weights of the other kind would still reproduce the node
        values, but lose the geometric convergence between them.

    Raises
    ------
    ValueError
        If `n` or `kind` is out of range.

    Notes
    -----
    Berrut, Trefethen, Barycentric Lagrange interpolation, SIAM Review 46 (2004), section 5.
    """
    require_count(n, kind)
    k = np.arange(n)
    weights: NDArray[np.float64] = np.where(k % 2 == 0, 1.0, -1.0)
    if kind == 1:
        weights *= np.sin((2 * k + 1) * np.pi / (2 * n))
    else:
        weights[[0, -1]] /= 2
    return weights


def lagrange_rows(x: ArrayLike, nodes: ArrayLike, weights: ArrayLike, /) -> NDArray[np.float64]:
    """Values of all Lagrange polynomials at x: the rows that turn node values into values at x.

    Parameters
    ----------
    x : float or (k,) array_like
        Finite: others have rows of NaN.
    nodes, weights : (m,) array_like

    Returns
    -------
    (m,) or (k, m) ndarray
        Each row sums to 1; at a node it is a unit vector, by index and not by division. Where nodes
        coincide after rounding, it is that of the first of them; at the last node, of the last.

    Raises
    ------
    ValueError
        If nodes and weights do not match, or there are none, or their terms cancel at an x.
    TypeError
        If one of them holds anything but real numbers, is traced, elsewhere, or requires a
        gradient.
    """
    points = host_points(x)
    at, w = host_points(nodes, "nodes"), host_points(weights, "weights")
    if at.shape != w.shape or at.ndim != 1 or not at.size:
        raise ValueError(
            "`nodes` and `weights` must be one-dimensional, of one length and not empty, got "
            f"shapes {at.shape} and {w.shape}"
        )
    return _rows(points, points[..., None] - at, w)


def _rows(
    points: NDArray[np.float64], difference: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rows for points with these differences from the nodes."""
    distance = np.abs(difference)
    smallest = distance.min(axis=-1, keepdims=True)
    if not smallest.all():
        last = distance[..., -1:] == 0
        nearest = np.where(last, len(weights) - 1, distance.argmin(axis=-1, keepdims=True))
        unit = np.where(np.arange(len(weights)) == nearest, 1.0, np.inf)
        difference = np.where(smallest == 0, unit, difference)
        smallest = np.where(smallest == 0, 1.0, smallest)
    # Times the smallest distance: a reciprocal may overflow, a quotient of at most 1 does not.
    terms = weights * (smallest / difference)
    total = terms.sum(axis=-1, keepdims=True)
    if not total.all():
        raise ValueError(
            f"the terms w_j / (x - x_j) cancel at x = {points[total[..., 0] == 0]}, so `weights` "
            "are not those of the `nodes`, 1 / prod_k (x_j - x_k), or nodes coincide"
        )
    rows: NDArray[np.float64] = terms / total
    return rows


@dataclass(frozen=True, eq=False)
class Interpolant:
    """The polynomial through values at Chebyshev points of an interval.

    Parameters
    ----------
    values : (m, ...) array
        Values at `chebyshev_points(m, kind=kind, interval=interval)`, first axis the node.
    interval : (2,) tuple of float, optional
    kind : {1, 2}, optional

    Raises
    ------
    ValueError
        If the points do not exist or the interval is degenerate or longer than the largest float.
    TypeError
        If the values are not floating-point numbers.

    Notes
    -----
    The rounding of values is amplified by at most `lebesgue_constant`, also on intervals of fewer
    floats than nodes: at a float that is a node after rounding the value is that of this node.

    Examples
    --------
    >>> import numpy as np
    >>> x = chebyshev_points(20, interval=(0, 2))
    >>> bool(abs(Interpolant(np.exp(x), (0, 2))(0.3) - np.exp(0.3)) < 1e-14)
    True
    """

    values: Any
    interval: tuple[float, float] = (-1.0, 1.0)
    kind: int = 2

    def __post_init__(self) -> None:
        values = as_state(self.values, "values")
        require_nodes(values)
        object.__setattr__(self, "values", values)
        m = values.shape[0]
        nodes = chebyshev_points(m, kind=self.kind, interval=self.interval)
        if not isfinite(float(self.interval[1]) - float(self.interval[0])):
            raise ValueError(
                f"the length of `interval` must not exceed the largest float, got {self.interval}; "
                "rescale the variable"
            )
        object.__setattr__(self, "_nodes", nodes)
        start, end = map(float, self.interval)
        origin, offsets = 0.0, nodes
        if abs(end - start) <= 1024 * m * m * np.spacing(max(abs(start), abs(end))):
            # Rounded to the few floats of a short interval nodes would not fit their weights: they
            # are kept from the end next to zero on.
            origin = min(start, end, key=abs) if (start > 0) == (end > 0) else 0.0
            offsets = chebyshev_points(m, kind=self.kind, interval=(start - origin, end - origin))
        object.__setattr__(self, "_offsets", (origin, offsets))
        object.__setattr__(self, "_weights", barycentric_weights(m, kind=self.kind))

    @property
    def nodes(self) -> NDArray[np.float64]:
        """The (m,) points at which `values` are taken."""
        nodes: NDArray[np.float64] = self.__dict__["_nodes"]
        return nodes

    def __call__(self, x: ArrayLike, /) -> Any:
        """Evaluate at host numbers: shape (...) for a float, (k, ...) for k of them.

        Raises
        ------
        ValueError
            Outside the interval by more than rounding: a polynomial extrapolates without bound.
        TypeError
            If x holds anything but real numbers, is traced, elsewhere, or requires a gradient.
        """
        points = host_points(x)
        low, high = sorted(self.interval)
        # The last stage of a step, t + c h, may leave the interval by the rounding of c and t; that
        # can be many lengths of a short interval, so that it is read at the end.
        slack = 1e-12 * (high - low) + 4 * np.finfo(np.float64).eps * max(abs(low), abs(high))
        inside = np.minimum(np.maximum(points, low), high)
        if not np.all(np.abs(points - inside) <= slack):
            raise ValueError(f"`x` must lie in the interval [{low}, {high}], got {x!r}")
        origin, offsets = self.__dict__["_offsets"]
        difference = (inside - origin)[..., None] - offsets
        difference[inside[..., None] == self.nodes] = 0.0
        rows = _rows(inside, difference, self.__dict__["_weights"])
        if rows.ndim == 1 and not is_readable(self.values):
            # On an accelerator the copy of a row would make the host wait; scalars ride along.
            terms = enumerate(rows.tolist())
            return sum(weight * self.values[k, ...] for k, weight in terms if weight != 0.0)
        xp = namespace(self.values)
        return xp.tensordot(constant_like(rows, self.values), self.values, axes=1)
