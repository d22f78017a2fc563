"""Hold the mean of a random estimator to a claim: by all outcomes, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from math import ceil, inf, log, sqrt
from numbers import Integral, Real
from statistics import NormalDist
from typing import Any

import numpy as np

from odecore.testing._differences import Differences, Drawn
from odecore.testing._limits import bernstein_limits, require_within, student_limits
from odecore.testing._outcomes import ANOTHER_SOURCE, Listed, UnlistedError, walk

__all__ = ["Drawing", "EstimatorReport", "judge", "valid_options"]

Drawing = Callable[[np.random.Generator], Drawn]

_QUANTILE = NormalDist().inv_cdf
_FOUND = _QUANTILE(0.999)  # a bias of the size asked for is found with this probability
_CARRIERS = 2  # draws of one size, in z^2: the correction for skewness is then z / 4 at most
_RAREST = 1e-200  # false alarm: its shares are divided by
_BLOCK = 2**14  # entries of the draws that are added at once


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


@dataclass(frozen=True)
class Options:
    """How sharp a test is, and what it may cost; see `assert_unbiased`."""

    bias: float
    false_alarm: float
    outcomes: int
    draws: int
    bounds: tuple[Any, Any] | None = None


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
        if not np.isfinite(found.value).all():
            raise AssertionError(f"{claim} does not exist: a draw holds NaN or infinite values")
        if options.bounds is not None:
            require_within(found.value, options.bounds)
        return found

    # A single outcome is not random.
    listed = _listed(value, Differences(claimed, False, size), max(options.outcomes, 1))
    if listed is not None:
        return _judge_outcomes(listed, claim)
    along = claimed.size > 1 and bool(np.any(claimed))
    return _judge_draws(value, Differences(claimed, along, size), claim, rng, options)


def _listed(value: Drawing, found: Differences, most: int) -> Differences | None:
    """Those of all outcomes; None if they are too many, or not finite."""
    rng = Listed(most)
    first: Any = None
    try:
        for probability, result in walk(value, rng):
            first = result.value if first is None else first
            found.add([result], float(probability), len(rng.path) * rng.off)
        again = value(Listed()).value
    except UnlistedError:
        return None
    if not np.array_equal(again, first):
        raise ValueError(ANOTHER_SOURCE)
    return found


def _judge_outcomes(found: Differences, claim: str) -> EstimatorReport:
    off = np.abs(found.mean)
    if not np.all(off <= found.rounding):
        k = int(np.argmax(off))
        place, mean, claimed = _told(found, k)
        raise AssertionError(
            f"{claim}{place} over all {found.runs} outcomes is {mean}, where {claimed} is claimed"
        )
    resolved = found.in_spreads(found.rounding)
    return EstimatorReport(claim, True, found.runs, found.in_spreads(off), resolved)


def _told(found: Differences, k: int) -> tuple[str, str, str]:
    """The place of entry k, its mean and the claim, with as many digits as tell these apart."""
    place, claimed = found.place(k)
    mean = claimed + found.in_numbers(found.mean[k])
    digits = next((n for n in range(6, 17) if f"{mean:.{n}g}" != f"{claimed:.{n}g}"), 17)
    return place, f"{mean:.{digits}g}", f"{claimed:.{digits}g}"


def _judge_draws(
    value: Drawing, found: Differences, claim: str, rng: np.random.Generator, options: Options
) -> EstimatorReport:
    share = options.false_alarm / found.powers.shape[1]
    z = -_QUANTILE(share / 2)
    start = deepcopy(rng)
    first = value(deepcopy(start))
    _require_same(first, value(deepcopy(start)))
    wanted, looks, why = max(2, ceil(((z + _FOUND) / options.bias) ** 2)), 0, ""
    while found.runs < wanted:
        if wanted > options.draws:
            raise ValueError(
                f"{claim} is not decided: {why}{wanted} draws are needed for a bias of "
                f"{options.bias:g} standard deviations, and `draws` is {options.draws}; raise "
                "`draws` or `bias`, list more `outcomes`, or hold the mean of what is drawn to "
                "the claim by `assert_unbiased` with `bounds`"
            )
        while found.runs < wanted:
            block = min(wanted - found.runs, 1 + _BLOCK // found.claimed.size)
            found.add([value(rng) for _ in range(block)])
        looks += 1
        if options.bounds is None:
            limits = student_limits(found, z)
            wanted, why = _more_draws(found, limits, z, options.bias)
        else:
            # The n-th look has its share of false_alarm, and its number of draws is given before.
            limits = bernstein_limits(found, options.bounds, share / (looks * (looks + 1)))
            if not _resolved(found, limits) <= options.bias and not np.any(_refuted(found, limits)):
                wanted = 2 * found.runs
    _require_same(first, value(start))
    if np.any(_refuted(found, limits)):
        raise AssertionError(_refutation(found, limits, claim, options))
    off = found.in_spreads(found.mean)
    return EstimatorReport(claim, False, found.runs, off, _resolved(found, limits))


def _require_same(first: Drawn, again: Drawn) -> None:
    """Refuse draws from one state of the generator that differ by more than rounding."""
    twice = Differences(first.value, False)
    twice.add([again])
    if np.any(np.abs(twice.mean) > twice.rounding):
        raise ValueError(ANOTHER_SOURCE)


def _resolved(found: Differences, limits: Any) -> float:
    """The bias that is found with the probability asked for; inf where nothing varied yet.

    Of skewed draws it is larger, by the first terms of the expansion of their mean and spread: a
    mean that is far off on the side of the long tail comes with a wide spread, so wide limits.
    """
    unseen = ~found.varies & (np.abs(found.mean) > found.rounding)
    root = sqrt(found.runs)
    error, skewed = found.spread / root, found.skewness / root
    error = error * (_FOUND + (_FOUND**2 - 1) / 6 * skewed)
    return inf if np.any(unseen) else found.in_spreads(limits * (1 + _FOUND / 2 * skewed) + error)


def _refuted(found: Differences, limits: Any) -> Any:
    off = np.abs(found.mean)
    return ~((off <= limits) | (off <= found.rounding))


def _more_draws(found: Differences, limits: Any, z: float, bias: float) -> tuple[int, str]:
    """How many draws decide, and why so many; those that there are, if they do."""
    enough, carriers = _CARRIERS * z * z, found.carriers
    unseen = ~found.varies & (np.abs(found.mean) > found.rounding)
    if np.any(unseen):
        k = int(np.argmax(unseen))
        place, mean, claimed = _told(found, k)
        return ceil(enough * found.runs), (
            f"all {found.runs} draws{place} are {mean}, where {claimed} is claimed, and something "
            "rarer may make up for it; "
        )
    least = float(np.nanmin(carriers, initial=inf))
    if least < enough:
        place, _ = found.place(int(np.nanargmin(carriers)))
        return ceil(max(1.05, enough / least) * found.runs), (
            f"the spread{place} rests on few of {found.runs} draws, as on {least:.2g} of one size, "
            f"and chance is known for {enough:.0f}; about "
        )
    more = (_resolved(found, limits) / bias) ** 2
    if more <= 1:
        return found.runs, ""
    return ceil(max(1.05, more) * found.runs), "draws are so skewed that "


def _refutation(found: Differences, limits: Any, claim: str, options: Options) -> str:
    off, error = np.abs(found.mean), found.spread / sqrt(found.runs)
    bad = _refuted(found, limits)
    k = int(np.argmax(np.where(bad, off / np.maximum(error, 1e-300), 0)))
    place, mean, claimed = _told(found, k)
    text = (
        f"{claim}{place} over {found.runs} draws is {mean} with standard error "
        f"{found.in_numbers(error[k]):.2g}, where {claimed} is claimed; `false_alarm` allows "
        f"{found.in_numbers(limits[k]):.2g}"
    )
    if options.bounds is not None:
        return text
    rare = log(1 / options.false_alarm) / found.runs
    return (
        f"{text}. Only what happens with a probability below {rare:.2g} could make up for it, if "
        f"it is {found.in_numbers(off[k] / rare):.2g} away on average; if so, give `bounds`"
    )


def valid_options(
    rng: Any,
    bias: Any,
    false_alarm: Any,
    outcomes: Any,
    draws: Any,
    bounds: tuple[Any, Any] | None = None,
) -> Options:
    """The options, if they are valid."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}; make one with "
            "numpy.random.default_rng(seed)"
        )
    outcomes, draws = (
        int(x) if isinstance(x, float) and x.is_integer() else x for x in (outcomes, draws)
    )
    numbers = isinstance(bias, Real) and isinstance(false_alarm, Real)
    counts = isinstance(outcomes, Integral) and isinstance(draws, Integral)
    valid = numbers and counts and 0 < bias < inf
    valid = valid and _RAREST <= false_alarm < 1
    if not (valid and outcomes >= 0 and draws >= 1):
        raise ValueError(
            f"need numbers `bias` > 0, {_RAREST} <= `false_alarm` < 1, whole ones `outcomes` >= 0, "
            f"`draws` >= 1, got bias={bias!r}, false_alarm={false_alarm!r}, outcomes={outcomes!r} "
            f"and draws={draws!r}"
        )
    return Options(bias, false_alarm, outcomes, draws, bounds)
