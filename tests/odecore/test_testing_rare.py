"""Estimators with rare outcomes, heavy tails or state: what decides nothing is not decided."""

import numpy as np
import pytest

from odecore.testing import assert_unbiased, assert_variance


def rare(p):
    return lambda rng: (rng.random() < p) / p


def verdict(check, draw, claim, seed, **options):
    try:
        check(draw, claim, np.random.default_rng(seed), **options)
    except AssertionError:
        return "refuted"
    except ValueError:
        return "not decided"
    return "holds"


@pytest.mark.parametrize("p", [1e-3, 1e-4])
def test_what_was_seen_too_seldom_is_not_decided(p):
    found = [verdict(assert_unbiased, rare(p), 1.0, seed, draws=4000) for seed in range(6)]
    assert found == ["not decided"] * 6


def test_equal_draws_of_a_random_estimator_decide_nothing(rng):
    with pytest.raises(ValueError, match=r"all 1593 draws are 0, where 1 is claimed.*`bounds`"):
        assert_unbiased(lambda rng: 0 * rng.normal(), 1.0, rng, draws=4000)
    assert assert_unbiased(lambda rng: 1 + 0 * rng.normal(), 1.0, rng).runs == 1593


@pytest.mark.parametrize("claim", [1.0, 4.0])
def test_bounds_decide_rare_outcomes(claim):
    options = {"bounds": (0, 100)}
    found = {verdict(assert_unbiased, rare(1e-2), claim, seed, **options) for seed in range(3)}
    assert found == {"holds" if claim == 1 else "refuted"}


def test_bounds_hold_entry_by_entry_and_along_the_claim(rng):
    mean = np.array([1.0, 0.5])
    draw = lambda rng: rng.random(2) * [2, 1]  # noqa: E731
    assert assert_unbiased(draw, mean, rng, bounds=(0, [2, 1])).resolved <= 0.2
    with pytest.raises(AssertionError, match="`false_alarm` allows"):
        assert_unbiased(draw, 1.2 * mean, rng, bounds=(0, [2, 1]))
    with pytest.raises(ValueError, match="`bounds` are 0 to 1; widen"):
        assert_unbiased(draw, mean, rng, bounds=(0, 1))
    for bounds in (3, (0, 1, 2), (0, np.inf), (1, 0), (2, 3), (0, np.ones(3))):
        with pytest.raises(ValueError, match="`bounds` must be"):
            assert_unbiased(draw, mean, rng, bounds=bounds)


def test_means_that_do_not_exist_are_not_decided():
    for draw, claim in (
        (lambda rng: rng.standard_cauchy(), 0.0),
        (lambda rng: 1 + rng.pareto(1.5), 3.0),
    ):
        found = [verdict(assert_unbiased, draw, claim, s, draws=20_000) for s in range(3)]
        assert found == ["not decided"] * 3


def test_variances_that_rest_on_few_draws_are_not_decided():
    draw = lambda rng: rng.lognormal(0, 1.5)  # noqa: E731
    right = np.expm1(2.25) * np.exp(2.25)
    found = [verdict(assert_variance, draw, right, s, draws=20_000) for s in range(3)]
    assert found == ["not decided"] * 3


def test_a_narrow_estimator_far_from_the_claim_is_refuted(rng):
    with pytest.raises(AssertionError, match=r"could make up for it, if it is .* away"):
        assert_unbiased(lambda rng: 1 + 1e-6 * rng.normal(), 0.0, rng)


@pytest.mark.parametrize("outcomes", [5000, 0])
@pytest.mark.parametrize("check", [assert_unbiased, assert_variance])
def test_draws_from_elsewhere_or_of_the_last_draw_are_told(check, outcomes, rng):
    hidden, kept = np.random.default_rng(1), [0.0]

    def another_source(rng):
        return rng.normal() + hidden.normal()

    def dependent(rng):
        kept[0] = 0.9 * kept[0] + rng.normal()
        return kept[0]

    def later(rng):
        kept[0] += 1
        return rng.normal() * (1 + (kept[0] > 100))

    for draw in (another_source, dependent, later):
        with pytest.raises(ValueError, match="another source of randomness"):
            check(draw, 0.0 if check is assert_unbiased else 2.0, rng, outcomes=outcomes)


@pytest.mark.parametrize("bounds", [None, pytest.param((0, 1), marks=pytest.mark.long)])
def test_options_at_the_end_of_their_range(bounds, rng):
    draw = lambda rng: rng.random()  # noqa: E731
    report = assert_unbiased(draw, 0.5, rng, bias=9, bounds=bounds)  # two draws at least
    assert report.runs >= 2
    found = assert_unbiased(draw, 0.5, rng, false_alarm=1e-200, bounds=bounds)
    assert found.resolved <= 0.2
    for option in ({"false_alarm": 5e-324}, {"outcomes": np.nan}, {"draws": np.nan}):
        with pytest.raises(
            ValueError, match=r"need numbers `bias` > 0, 1e-200 <= `false_alarm` < 1"
        ):
            assert_unbiased(draw, 0.5, rng, bounds=bounds, **option)
