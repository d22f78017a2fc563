"""GMRES for linear operators on arrays of any library, shape and device."""

from __future__ import annotations

from collections.abc import Callable
from math import hypot, inf, isfinite, nan, prod
from typing import Any

import numpy as np
from array_api_compat import device

from odecore._array import constant_like, limits, namespace, on_host
from odecore._recording import has_tangent

__all__ = ["gmres", "restarted_gmres"]

TANGENT = (
    "GMRES reads values, and derivatives in forward mode would be lost, got a torch tensor with a "
    "tangent: leave Newton(linear_solver='krylov') out, take Newton(linear_solver='direct') with a "
    "diagonally implicit method for more than 400 unknowns, an explicit method, or backward mode"
)
STALLED = 0.9  # relative residual after which another space does no better


def gmres(
    product: Callable[[Any], Any], b: Any, tolerance: float, max_size: int, reads: bool = True, /
) -> tuple[Any, Any, int]:
    """Solve product(x) = b by GMRES from zero.

    Parameters
    ----------
    product : callable
        Linear over the real numbers, from arrays like b to such.
    b : array
        Real or complex.
    tolerance : float
        Size of the residual, relative to b, at which the space stops growing.
    max_size : int
        Largest dimension of the space; there is no restart.
    reads : bool, optional
        Whether values may be read. If not, the space grows to `max_size`, and nothing waits for a
        device.

    Returns
    -------
    x : array
    residual : float or 0-d array
        Norm of b - product(x), relative to b. Where rounding of x is most of it, an estimate from
        the sizes of its parts: in the median up to 5.5 times what is left, and 0.5 to 17 times at
        most (1,440 operators of up to 29 unknowns, regular and singular, in both precisions).
    int
        Products that were computed.

    Raises
    ------
    ValueError
        If values are read of a torch tensor with a tangent, which would be lost.

    Notes
    -----
    Saad, Schultz, GMRES, SIAM J. Sci. Stat. Comput. 7 (1986); orthogonalized twice, all earlier
    vectors at once.
    """
    xp = namespace(b)
    real_size = prod(b.shape) * (2 if xp.isdtype(b.dtype, "complex floating") else 1)
    solve = _on_host if reads else _unread
    if real_size == 0:
        return b * 0, 0.0, 0
    return solve(product, b, tolerance, min(max_size, real_size), xp)


def restarted_gmres(
    product: Callable[[Any], Any], b: Any, tolerance: float, max_size: int, restarts: int, /
) -> tuple[Any, float]:
    """The last x of up to `restarts` solves by `gmres`, each of what the one before left, and what
    the last one leaves, relative to b.

    Stops at the tolerance, and where a solve takes away less than a tenth. NaN where a product is
    not finite.
    """
    x, left, before = b * 0, b, 1.0
    for _ in range(restarts):
        change, residual, _ = gmres(product, left, tolerance / before, max_size)
        if not isfinite(residual):
            return b * nan, nan
        x = x + change
        after = before * residual
        if not (tolerance < after and residual < STALLED):
            break
        left, before = b - product(x), after
    return x, after


def _on_host(
    product: Callable[[Any], Any], b: Any, tolerance: float, max_size: int, xp: Any
) -> tuple[Any, float, int]:
    """With the vectors as real numbers on the host, in double precision."""
    w = _real(b)
    norm = float(np.linalg.norm(w))
    if norm == 0:
        return b * 0, 0.0, 0
    # What rounding leaves of a vector inside the space has no direction of its own.
    rounding = 10 * float(limits(b).eps)
    basis = np.empty((max_size, len(w)))
    basis[0] = w / norm
    triangle = _Triangle(rounding)
    for k in range(1, max_size + 1):
        w, V = _real(product(_like(basis[k - 1], b, xp))), basis[:k]
        dots = V @ w
        w = w - dots @ V
        more = V @ w
        w -= more @ V
        dots += more
        left = float(np.linalg.norm(w))
        if not left > rounding * float(np.linalg.norm(dots)):
            left = 0.0 if isfinite(left) else left
        if triangle.add([*dots.tolist(), left]) <= tolerance or left == 0 or k == max_size:
            break
        if not isfinite(left):
            return b * 0, inf, k
        basis[k] = w / left
    weights = np.array(triangle.solution())
    # Of an operator that is singular to rounding the weights are so large that their own is left.
    least = rounding / 10 * float(np.abs(weights) @ triangle.lengths)
    return _like(weights * norm @ V, b, xp), hypot(triangle.residual, least), k


def _real(x: Any) -> np.ndarray:
    """The real numbers in an array, as a vector on the host."""
    if has_tangent(x):
        raise ValueError(TANGENT)
    values = on_host(x).ravel()
    parts = [values.real, values.imag] if np.iscomplexobj(values) else [values]
    return np.concatenate(parts, dtype=np.float64)


def _like(vector: np.ndarray, b: Any, xp: Any) -> Any:
    """The array like b that holds the real numbers."""
    if xp.isdtype(b.dtype, "complex floating"):
        real, imaginary = np.split(vector, 2)
        vector = real + 1j * imaginary
    return constant_like(vector.reshape(b.shape), b)


def _unread(
    product: Callable[[Any], Any], b: Any, tolerance: float, max_size: int, xp: Any
) -> tuple[Any, Any, int]:
    """With the vectors where b is, and nothing read."""
    # All arrays keep their shapes, so that a compiler makes one program for all passes.
    flat = xp.reshape(b, (-1,))
    size = xp.max(xp.abs(flat))  # squares of it may leave the range of single precision
    flat = _over(flat, size, xp)
    norm = xp.linalg.vector_norm(flat)
    rounding = 10 * float(limits(b).eps)
    real, units = (
        xp.eye(max_size + 1, dtype=kind, device=device(b)) for kind in (norm.dtype, b.dtype)
    )
    q, columns = _over(flat, norm, xp), []
    V = units[:, :1] * q
    for k in range(1, max_size + 1):
        w = xp.reshape(product(xp.reshape(q, b.shape)), (-1,))
        first = _dots(V, w, xp)
        w = w - _combined(first, V, xp)
        second = _dots(V, w, xp)
        w = w - _combined(second, V, xp)
        dots, left = first + second, xp.linalg.vector_norm(w)
        left = xp.where(left > rounding * xp.linalg.vector_norm(dots), left, xp.zeros_like(left))
        columns.append(dots + left * real[k, :])
        q = _over(w, left, xp)
        V = V + units[:, k : k + 1] * q
    y, residual = _least_squares(xp.stack(columns, axis=1), norm, rounding, real, xp)
    x = size * _combined(y, V[:max_size, :], xp)
    return xp.reshape(x, b.shape), _over(residual, norm, xp), max_size


class _Triangle:
    """The least squares problem of the Hessenberg matrix, by Givens rotations on the host."""

    def __init__(self, rounding: float) -> None:
        self.rounding = rounding
        self.rotations: list[tuple[float, float]] = []
        self.columns: list[list[float]] = []
        self.right = [1.0]

    def add(self, column: list[float]) -> float:
        """Take the next column; the residual that is left."""
        for k, (c, s) in enumerate(self.rotations):
            column[k], column[k + 1] = (
                c * column[k] + s * column[k + 1],
                c * column[k + 1] - s * column[k],
            )
        k = len(self.rotations)
        length = hypot(column[k], column[k + 1])
        if length <= self.rounding * hypot(*column):  # the image is one of those before
            length = 0.0
        c, s = (column[k] / length, column[k + 1] / length) if length else (0.0, 1.0)
        self.rotations.append((c, s))
        self.columns.append([*column[:k], length])
        self.right[k:] = [c * self.right[k], -s * self.right[k]]
        return self.residual

    @property
    def residual(self) -> float:
        return abs(self.right[-1])

    @property
    def lengths(self) -> list[float]:
        """Those of the images of the basis."""
        return [hypot(*column) for column in self.columns]

    def solution(self) -> list[float]:
        """Back substitution; a column that is zero adds nothing."""
        n = len(self.columns)
        y = self.right[:n]
        for k in reversed(range(n)):
            y[k] = y[k] / self.columns[k][k] if self.columns[k][k] else 0.0
            for i in range(k):
                y[i] -= self.columns[k][i] * y[k]
        return y


def _least_squares(H: Any, norm: Any, rounding: float, units: Any, xp: Any) -> tuple[Any, Any]:
    """The same problem with an (n + 1, n) array, of which no value is read."""
    n = H.shape[1]
    Q, R = xp.linalg.qr(H)
    # A column that is one of those before, or zero, gets no weight.
    lengths = xp.linalg.vector_norm(H, axis=0)
    diagonal = xp.abs(xp.linalg.diagonal(R))
    missing = xp.where(
        diagonal > rounding * lengths, xp.zeros_like(diagonal), xp.ones_like(diagonal)
    )
    R = R + missing * units[:n, :n]
    e = norm * units[:, 0]
    y = xp.linalg.solve(R, ((1 - missing) * xp.matmul(Q.T, e))[:, None])[:, 0]
    least = rounding / 10 * xp.sum(xp.abs(y) * lengths)
    return y, xp.hypot(xp.linalg.vector_norm(e - xp.matmul(H, y)), least)


def _over(x: Any, length: Any, xp: Any) -> Any:
    """The quotient, and zero for length zero."""
    return xp.where(length > 0, x, x * 0) / xp.where(length > 0, length, xp.ones_like(length))


def _dots(V: Any, w: Any, xp: Any) -> Any:
    """Real inner products with each row."""
    if xp.isdtype(w.dtype, "complex floating"):
        return xp.matmul(xp.real(V), xp.real(w)) + xp.matmul(xp.imag(V), xp.imag(w))
    return xp.matmul(V, w)


def _combined(weights: Any, V: Any, xp: Any) -> Any:
    """The sum of rows by real weights."""
    if xp.isdtype(V.dtype, "complex floating"):
        weights = xp.astype(weights, V.dtype)
    return xp.matmul(weights, V)
