"""The noise that is there anyway: the mini-batch variance of a summed gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from odecore._array import constant, namespace, widened
from odecore.sketching._moments import matrices, moments_of, scaled_back, unit_scaled
from odecore.sketching._segments import segment_ids, segment_numbers
from odecore.sketching._sketch import take_rows

__all__ = ["minibatch_variance"]

LARGEST = 126  # binary exponents of float32, of a factor and its inverse


def minibatch_variance(X: Any, Y: Any, /, *, units: Any = None) -> Any:
    """Unbiased estimate of the sampling variance of X^T Y, a sum over independent units.

    Parameters
    ----------
    X : (B, N) array
        Inputs of a linear layer.
    Y : (B, M) array
        Gradients of the loss with respect to its outputs.
    units : (B,) array_like of int or str, optional
        Which rows belong to one independent unit, as the tokens of a sequence do: an id for each
        row. By default each row is a unit of its own.

    Returns
    -------
    0-d array
        (n sum_s ||X_s^T Y_s||^2 - ||X^T Y||^2)/(n - 1) over the n units s; where rows are units,
        (B T - ||X^T Y||^2)/(B - 1), T = sum_k ||x_k||^2 ||y_k||^2. Compare it with `variance`:
        a sketch whose variance is small against it costs nothing in training. In float32 at least.

    Raises
    ------
    TypeError, ValueError
        As `variance`; ValueError also for a single unit, which says nothing about its variance.

    Notes
    -----
    Tokens of one sequence are not independent. Taking rows for units is then wrong: n sequences of
    m equal tokens have m^2 terms ||x||^2 ||y||^2 each and not m.
    """
    X, Y = matrices(X, Y)
    ids = np.arange(X.shape[0]) if units is None else segment_ids(units, "units")
    numbers, counts = segment_numbers(ids, X.shape[0], "units")
    if len(counts) < 2:
        of_what = "rows" if units is None else "units"
        raise ValueError(
            f"a variance between {of_what} needs at least 2 {of_what}, got 1; take a larger batch"
        )
    X, Y = _balanced(widened(X), widened(Y))
    # With room above for the sums, small products of rows do not vanish beside large ones.
    (X, x_exponent), (Y, y_exponent) = unit_scaled(X, 12), unit_scaled(Y, 12)
    m, n, xp = moments_of(X, Y), len(counts), namespace(X, Y)
    within = m.rowwise
    if n < X.shape[0]:
        within = 0.0
        for rows in np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1]):
            within = within + _squared_product(take_rows(X, rows), take_rows(Y, rows))
    found = (n * within - m.product) / (n - 1)
    return scaled_back(xp.where(found > 0, found, 0 * found), x_exponent + y_exponent)


def _balanced(X: Any, Y: Any) -> tuple[Any, Any]:
    """X with its rows times powers of two, and Y over these: each as large in both, if it counts.

    All x_k y_k^T stay what they are, and only their sizes say then which vanish beside which. Rows
    with a product of zero become as large as the largest.
    """
    xp = namespace(X, Y)
    if 0 in X.shape or 0 in Y.shape:
        return X, Y
    x, y = (xp.max(xp.abs(constant(A)), axis=1) for A in (X, Y))
    x_level, y_level = (xp.log2(xp.where(size > 0, size, xp.ones_like(size))) for size in (x, y))
    counts, middle = (x > 0) & (y > 0), (x_level + y_level) / 2
    top = xp.max(xp.where(counts, middle, xp.full_like(middle, -float("inf"))))
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    moves = xp.floor(xp.where(counts, middle, top) - x_level)
    factors = 2.0 ** xp.clip(moves, -LARGEST, LARGEST)[:, None]
    return X * factors, Y / factors


def _squared_product(X: Any, Y: Any) -> Any:
    """||X^T Y||^2, of few rows as the inner product of X X^T and Y Y^T."""
    xp, (rows, n), m = namespace(X, Y), X.shape, Y.shape[1]
    if rows * (n + m) < n * m:
        return xp.sum(xp.matmul(X, X.T) * xp.matmul(Y, Y.T))
    G = xp.matmul(X.T, Y)
    return xp.sum(G * G)
