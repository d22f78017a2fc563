"""Sketched products: unbiased, with exactly the variance that is claimed."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.sketching import (
    GaussianSketch,
    Moments,
    UniformRows,
    minibatch_variance,
    moments,
    sketched_product,
    variance,
)
from tests.helpers.statistics import mean_agrees

SKETCHES = (GaussianSketch, UniformRows)
F = Fraction

small = st.integers(-3, 3)


def matrices(rows, columns):
    return st.lists(
        st.lists(small.map(F), min_size=columns, max_size=columns), min_size=rows, max_size=rows
    )


def gram(X, Y):
    return [
        [sum(X[k][i] * Y[k][j] for k in range(len(X))) for j in range(len(Y[0]))]
        for i in range(len(X[0]))
    ]


def squared(G):
    return sum(x * x for row in G for x in row)


def exact_moments(X, Y):
    norms = [(sum(a * a for a in x), sum(b * b for b in y)) for x, y in zip(X, Y, strict=True)]
    return Moments(
        len(X),
        sum(n for n, _ in norms),
        sum(n for _, n in norms),
        squared(gram(X, Y)),
        sum(a * b for a, b in norms),
    )


@given(matrices(4, 2), matrices(4, 3), st.integers(1, 4))
def test_uniform_rows_by_complete_enumeration(X, Y, p):
    # Every subset of p rows, equally likely: mean and variance are rational numbers.
    G = gram(X, Y)
    draws = []
    for kept in combinations(range(4), p):
        estimate = gram([X[k] for k in kept], [Y[k] for k in kept])
        draws.append([[F(4, p) * x for x in row] for row in estimate])
    for i, j in product(range(2), range(3)):
        assert sum(draw[i][j] for draw in draws) / len(draws) == G[i][j]
    errors = [
        squared([[a - b for a, b in zip(r, g, strict=True)] for r, g in zip(draw, G, strict=True)])
        for draw in draws
    ]
    wanted = sum(errors, F(0)) / len(errors)
    found = UniformRows(p).variance(exact_moments(X, Y))
    assert found == pytest.approx(float(wanted), rel=1e-12, abs=1e-12)
    if p == 4:
        assert found == 0


@given(matrices(3, 2), matrices(3, 2), st.integers(1, 5))
def test_gaussian_by_isserlis_theorem(X, Y, p):
    # Master identity Var = sum K_ik L_jl Cov(W_ij, W_kl), W = S S^T; for entries N(0, 1/p)
    # Isserlis gives Cov(W_ij, W_kl) = (d_ik d_jl + d_il d_jk)/p.
    B = range(3)
    K = [[sum(a * b for a, b in zip(X[i], X[k], strict=True)) for k in B] for i in B]
    L = [[sum(a * b for a, b in zip(Y[i], Y[k], strict=True)) for k in B] for i in B]
    wanted = sum(
        K[i][k] * L[j][m] * F((i == k) * (j == m) + (i == m) * (j == k), p)
        for i, j, k, m in product(B, repeat=4)
    )
    assert GaussianSketch(p).variance(exact_moments(X, Y)) == wanted


def test_the_published_sign_is_wrong():
    # X = Y = one unit vector: W is a chi-squared mean, of variance 2/p and not 0.
    x = [[F(1)]]
    m = exact_moments(x, x)
    assert GaussianSketch(3).variance(m) == F(2, 3)
    assert (m.x * m.y - m.product) / 3 == 0


def data(rng, array):
    X, Y = rng.standard_normal((24, 5)), rng.standard_normal((24, 3)) + 0.3
    return array(X), array(Y)


def squared_errors(sketch, X, Y, rng):
    exact = np.asarray(X).T @ np.asarray(Y)

    def sample(n):
        return [
            np.sum((np.asarray(sketched_product(sketch, X, Y, rng)) - exact) ** 2) for _ in range(n)
        ]

    return sample


@pytest.mark.parametrize("kind", SKETCHES)
@pytest.mark.parametrize("size", [1, 7, 24])
def test_estimates_are_unbiased(kind, size, rng):
    X = rng.standard_normal((24, 3)) + 1
    Y = X[:, :2] + rng.standard_normal((24, 2))
    exact = X.T @ Y
    direction = exact / np.linalg.norm(exact)

    def sample(n):
        return [(sketched_product(kind(size), X, Y, rng) * direction).sum() for _ in range(n)]

    assert mean_agrees(sample, (exact * direction).sum())
    if size < 24 or kind is GaussianSketch:  # with p = B rows there is no noise to test against
        assert not mean_agrees(sample, 2 * (exact * direction).sum())


@pytest.mark.parametrize("kind", SKETCHES)
def test_measured_variance_is_the_claimed_one(kind, xp, array, rng):
    X, Y = data(rng, array)
    claimed = float(variance(kind(6), X, Y))
    few = 120 if xp.__name__ in {"jax.numpy", "array_api_strict"} else 500
    sample = squared_errors(kind(6), X, Y, rng)
    assert mean_agrees(sample, claimed, start=few, rounds=3)


@pytest.mark.parametrize("kind", SKETCHES)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_variance_wrong_by_a_factor_2_is_seen(kind, factor, rng):
    X, Y = data(rng, np.asarray)
    wrong = factor * float(variance(kind(6), X, Y))
    assert not mean_agrees(squared_errors(kind(6), X, Y, rng), wrong)


def test_the_wrong_sign_is_seen(rng):
    x = np.ones((4, 1)) / 2
    sample = squared_errors(GaussianSketch(6), x, x, rng)
    m = moments(x, x)
    assert mean_agrees(sample, (m.x * m.y + m.product) / 6)
    assert not mean_agrees(sample, (m.x * m.y - m.product) / 6)


def test_moments_on_every_array_library(array, eps, rng):
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    found, wanted = moments(array(X), array(Y)), moments(X, Y)
    for name in ("x", "y", "product", "rowwise"):
        assert float(getattr(found, name)) == pytest.approx(
            float(getattr(wanted, name)), rel=50 * eps
        )
    for kind in SKETCHES:
        assert float(variance(kind(3), array(X), array(Y))) == pytest.approx(
            float(variance(kind(3), X, Y)), rel=200 * eps
        )


def test_the_same_generator_gives_the_same_draw_everywhere(array, rng):
    X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    for kind in SKETCHES:
        here = sketched_product(kind(4), array(X), array(Y), np.random.default_rng(5))
        there = sketched_product(kind(4), X, Y, np.random.default_rng(5))
        np.testing.assert_allclose(np.asarray(here), there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5])
def test_all_rows_are_exact(rows, rng):
    X, Y = rng.standard_normal((rows, 4)), rng.standard_normal((rows, 2))
    np.testing.assert_allclose(sketched_product(UniformRows(rows), X, Y, rng), X.T @ Y, rtol=1e-12)
    assert variance(UniformRows(rows), X, Y) == 0


def test_minibatch_variance_is_unbiased_by_enumeration():
    # Batches of 3 rows drawn with replacement from a population of 3: all 27 of them.
    X = [[F(1), F(2)], [F(0), F(-1)], [F(3), F(1)]]
    Y = [[F(1)], [F(2)], [F(-1)]]
    batches = list(product(range(3), repeat=3))
    sums = [gram([X[k] for k in batch], [Y[k] for k in batch]) for batch in batches]
    mean = [[sum(s[i][0] for s in sums) / 27] for i in range(2)]
    true = sum(sum((s[i][0] - mean[i][0]) ** 2 for i in range(2)) for s in sums) / 27
    estimates = [
        minibatch_variance(
            np.array([X[k] for k in batch], dtype=float),
            np.array([Y[k] for k in batch], dtype=float),
        )
        for batch in batches
    ]
    assert np.mean(estimates) == pytest.approx(float(true), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GaussianSketch(0), ValueError, "positive int, got 0"),
        (lambda: UniformRows(-1), ValueError, "positive int, got -1"),
        (lambda: UniformRows(2.0), ValueError, "positive int, got 2.0"),
        (lambda: variance(UniformRows(5), np.ones((4, 1)), np.ones((4, 1))), ValueError, "size 5 for 4"),
        (
            lambda: sketched_product(
                UniformRows(5), np.ones((4, 1)), np.ones((4, 1)), np.random.default_rng(0)
            ),
            ValueError, "size 5 for 4 rows",
        ),
        (lambda: moments(np.ones((3, 1)), np.ones((4, 1))), ValueError, r"\(3, 1\) and \(4, 1\)"),
        (lambda: moments(np.ones(3), np.ones((3, 1))), ValueError, "must be matrices"),
        (lambda: moments(np.ones((0, 1)), np.ones((0, 1))), ValueError, "positive number of rows"),
        (lambda: moments(np.ones((3, 1), dtype=int), np.ones((3, 1))), TypeError, "floating-point"),
        (lambda: minibatch_variance(np.ones((1, 2)), np.ones((1, 2))), ValueError, "at least 2 rows"),
        (
            lambda: sketched_product(GaussianSketch(2), np.ones((4, 1)), np.ones((4, 1)), 7),
            TypeError, "numpy.random.Generator",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_complex_matrices_are_refused():
    X = np.ones((3, 2)) * 1j
    for call in (
        moments,
        minibatch_variance,
        lambda a, b: sketched_product(UniformRows(2), a, b, np.random.default_rng(0)),
    ):
        with pytest.raises(TypeError, match="real"):
            call(X, np.ones((3, 1)))
