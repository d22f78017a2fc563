"""The collocated adjoint of a panel with output times inside it.

The adjoint jumps at an output, so that no polynomial is near it, but the states do not: at nodes
they are z = y0 + S f(z), and at an output inside they are a row r of Lagrange polynomials times z.
The transpose of this needs no smooth adjoint: with c the sum of r^T w over the outputs, of which w
are the cotangents, (1 - J^T S^T) b = c, and the gradients are the sum of b and (df/dtheta)^T S^T b.
In a = S^T b divided by the Clenshaw-Curtis weights, the adjoint at the nodes where it is smooth,
that is a = a0 + K J^T a: the equation of one output at the end, with other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from odecore._array import constant_like, namespace
from odecore._kept import kept_if_small
from odecore.adjoint._linearization import Pull
from odecore.adjoint._panels import Panel
from odecore.adjoint._quadrature import MOST_NODES, gaps, least, node_times, norm_of
from odecore.adjoint._sweep import Crossing
from odecore.interpolation import (
    barycentric_weights,
    chebyshev_points,
    clenshaw_curtis_weights,
    integration_matrix,
    lagrange_rows,
)
from odecore.solve import Statistics

__all__ = ["across_outputs"]


def _probe(size: Any) -> Any:
    """A cotangent of about a given size, with entries that differ: if they were all alike, a flow
    that conserves their sum would keep them as they are.
    """
    k = np.arange(1, prod(size.shape) + 1)
    some = (0.5 + k * 0.618034 % 1) * np.where(k * 0.414214 % 1 < 0.5, -1, 1)
    return size * constant_like(np.reshape(some, size.shape), size)


@kept_if_small
def _transposed_matrix(m: int) -> np.ndarray:
    """K, for a panel of length 1."""
    weights = clenshaw_curtis_weights(m)
    matrix: np.ndarray = integration_matrix(m).T * weights / weights[:, None] / 2
    return matrix


def _right_hand_side(end: Any, rows: np.ndarray, cotangents: Any) -> Any:
    """The right-hand side a0 (m, ...), from the rows (k, m) of Lagrange polynomials at outputs."""
    m = rows.shape[1]
    columns = integration_matrix(m).T @ rows.T / clenshaw_curtis_weights(m)[:, None]
    return end + namespace(end).tensordot(constant_like(columns, end), cotangents, axes=1)


class _Found(NamedTuple):
    """By m nodes: the adjoint at the start, the parameters' part of the gradient, the residual."""

    m: int
    start: Any
    parameters: tuple[Any, ...]
    residual: Any
    statistics: Statistics


def _solved(
    collocation: Any, panel: Panel, known: tuple[Any, Pull], end: Any, cotangents: Any
) -> _Found | None:
    """By the nodes of a panel, with f linearized there; None where it does not converge."""
    xp, m = namespace(end), panel.values.shape[0]
    constant = _right_hand_side(end, _rows(panel), cotangents)
    found = collocation.iterated(panel, *known, constant, _transposed_matrix(m))
    if not found.left <= found.limit:
        return None
    state, parameters = known[1](_weighted(panel, found.a), collocation.parameters)
    start = end + xp.sum(cotangents, axis=0) + xp.sum(state, axis=0)
    return _Found(m, start, parameters, found.share, found.statistics)


def _rows(panel: Panel) -> np.ndarray:
    """Of the Lagrange polynomials of the nodes at the outputs."""
    m = panel.values.shape[0]
    nodes = chebyshev_points(m, interval=(0.0, 1.0))
    return lagrange_rows(panel.outputs, nodes, barycentric_weights(m))


def _weighted(panel: Panel, a: Any) -> Any:
    """Times the weights of the quadrature over the panel."""
    weights = clenshaw_curtis_weights(a.shape[0]) / 2
    column = np.reshape(weights, (-1, *[1] * (len(a.shape) - 1)))
    return panel.length * (constant_like(column, a) * a)


def _error(gap: Any, size: Any, rtol: Any, atol: Any) -> float:
    """Of an array in units of the tolerance, from its distance to that by half of the nodes: e of
    these, in parts of the size, are about e^(3/2) of all.
    """
    xp, e = namespace(size), least(rtol)
    unit = atol + rtol * size
    distance = norm_of([gap / xp.where(unit > 0, unit, xp.ones_like(unit))], xp)
    distance /= max(1, prod(gap.shape)) ** 0.5
    return float(distance * min(1.0, e * distance) ** 0.5) if e else float(distance)


def across_outputs(
    collocation: Any, panel: Panel, end: Any, cotangents: Sequence[Any]
) -> tuple[Crossing, Sequence[Any]] | None:
    """Cross a panel from the adjoint at its end; f at the outputs too.

    None where it does not do. The nodes are enough if they resolve the smooth adjoint of one
    cotangent at the end, which has the same Jacobians, and half of them find nearly the same: the
    one sees what is too fast for both, the other what that one cotangent does not meet.
    """
    xp, spent = namespace(end), Statistics()
    size, stacked = sum(map(xp.abs, cotangents), xp.abs(end)), xp.stack(list(cotangents))
    half: _Found | None = None
    panel = panel.part(0.0, 1.0, max(panel.values.shape[0], 3))  # half of them are nodes too
    while True:
        probe, counts, resolved = collocation.at_enough_nodes(panel, end * 0 + _probe(size))
        if not resolved:
            return None
        panel, known = probe.panel, (probe.value, probe.pull)
        m = panel.values.shape[0]
        if half is None or half.m != (m + 1) // 2:
            fewer = panel.part(0.0, 1.0, (m + 1) // 2)
            f = collocation.linearize(node_times(fewer, collocation.jumps), fewer.values)
            half = _solved(collocation, fewer, f, end, stacked)
            del f  # what it keeps goes before the next pass
        found = _solved(collocation, panel, known, end, stacked)
        if half is None or found is None:
            return None
        spent = spent + counts + half.statistics + Statistics(newton=found.statistics.newton)
        gap = tuple(x - y for x, y in zip(found.parameters, half.parameters, strict=True))
        rows, whole = known[1](_weighted(panel, probe.a), collocation.parameters)
        largest = max(norm_of(whole, xp), norm_of(found.parameters, xp)) or 1.0
        sizes = xp.maximum(size, xp.abs(found.start))
        error = _error(found.start - half.start, sizes, collocation.rtol, collocation.atol)
        if error <= 1 and (norm_of(gap, xp) / largest) ** 1.5 <= least(collocation.rtol):
            break
        if m >= MOST_NODES:
            return None
        half, panel = found, panel.part(0.0, 1.0, 2 * m - 1)
    share = norm_of(found.parameters, xp) / largest  # what others cancel is as exact as they are
    slopes = probe.value[0, ...], probe.value[-1, ...]
    terms = found.parameters, tuple(share * x for x in gap)
    tail, fall = probe.tail(gaps(rows, slice(0, m), m))
    rough = fall * norm_of(terms[1], xp)
    if rough <= 10 * least(collocation.rtol) * norm_of(found.parameters, xp):
        rough = 0.0
    crossing = Crossing(found.start, terms, slopes, tail, found.residual, spent, rough)
    slopes_inside = xp.tensordot(constant_like(_rows(panel), end), probe.value, axes=1)
    return crossing, [slopes_inside[k, ...] for k in range(len(panel.outputs))]
