"""The numbers that the variance of a product depends on."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp
from typing import Any

from odecore._array import as_state, constant, is_like, is_readable, limits, namespace, widened

__all__ = ["Moments", "matrices", "moments", "moments_of", "paired", "scaled_back", "unit_scaled"]


@dataclass(frozen=True)
class Moments:
    """What the variance of most sketched products X^T Y depends on.

    Parameters
    ----------
    rows : int
        B, the number of rows of X (B, N) and Y (B, M).
    x, y : 0-d array
        Squared Frobenius norms of X and Y.
    product : 0-d array
        g, the squared Frobenius norm of X^T Y.
    rowwise : 0-d array
        T = sum_k ||x_k||^2 ||y_k||^2.
    """

    rows: int
    x: Any
    y: Any
    product: Any
    rowwise: Any

    @property
    def between_pairs(self) -> Any:
        """||X||^2 ||Y||^2 + g - 2 T: the sum over pairs of different rows that signs leave."""
        return self.x * self.y + self.product - 2 * self.rowwise

    @property
    def between_rows(self) -> Any:
        """B T - g: B^2 times the variance of x_k y_k^T over a row k drawn uniformly."""
        return self.rows * self.rowwise - self.product


def moments(X: Any, Y: Any, /) -> Moments:
    """Compute the moments of two matrices with the same rows.

    Parameters
    ----------
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    Moments
        In the precision of the arrays, at least float32. `variance` scales both matrices first,
        so that only its result may leave the range.

    Raises
    ------
    TypeError
        If the arrays do not hold real floating-point numbers.
    ValueError
        If they are not finite matrices with the same positive number of rows.
    """
    return moments_of(*matrices(X, Y))


def moments_of(X: Any, Y: Any) -> Moments:
    """The moments of two matrices, whose entries may be anything."""
    X, Y = map(widened, paired(X, Y))
    xp = namespace(X, Y)
    x_rows, y_rows = xp.sum(X * X, axis=1), xp.sum(Y * Y, axis=1)
    G = xp.matmul(X.T, Y)
    return Moments(
        X.shape[0], xp.sum(x_rows), xp.sum(y_rows), xp.sum(G * G), xp.sum(x_rows * y_rows)
    )


def matrices(X: Any, Y: Any) -> tuple[Any, Any]:
    """X and Y as arrays; an error unless both are finite real matrices with the same rows."""
    X, Y = paired(X, Y)
    xp = namespace(X, Y)
    for name, array in (("X", X), ("Y", Y)):
        if is_readable(array) and not bool(xp.all(xp.isfinite(array))):
            raise ValueError(f"`{name}` must be finite, got NaN or infinite entries; mask them out")
    return X, Y


def paired(X: Any, Y: Any) -> tuple[Any, Any]:
    """X and Y as arrays; an error unless both are real matrices with the same rows."""
    X, Y = as_state(X, "X"), as_state(Y, "Y")
    if not is_like(X, Y):
        raise TypeError(
            f"`X` and `Y` must be arrays of one library, got {type(X).__module__} and "
            f"{type(Y).__module__}; convert one of them"
        )
    xp = namespace(X, Y)
    for name, array in (("X", X), ("Y", Y)):
        if not xp.isdtype(array.dtype, "real floating"):
            raise TypeError(
                f"`{name}` must be real, got dtype {array.dtype}; sketch the real and imaginary "
                "parts as two matrices"
            )
    if len(X.shape) != 2 or len(Y.shape) != 2 or X.shape[0] != Y.shape[0] or X.shape[0] == 0:
        raise ValueError(
            "X and Y must be matrices with the same positive number of rows, got shapes "
            f"{tuple(X.shape)} and {tuple(Y.shape)}; reshape (..., N) to (B, N)"
        )
    return X, Y


def unit_scaled(X: Any, room: int = 0) -> tuple[Any, Any]:
    """X / 2^e, whose largest entry is about 2^room, and e: fourth powers then stay in range.

    Both in float32 at least.
    """
    X = widened(X)
    xp = namespace(X)
    if 0 in X.shape:
        return X, xp.sum(constant(X))
    largest = xp.max(xp.abs(constant(X)))
    smallest = xp.full_like(largest, 2.0 ** (room + 2) * float(limits(X).smallest_normal))
    exponent = xp.floor(xp.log2(xp.where(largest > smallest, largest, smallest))) - room
    # Logarithms of numbers just below a power of 2 are rounded up.
    exponent = xp.where(exponent > _last(X), _last(X), exponent)
    return X / 2.0**exponent, exponent


def scaled_back(found: Any, exponent: Any) -> Any:
    """4^e times what was found, in steps that leave the range only if the result does."""
    xp, last = namespace(found), _last(found)
    half = xp.floor(exponent / 2)
    found = found * 4.0 ** (exponent - 2 * half)
    half = xp.where(abs(half) > last, last * xp.sign(half), half)
    for _ in range(4):
        found = found * 2.0**half
    return found


def _last(array: Any) -> float:
    """The largest e such that 2^e and 2^-e are normal numbers."""
    return float(frexp(limits(array).max)[1] - 2)
