"""The transposed equations of implicit stages, solved with products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
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

__all__ = ["differentiated_stages", "transposed_inverse", "transposed_stages"]

SPACE = 400  # dimension of GMRES's largest space


def transposed_stages(
    t: float,
    y: Any,
    coupling: Sequence[Sequence[float]],
    pulls: Sequence[Callable[[Any], Any]],
    right: Sequence[Any],
    /,
    inverse: Callable[[Any], Any] | None = None,
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
    inverse : callable, optional
        From `transposed_inverse`, with a Jacobian near those of the stages: GMRES goes on from
        there, in a few products.

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
    # Cotangents of stiff steps fade until squares of them, and in the end they, leave the range.
    unit = float(xp.max(xp.abs(b))) if prod(b.shape) else 0.0
    if unit == 0.0:
        return b, 0.0, 0
    b = b / unit
    transposed = [list(column) for column in zip(*coupling, strict=True)]
    matrix = constant_like(transposed, xp.abs(right[0]))
    if xp.isdtype(b.dtype, "complex floating"):
        matrix = xp.astype(matrix, b.dtype)

    def product(mu: Any) -> Any:
        pulled = [pull(mu[j, ...]) for j, pull in enumerate(pulls)]
        return mu - xp.tensordot(matrix, xp.stack(pulled), axes=1)

    eps, count, residual = float(limits(b).eps), 0, inf
    if inverse is not None:
        mu, residual, count = _after(inverse, product, b)
    if not residual <= eps**0.5:
        mu, residual, more = gmres(product, b, 10 * eps, SPACE)
        count += more
    real = not xp.isdtype(b.dtype, "complex floating")
    if not residual <= eps**0.5 and real and prod(y.shape) <= LARGEST:
        mu, residual, more = _after(transposed_inverse(coupling, _mean(pulls, b)), product, b)
        count += prod(y.shape) + more
    if not residual <= eps**0.5:
        start = Trajectory(np.array([t]), xp.stack([y]), Status.NEWTON_FAILED, Statistics())
        raise NewtonFailedError(
            f"in the backward pass GMRES leaves a relative residual of {residual:.1e}, above "
            f"{eps**0.5:.1e}, of the transposed equations of the stages at t = {t!r} after "
            f"{count} products: take smaller steps, or the restored adjoint",
            start,
        )
    return mu * unit, residual, count


def transposed_inverse(coupling: Sequence[Sequence[float]], jacobian: Any) -> Any:
    """The inverse of the transposed equations where all stages have one Jacobian.

    Parameters
    ----------
    coupling : (s, s) sequence of sequence of float
        As for `transposed_stages`.
    jacobian : (n, n) or (m, n/m, n/m) array
        Real; the latter of m samples that do not see each other.

    Returns
    -------
    callable
        From (s, n) arrays to such.
    """
    J, transposed = namespace(jacobian).matrix_transpose(jacobian), np.array(coupling).T
    vectors = eigenvectors(transposed)
    if vectors:
        return Decoupled(vectors, J)
    return Dense.of(constant_like(transposed, J), [J] * len(transposed))


def _after(
    inverse: Callable[[Any], Any], product: Callable[[Any], Any], b: Any
) -> tuple[Any, float, int]:
    """The solution, what it leaves and the products that were computed, by GMRES after an inverse
    of nearly the same.
    """
    xp, count = namespace(b), 0
    flat = b.shape[0], prod(b.shape[1:])

    def counted(x: Any) -> Any:
        nonlocal count
        count += 1
        return xp.reshape(product(xp.reshape(x, b.shape)), flat)

    found, _ = after_inverse(counted, inverse, xp.reshape(b, flat), 10 * float(limits(b).eps))
    left = xp.reshape(b, flat) - counted(found)
    norm = xp.linalg.vector_norm
    return xp.reshape(found, b.shape), float(norm(left) / norm(b)), count


def _mean(pulls: Sequence[Callable[[Any], Any]], b: Any) -> Any:
    """The mean of the Jacobians, a product of each stage for each row."""
    xp, shape = namespace(b), b.shape[1:]
    eye = xp.eye(prod(shape), dtype=b.dtype, device=device(b))
    rows = []
    for k in range(prod(shape)):
        e = xp.reshape(eye[k, :], shape)
        rows.append(xp.reshape(sum(pull(e) for pull in pulls) / len(pulls), (-1,)))
    return xp.stack(rows)


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
