"""The inverse of I - C (x) J, where all stages of a step have one Jacobian J, and C is h A.

J is an (n, n) array, or, of m samples along the first axis of the state that do not see each other,
(m, n/m, n/m): then so are the matrices, one for each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from array_api_compat import device

from odecore._array import constant_like, limits, namespace
from odecore._krylov import restarted_gmres

__all__ = [
    "Decoupled", "Dense", "after_inverse", "alike", "eigenvectors", "inverse_of", "product",
    "product_of",
]  # fmt: skip

CONDITION = 1e3  # of the eigenvectors of C, with which rounding is multiplied
SPACE, RESTARTS = 40, 5  # of GMRES
FEW = 1000  # unknowns, up to which one matrix is faster than corrections
CORRECTIONS = 40  # that are not slower than one matrix of more
AWAY = 1e6  # growth of an error that does not come back


def _of_samples(jacobian: Any) -> bool:
    """Whether a Jacobian is that of samples which do not see each other."""
    return len(jacobian.shape) == 3


def product(jacobian: Any, x: Any) -> Any:
    """The product with a flat vector (n,)."""
    xp = namespace(x)
    if not _of_samples(jacobian):
        return xp.matmul(jacobian, x)
    rows = xp.reshape(x, (*jacobian.shape[:2], 1))
    return xp.reshape(xp.matmul(jacobian, rows), (-1,))


def alike(jacobians: list[Any]) -> list[Any]:
    """All of samples, or all whole, where samples see each other at some."""
    if all(map(_of_samples, jacobians)):
        return jacobians
    return [_whole(J) for J in jacobians]


def _whole(jacobian: Any) -> Any:
    """As one matrix."""
    if not _of_samples(jacobian):
        return jacobian
    xp, (m, n, _) = namespace(jacobian), jacobian.shape
    eye = xp.eye(m, dtype=jacobian.dtype, device=device(jacobian))
    return xp.reshape(eye[:, None, :, None] * jacobian[:, :, None, :], (m * n, m * n))


class Dense:
    """As one matrix (s n, s n), or one for each sample."""

    def __init__(self, inverse: Any) -> None:
        self.inverse = inverse

    @classmethod
    def of(cls, coupling: Any, blocks: list[Any]) -> Dense:
        """From C as an array and the Jacobian of each stage, which need not be the same."""
        xp, (s, n) = namespace(coupling), (len(blocks), blocks[0].shape[-1])
        rows = [
            xp.concat([coupling[i, j] * blocks[i] for j in range(s)], axis=-1) for i in range(s)
        ]
        eye = xp.eye(s * n, dtype=coupling.dtype, device=device(coupling))
        matrix = xp.astype(eye - xp.concat(rows, axis=-2), _kinds(eye, xp)[0])
        return cls(xp.astype(_inverse_or_nan(matrix), eye.dtype))

    def __call__(self, r: Any) -> Any:
        """The product with a residual (s, n)."""
        xp, s = namespace(r), r.shape[0]
        if not _of_samples(self.inverse):
            return xp.reshape(product(self.inverse, xp.reshape(r, (-1,))), r.shape)
        m = self.inverse.shape[0]
        by_sample = xp.permute_dims(xp.reshape(r, (s, m, -1)), (1, 0, 2))
        found = xp.reshape(product(self.inverse, xp.reshape(by_sample, (-1,))), by_sample.shape)
        return xp.reshape(xp.permute_dims(found, (1, 0, 2)), r.shape)

    def bound(self, r: Any) -> Any:
        """The product of the sizes of all entries and r."""
        return Dense(namespace(r).abs(self.inverse))(r)


class Decoupled:
    """By the eigenvalues d_k of C = V D W: (I - d_k J)^-1, one for each conjugate pair.

    The blocks of the inverse are sum_k V_ik W_kj (I - d_k J)^-1; Butcher, On the implementation of
    implicit Runge-Kutta methods, BIT 16 (1976).

    Parameters
    ----------
    vectors : (3,) tuple
        The eigenvalues, V and W.
    jacobian : array
    """

    def __init__(self, vectors: tuple[Any, Any, Any], jacobian: Any) -> None:
        xp, (values, V, W) = namespace(jacobian), vectors
        real, paired = _kinds(jacobian, xp)
        self.parts = []
        for k, d in enumerate(values):
            if d.imag < 0:
                continue  # the conjugate of another
            kind, number, share = (paired, complex(d), 2) if d.imag else (real, float(d.real), 1)
            J = xp.astype(jacobian, kind)
            eye = xp.eye(J.shape[-1], dtype=kind, device=device(J))
            inverse = _inverse_or_nan(eye - number * J)
            left, right = (
                constant_like(x if d.imag else x.real, inverse) for x in (share * V[:, k], W[k])
            )
            self.parts.append((left, inverse, right))

    def __call__(self, r: Any) -> Any:
        """The product with a residual (s, n)."""
        xp = namespace(r)
        moved = [
            left[:, None] * product(inverse, xp.matmul(right, xp.astype(r, inverse.dtype)))
            for left, inverse, right in self.parts
        ]
        return xp.astype(sum(map(_real, moved)), r.dtype)

    def bound(self, r: Any) -> Any:
        """The product of the sizes of all entries and r."""
        xp, s = namespace(r), r.shape[0]

        def block(i: int, j: int) -> Any:
            return sum(_real(left[i] * right[j] * inverse) for left, inverse, right in self.parts)

        rows = [
            sum(product(xp.abs(xp.astype(block(i, j), r.dtype)), r[j, ...]) for j in range(s))
            for i in range(s)
        ]
        return xp.stack(rows)


def eigenvectors(coupling: np.ndarray) -> tuple[Any, Any, Any] | None:
    """The eigenvalues of C, its eigenvectors and their inverse; None where these are no good."""
    values, V = np.linalg.eig(coupling)
    if not np.linalg.cond(V) < CONDITION:
        return None
    return values.astype(complex), V.astype(complex), np.linalg.inv(V).astype(complex)


def after_inverse(
    product: Callable[[Any], Any], inverse: Callable[[Any], Any], r: Any, tolerance: float
) -> tuple[Any, float]:
    """Solve product(x) = r by GMRES, after the inverse of nearly the same; x and what is left."""
    return restarted_gmres(lambda x: inverse(product(x)), inverse(r), tolerance, SPACE, RESTARTS)


def product_of(coupling: Any, blocks: list[Any]) -> Callable[[Any], Any]:
    """The function x -> (I - C (x) J) x of (s, n), with a Jacobian J_i of each stage."""
    xp = namespace(coupling)

    def of_stages(x: Any) -> Any:
        moved = xp.matmul(coupling, x)
        return x - xp.stack([product(J, moved[i, ...]) for i, J in enumerate(blocks)])

    return of_stages


def inverse_of(
    coupling: Any, blocks: list[Any], vectors: tuple[Any, Any, Any] | None
) -> Callable[[Any], Any]:
    """The inverse with a Jacobian J_i of each stage, all `alike`, as a function that autograd goes
    through.

    With eigenvectors of C it is P, that for the mean of the Jacobians, and corrections x <- x +
    P (r - M x). They are linear in r, as iterates of GMRES are not; a vector drawn at random tells
    how many are needed. Where they do not converge it is one matrix.
    """
    xp, shape = namespace(coupling), (len(blocks), prod(blocks[0].shape[:-1]))
    if vectors is None or prod(shape) <= FEW:
        return Dense.of(coupling, blocks)
    mean, multiply = sum(blocks[1:], blocks[0]) / len(blocks), product_of(coupling, blocks)
    near = Decoupled(vectors, mean)
    error, count = constant_like(np.random.default_rng(0).standard_normal(shape), coupling), 0
    first = size = float(xp.linalg.vector_norm(error))
    small = float(limits(coupling).eps) ** 1.5 * first  # as the transpose may need more
    while not size <= small:
        if count == CORRECTIONS or not size < AWAY * first:
            return Dense.of(coupling, blocks)
        error, count = error - near(multiply(error)), count + 1
        size = float(xp.linalg.vector_norm(error))

    def inverse(r: Any) -> Any:
        x = near(r)
        for _ in range(count - 1):
            x = x + near(r - multiply(x))
        return x

    return inverse


def _inverse_or_nan(matrix: Any) -> Any:
    """The inverse; NaN where a library says that there is none."""
    xp = namespace(matrix)
    try:
        return xp.linalg.inv(matrix)
    except Exception:  # each library has its own class for singular matrices
        return float("nan") * xp.ones_like(matrix)


def _kinds(like: Any, xp: Any) -> tuple[Any, Any]:
    """Precisions, real and complex, of which libraries have inverses."""
    return (xp.float32, xp.complex64) if limits(like).bits <= 32 else (xp.float64, xp.complex128)


def _real(x: Any) -> Any:
    xp = namespace(x)
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x
