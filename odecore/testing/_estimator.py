"""Assert the mean and the variance of a random estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odecore.testing._claim import Drawing, EstimatorReport, judge, valid_options
from odecore.testing._differences import Drawn, numbers
from odecore.testing._limits import valid_bounds
from odecore.testing._outcomes import require_draws

__all__ = ["assert_unbiased", "assert_variance", "drawn", "squared_error"]

Estimator = Callable[[np.random.Generator], Any]


def assert_unbiased(
    draw: Estimator,
    mean: Any,
    rng: np.random.Generator,
    /,
    *,
    bias: float = 0.2,
    false_alarm: float = 1e-6,
    outcomes: int = 5000,
    draws: int = 10**6,
    bounds: tuple[Any, Any] | None = None,
) -> EstimatorReport:
    """Assert that the mean of a random estimator is the one that is claimed.

    Parameters
    ----------
    draw : callable
        `draw(rng)` to a number or an array of real numbers. All its randomness comes from rng.
    mean : array_like
        The claim, of the shape of a draw.
    rng : numpy.random.Generator
    bias : float, optional
        A bias of an entry of this many standard deviations of one draw is found with probability
        0.999. It sets the number of draws, which grows as its inverse square.
    false_alarm : float, optional
        Probability that the test fails for an unbiased estimator, for all entries together.
    outcomes : int, optional
        Up to this many outcomes are listed, by `every_outcome`, if the estimator asks rng for
        nothing else: then the answer is exact, and `bias` and `false_alarm` have no meaning. 0:
        always draw.
    draws : int, optional
        The most draws that may be taken.
    bounds : (array_like, array_like), optional
        Least and largest values that draws can take, numbers or arrays of the shape of the mean.
        `false_alarm` then holds however rare some outcomes are; the price is more draws.

    Returns
    -------
    EstimatorReport

    Raises
    ------
    AssertionError
        If the claim is refuted: with the entry, its mean and its standard error.
    ValueError
        If `draws` are too few to decide, or few of them carry the spread; if draws have another
        shape than the claim, or are out of `bounds`; if the estimator has another source of
        randomness than rng; for a claim that is not finite, and other numbers out of range.
    TypeError
        If draws or claim are no real numbers in single precision at least, `draw` is not callable,
        or rng is not a Generator.

    Notes
    -----
    Each entry gets its share of `false_alarm`, and so does the component along the claimed mean,
    which finds an estimator that is off by a factor. The number of draws does not depend on their
    mean. Where draws are skewed, the limit of Student's statistic is wider by the first term of its
    expansion, z^2 g / (3 sqrt(n)) for a skewness g (Johnson, J. Am. Stat. Assoc. 73, 1978). That is
    used where n over the kurtosis of the draws, the number of draws that carry the sum of squares,
    is at least 2 z^2; more draws are taken until it is.

    No test that knows only draws can bound its false alarms for all distributions with a mean
    (Bahadur and Savage, Ann. Math. Stat. 27, 1956): what happens less often than once in n draws is
    not seen, and may make up for any difference. With `bounds` it can not: the empirical Bernstein
    inequality (Maurer and Pontil, COLT 2009) is exact, and its looks after n, 2 n, 4 n draws share
    `false_alarm`. `outcomes` are exact without a bound.

    A difference below 1000 units of rounding of the largest number in claim and draws is taken for
    rounding: give entries that are smaller than that beside others by themselves.

    Examples
    --------
    The mean of 2 of 4 numbers, by its 12 outcomes:

    >>> import numpy as np
    >>> from odecore.testing import assert_unbiased
    >>> rng, x = np.random.default_rng(0), np.array([1.0, 2.0, 4.0, 9.0])
    >>> assert_unbiased(lambda rng: rng.choice(x, 2, replace=False).mean(), 4.0, rng).exact
    True
    >>> assert_unbiased(lambda rng: rng.choice(x, 2).max(), 4.0, rng)  # with replacement
    Traceback (most recent call last):
    AssertionError: the mean over all 16 outcomes is 5.625, where 4 is claimed
    """
    claimed = numbers(mean, "mean")
    known = None if bounds is None else valid_bounds(bounds, claimed)
    require_draws("draw", draw)
    options = valid_options(rng, bias, false_alarm, outcomes, draws, known)
    return judge(drawn(draw), claimed, "mean", rng, options)


def assert_variance(
    draw: Estimator,
    variance: Any,
    rng: np.random.Generator,
    /,
    *,
    mean: Any = None,
    bias: float = 0.2,
    false_alarm: float = 1e-6,
    outcomes: int = 5000,
    draws: int = 10**6,
) -> EstimatorReport:
    """Assert that the variance of a random estimator is the one that is claimed.

    Parameters
    ----------
    draw : callable
        As for `assert_unbiased`.
    variance : array_like
        The claim: a number, E||draw - mean||^2 summed over the entries, or an array of the shape of
        a draw, the variance of each entry.
    rng : numpy.random.Generator
    mean : array_like, optional
        The mean of the estimator, where it is known. Default: half the squared difference of two
        draws, which has the variance as its mean, is taken in place of (draw - mean)^2.
    bias, false_alarm, outcomes, draws : optional
        As for `assert_unbiased`, for (draw - mean)^2 in place of the draw.

    Returns
    -------
    EstimatorReport

    Raises
    ------
    AssertionError, ValueError, TypeError
        As `assert_unbiased`; ValueError too if a variance is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from odecore.testing import assert_variance
    >>> rng = np.random.default_rng(0)
    >>> report = assert_variance(lambda rng: rng.normal(3, 2, size=10).mean(), 0.4, rng)
    >>> print(report.exact, report.resolved <= 0.2)
    False True
    """
    claimed = numbers(variance, "variance")
    if np.any(claimed < 0):
        raise ValueError(f"`variance` must not be negative, got {claimed.min():.6g}")
    require_draws("draw", draw)
    options = valid_options(rng, bias, false_alarm, outcomes, draws)
    known = None if mean is None else numbers(mean, "mean")
    return judge(squared_error(draw, known, claimed.shape), claimed, "variance", rng, options)


def drawn(draw: Estimator) -> Drawing:
    """The draw itself."""

    def found(rng: np.random.Generator) -> Drawn:
        value = numbers(draw(rng), "draw(rng)")
        return Drawn(value.astype(np.float64), float(np.finfo(value.dtype).eps))

    return found


def squared_error(draw: Estimator, mean: Any, shape: tuple[int, ...]) -> Drawing:
    """(draw - mean)^2 or half of (draw - draw)^2, summed where the shape is ()."""

    def found(rng: np.random.Generator) -> Drawn:
        value = numbers(draw(rng), "draw(rng)")
        other = numbers(draw(rng), "draw(rng)") if mean is None else mean
        if other.shape != value.shape:
            raise ValueError(f"a draw has shape {value.shape}, and its mean {other.shape}")
        # In float64: squares of small float32 numbers are none.
        with np.errstate(all="ignore"):
            square = np.subtract(value, other, dtype=np.float64) ** 2 / (2 if mean is None else 1)
            square = np.asarray(square if shape else np.sum(square))
        root = float(max(np.abs(value).max(initial=0), np.abs(other).max(initial=0)))
        return Drawn(square, float(np.finfo(value.dtype).eps), root)

    return found
