"""The estimator: both factors through the same draw, then one small product."""

from __future__ import annotations

from typing import Any

import numpy as np

from odecore.sketching._moments import matrices
from odecore.sketching._sketch import Sketch, require_generator, require_sketch

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
        (R X)^T diag(w) (R Y) for one draw of the map R and its weights w.

    Raises
    ------
    TypeError
        If `sketch` is none, the arrays do not hold real floating-point numbers, or `rng` is not a
        Generator.
    ValueError
        If the arrays are not finite matrices with the same rows, or the sketch does not fit them.
    """
    require_sketch(sketch)
    X, Y = matrices(X, Y)
    require_generator(rng)
    draw = sketch.draw(X, Y, rng)
    return draw.product(draw.compress(X), draw.compress(Y))
