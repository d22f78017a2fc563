"""The noise of a sketch, told from what a layer still has after it forgot its input."""

from __future__ import annotations

from dataclasses import replace

from odecore.sketching._moments import Moments
from odecore.sketching._sketch import MomentSketch

__all__ = ["unsketched_moments"]


def unsketched_moments(sketch: MomentSketch, moments: Moments, /) -> Moments:
    """Moments with an unbiased ||X^T Y||^2, from the squared norm of the sketched product.

    Parameters
    ----------
    sketch : GaussianSketch, RademacherSketch, SparseSignSketch, CountSketch, \
BalancedCountSketch, HadamardSketch or UniformRows
    moments : Moments
        Of X and Y, but with the squared norm of the *sketched* product in place of `product`. The
        other three need the row norms only.

    Returns
    -------
    Moments
        With `product` corrected: its expectation over the draw is g = ||X^T Y||^2. A single one may
        be negative; average before dividing.

    Raises
    ------
    TypeError
        If the variance of the sketch is no function of the moments, or `moments` are none.
    ValueError
        If the sketched product says nothing of g, as a single uniform row does, or there are fewer
        rows than the sketch needs.

    Notes
    -----
    The variance is V = a + b g with a and b known from the row norms and the sketch, and the mean
    square of the estimate is g + V. So (||estimate||^2 - a)/(1 + b) is unbiased for g.
    """
    if not isinstance(moments, Moments):
        raise TypeError(f"`moments` must be Moments, got {moments!r}; see `moments(X, Y)`")
    if isinstance(sketch, type) or not callable(getattr(sketch, "variance_of", None)):
        raise TypeError(
            f"`sketch` must have a variance that is a function of the moments, got {sketch!r}; "
            "take one of those with the method `variance_of`, such as UniformRows(4)"
        )
    a = sketch.variance_of(replace(moments, product=0.0 * moments.product))
    # b from moments that are 0 but for g, so that nothing cancels.
    b = float(sketch.variance_of(Moments(moments.rows, 0.0, 0.0, 1.0, 0.0)))
    if 1 + b < 1e-12:
        raise ValueError(
            f"{sketch} keeps too little to tell ||X^T Y||^2 from it, for {moments.rows} rows; take "
            "a larger size"
        )
    return replace(moments, product=(moments.product - a) / (1 + b))
