"""The Gramian of the objectives' gradients: all that a direction depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj
from numpy.typing import NDArray

from odecore._array import as_float64, limits, namespace

__all__ = ["cosines", "gramian"]

DOUBLE = float(np.finfo(np.float64).eps)


def gramian(jacobian: Any, /) -> NDArray[np.float64]:
    """Inner products of the rows of a Jacobian, in float64 whatever its dtype.

    Parameters
    ----------
    jacobian : (m, n) array
        Gradient of objective i in row i.

    Returns
    -------
    (m, m) ndarray of float64

    Raises
    ------
    ValueError
        If it is not a matrix with at least one row.
    TypeError
        If it holds anything but real numbers.

    Notes
    -----
    Squares of gradients below about 1e-160 underflow even in float64; scale all rows by one power
    of 2 first, which scales the direction by the same factor.
    """
    J = as_float64(jacobian, "jacobian")
    if J.ndim != 2 or J.shape[0] == 0:
        raise ValueError(
            "`jacobian` must be a matrix with a row for each objective, at least one; got shape "
            f"{J.shape}"
        )
    G: NDArray[np.float64] = J @ J.T
    return G


def cosines(G: Any, /) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Check a Gramian; row norms (m,), cosine matrix (m, m), and how exact a sum of cosines is.

    Rows of a zero norm become zero in the cosine matrix, their diagonal 1. The matrix is made
    positive semidefinite where rounding, as in float32, left it otherwise.
    """
    eps = _rounding(G)
    G = as_float64(G, "gramian")
    if G.ndim != 2 or G.shape[0] != G.shape[1] or G.shape[0] == 0:
        raise ValueError(
            "`gramian` must be a square matrix with a row for each objective, at least one; got "
            f"shape {G.shape}"
        )
    if not np.isfinite(G).all():
        bad = np.flatnonzero(~np.isfinite(np.diag(G))).tolist()
        raise ValueError(
            f"`gramian` must be finite; the gradients of objectives {bad or 'some pair'} are not, "
            "or their squares overflow: scale them, or skip this step"
        )
    diagonal = np.diag(G)
    if diagonal.min() < 0:
        raise ValueError(f"`gramian` must have a non-negative diagonal, got {diagonal}")
    norms = np.sqrt(diagonal)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    C: NDArray[np.float64] = G * inverse[:, None] * inverse
    slack = max(1e-6, 64 * eps)
    skew = C - C.T
    if skew.any():
        if np.abs(skew).max() > slack:
            raise ValueError("`gramian` must be symmetric")
        C = (C + C.T) / 2
    C.flat[:: len(C) + 1] = 1.0
    largest = np.abs(C).max()
    if largest > 1 + slack:
        i, j = np.unravel_index(np.abs(C).argmax(), C.shape)
        raise ValueError(
            "`gramian` must hold inner products, which the norms bound; that of objectives "
            f"{i} and {j} is {abs(C[i, j]):.3g} times the product of their norms"
        )
    if largest > 1:
        np.clip(C, -1.0, 1.0, out=C)
    m = len(C)
    # Weights of sum 1 average the errors of the products: they do not grow with m, the solve's do.
    precision = 64 * m * DOUBLE + (16 * eps if eps > DOUBLE else 0.0)
    shifted = C.copy()
    shifted.flat[:: m + 1] += 64 * m * DOUBLE
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(C)
        if values[0] < -m * slack:
            raise ValueError(
                "`gramian` must be positive semidefinite; its matrix of cosines has the "
                f"eigenvalue {values[0]:.3g}"
            ) from None
        C = (vectors * np.maximum(values, 0.0)) @ vectors.T
        precision = max(precision, -4 * float(values[0]))
    return norms, C, precision


def _rounding(G: Any) -> float:
    """Unit roundoff of the numbers that a Gramian came in."""
    if isinstance(G, np.ndarray) and G.dtype == np.float64:
        return DOUBLE
    if is_array_api_obj(G) and namespace(G).isdtype(G.dtype, "real floating"):
        return float(limits(G).eps)
    return DOUBLE
