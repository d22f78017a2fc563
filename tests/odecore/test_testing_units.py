"""The tools for testing estimators in any unit: a verdict does not depend on it."""

import numpy as np
import pytest

from odecore.sketching import UniformRows, variance
from odecore.testing import assert_sketch, assert_unbiased, assert_variance, every_outcome


def verdict(check, *arguments, **options):
    """Whether a claim holds, with one state of the generator."""
    try:
        check(*arguments, np.random.default_rng(0), **options)
    except AssertionError:
        return False
    return True


def unbiased(unit, draw, mean, **options):
    return verdict(
        assert_unbiased,
        lambda rng: unit * np.asarray(draw(rng)),
        unit * np.asarray(mean),
        **options,
    )


VECTOR = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("unit", [1e-300, 1e-165, 1e-110, 1e-30, 1.0, 1e110, 1e160, 1e300])
def test_the_mean_is_judged_in_any_unit(unit):
    assert unbiased(unit, lambda rng: rng.normal(), 0.0)
    assert not unbiased(unit, lambda rng: rng.normal() + 0.5, 0.0)
    assert unbiased(unit, lambda rng: rng.exponential(size=3) * VECTOR, VECTOR)
    assert not unbiased(unit, lambda rng: rng.exponential(size=3) * VECTOR, 1.3 * VECTOR)
    for claimed in (0.5, 0.6):
        holds = unbiased(unit, lambda rng: rng.integers(0, 2), claimed)
        assert holds == (claimed == 0.5)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("unit", [1e-150, 1e-55, 1e-30, 1.0, 1e55, 1e150])
@pytest.mark.parametrize("mean", [None, 3.0])
def test_the_variance_is_judged_in_any_unit(unit, mean):
    known = None if mean is None else mean * unit
    for claimed in (1.0, 3.0, 0.3):
        holds = verdict(
            assert_variance,
            lambda rng: unit * (3 + rng.normal()),
            claimed * unit * unit,
            mean=known,
        )
        assert holds == (claimed == 1.0)


def test_squares_of_small_single_numbers_are_not_lost():
    def draw(rng):
        return np.float32(1e-25 * rng.normal())

    assert verdict(assert_variance, draw, 1e-50)
    assert not verdict(assert_variance, draw, 2e-50)


@pytest.mark.parametrize("spread", [1e-3, 1e-8, 1e-11])
def test_the_variance_is_judged_beside_a_large_mean(spread):
    for claimed in (1.0, 3.0):
        holds = verdict(
            assert_variance, lambda rng: 1 + spread * rng.normal(), claimed * spread**2, mean=1.0
        )
        assert holds == (claimed == 1.0)


@pytest.mark.parametrize("mean", [None, 0.3])
def test_constants_to_rounding_have_no_variance(mean):
    assert verdict(assert_variance, lambda rng: rng.choice([0.3, 0.1 + 0.2]), 0.0, mean=mean)


@pytest.mark.parametrize("unit", [1e-70, 1.0, 1e70])
def test_a_sketch_is_judged_in_any_unit(unit):
    X = unit * np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])

    class Wrong(UniformRows):
        def variance(self, X, Y):
            return 1.5 * variance(UniformRows(self.size), X, Y)

    assert verdict(assert_sketch, UniformRows(2), X, X)
    assert not verdict(assert_sketch, Wrong(2), X, X)


def test_numbers_that_are_no_floats_in_unit_one_are_judged():
    # The difference of draw and claim is beyond the largest float.
    assert not verdict(assert_unbiased, lambda rng: -1.5e308, 1.5e308)
    assert verdict(assert_unbiased, lambda rng: 1.5e308 * (2 * rng.integers(0, 2) - 1), 0.0)


@pytest.mark.parametrize("kind", [list, np.array])
def test_lists_are_shuffled_as_arrays_are(kind):
    def program(rng):
        x = kind([1.0, 2.0, 3.0])
        rng.shuffle(x)
        return tuple(x)

    assert len({result for _, result in every_outcome(program)}) == 6


def test_what_a_list_holds_stays_what_it_is():
    def program(rng):
        x = ["a", (1, 2), None]
        rng.shuffle(x)
        return tuple(x)

    found = {result for _, result in every_outcome(program)}
    assert len(found) == 6
    assert all((1, 2) in result for result in found)
