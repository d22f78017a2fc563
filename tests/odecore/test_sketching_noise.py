"""Sketch noise against mini-batch noise, what the literature has wrong, and ranks by budget."""

from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from odecore.sketching import (
    Alignment,
    BalancedCountSketch,
    CountSketch,
    GaussianSketch,
    HadamardSketch,
    RademacherSketch,
    SparseSignSketch,
    UniformRows,
    alignment,
    minibatch_variance,
    moments,
    optimal_ranks,
    sketched_product,
    variance,
)
from tests.helpers.statistics import mean_agrees

seeds = st.integers(0, 2**32)


def batch(seed, rows=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 3)) + 1, rng.standard_normal((rows, 2)) + rng.normal()


def ratio(sketch, X, Y):
    return sketch.size / (len(X) - 1) * variance(sketch, X, Y) / minibatch_variance(X, Y)


def test_the_published_sign_is_wrong(rng):
    # X = Y = one unit vector: W is a chi-squared mean, of variance 2/p and not 0.
    x = np.ones((4, 1)) / 2
    m = moments(x, x)
    assert variance(GaussianSketch(6), x, x) == pytest.approx(2 / 6)
    assert (m.x * m.y - m.product) / 6 == 0

    def sample(n):
        return [np.sum((sketched_product(GaussianSketch(6), x, x, rng) - 1) ** 2) for _ in range(n)]

    assert mean_agrees(sample, 2 / 6)
    assert not mean_agrees(sample, (m.x * m.y - m.product) / 6)


@pytest.mark.parametrize("c", [2.0, 3.0, 0.5])
def test_the_published_ratio_bound_is_wrong(c):
    # All x_k y_k are 1: no mini-batch noise at all, and sketch noise under a finite bound.
    X, Y = np.array([[1.0], [c]]), np.array([[1.0], [1 / c]])
    found = alignment(X, Y)
    published = (1 + found.alpha) / found.alpha
    assert minibatch_variance(X, Y) == pytest.approx(0, abs=1e-15)
    assert variance(GaussianSketch(3), X, Y) > 1
    assert variance(CountSketch(3), X, Y) > 0.1
    assert found.gaussian_ratio > published
    assert found.rademacher_ratio > published
    assert found.ratio_bound == inf


@pytest.mark.parametrize(
    "library",
    [
        "numpy",
        "array_api_compat.torch",
        pytest.param("jax.numpy", marks=pytest.mark.long),
        "array_api_strict",
    ],
)
@pytest.mark.parametrize("units", [None, [0, 0, 1, 1, 2, 2]])
def test_products_of_rows_of_any_sizes(units, library, rng):
    xp = pytest.importorskip(library)
    for _ in range(20):
        size = 10.0 ** rng.uniform(-18, 18, (6, 1))
        X = (rng.standard_normal((6, 3)) * size).astype(np.float32)
        Y = (rng.standard_normal((6, 2)) / size * rng.choice([0, 1], (6, 1))).astype(np.float32)
        X[0] *= 0  # such rows take no part, however large the other one is
        single = (xp.asarray(A.tolist(), dtype=xp.float32) for A in (X, Y))
        wanted = float(minibatch_variance(X.astype(float), Y.astype(float), units=units))
        found = float(minibatch_variance(*single, units=units))
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-30)


def test_rows_that_take_no_part_have_derivatives(rng):
    torch = pytest.importorskip("torch")
    X, Y = (torch.tensor(A, requires_grad=True) for A in batch(0))
    with torch.no_grad():
        X[1], Y[3] = 0, 0
    assert torch.autograd.gradcheck(minibatch_variance, (X, Y))


@given(seeds)
def test_the_ratio_identities(seed):
    X, Y = batch(seed)
    found = alignment(X, Y)
    assert ratio(GaussianSketch(3), X, Y) == pytest.approx(found.gaussian_ratio, rel=1e-9)
    for sketch in (
        RademacherSketch(3),
        CountSketch(3),
        SparseSignSketch(3, 2),
        HadamardSketch(3, replacement=True),
    ):
        assert ratio(sketch, X, Y) == pytest.approx(found.rademacher_ratio, rel=1e-9)
    assert ratio(UniformRows(3, replacement=True), X, Y) == pytest.approx(1, rel=1e-9)
    assert found.rademacher_ratio <= found.gaussian_ratio <= found.ratio_bound * (1 + 1e-12)


def test_identities_that_are_wrong_are_seen():
    X, Y = batch(5)
    a = alignment(X, Y)
    exact = ratio(GaussianSketch(3), X, Y)
    assert (1 - a.alpha) / (a.tau - a.alpha) != pytest.approx(exact, rel=0.01)
    exact = ratio(RademacherSketch(3), X, Y)
    assert (1 + a.alpha - a.tau / 6) / (a.tau - a.alpha) != pytest.approx(exact, rel=0.01)


@given(seeds)
def test_the_bound_holds_for_rows_of_equal_length(seed):
    X, Y = batch(seed)
    X = X / np.linalg.norm(X, axis=1)[:, None]
    found = alignment(X, Y)
    assert (found.eta, found.tau) == pytest.approx((1, 1), rel=1e-12)
    assert found.gaussian_ratio == pytest.approx(found.ratio_bound, rel=1e-9)


@pytest.mark.parametrize("numbers", [(4, 1.5, 2, 0), (4, 0.5, 0.4, 0), (4, 0, 5, 0), (4, 0, 1, 2)])
def test_impossible_alignments_are_refused(numbers):
    with pytest.raises(ValueError, match="0 <= alpha <= 1"):
        Alignment(*numbers)


def best_ranks(v, N, budget, rows):
    """The smallest sum over all integer ranks within the budget."""
    grids = product(*(range(1, B + 1) for B in rows))
    return min(
        sum(x / q for x, q in zip(v, p, strict=True)) for p in grids if np.dot(p, N) <= budget
    )


plans = st.integers(1, 3).flatmap(
    lambda layers: st.tuples(
        st.lists(st.integers(0, 60), min_size=layers, max_size=layers),
        st.lists(st.integers(1, 9), min_size=layers, max_size=layers),
    )
)


@given(plans, st.integers(0, 25))
def test_ranks_are_the_best_integers_for_equal_costs(plan, spare):
    v, rows = plan
    found = optimal_ranks(v, np.full(len(v), 3.0), 3.0 * (len(v) + spare), rows)
    assert found.sum() <= len(v) + spare
    assert np.all((found >= 1) & (found <= rows))
    wanted = best_ranks(v, np.ones(len(v)), len(v) + spare, rows)
    assert sum(x / p for x, p in zip(v, found, strict=True)) == pytest.approx(wanted, rel=1e-12)


@given(plans, st.lists(st.integers(1, 4), min_size=3, max_size=3), st.integers(0, 40))
def test_ranks_for_unequal_costs_leave_no_room(plan, costs, spare):
    v, rows = plan
    N = np.array(costs[: len(v)], dtype=float)
    budget = N.sum() + spare
    found = optimal_ranks(v, N, budget, rows)
    left = budget - found @ N
    assert left >= 0
    assert not any(v[k] > 0 and found[k] < rows[k] and N[k] <= left for k in range(len(v)))


@pytest.mark.parametrize("unit", [0.1, 0.3, 3.7, 1e-9, 7e11])
def test_ranks_do_not_depend_on_the_unit_of_cost(unit):
    for v, costs, budget in [
        ([7.0, 1.0], [1, 1], 3),
        ([700.0, 0.0, 1.0], [1, 1, 1], 4),
        ([1.0, 1.0, 1.0], [1, 1, 1], 3),
        ([5.0, 3.0, 2.0], [3, 1, 2], 29),
        (list(range(1, 41)), [1] * 40, 77),
    ]:
        whole = np.sum(v / optimal_ranks(v, costs, budget, 9))
        for paid in (unit * budget, sum([unit] * budget)):
            found = optimal_ranks(v, unit * np.array(costs), paid, 9)
            assert np.sum(v / found) == pytest.approx(whole, rel=1e-12)
            less = optimal_ranks(v, unit * np.array(costs), paid * (1 - 1e-9) + unit, 9)
            assert np.dot(less, costs) <= budget  # a budget that is not met buys no row


@pytest.mark.parametrize("budget", [700, 2000, 9000])
def test_real_ranks_satisfy_the_optimality_conditions(budget):
    from odecore.sketching._ranks import _real_sizes

    rng = np.random.default_rng(2)
    v, N = rng.lognormal(0, 3, 7), rng.integers(8, 90, 7).astype(float)
    B = np.full(7, 40.0)
    found = _real_sizes(v, N, budget, B)
    assert found @ N == pytest.approx(budget)
    free, gain = (found > 1) & (found < B), v / found**2 / N  # per cost
    price = gain[free].mean()
    np.testing.assert_allclose(gain[free], price, rtol=1e-9)
    assert np.all(gain[found == B] >= price * (1 - 1e-9))
    assert np.all(gain[found == 1] <= price * (1 + 1e-9))
    # Clipping the unlimited ranks, without handing on what that frees, misses the budget.
    clipped = np.clip(budget * np.sqrt(v / N) / np.sum(np.sqrt(v * N)), 1, B)
    assert clipped @ N != pytest.approx(budget, rel=1e-3)
    bounds = [(1, b) for b in B]
    limit = {"type": "ineq", "fun": lambda p: budget - p @ N}
    other = minimize(lambda p: np.sum(v / p), clipped, bounds=bounds, constraints=limit)
    assert np.sum(v / found) <= other.fun * (1 + 1e-6) or other.x @ N > budget


def test_ranks_without_limits_are_the_formula():
    v, N, budget = np.array([4.0, 9.0, 16.0]), np.array([1.0, 4.0, 1.0]), 1800.0
    wanted = budget * np.sqrt(v / N) / np.sum(np.sqrt(v * N))
    assert np.all(optimal_ranks(v, N, budget, 10**6) == wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1], [1], 9, 4), "one entry for each layer"),
        (([], [], 9, 4), "one entry for each layer"),
        (([1, -1], [1, 1], 9, 4), "`variances` must be finite and >= 0"),
        (([1, 1], [1, 0], 9, 4), "`costs` must be finite and > 0"),
        (([1, 1], [1, 1], 9, [4, 0]), "`rows` must be finite integers >= 1"),
        (([1, 1], [1, 1], 9, [4, 2.5]), "`rows` must be finite integers >= 1"),
        (([1, 1], [4, 5], 8, 4), "one row for each layer, 9 in all, got 8"),
        (([1, 1], [1, 1], 9, inf), "`rows` must be finite integers >= 1"),
        (([1, 1], [1, 1], 9, [4, 4, 4]), r"one for each of the 2 layers, got shape \(3,\)"),
        (([1, 1], [1, 1], 9, [[4, 4]]), r"one for each of the 2 layers, got shape \(1, 2\)"),
        (([1, 1], [4, 5], inf, 4), "`budget` must be finite, got inf; where all fits, keep all"),
        (([1, 1], [4, 5], np.nan, 4), "`budget` must be finite, got nan"),
    ],
)
def test_plans_that_can_not_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimal_ranks(*arguments)


@given(seeds)
def test_when_balanced_buckets_beat_uniform_rows(seed):
    X, Y = batch(seed)
    X = X * np.random.default_rng(seed).lognormal(0, 1, (6, 1))
    found = alignment(X, Y)
    better = variance(BalancedCountSketch(3), X, Y) < variance(UniformRows(3), X, Y)
    assert better == ((1 + 2 / 6) * found.tau > 1 + 2 * found.alpha)
