"""How much each row matters: what non-uniform sampling is proportional to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import all_finite, as_float64, as_state, constant, limits, namespace, widened
from odecore.sketching._moments import unit_scaled

__all__ = [
    "Scores",
    "frozen_scores",
    "leverage_scores",
    "row_products",
    "scores_of",
    "squared_rows",
]

Numbers = NDArray[np.float64]

#: From X and Y to a number for each row; Y is None where it is not known at the draw.
Scores = Callable[[Any, Any], Any]


def row_products(X: Any, Y: Any, /) -> Numbers:
    """||x_k|| ||y_k||, the scores that make the variance of row sampling smallest.

    Parameters
    ----------
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    (B,) numpy.ndarray
        Up to one common factor, chosen against overflow.

    Raises
    ------
    ValueError
        If Y is None, for they can not be known from X alone, or they are no matrices of as many
        rows.
    TypeError
        If they do not hold real floating-point numbers.
    """
    if Y is None:
        raise ValueError(
            "the scores `row_products` need Y, got None; to draw from X alone use squared_rows or "
            "leverage_scores"
        )
    x, y = _lengths(X), _lengths(Y)
    if x.shape != y.shape:
        raise ValueError(f"X and Y must have the same number of rows, got {len(x)} and {len(y)}")
    return x * y


def squared_rows(X: Any, Y: Any = None, /) -> Numbers:
    """||x_k||^2, for length-squared sampling, which needs X alone.

    Parameters
    ----------
    X : (B, N) array
    Y : array, optional
        Not looked at.

    Returns
    -------
    (B,) numpy.ndarray
        Up to one common factor, chosen against overflow.

    Raises
    ------
    ValueError, TypeError
        If X is no matrix of real floating-point numbers.
    """
    return _lengths(X) ** 2


def leverage_scores(X: Any, Y: Any = None, /) -> Numbers:
    """The diagonal of the orthogonal projector on the columns of X, which needs X alone.

    Parameters
    ----------
    X : (B, N) array
    Y : array, optional
        Not looked at.

    Returns
    -------
    (B,) numpy.ndarray
        Between 0 and 1; their sum is the rank of X. By singular values, O(B N min(B, N)).

    Raises
    ------
    ValueError, TypeError
        If X is no matrix of finite real floating-point numbers, or has no values.
    """
    resolution = float(limits(widened(_matrix(X))).eps)
    X = as_float64(X, "X")
    if 0 in X.shape:
        return np.zeros(X.shape[0])
    if not all_finite(X):
        raise ValueError(
            "leverage scores need finite `X`, got NaN or infinite entries; mask them out"
        )
    U, sigma, _ = np.linalg.svd(unit_scaled(X)[0], full_matrices=False)
    in_range = sigma > max(X.shape) * resolution * sigma[0]
    return np.asarray(np.sum(U[:, in_range] ** 2, axis=1))


def frozen_scores(scores: Any) -> Any:
    """A scores function as it is; numbers as a read-only array, once they are valid."""
    if callable(scores):
        return scores
    found = as_float64(scores, "scores")
    if found.ndim != 1 or not np.all(np.isfinite(found)) or not np.all(found >= 0):
        raise ValueError(
            "`scores` must be one finite number >= 0 for each row, got an array of shape "
            f"{found.shape} with minimum {found.min(initial=np.inf)}; scores are normalized, so "
            "any scale will do"
        )
    found.setflags(write=False)
    return found


def scores_of(scores: Any, X: Any, Y: Any) -> Numbers:
    """The scores of the rows of X and Y, with 1 for all where no row has any weight.

    Raises
    ------
    ValueError
        If a row that counts would never be drawn: no weights could make that unbiased.
    """
    found = frozen_scores(scores(X, Y) if callable(scores) else scores)
    if found.shape != (X.shape[0],):
        raise ValueError(
            f"`scores` must have one entry for each of the {X.shape[0]} rows, got shape "
            f"{found.shape}; inside `Masked` only the rows that are in count"
        )
    products = _lengths(X) * (1.0 if Y is None else _lengths(Y))
    lost = np.flatnonzero((found == 0) & (products > 0))
    if len(lost):
        raise ValueError(
            f"row {lost[0]} and {len(lost) - 1} more have score 0 but ||x|| ||y|| > 0, so they "
            "would never be drawn and the estimate would be biased; give them a positive score"
        )
    return np.asarray(found / found.max() if found.any() else np.ones(len(found)))


def _matrix(X: Any) -> Any:
    """An array of real floating-point numbers with rows; TypeError or ValueError for others."""
    X = as_state(X, "X")
    if not namespace(X).isdtype(X.dtype, "real floating"):
        raise TypeError(f"scores need real matrices, got dtype {X.dtype}")
    if len(X.shape) != 2:
        raise ValueError(f"scores need matrices with a row for each score, got {tuple(X.shape)}")
    return X


def _lengths(X: Any) -> Numbers:
    """||x_k|| up to a common factor, each scaled by its own largest entry."""
    X = unit_scaled(constant(_matrix(X)))[0]
    xp = namespace(X)
    if 0 in X.shape:
        return np.zeros(X.shape[0])
    largest = xp.max(xp.abs(X), axis=1, keepdims=True)
    scaled = X / xp.where(largest > 0, largest, xp.ones_like(largest))
    lengths = as_float64(xp.sqrt(xp.sum(scaled * scaled, axis=1)), "X")
    return np.asarray(lengths * as_float64(largest[:, 0], "X"))
