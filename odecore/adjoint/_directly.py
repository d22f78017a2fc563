"""The collocated adjoint of a few numbers: Jacobians at the nodes, and elimination."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from odecore._array import constant_like, limits, on_host
from odecore.adjoint._linearization import Pull
from odecore.interpolation import integration_matrix

__all__ = ["solved_directly"]

#: Of Jacobian times length. Where the adjoint grows by more than the exponential of this, the last
#: Chebyshev coefficients, relative to its largest value, say nothing of the error in its smallest
#: ones, from which the others grow; that GMRES does not converge there is what halves the panel.
LARGEST = 10.0


def solved_directly(pull: Pull, end: Any, length: float, m: int, /) -> tuple[Any, float] | None:
    """The adjoint (m, ...) at the nodes of a panel, and its residual relative to it.

    Parameters
    ----------
    pull : callable
        Of the nodes of the panel; called once for each entry of a state.
    end : array
        The adjoint at the end of the panel, real, and readable.
    length : float
    m : int

    Returns
    -------
    tuple or None
        None where the Jacobians are large, or the residual is more than rounding leaves.
    """
    n = prod(end.shape)
    units = np.repeat(np.eye(n)[:, None, :], m, axis=1)  # entry, node, component
    images = [pull(constant_like(u.reshape(m, *end.shape), end), False)[0] for u in units]
    transposed = np.stack([on_host(x).reshape(m, n) for x in images]).astype(np.float64)
    size = float(np.linalg.norm(transposed, axis=(0, 2)).max()) * abs(length)
    if not size <= LARGEST:
        return None
    integral = length / 2 * np.asarray(integration_matrix(m, "last"))
    system = np.eye(m * n) - np.einsum("pq,kqi->piqk", integral, transposed).reshape(m * n, m * n)
    right = np.tile(on_host(end).ravel().astype(np.float64), m)
    try:
        a = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        return None
    size = float(np.linalg.norm(a)) or 1.0
    residual = float(np.linalg.norm(system @ a - right)) / size
    if not residual <= 50 * float(limits(end).eps):
        return None
    return constant_like(a.reshape(m, *end.shape), end), residual
