"""Adams methods."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from odecore.errors import UnconvergedCorrectorWarning
from odecore.solve import Adams, solve_ivp
from odecore.solve._adams import adams_weights
from tests.helpers.problems import PAIR


def test_weights_on_equal_steps_are_the_classical_ones():
    # Hairer, Norsett, Wanner I, table III.1.1 and III.1.2.
    np.testing.assert_allclose(
        adams_weights([0, -1, -2, -3]), np.array([55, -59, 37, -9]) / 24, atol=1e-14
    )
    np.testing.assert_allclose(
        adams_weights([1, 0, -1, -2]), np.array([9, 19, -5, 1]) / 24, atol=1e-14
    )


def test_weights_on_any_grid_integrate_polynomials(rng):
    for k in range(1, 13):
        times = np.cumsum(rng.uniform(0.5, 1.5, k))[::-1]
        times = times - times[0]
        weights = adams_weights(times)
        for power in range(k):
            scale = np.abs(weights) @ np.abs(times) ** power
            assert abs(weights @ times**power - 1 / (power + 1)) <= 1e-12 * (1 + scale)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize(("method", "order"), [(Adams(4), 3), (Adams(5), 4), (Adams(5, True, 50, rtol=1e-14, atol=1e-14), 5)])  # fmt: skip
def test_observed_order(method, order, uneven):
    errors = []
    for n in (100, 200):
        grid = np.linspace(0, 2, n + 1)
        if uneven:  # a fixed smooth grading, with starting steps of the size of the others
            grid = grid + 0.2 * np.sin(np.pi * grid)
            grid[-1] = 2.0
        found = solve_ivp(PAIR.field(np), (0, 2), PAIR.exact(0), method=method, grid=grid)
        errors.append(np.abs(found.y - [PAIR.exact(t) for t in grid]).max())
    assert math.log2(errors[0] / errors[1]) > min(order, 4.6) - 0.3


def test_the_default_gets_better_with_smaller_steps():
    errors = []
    for n in (20, 40, 80, 160):
        found = solve_ivp(lambda t, y: -y, (0, 2), [1.0], method=Adams(), steps=n)
        errors.append(abs(found.y[-1, 0] - math.exp(-2)))
    assert all(math.log2(a / b) > 3.5 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize(("max_order", "bound"), [(4, 0.55), (5, 0.3), (6, 0.163), (8, 0.0465), (12, 0.00338)])  # fmt: skip
def test_the_documented_stability(max_order, bound):
    # The largest root of the characteristic polynomial, just inside and just outside.
    weights = np.array(adams_weights([-j for j in range(max_order - 1)]))
    largest = []
    for x in (0.97 * bound, 1.03 * bound):
        largest.append(np.abs(np.roots(np.r_[1.0, x * weights] - np.eye(max_order)[1])).max())
    assert largest[0] <= 1 + 1e-9 < largest[1]


def test_it_costs_one_evaluation_a_step():
    calls = 0

    def field(t, y):
        nonlocal calls
        calls += 1
        return -y

    found = solve_ivp(field, (0, 1), [1.0], method=Adams(6), steps=50)
    assert found.statistics.evaluations == calls == 2 * 4 + 48
    assert found.y[-1, 0] == pytest.approx(math.exp(-1), abs=1e-7)
    outputs = solve_ivp(field, (0, 1), [1.0], method=Adams(6), grid=np.linspace(0, 1, 51), dense=True)  # fmt: skip
    assert outputs(0.505)[0] == pytest.approx(math.exp(-0.505), abs=1e-7)


def test_a_corrector_that_does_not_converge_warns():
    with pytest.warns(UnconvergedCorrectorWarning, match="smaller steps"):
        solve_ivp(lambda t, y: -30 * y, (0, 1), [1.0], method=Adams(4, implicit=True), steps=12)


def test_the_order_falls_where_the_corrector_does_not_converge():
    field = lambda t, y: -4 * np.sin(y) + np.cos(t)  # noqa: E731
    exact = solve_ivp(field, (0, 8), [1.0], rtol=1e-11, atol=1e-11).y[-1]
    with pytest.warns(UnconvergedCorrectorWarning, match="order falls"):
        found = solve_ivp(field, (0, 8), [1.0], method=Adams(12, implicit=True), steps=40)
    np.testing.assert_allclose(found.y[-1], exact, atol=1e-5)


@pytest.mark.parametrize("options", [{"max_order": 1}, {"max_order": 13}, {"max_iterations": 0}])
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match="must be"):
        Adams(**options)
    with pytest.raises(ValueError, match="embedded error estimate"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=Adams())


@pytest.mark.long_on_jax
def test_every_array_library(xp, array, eps):
    for method in (Adams(5), Adams(5, implicit=True)):
        found = solve_ivp(PAIR.field(xp), (0, 2), array(PAIR.exact(0)), method=method, steps=100)
        assert float(found.y[-1, 0]) == pytest.approx(PAIR.exact(2.0)[0], abs=1e-4)
    assert Fraction(adams_weights([0.0])[0]) == 1
