"""Hold the mean of a random estimator to a claim: by all outcomes, or by draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, prod, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from odecore.testing._differences import Differences, Drawn
from odecore.testing._outcomes import ANOTHER_SOURCE, Listed, UnlistedError, walk

__all__ = ["Drawing", "EstimatorReport", "judge", "valid_options"]

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
    value: Drawing,
    found: Differences,
    claim: str,
    rng: np.random.Generator,
    options: Options,
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
