"""Piecewise Hermite interpolation: values and derivatives at nodes of either direction."""

from __future__ import annotations

from math import comb, factorial
from sys import float_info
from typing import Any

import numpy as np
from array_api_compat import device
from numpy.typing import ArrayLike, NDArray

from odecore._array import (
    as_state,
    combiner,
    constant_like,
    is_like,
    namespace,
)
from odecore.interpolation._nodes import host_points

__all__ = ["PiecewiseHermite"]


class PiecewiseHermite:
    """The piecewise polynomial through values and derivatives at the nodes.

    Parameters
    ----------
    t : (n,) array_like
        Nodes on the host, n >= 2, strictly increasing or strictly decreasing.
    values : (n, ...) array
        First axis the node.
    *derivatives : (n, ...) array
        First derivatives with respect to t for cubics, also second ones for quintics, and so on;
        none for lines. Of the shape and dtype of the values.

    Raises
    ------
    ValueError
        If the nodes are not strictly monotone or shapes do not match.
    TypeError
        If the nodes are not real numbers, traced, elsewhere, or require a gradient, the values are
        not floating-point numbers, or libraries or dtypes differ.

    Notes
    -----
    With q derivatives the interpolant has q continuous derivatives, and its error is O(h^(2q+2)).
    On each piece in s = (x - t_i) / h and r = 1 - s: the weights of the values, as cubics
    r^2 (1 + 2s) and s^2 (1 + 2r), are not negative and sum to 1. Davis, Interpolation and
    Approximation, Dover (1975), chapter 2.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.linspace(0, 2, 21)
    >>> bool(abs(PiecewiseHermite(t, np.sin(t), np.cos(t))(0.33) - np.sin(0.33)) < 1e-6)
    True
    """

    def __init__(self, t: ArrayLike, values: Any, /, *derivatives: Any) -> None:
        self.t: NDArray[np.float64] = host_points(t, "t").copy()
        t = self.t
        sorted_so = t.ndim == 1 and (np.all(t[1:] > t[:-1]) or np.all(t[1:] < t[:-1]))
        if not (sorted_so and t.size > 1 and np.isfinite(t).all()):
            raise ValueError(
                "`t` must be one-dimensional with at least 2 finite nodes, strictly increasing or "
                f"strictly decreasing, got {t}; sort them and drop repetitions"
            )
        with np.errstate(over="ignore"):
            apart = np.abs(np.diff(t)).max()
            power = apart ** max(len(derivatives), 1)
        if not np.isfinite(power):
            raise ValueError(
                f"neighbouring `t` are {apart:g} apart, and power {max(len(derivatives), 1)} of it "
                "is beyond the largest float; rescale `t`"
            )
        self.t.flags.writeable = False
        self._data = (
            as_state(values, "values"),
            *(as_state(d, f"derivatives[{k}]") for k, d in enumerate(derivatives)),
        )
        if not all(is_like(d, self._data[0]) for d in self._data):
            raise TypeError(
                "`values` and `derivatives` must be arrays of one library, got "
                f"{[type(d).__name__ for d in self._data]}; convert them first"
            )
        shapes = [tuple(d.shape) for d in self._data]
        if len(set(shapes)) > 1 or shapes[0][:1] != self.t.shape:
            raise ValueError(
                f"`values` and `derivatives` must have one shape ({self.t.size}, ...) with the "
                f"node as its first axis, got shapes {shapes}"
            )
        dtypes = [d.dtype for d in self._data]
        if any(found != dtypes[0] for found in dtypes):
            raise TypeError(
                f"`values` and `derivatives` must have one dtype, got {dtypes}; convert them first"
            )

    def __repr__(self) -> str:
        ends, shape = (float(self.t[0]), float(self.t[-1])), tuple(self._data[0].shape)
        return (
            f"PiecewiseHermite(interval={ends}, shape={shape}, derivatives={len(self._data) - 1})"
        )

    def __call__(self, x: ArrayLike, /) -> Any:
        """Evaluate at host numbers: shape (...) for a float, (k, ...) for k of them.

        Raises
        ------
        ValueError
            Outside the nodes by more than rounding: nothing is extrapolated.
        TypeError
            If x holds anything but real numbers, is traced, elsewhere, or requires a gradient.
        """
        return self._combine(x, 0)

    def derivative(self, x: ArrayLike, /) -> Any:
        """First derivative at host numbers `x`, of the same shape as the value.

        Rounding errors of the values are divided by the distance of the nodes.

        Raises
        ------
        ValueError
            Outside the nodes by more than rounding, or between nodes less than 1e-308 apart.
        TypeError
            If x holds anything but real numbers, is traced, elsewhere, or requires a gradient.
        """
        return self._combine(x, 1)

    def _combine(self, x: ArrayLike, derivative: int) -> Any:
        at, piece = self._locate(x)
        left, right = self.t[piece], self.t[piece + 1]
        h = right - left
        if derivative and np.any(np.abs(h) < float_info.min):
            raise ValueError(
                f"neighbouring `t` are {np.abs(h).min():g} apart, and the reciprocal, of which "
                "derivatives are made, is beyond the largest float; rescale `t`"
            )
        s, r = (at - left) / h, (right - at) / h
        count = len(self._data)
        weights = [
            # Seen from its right end a piece is reflected.
            (_slope if derivative else _weight)(*seen, count, k)
            for k in range(count)
            for seen in ((s, r, h), (r, s, -h))
        ]
        first = self._data[0]
        if at.ndim == 0:  # floats, which need no copy to a device
            nodes = (int(piece), int(piece) + 1)
            terms = [d[node, ...] for d in self._data for node in nodes]
            return combiner(first)(None, 1.0, [float(w) for w in weights], terms)
        xp = namespace(first)
        index = [xp.asarray(i, device=device(first)) for i in (piece, piece + 1)]
        terms = [xp.take(d, i, axis=0) for d in self._data for i in index]
        column = (-1,) + (1,) * (len(first.shape) - 1)
        rows = [xp.reshape(constant_like(w, first), column) for w in weights]
        return combiner(first)(None, 1.0, rows, terms)

    def _locate(self, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """The numbers x within the nodes, and the index of the piece of each."""
        at = host_points(x)
        if at.ndim > 1:
            raise ValueError(f"`x` must be a number or a sequence of them, got shape {at.shape}")
        low, high = sorted((self.t[0], self.t[-1]))
        # As for `Interpolant`: the last stage of a step may leave the interval by rounding.
        slack = 1e-12 * high - 1e-12 * low + 4 * np.finfo(np.float64).eps * max(abs(low), abs(high))
        if not np.all((at >= low - slack) & (at <= high + slack)):
            raise ValueError(f"`x` must lie in the interval [{low}, {high}], got {x!r}")
        at = np.clip(at, low, high)
        sign = np.sign(self.t[-1] - self.t[0])
        piece = np.searchsorted(sign * self.t, sign * at, side="right") - 1
        return at, np.clip(piece, 0, self.t.size - 2)


def _weight(s: Any, r: Any, h: Any, count: int, k: int) -> Any:
    """Weight of the k-th derivative, of `count` with k = 0, at the node with s = 0."""
    return (h * s) ** k * _factor(s, r, count, k)


def _factor(s: Any, r: Any, count: int, k: int) -> Any:
    """The first terms of the Taylor series of r^(-count), times r^count / k!."""
    series = sum(comb(count - 1 + i, i) * s**i for i in range(count - k))
    return r**count * series / factorial(k)


def _slope(s: Any, r: Any, h: Any, count: int, k: int) -> Any:
    """Derivative of the weight; in that of the factor all terms but the last cancel."""
    terms = count - k
    slope = h ** (k - 1) * (s * r) ** (count - 1)
    slope = slope * (-terms * comb(count - 1 + terms, terms) / factorial(k))
    if k > 0:
        slope = slope + k * (h * s) ** (k - 1) * _factor(s, r, count, k)
    return slope
