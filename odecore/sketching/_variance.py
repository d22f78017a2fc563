"""Exact variance of a sketched product, from four numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odecore._array import as_state, namespace

if TYPE_CHECKING:
    from odecore.sketching._sketch import Sketch

__all__ = ["Moments", "moments", "variance"]


@dataclass(frozen=True)
class Moments:
    """What the variance of a sketched product X^T Y depends on.

    Parameters
    ----------
    rows : int
        B, the number of rows of X (B, N) and Y (B, M).
    x, y : 0-d array
        Squared Frobenius norms of X and Y.
    product : 0-d array
        Squared Frobenius norm of X^T Y.
    rowwise : 0-d array
        T = sum_k ||x_k||^2 ||y_k||^2.
    """

    rows: int
    x: Any
    y: Any
    product: Any
    rowwise: Any


def moments(X: Any, Y: Any, /) -> Moments:
    """Compute the moments of two matrices with the same rows.

    Parameters
    ----------
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    Moments

    Raises
    ------
    TypeError
        If the arrays do not hold real floating-point numbers.
    ValueError
        If they are not matrices with the same positive number of rows.
    """
    X, Y = as_state(X, "X"), as_state(Y, "Y")
    require_rows(X, Y)
    xp = namespace(X, Y)
    x_rows, y_rows = xp.sum(X * X, axis=1), xp.sum(Y * Y, axis=1)
    G = xp.matmul(X.T, Y)
    return Moments(
        X.shape[0], xp.sum(x_rows), xp.sum(y_rows), xp.sum(G * G), xp.sum(x_rows * y_rows)
    )


def variance(sketch: Sketch, X: Any, Y: Any, /) -> Any:
    """Exact variance E||X^T S S^T Y - X^T Y||_F^2 of a sketched product.

    Parameters
    ----------
    sketch : Sketch
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    0-d array
        In the library of X: the expected squared Frobenius error. Divide by the number of
        independent draws for the variance of their mean.

    Raises
    ------
    TypeError, ValueError
        As `moments`, or if the sketch size exceeds the rows of a sketch that samples them.

    Examples
    --------
    A unit vector with itself has variance 2/p under a Gaussian sketch:

    >>> import numpy as np
    >>> from odecore.sketching import GaussianSketch
    >>> float(variance(GaussianSketch(4), np.ones((1, 1)), np.ones((1, 1))))
    0.5
    """
    return sketch.variance(moments(X, Y))


def require_rows(X: Any, Y: Any) -> None:
    """Raise an error unless X and Y are real matrices with the same positive number of rows."""
    xp = namespace(X, Y)
    for name, array in (("X", X), ("Y", Y)):
        if not xp.isdtype(array.dtype, "real floating"):
            raise TypeError(f"`{name}` must be real, got dtype {array.dtype}")
    if len(X.shape) != 2 or len(Y.shape) != 2 or X.shape[0] != Y.shape[0] or X.shape[0] == 0:
        raise ValueError(
            "X and Y must be matrices with the same positive number of rows, got shapes "
            f"{tuple(X.shape)} and {tuple(Y.shape)}"
        )
