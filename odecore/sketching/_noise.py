"""The noise that is there anyway: the mini-batch variance of a summed gradient."""

from __future__ import annotations

from typing import Any

from odecore.sketching._variance import moments

__all__ = ["minibatch_variance"]


def minibatch_variance(X: Any, Y: Any, /) -> Any:
    """Unbiased estimate of the sampling variance of X^T Y = sum_k x_k y_k^T over independent rows.

    Parameters
    ----------
    X : (B, N) array
        Inputs of a linear layer, B >= 2.
    Y : (B, M) array
        Gradients of the loss with respect to its outputs.

    Returns
    -------
    0-d array
        (B T - ||X^T Y||^2)/(B - 1), T = sum_k ||x_k||^2 ||y_k||^2. Compare it with `variance`:
        a sketch whose variance is small against it costs nothing in training.

    Raises
    ------
    TypeError, ValueError
        As `moments`; ValueError also for a single row, which says nothing about its variance.
    """
    found = moments(X, Y)
    if found.rows < 2:
        raise ValueError("a variance between rows needs at least 2 rows, got 1")
    return (found.rows * found.rowwise - found.product) / (found.rows - 1)
