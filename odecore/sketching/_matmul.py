"""The estimator: both factors through the same draw, then one small product."""

from __future__ import annotations

from typing import Any

import numpy as np

from odecore._array import as_state, namespace
from odecore.sketching._sketch import Sketch
from odecore.sketching._variance import require_rows

__all__ = ["sketched_product"]


def sketched_product(sketch: Sketch, X: Any, Y: Any, rng: np.random.Generator, /) -> Any:
    """Unbiased estimate of X^T Y.

    Parameters
    ----------
    sketch : Sketch
    X : (B, N) array
    Y : (B, M) array
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    (N, M) array
        (S^T X)^T (S^T Y) for one draw of S.

    Raises
    ------
    TypeError
        If the arrays do not hold floating-point numbers or `rng` is not a Generator.
    ValueError
        If the arrays are not matrices with the same rows, or the sketch does not fit them.
    """
    X, Y = as_state(X, "X"), as_state(Y, "Y")
    require_rows(X, Y)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}; make one with "
            "numpy.random.default_rng(seed)"
        )
    apply = sketch.draw(X.shape[0], rng)
    return namespace(X, Y).matmul(apply(X).T, apply(Y))
