"""Exact variance of a sketched product."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from odecore._array import constant, doubled, is_readable, limits, namespace, widened
from odecore.sketching._moments import matrices, scaled_back, unit_scaled
from odecore.sketching._reweighting import Masked, Weighted
from odecore.sketching._sketch import Sketch, require_sketch

__all__ = ["variance"]


def variance(sketch: Sketch, X: Any, Y: Any, /) -> Any:
    """Exact variance E||estimate - X^T Y||_F^2 of a sketched product.

    Parameters
    ----------
    sketch : Sketch
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    0-d array
        In the library of X, in float32 at least: the expected squared Frobenius error. Divide by
        the number of independent draws for the variance of their mean.

    Raises
    ------
    TypeError
        If `sketch` is none, or the arrays do not hold real floating-point numbers.
    ValueError
        If they are not finite matrices with the same positive number of rows, the sketch does not
        fit them, or its formula gives no single number, or one that is negative beyond rounding.

    Notes
    -----
    Exact up to rounding. Both matrices are scaled by powers of two first, so nothing but the
    result can overflow. In float32 it does from about 3e38, and is 0 below about 1e-45, as when
    the entries of both factors are 1e-15: compare by the scale-free `alignment`, or pass float64.
    Inside it is float64, also for float32, so that no term is lost beside a larger one. Where there
    is none, as in jax by default, the error is up to 5 eps ||X||^2 ||Y||^2: a variance below that,
    as of a few of many rows that are nearly the same, has no right digit. Set jax_enable_x64 there,
    or pass NumPy arrays.

    Derivatives with respect to X and Y come from the array library for sketches that do not look
    at the data; `ImportanceRows`, `PoissonRows` and `WinnerTakeAllRows` have none.

    Examples
    --------
    A unit vector with itself has variance 2/p under a Gaussian sketch:

    >>> import numpy as np
    >>> from odecore.sketching import GaussianSketch
    >>> float(variance(GaussianSketch(4), np.ones((1, 1)), np.ones((1, 1))))
    0.5
    """
    require_sketch(sketch)
    X, Y = matrices(X, Y)
    xp = namespace(X, Y)
    dtype = xp.result_type(widened(X), widened(Y))
    sketch, X, Y, exponent = _unit_scaled(sketch, doubled(X), doubled(Y))
    found = sketch.variance(X, Y)
    _check(found, sketch, X, Y)
    # Rounding may leave a variance of zero slightly negative.
    found = xp.where(found > 0, found, 0 * found)
    return xp.astype(scaled_back(found, exponent), dtype, copy=False)


def _unit_scaled(sketch: Sketch, X: Any, Y: Any) -> tuple[Sketch, Any, Any, Any]:
    """The same variance over 4^e: weights and masks that are outside applied, factors scaled."""
    (X, x_exponent), (Y, y_exponent) = unit_scaled(X), unit_scaled(Y)
    exponent = x_exponent + y_exponent
    if type(sketch) is Weighted:
        more = int(np.frexp(sketch.weights.max(initial=0.0))[1])
        unit = Weighted(sketch.sketch, np.ldexp(sketch.weights, -more))
        X, Y, exponent = unit.inside(X), unit.inside(Y), exponent + more
    elif type(sketch) is Masked and sketch.keep.any():
        X, Y = sketch.inside(X), sketch.inside(Y)
    else:
        return sketch, X, Y, exponent
    sketch, X, Y, more = _unit_scaled(sketch.sketch, X, Y)
    return sketch, X, Y, exponent + more


def _check(found: Any, sketch: Sketch, X: Any, Y: Any) -> None:
    """Raise ValueError unless this can be a variance."""
    name = f"{type(sketch).__name__}.variance(X, Y)"
    if getattr(found, "shape", ()) != ():
        raise ValueError(
            f"{name} must be one number, E||estimate - X^T Y||_F^2, got shape "
            f"{tuple(found.shape)}; add up the variances of the entries"
        )
    if not is_readable(X) or not is_readable(Y):
        return
    X, Y, value, xp = constant(X), constant(Y), float(constant(found)), namespace(X)
    if isnan(value):
        raise ValueError(
            f"{name} must be a number, got NaN; look in the formula for 0/0 or a difference of "
            "infinite terms"
        )
    # Formulas are differences of terms up to ||X||^2 ||Y||^2, or B times it, in units of rounding.
    largest = X.shape[0] * float(xp.sum(X * X)) * float(xp.sum(Y * Y))
    if value < -1000 * float(limits(X).eps) * largest:
        raise ValueError(
            f"{name} must not be negative, got {value:.6g} for matrices in the unit of their "
            "largest entries; correct the formula; "
            "odecore.testing.assert_sketch compares it with draws"
        )
