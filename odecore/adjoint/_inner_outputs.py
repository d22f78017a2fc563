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
from functools import lru_cache
from typing import Any

import numpy as np

from odecore._array import constant_like, namespace
from odecore.adjoint._panels import Panel
from odecore.adjoint._quadrature import MOST_NODES, estimate, least, norm_of
from odecore.adjoint._sweep import Crossing
from odecore.interpolation import (
    barycentric_weights,
    chebyshev_points,
    clenshaw_curtis_weights,
    coefficient_tail,
    integration_matrix,
    lagrange_rows,
)
from odecore.solve import Statistics

__all__ = ["across_outputs"]


def _combined(end: Any, cotangents: Sequence[Any]) -> Any:
    """A cotangent at the end of the panel as large as all of them: none cancels another."""
    xp = namespace(end)
    return end * 0 + sum(map(xp.abs, cotangents), xp.abs(end))


@lru_cache(maxsize=64)
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


def across_outputs(
    collocation: Any, panel: Panel, end: Any, cotangents: Sequence[Any]
) -> tuple[Crossing, Sequence[Any]] | None:
    """Cross a panel from the adjoint at its end; f at the outputs too.

    None where it does not do. Whether the nodes are enough is asked of the smooth adjoint, and the
    integrand, of one cotangent at the end, which have the same Jacobians.
    """
    xp, wanted, spent = namespace(end), collocation.parameters, Statistics()
    outputs = panel.outputs
    while True:
        probe, counts, resolved = collocation.at_enough_nodes(panel, _combined(end, cotangents))
        panel, spent = probe.panel, spent + counts
        if not resolved:
            return None
        m, known = panel.values.shape[0], (probe.value, probe.pull)
        terms = collocation.quadrature.once(panel, probe.a, known)[0] if wanted else ((), ())
        if not estimate(*terms) > least(collocation.rtol) or m >= MOST_NODES:
            break
        panel = panel.part(0.0, 1.0, 2 * m - 1)
    nodes = chebyshev_points(m, interval=(0.0, 1.0))
    rows = lagrange_rows(outputs, nodes, barycentric_weights(m))
    constant = _right_hand_side(end, rows, xp.stack(list(cotangents)))
    solved = collocation.iterated(panel, *known, constant, _transposed_matrix(m))
    if not solved.left <= solved.limit:
        return None
    weights = np.reshape(clenshaw_curtis_weights(m) / 2, (-1, *[1] * (len(end.shape))))
    state, found = probe.pull(panel.length * (constant_like(weights, end) * solved.a), wanted)
    start = end + sum(cotangents) + xp.sum(state, axis=0)
    gap: Any = ()
    if wanted:  # as exact as the probe's, relative to its size
        share = norm_of(found, xp) / (norm_of(terms[0], xp) or 1.0)
        gap = tuple(x * share for x in terms[1])
    slopes = probe.value[0, ...], probe.value[-1, ...]
    counts = spent + Statistics(newton=solved.statistics.newton)
    tail = coefficient_tail(probe.a)
    crossing = Crossing(start, (found if wanted else (), gap), slopes, tail, solved.share, counts)
    slopes_inside = xp.tensordot(constant_like(rows, end), probe.value, axes=1)
    return crossing, [slopes_inside[k, ...] for k in range(len(rows))]
