"""GMRES for linear operators on arrays of any library, shape and device."""

from __future__ import annotations

from collections.abc import Callable
from math import hypot, prod
from typing import Any

from array_api_compat import device

from odecore._array import as_float64, namespace

__all__ = ["gmres"]


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
        Norm of b - product(x), relative to b.
    int
        Products that were computed.

    Notes
    -----
    Saad, Schultz, GMRES, SIAM J. Sci. Stat. Comput. 7 (1986); orthogonalized twice, all earlier
    vectors at once.
    """
    xp = namespace(b)
    size = prod(b.shape)
    if size == 0 or (reads and not bool(xp.any(b != 0))):
        return b * 0, 0.0 if reads else xp.sum(xp.abs(b)) * 0, 0
    flat = xp.reshape(b, (-1,))
    norm = xp.linalg.vector_norm(flat)
    rounding = 10 * float(xp.finfo(b.dtype).eps)
    basis = [_over(flat, norm, xp)]
    columns: list[Any] = []
    triangle = _Triangle(rounding)
    limit = min(max_size, size * (2 if xp.isdtype(b.dtype, "complex floating") else 1))
    for _ in range(limit):
        w = xp.reshape(product(xp.reshape(basis[-1], b.shape)), (-1,))
        V = xp.stack(basis)
        first = _dots(V, w, xp)
        w = w - _combined(first, V, xp)
        second = _dots(V, w, xp)
        w = w - _combined(second, V, xp)
        dots, left = first + second, xp.linalg.vector_norm(w)
        # What rounding leaves of a vector inside the space has no direction of its own.
        left = xp.where(left > rounding * xp.linalg.vector_norm(dots), left, xp.zeros_like(left))
        columns.append(xp.concat([dots, xp.reshape(left, (1,))]))
        if reads:
            numbers = as_float64(columns[-1], "column").tolist()
            if triangle.add(numbers) <= tolerance or numbers[-1] == 0:
                break
        basis.append(_over(w, left, xp))
    V = xp.stack(basis[: len(columns)])
    if reads:
        y = xp.asarray(triangle.solution(), dtype=norm.dtype, device=device(b)) * norm
        return xp.reshape(_combined(y, V, xp), b.shape), triangle.residual, len(columns)
    y, residual = _least_squares(columns, norm, rounding, xp)
    return xp.reshape(_combined(y, V, xp), b.shape), _over(residual, norm, xp), len(columns)


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

    def solution(self) -> list[float]:
        """Back substitution; a column that is zero adds nothing."""
        n = len(self.columns)
        y = self.right[:n]
        for k in reversed(range(n)):
            y[k] = y[k] / self.columns[k][k] if self.columns[k][k] else 0.0
            for i in range(k):
                y[i] -= self.columns[k][i] * y[k]
        return y


def _least_squares(columns: list[Any], norm: Any, rounding: float, xp: Any) -> tuple[Any, Any]:
    """The same problem with arrays, of which no value is read."""
    n = len(columns)
    zero = norm * 0
    zeros = xp.stack([zero] * (n + 1))
    H = xp.stack([xp.concat([c, zeros[c.shape[0] :]]) for c in columns], axis=1)
    Q, R = xp.linalg.qr(H)
    # A column that is one of those before, or zero, gets no weight.
    least = rounding * xp.linalg.vector_norm(H, axis=0)
    missing = xp.where(xp.abs(xp.linalg.diagonal(R)) > least, zeros[:n], zeros[:n] + 1)
    R = R + missing * xp.eye(n, dtype=R.dtype, device=device(R))
    e = xp.concat([xp.reshape(norm, (1,)), zeros[:n]])
    y = xp.linalg.solve(R, ((1 - missing) * xp.matmul(Q.T, e))[:, None])[:, 0]
    return y, xp.linalg.vector_norm(e - xp.matmul(H, y))


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
