"""Counts, sizes and functions that a test can not use: told by name."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.testing import (
    assert_order,
    assert_unbiased,
    assert_variance,
    deduce_tableau,
    every_outcome,
    measure_order,
    tableaux,
)


def heun(f, t, y, h):
    k = f(t, y)
    return y + h / 2 * (k + f(t + h, y + h * k))


def coin(rng):
    return float(rng.integers(0, 2))


@pytest.mark.parametrize("wrong", [None, "3", 2.5, float("nan"), [3]])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("levels", lambda x: measure_order(heun, levels=x)),
        ("coarsest", lambda x: measure_order(heun, coarsest=x)),
        ("coarsest", lambda x: assert_order(heun, 2, coarsest=x)),
        ("max_denominator", lambda x: deduce_tableau(heun, max_denominator=x)),
        ("outcomes", lambda x: assert_unbiased(coin, 0.5, np.random.default_rng(0), outcomes=x)),
        ("draws", lambda x: assert_variance(coin, 0.25, np.random.default_rng(0), draws=x)),
    ],
)
def test_counts_are_whole_numbers(name, call, wrong):
    with pytest.raises(ValueError, match=f"whole.*`{name}`.*got|`{name}`.*whole.*got"):
        call(wrong)


@pytest.mark.parametrize("name", ["levels", "coarsest"])
def test_runs_without_end_are_refused(name):
    for call in (measure_order, lambda step, **more: assert_order(step, 2, **more)):
        with pytest.raises(ValueError, match=f"`{name}` .*to 1.*got"):
            call(lambda f, t, y, h: y, **{name: 10**400})


@pytest.mark.parametrize("wrong", [None, "0.1", 1j, [0.1]])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("slack", lambda x: assert_order(heun, 2, slack=x)),
        ("bias", lambda x: assert_unbiased(coin, 0.5, np.random.default_rng(0), bias=x)),
        (
            "false_alarm",
            lambda x: assert_unbiased(coin, 0.5, np.random.default_rng(0), false_alarm=x),
        ),
    ],
)
def test_sizes_are_numbers(name, call, wrong):
    with pytest.raises(ValueError, match=f"`{name}`"):
        call(wrong)


def test_functions_of_a_generator_are_asked_for():
    rng = np.random.default_rng(0)
    for wrong in (None, 3, "coin"):
        with pytest.raises(TypeError, match=r"`draw` must be callable as draw\(rng\), got"):
            assert_unbiased(wrong, 0.5, rng)
        with pytest.raises(TypeError, match=r"`draw` must be callable as draw\(rng\), got"):
            assert_variance(wrong, 0.5, rng)
        with pytest.raises(TypeError, match=r"`program` must be callable as program\(rng\), got"):
            every_outcome(wrong)
    for wrong in ("3", 2.5):
        with pytest.raises(ValueError, match="`max_stages` must be a whole number, got"):
            tableaux(max_stages=wrong)


def test_numbers_of_numpy_are_taken():
    rng = np.random.default_rng(0)
    bias, draws = Fraction(1, 5), np.int64(10**5)
    assert assert_unbiased(coin, 0.5, rng, bias=bias, draws=draws, outcomes=0).runs > 2
    assert assert_order(heun, 2, slack=np.float64(0.25), coarsest=np.int64(2), levels=np.int64(20))
