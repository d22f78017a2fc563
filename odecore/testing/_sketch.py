"""Assert that a sketch of one's own is unbiased and has the variance it claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from odecore._array import constant
from odecore.sketching import Draw, Sketch, moments, variance
from odecore.testing._claim import EstimatorReport, judge, valid_options
from odecore.testing._differences import numbers
from odecore.testing._estimator import drawn, squared_error

__all__ = ["assert_sketch"]


def assert_sketch(
    sketch: Sketch,
    X: Any,
    Y: Any,
    rng: np.random.Generator,
    /,
    *,
    mean: Any = None,
    bias: float = 0.2,
    false_alarm: float = 1e-6,
    outcomes: int = 5000,
    draws: int = 10**6,
) -> tuple[EstimatorReport, EstimatorReport]:
    """Assert that a sketch is unbiased for X^T Y and has the variance that its formula gives.

    Parameters
    ----------
    sketch : Sketch
        With `draw(X, Y, rng)` to a `Draw`, and `variance(X, Y)`.
    X : (B, N) array
    Y : (B, M) array
        Small ones let all outcomes be listed; rows of unequal length tell wrong formulas apart.
    rng : numpy.random.Generator
    mean : (N, M) array_like, optional
        What the sketch estimates. Default: X^T Y.
    bias, false_alarm, outcomes, draws : optional
        As for `assert_unbiased`; `false_alarm` is shared by both claims.

    Returns
    -------
    tuple of EstimatorReport
        For the mean and for the variance.

    Raises
    ------
    AssertionError
        If the mean or the variance is refuted.
    TypeError, ValueError
        If it is no sketch, with what is missing, or its variance is no number or negative; and as
        `assert_unbiased`.

    Examples
    --------
    Rows kept by coins, with a formula that forgets that they are:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from odecore.sketching import Draw
    >>> from odecore.testing import assert_sketch
    >>> @dataclass(frozen=True)
    ... class Coins:
    ...     def draw(self, X, Y, rng):
    ...         kept = np.flatnonzero(rng.integers(0, 2, size=len(X)))
    ...         return Draw(lambda X: X[kept], np.full(len(kept), 2.0))
    ...
    ...     def variance(self, X, Y):
    ...         return 2 * np.sum(np.sum(X * X, axis=1) * np.sum(Y * Y, axis=1))
    >>> rng = np.random.default_rng(0)
    >>> assert_sketch(Coins(), np.array([[1.0], [2.0], [3.0]]), np.ones((3, 1)), rng)
    Traceback (most recent call last):
    AssertionError: the variance over all 8 outcomes is 14, where 28 is claimed
    """
    for name in ("draw", "variance"):
        if not callable(getattr(sketch, name, None)):
            raise TypeError(
                f"a sketch has the methods draw(X, Y, rng) and variance(X, Y); "
                f"{type(sketch).__name__} has no `{name}`"
            )
    X, Y = constant(X), constant(Y)
    found = moments(X, Y)  # checks both
    exact = numbers(X, "X").T @ numbers(Y, "Y")
    wanted = exact if mean is None else numbers(mean, "mean")
    if wanted.shape != exact.shape:
        raise ValueError(f"`mean` must have the shape of X^T Y, {exact.shape}, got {wanted.shape}")

    def estimate(rng: np.random.Generator) -> Any:
        draw = sketch.draw(X, Y, rng)
        if not isinstance(draw, Draw):
            raise TypeError(
                f"`draw` of a sketch must return a Draw(compress, weights), got "
                f"{type(draw).__name__}"
            )
        return draw.product(*(_kept(draw, A, name) for A, name in ((X, "X"), (Y, "Y"))))

    given = valid_options(rng, bias, false_alarm, outcomes, draws)
    options = replace(given, false_alarm=false_alarm / 2)  # for each of two claims
    claimed = numbers(variance(sketch, X, Y), "variance(X, Y)")
    unbiased = judge(drawn(estimate), wanted, "mean", rng, options)
    squares, size = squared_error(estimate, wanted, ()), float(found.x * found.y)
    return unbiased, judge(squares, claimed, "variance", rng, options, size)


def _kept(draw: Draw, A: Any, name: str) -> Any:
    kept, weights = draw.compress(A), np.shape(draw.weights)
    if len(weights) != 1 or tuple(np.shape(kept)) != (*weights, A.shape[1]):
        raise ValueError(
            f"a Draw has one weight for each row that is kept, weights (m,) and compress({name}) "
            f"(m, {A.shape[1]}); got {weights} and {tuple(np.shape(kept))}"
        )
    return kept
