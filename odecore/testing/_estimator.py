"""Assert the mean and the variance of a random estimator: by all outcomes, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, prod, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from odecore.testing._differences import Differences, Drawn, numbers
from odecore.testing._outcomes import ANOTHER_SOURCE, Listed, UnlistedError, walk

__all__ = [
    "Estimator",
    "EstimatorReport",
    "assert_unbiased",
    "assert_variance",
    "drawn",
    "judge",
    "squared_error",
    "valid_options",
]

Estimator = Callable[[np.random.Generator], Any]
Drawing = Callable[[np.random.Generator], Drawn]

_QUANTILE = NormalDist().inv_cdf
_FOUND = _QUANTILE(0.999)  # a bias of the size asked for is found with this probability


@dataclass(frozen=True)
class EstimatorReport:
    """What a claim on the mean of an estimator was held to.

    Parameters
    ----------
    claim : str
    exact : bool
        Whether all outcomes were listed, so that nothing but rounding is left open.
    runs : int
        How many: of outcomes or of draws.
    difference : float
        The largest difference between what was found and the claim over the entries, in standard
        deviations of one draw; exact or an estimate.
    resolved : float
        A difference of this size, in the same unit, is found with probability 0.999.
    """

    claim: str
    exact: bool
    runs: int
    difference: float
    resolved: float

    def __str__(self) -> str:
        how = "outcomes, all there are" if self.exact else "draws"
        return (
            f"{self.claim} holds over {self.runs} {how}: differs by {self.difference:.2g} standard "
            f"deviations of a draw, and {self.resolved:.2g} would be found"
        )


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

    Returns
    -------
    EstimatorReport

    Raises
    ------
    AssertionError
        If the claim is refuted: with the entry, its mean and its standard error.
    ValueError
        If `draws` are too few to decide, if draws have another shape than the claim, or if the
        estimator has another source of randomness than rng.
    TypeError
        If draws are no real numbers in single precision at least, or rng is not a Generator.

    Notes
    -----
    One test after a number of draws that does not depend on their mean; each entry gets its share
    of `false_alarm`, and so does the component along the claimed mean, which finds an estimator
    that is off by a factor. Where draws are skewed, the limit of Student's statistic is wider by
    the first term of its expansion, z^2 g / (3 sqrt(n)) for a skewness g (Johnson, J. Am. Stat.
    Assoc. 73, 1978), and more draws are taken for it. `false_alarm` is asymptotic: it supposes a
    finite fourth moment, and that the skewness of the draws shows that of the estimator. One that
    is large with a probability like 1e-7 needs `outcomes`.

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
    options = valid_options(rng, bias, false_alarm, outcomes, draws)
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


@dataclass(frozen=True)
class Options:
    """How sharp a test is, and what it may cost; see `assert_unbiased`."""

    bias: float
    false_alarm: float
    outcomes: int
    draws: int


def judge(
    draw: Drawing,
    claimed: Any,
    claim: str,
    rng: np.random.Generator,
    options: Options,
    size: float = 0.0,
) -> EstimatorReport:
    """Hold the mean of a draw to a claim; `size` is that of the numbers that it is made from."""
    claim = f"the {claim}"
    if not claimed.size or not np.all(np.isfinite(claimed)):
        raise ValueError(f"{claim} that is claimed must be finite, and not empty; got {claimed}")

    def value(rng: np.random.Generator) -> Drawn:
        found = draw(rng)
        if found.value.shape != claimed.shape:
            raise ValueError(
                f"a draw has shape {found.value.shape}, and {claim} that is claimed "
                f"{claimed.shape}; give both the same"
            )
        if not np.all(np.isfinite(found.value)):
            raise AssertionError(f"{claim} does not exist: a draw holds NaN or infinite values")
        return found

    listed = _listed(value, Differences(claimed, False, size), options.outcomes)
    if listed is not None:
        return _judge_outcomes(listed, claim)
    along = claimed.size > 1 and bool(np.any(claimed))
    return _judge_draws(value, Differences(claimed, along, size), claim, rng, options)


def _listed(value: Drawing, found: Differences, most: int) -> Differences | None:
    """Those of all outcomes; None if they are too many, or not finite."""
    if most < 1:
        return None
    rng, first = Listed(), np.zeros(0)
    try:
        for probability, result in walk(value, rng):
            if not found.runs:
                first = result.value
                # The first path tells about how many there are.
                if prod(count for _, count in rng.path) > 10 * most:
                    return None
            if found.runs == most:
                return None
            found.add(result, float(probability))
        rng.restart()
        again = value(rng).value
    except UnlistedError:
        return None
    if not np.array_equal(again, first):
        raise ValueError(ANOTHER_SOURCE)
    return found


def _judge_outcomes(found: Differences, claim: str) -> EstimatorReport:
    off = np.abs(found.mean)
    if not np.all(off <= found.rounding):
        k = int(np.argmax(off))
        place, claimed = found.place(k)
        raise AssertionError(
            f"{claim}{place} over all {found.runs} outcomes is "
            f"{claimed + found.in_numbers(found.mean[k]):.6g}, "
            f"where {claimed:.6g} is claimed"
        )
    resolved = found.in_spreads(found.rounding)
    return EstimatorReport(claim, True, found.runs, found.in_spreads(off), resolved)


def _judge_draws(
    value: Drawing, found: Differences, claim: str, rng: np.random.Generator, options: Options
) -> EstimatorReport:
    z = -_QUANTILE(options.false_alarm / (2 * found.powers.shape[1]))
    wanted, limits = ceil(((z + _FOUND) / options.bias) ** 2), np.zeros(1)
    while found.runs < wanted:
        if wanted > options.draws:
            raise ValueError(
                f"{claim} is not decided: {wanted} draws are needed for a bias of {options.bias:g} "
                f"standard deviations{' where they are so skewed' if found.runs else ''}, and "
                f"`draws` is {options.draws}; raise `draws` or `bias`, or list more `outcomes`"
            )
        for _ in range(wanted - found.runs):
            found.add(value(rng))
        limits = z + z * z * found.skewness / (3 * sqrt(found.runs))
        if np.max(limits) + _FOUND > options.bias * sqrt(found.runs):
            wanted = ceil(max(1.05 * found.runs, (np.max(limits) + _FOUND) ** 2 / options.bias**2))
    off, error = found.mean, found.spread / sqrt(found.runs)
    bad = ~((np.abs(off) <= limits * error) | (np.abs(off) <= found.rounding))
    if np.any(bad):
        k = int(np.argmax(np.where(bad, np.abs(off) / np.maximum(error, 1e-300), 0)))
        place, claimed = found.place(k)
        raise AssertionError(
            f"{claim}{place} over {found.runs} draws is "
            f"{claimed + found.in_numbers(off[k]):.6g} with standard error "
            f"{found.in_numbers(error[k]):.2g}, where {claimed:.6g} is claimed; chance makes "
            f"{limits[k]:.2f} standard errors at most"
        )
    resolved = float(np.max(limits) + _FOUND) / sqrt(found.runs)
    return EstimatorReport(claim, False, found.runs, found.in_spreads(off), resolved)


def valid_options(rng: Any, bias: float, false_alarm: float, outcomes: int, draws: int) -> Options:
    """The options, if they are valid."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}; make one with "
            "numpy.random.default_rng(seed)"
        )
    if not 0 < bias < inf or not 0 < false_alarm < 1 or outcomes < 0 or draws < 1:
        raise ValueError(
            "need `bias` > 0, 0 < `false_alarm` < 1, `outcomes` >= 0 and `draws` >= 1, got "
            f"{bias}, {false_alarm}, {outcomes} and {draws}"
        )
    return Options(bias, false_alarm, outcomes, draws)
