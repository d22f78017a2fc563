"""The Gramian of the objectives' gradients: all that a direction depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import as_float64

__all__ = ["cosines", "gramian"]


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
        If it is complex.

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


def cosines(G: Any, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check a Gramian and split it into row norms (m,) and the cosine matrix (m, m).

    Rows of a zero norm become zero in the cosine matrix, their diagonal 1.
    """
    G = as_float64(G, "gramian")
    if G.ndim != 2 or G.shape[0] != G.shape[1] or G.shape[0] == 0:
        raise ValueError(
            "`gramian` must be a square matrix with a row for each objective, at least one; got "
            f"shape {G.shape}"
        )
    bad = sorted({int(i) for i in np.argwhere(~np.isfinite(np.diag(G))).ravel()})
    if bad or not np.isfinite(G).all():
        raise ValueError(
            f"`gramian` must be finite; the gradients of objectives {bad or 'some pair'} are not, "
            "or their squares overflow: scale them, or skip this step"
        )
    if (np.diag(G) < 0).any():
        raise ValueError(f"`gramian` must have a non-negative diagonal, got {np.diag(G)}")
    norms = np.sqrt(np.diag(G))
    if (np.abs(G - G.T) > 1e-6 * np.outer(norms, norms)).any():
        raise ValueError("`gramian` must be symmetric")
    scale = np.where(norms > 0, norms, 1.0)
    C = np.clip(G / scale[:, None] / scale[None, :], -1.0, 1.0)
    np.fill_diagonal(C, 1.0)
    return norms, (C + C.T) / 2
