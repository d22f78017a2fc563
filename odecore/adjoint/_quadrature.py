"""The gradient of the parameters: Clenshaw-Curtis quadrature over nodes linearized together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import hypot, isfinite, prod
from typing import Any, NamedTuple

import numpy as np

from odecore._array import as_float64, constant_like, is_readable, limits, namespace
from odecore._times import are_floats
from odecore.adjoint._at_once import SMOOTH, nested_weights
from odecore.adjoint._linearization import Linearize, Pull
from odecore.adjoint._panels import Panel
from odecore.interpolation import Interpolant, chebyshev_points

__all__ = [
    "Integral",
    "Quadrature",
    "accumulated",
    "estimate",
    "fall_at_kinks",
    "gaps",
    "least",
    "node_times",
    "norm_of",
]

MOST_NODES = 65

#: The integral for each group of parameters, and its distance to that from every second node.
Terms = tuple[tuple[Any, ...], tuple[Any, ...]]

#: Arrays of several sums.
Groups = tuple[tuple[Any, ...], ...]


class Integral(NamedTuple):
    """What was found in a panel.

    Parameters
    ----------
    terms : tuple
    slopes : (2,) tuple of array
        f at the ends of the panel.
    state : (2, ...) array
        The integral of (df/dy)^T a less that by every second node, and this less that by every
        fourth.
    evaluations : int
    rough : float
        The norm of the error of the parameters' part, where it may be more than `estimate` says.
    """

    terms: Terms
    slopes: tuple[Any, Any]
    state: Any
    evaluations: int
    rough: float = 0.0


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
        kinks: bool = True,
    ) -> Integral:
        """Integrate, from the adjoint (m, ...) at the nodes and, if known, f linearized there.

        Nodes are doubled as long as they are at most `most`. With `kinks` these are looked for.
        """
        evaluations = 0
        while True:
            m = panel.values.shape[0]
            found = self.once(panel, a, known)
            evaluations += 0 if known is not None else m
            if self.tolerance is None or 2 * m - 1 > min(most, MOST_NODES):
                break
            if not estimate(*found.terms) > self.tolerance:
                break
            points = chebyshev_points(2 * m - 1, interval=(0.0, 1.0))
            panel, a = panel.part(0.0, 1.0, 2 * m - 1), Interpolant(a, (0.0, 1.0))(points)
            known = None
        found = found._replace(evaluations=evaluations)
        return self._measured(panel, a, known, found) if kinks else found

    def once(self, panel: Panel, a: Any, known: tuple[Any, Pull] | None) -> Integral:
        """Integrate with the nodes as they are."""
        m = panel.values.shape[0]
        weights, second, _ = nested_weights(m)
        sums, first, last = None, None, None
        for nodes, value, pull in self._linearized(panel, known):
            state, total = pull(_weighted(panel, a, weights, nodes), True)
            gap = pull(_weighted(panel, a, weights - second, nodes), True)[1]
            first, last = value[0, ...] + 0 if sums is None else first, value[-1, ...] + 0
            sums = accumulated(sums, (total, gap, (gaps(state, nodes, m),)))
            del value, pull  # what they keep goes before the next nodes are evaluated
        assert sums is not None  # there are nodes
        total, gap, state = sums
        return Integral((total, gap), (first, last), state[0], 0)

    def of_state(self, panel: Panel, a: Any, pull: Pull) -> Any:
        """As in `Integral`, from f linearized at all nodes."""
        m = panel.values.shape[0]
        state, _ = pull(_weighted(panel, a, nested_weights(m)[0], slice(0, m)), False)
        return gaps(state, slice(0, m), m)

    def _measured(
        self, panel: Panel, a: Any, known: tuple[Any, Pull] | None, found: Integral
    ) -> Integral:
        """With the error that is expected, where it may be above ten tolerances."""
        total, gap = found.terms
        if not (is_readable(a) and gap and panel.values.shape[0] % 4 == 1):
            return found
        xp = namespace(a)
        size, e = norm_of(total, xp), norm_of(gap, xp)
        if e <= max(10 * (self.tolerance or 0.0), 100 * float(limits(a).eps)) * size:
            return found
        _, second, fourth = nested_weights(panel.values.shape[0])
        sums = None
        for nodes, _, pull in self._linearized(panel, known):
            sums = accumulated(sums, pull(_weighted(panel, a, second - fourth, nodes), True)[1:])
            del pull
        assert sums is not None  # there are nodes
        more = 0 if known is not None else panel.values.shape[0]
        rough = e * fall_at_kinks(e, norm_of(sums[0], xp))
        return found._replace(rough=rough, evaluations=found.evaluations + more)

    def _linearized(
        self, panel: Panel, known: tuple[Any, Pull] | None
    ) -> Iterator[tuple[slice, Any, Pull]]:
        """Some of the nodes after the others, f there, and the transpose of its derivative."""
        m = panel.values.shape[0]
        if known is not None:
            yield slice(0, m), *known
            return
        size, times = m if self.batch is None else self.batch, node_times(panel, self.jumps)
        for k in range(0, m, size):
            nodes = slice(k, min(k + size, m))
            yield nodes, *self.linearize(times[nodes], panel.values[nodes, ...])


def node_times(panel: Panel, jumps: Sequence[float] = ()) -> Any:
    """Times (m,) of the nodes as an array like the states; at a jump the side of the panel."""
    s = chebyshev_points(panel.values.shape[0], interval=(0.0, 1.0))
    low, high = (2**-53 * (end in jumps) for end in (panel.start, panel.end))
    times = [panel.time(min(max(float(x), low), 1 - high)) for x in s]
    if are_floats(times):
        real = namespace(panel.values).abs(panel.values[:1, ...])
        return constant_like(times, real)
    return namespace(times[0]).stack(times)


def fall_at_kinks(first: float, second: float) -> float:
    """By what the distance of a rule to that of every second node falls next, if the integrand has
    kinks or jumps, from that distance and the one to the rule of every fourth; otherwise 0.

    At a jump they fall by a factor of 2 from one to the next, at a kink by 4, more or less, where
    the power 3/2 of `estimate` sees smooth integrands.
    """
    return min(1.0, first / second) if first > second / SMOOTH else 0.0


def _weighted(panel: Panel, a: Any, rule: np.ndarray, nodes: slice) -> Any:
    """What some nodes add to an integral is one transposed pass: weights go into the cotangent."""
    part = a[nodes, ...]
    column = np.reshape(rule[nodes] / 2, (-1, *[1] * (len(a.shape) - 1)))
    return panel.length * (constant_like(column, part) * part)


def gaps(rows: Any, nodes: slice, m: int) -> Any:
    """What some rows of m, that are weighted for an integral, add to its distances (2, ...)."""
    weights, second, fourth = nested_weights(m)
    both = np.stack([weights - second, second - fourth]) / weights
    return namespace(rows).tensordot(constant_like(both[:, nodes], rows), rows, axes=1)


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


def accumulated(sums: Groups | None, parts: Groups, /) -> Groups:
    """The sums with these parts, array by array; the parts alone where there are no sums yet.

    Those of parameters are as large as these: to be added one by one, and none kept.
    """
    if sums is None:
        return parts
    pairs = zip(sums, parts, strict=True)
    return tuple(tuple(x + z for x, z in zip(*pair, strict=True)) for pair in pairs)


def _relative(gap: Any, size: Any, xp: Any) -> Any:
    """The quotient; the gap itself where the size is zero."""
    if isinstance(size, float):
        return gap / (size or 1.0)
    return gap / xp.where(size > 0, size, size + 1)


def norm_of(arrays: Sequence[Any], xp: Any) -> Any:
    """Of all entries of all arrays; their squares may overflow."""
    if all(map(is_readable, arrays)):
        filled = [x for x in arrays if prod(x.shape)]
        with np.errstate(over="ignore"):
            size = hypot(*(float(xp.linalg.vector_norm(x)) for x in filled))
        if 1e-10 < size < 1e15:  # of which float32 holds the squares
            return size
        largest = max((float(xp.max(xp.abs(x))) for x in filled), default=0.0)
        if not (isfinite(largest) and largest):
            return largest
        return largest * hypot(*(float(xp.linalg.vector_norm(x / largest)) for x in filled))
    squares = [xp.sum(xp.abs(x) ** 2) for x in arrays]
    return sum(squares[1:], squares[0]) ** 0.5 if squares else 0.0
