"""The transposed equations of implicit stages, solved with products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from array_api_compat import device

from odecore._array import constant_like, limits, namespace
from odecore._krylov import gmres
from odecore.errors import NewtonFailedError
from odecore.solve._explicit_step import checked_stage
from odecore.solve._newton import LARGEST, Newton
from odecore.solve._stage_inverse import Decoupled, Dense, after_inverse, eigenvectors
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Trajectory

__all__ = ["differentiated_stages", "transposed_stages"]

SPACE = 400  # dimension of GMRES's largest space


def transposed_stages(
    t: float,
    y: Any,
    coupling: Sequence[Sequence[float]],
    pulls: Sequence[Callable[[Any], Any]],
    right: Sequence[Any],
    /,
) -> tuple[Any, float, int]:
    r"""Solve :math:`\mu_i - \sum_j c_{ji} J_j^T \mu_j = r_i` by GMRES.

    Where that does not arrive, and the state has up to 4000 entries, real ones, it goes on with
    matrices, for which there is a product of each stage for each entry.

    Parameters
    ----------
    t, y : float, array
        Where the step starts, for the message of an error.
    coupling : (s, s) sequence of sequence of float
        The coefficients of the stages times the step size, c_ij = h a_ij.
    pulls : sequence of callable
        The functions v -> J_j^T v, J_j the derivative of the right-hand side at stage j.
    right : sequence of array

    Returns
    -------
    mu : (s, ...) array
    residual : float
        Relative to the right-hand side.
    int
        Products that were computed, of all stages.

    Raises
    ------
    odecore.errors.NewtonFailedError
        Where the residual stays above the root of the rounding.
    """
    xp, b = namespace(right[0]), namespace(right[0]).stack(list(right))
    transposed = [list(column) for column in zip(*coupling, strict=True)]
    matrix = constant_like(transposed, xp.abs(right[0]))
    if xp.isdtype(b.dtype, "complex floating"):
        matrix = xp.astype(matrix, b.dtype)

    def product(mu: Any) -> Any:
        pulled = [pull(mu[j, ...]) for j, pull in enumerate(pulls)]
        return mu - xp.tensordot(matrix, xp.stack(pulled), axes=1)

    eps = float(limits(b).eps)
    mu, residual, count = gmres(product, b, 10 * eps, SPACE)
    real = not xp.isdtype(b.dtype, "complex floating")
    if not residual <= eps**0.5 and real and prod(y.shape) <= LARGEST:
        mu, residual = _with_matrices(transposed, pulls, product, b)
        count += prod(y.shape)
    if not residual <= eps**0.5:
        start = Trajectory(np.array([t]), xp.stack([y]), Status.NEWTON_FAILED, Statistics())
        raise NewtonFailedError(
            f"in the backward pass GMRES leaves a relative residual of {residual:.1e}, above "
            f"{eps**0.5:.1e}, of the transposed equations of the stages at t = {t!r} after "
            f"{count} products: take smaller steps, or the restored adjoint",
            start,
        )
    return mu, residual, count


def _with_matrices(
    coupling: Any, pulls: Sequence[Callable[[Any], Any]], product: Callable[[Any], Any], b: Any
) -> tuple[Any, float]:
    """The solution and its residual, by GMRES after the inverse for the mean of the Jacobians."""
    xp, shape = namespace(b), b.shape[1:]
    eye = xp.eye(prod(shape), dtype=b.dtype, device=device(b))
    columns = []
    for k in range(prod(shape)):
        e = xp.reshape(eye[k, :], shape)
        columns.append(xp.reshape(sum(pull(e) for pull in pulls) / len(pulls), (-1,)))
    J, vectors = xp.stack(columns, axis=1), eigenvectors(np.array(coupling))
    s, n = len(pulls), len(columns)
    inverse = Decoupled(vectors, J) if vectors else Dense.of(constant_like(coupling, J), [J] * s)

    def flat(x: Any) -> Any:
        return xp.reshape(product(xp.reshape(x, b.shape)), (s, n))

    found, _ = after_inverse(flat, inverse, xp.reshape(b, (s, n)), 10 * float(limits(b).eps))
    mu = xp.reshape(found, b.shape)
    norm = xp.linalg.vector_norm
    return mu, float(norm(b - product(mu)) / norm(b))


def differentiated_stages(
    newton: Newton,
    fun: Callable[[Any, Any], Any],
    t: float,
    y: Any,
    h: float,
    A: Sequence[Sequence[float]],
    times: Sequence[float],
    states: Sequence[Any],
    stages: Sequence[Any],
) -> list[Any]:
    """The stages, whose gradients are solved for when they come; their values stay.

    Raises
    ------
    ValueError
        Where `newton` does not know how the array library differentiates.
    """
    if newton.differentiate is None:
        raise ValueError(
            "gradients through implicit steps without matrices need `torch_bridge.odeint` or "
            "`torch_bridge.solve`; or take the direct linear solver, Newton(linear_solver='direct')"
        )
    coupling = [[h * a for a in row] for row in A]

    def checked(time: float, state: Any) -> Any:
        return checked_stage(fun(time, state), y)

    def transposed(pulls: Sequence[Callable[[Any], Any]], g: Sequence[Any]) -> Any:
        return transposed_stages(t, y, coupling, pulls, g)[0]

    return newton.differentiate(checked, times, states, stages, transposed)
