"""The gradient of the parameters: Clenshaw-Curtis quadrature over nodes linearized together."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, isfinite, prod
from typing import Any

import numpy as np

from odecore._array import as_float64, constant_like, is_readable, namespace, on_host
from odecore.adjoint._at_once import coarse_weights
from odecore.adjoint._linearization import Linearize, Pull
from odecore.adjoint._panels import Panel
from odecore.interpolation import Interpolant, chebyshev_points, clenshaw_curtis_weights

__all__ = ["Quadrature", "added", "estimate", "least", "node_times", "norm_of"]

MOST_NODES = 65

#: The integral for each group of parameters, and its distance to that from every second node.
Terms = tuple[tuple[Any, ...], tuple[Any, ...]]


class Quadrature:
    """The part of a panel in the integral of (df/dtheta)^T a.

    Parameters
    ----------
    linearize : callable
        At nodes.
    jumps : sequence of float
        Times at which f jumps; nodes there stay on the panel's side.
    batch : int or None
        How many nodes are linearized at once; None for all.
    tolerance : float or array, or None
        Relative error at which nodes are no longer doubled, up to 65; None for the nodes as they
        are. The integrand may vary faster than state and adjoint, whose nodes these are.
    """

    def __init__(
        self, linearize: Linearize, jumps: Sequence[float], batch: int | None, tolerance: Any
    ) -> None:
        self.linearize, self.jumps, self.batch = linearize, jumps, batch
        self.tolerance = tolerance if tolerance is None else least(tolerance)

    def __call__(
        self,
        panel: Panel,
        a: Any,
        known: tuple[Any, Pull] | None = None,
        *,
        most: int = MOST_NODES,
    ) -> tuple[Terms, tuple[Any, Any], int]:
        """Integrate, from the adjoint (m, ...) at the nodes and, if known, f linearized there.

        Nodes are doubled as long as they are at most `most`.

        Returns
        -------
        terms : tuple
        slopes : (2,) tuple of array
            f at the ends of the panel.
        evaluations : int
        """
        evaluations = 0
        while True:
            m = panel.values.shape[0]
            terms, slopes = self.once(panel, a, known)
            evaluations += 0 if known is not None else m
            if self.tolerance is None or 2 * m - 1 > min(most, MOST_NODES):
                break
            if not estimate(*terms) > self.tolerance:
                break
            points = chebyshev_points(2 * m - 1, interval=(0.0, 1.0))
            panel, a = panel.part(0.0, 1.0, 2 * m - 1), Interpolant(a, (0.0, 1.0))(points)
            known = None
        return terms, slopes, evaluations

    def once(
        self, panel: Panel, a: Any, known: tuple[Any, Pull] | None
    ) -> tuple[Terms, tuple[Any, Any]]:
        """Integrate with the nodes as they are; the terms, and f at the ends."""
        m, parts, slopes = panel.values.shape[0], [], []
        size = m if self.batch is None or known is not None else self.batch
        times: Any = None if known else node_times(panel, self.jumps)
        for k in range(0, m, size):
            nodes = slice(k, min(k + size, m))
            value, pull = known or self.linearize(times[nodes], panel.values[nodes, ...])
            parts.append(_integrals(panel, a[nodes, ...], pull, nodes))
            slopes += [value[0, ...] + 0, value[-1, ...] + 0]
            del value, pull  # what they keep goes before the next nodes are evaluated
        total, gap = (added(group) for group in zip(*parts, strict=True))
        return (total, gap), (slopes[0], slopes[-1])


def node_times(panel: Panel, jumps: Sequence[float] = ()) -> Any:
    """Times (m,) of the nodes as an array like the states; at a jump the side of the panel."""
    s = chebyshev_points(panel.values.shape[0], interval=(0.0, 1.0))
    low, high = (2**-53 * (end in jumps) for end in (panel.start, panel.end))
    times = [panel.time(min(max(float(x), low), 1 - high)) for x in s]
    if all(isinstance(t, float) for t in times):
        real = namespace(panel.values).abs(panel.values[:1, ...])
        return constant_like(times, real)
    return namespace(times[0]).stack(times)


def _integrals(panel: Panel, a: Any, pull: Pull, nodes: slice) -> Terms:
    """What some of the nodes add to the integral and to its distance to the coarse rule.

    Each is one transposed pass, whatever the number of nodes: weights go into the cotangent.
    """
    weights = clenshaw_curtis_weights(panel.values.shape[0])

    def integral(rule: Any) -> tuple[Any, ...]:
        column = np.reshape(rule[nodes] / 2, (-1, *[1] * (len(a.shape) - 1)))
        return pull(panel.length * (constant_like(column, a) * a), True)[1]

    return integral(weights), integral(weights - coarse_weights(len(weights)))


def estimate(total: Sequence[Any], gap: Sequence[Any]) -> Any:
    """Estimate of the relative error: e^(3/2), with e that of the coarse rule."""
    if not total:
        return 0.0
    xp = namespace(total[0])
    return _relative(norm_of(gap, xp), norm_of(total, xp), xp) ** 1.5


def least(tolerance: Any) -> float:
    """The smallest entry of a tolerance."""
    numbers = as_float64(tolerance, "tolerance") if hasattr(tolerance, "shape") else tolerance
    return float(np.min(numbers))


def added(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The sum of tuples of arrays, entry by entry."""
    return tuple(sum(group[1:], group[0]) for group in zip(*parts, strict=True))


def _relative(gap: Any, size: Any, xp: Any) -> Any:
    """The quotient; the gap itself where the size is zero."""
    if isinstance(size, float):
        return gap / (size or 1.0)
    return gap / xp.where(size > 0, size, size + 1)


def norm_of(arrays: Sequence[Any], xp: Any) -> Any:
    """Of all entries of all arrays; their squares may overflow."""
    if all(map(is_readable, arrays)):
        values = [on_host(x) for x in arrays if prod(x.shape)]
        largest = max((float(np.max(np.abs(x))) for x in values), default=0.0)
        if not (isfinite(largest) and largest):
            return largest
        return largest * hypot(*(float(np.linalg.norm(x / largest)) for x in values))
    squares = [xp.sum(xp.abs(x) ** 2) for x in arrays]
    return sum(squares[1:], squares[0]) ** 0.5 if squares else 0.0
