"""Adaptive steps at `min_step` and just above it, wherever times are."""

import math

import numpy as np
import pytest

from odecore.errors import MaxRejectsError, NonfiniteRHSError
from odecore.solve import StepControl, solve_ivp, solve_per_sample

TIGHT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize(("start", "least"), [(0, 0.01), (10, 0.01), (-11, 0.01), (1000, 3e-3)])
@pytest.mark.parametrize("backward", [False, True])
def test_smallest_steps_are_forced_wherever_times_are(start, least, backward):
    span = (start + 1, start) if backward else (start, start + 1)
    rate = 5.0 if backward else -5.0
    count = math.ceil(1 / least)

    def fun(t, y):
        return rate * (y - np.cos(50 * np.reshape(t, (-1, 1))))

    one = solve_ivp(fun, span, np.zeros((1, 1)), min_step=least, **TIGHT)
    samples = solve_per_sample(fun, span, np.zeros((2, 1)), min_step=least, **TIGHT)
    assert one.statistics.forced > 0.9 * count
    assert one.statistics.accepted <= count + 1
    assert list(samples.samples.accepted) == [one.statistics.accepted] * 2
    assert samples.statistics.forced == 2 * one.statistics.forced


@pytest.mark.parametrize("span", [(1.0, 3.0), (10.0, 12.0), (1001.0, 1003.0)])
def test_what_is_not_finite_at_the_smallest_step_ends_the_solve(span):
    calls = 0

    def fun(t, y):
        nonlocal calls
        calls += 1
        return np.where(np.reshape(t, (-1, 1)) < span[0] + 0.5, -1.0, np.nan) * y

    for solve in (solve_ivp, solve_per_sample):
        calls = 0
        with pytest.raises(NonfiniteRHSError):
            solve(fun, span, np.ones((1, 1)), min_step=0.01)
        assert calls < 150  # not a hundred equal attempts


def test_attempts_that_are_never_finite_say_so_for_each_sample():
    def fun(t, y):
        return np.where(np.reshape(t, (-1, 1)) < 1.5, -1.0, np.nan) * y

    slow = StepControl(shrink=0.99)  # a hundred attempts come to an end first
    for solve in (solve_ivp, solve_per_sample):
        with pytest.raises(NonfiniteRHSError):
            solve(fun, (1.0, 3.0), np.ones((1, 1)), controller=slow)


def test_a_rejected_step_is_cut_by_a_tenth_at_least_whatever_shrink_is():
    def fun(t, y):
        return np.stack([y[..., 1], -1e6 * y[..., 0]], axis=-1)

    law = StepControl(shrink=0.99)
    options = {"first_step": 1e-2, "controller": law}
    one = solve_ivp(fun, (0, 1e-2), np.ones((1, 2)), **options)
    samples = solve_per_sample(fun, (0, 1e-2), np.ones((1, 2)), **options)
    assert one.statistics.rejected == samples.statistics.rejected > 10
    with pytest.raises(MaxRejectsError):  # the twin: an error that steps do not change
        solve_ivp(lambda t, y: np.sin(1e9 * t) * y, (1, 2), np.ones(1), controller=law,
                  norm=lambda e: 2.0)  # fmt: skip
