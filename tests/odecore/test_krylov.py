"""GMRES against dense solves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odecore._krylov import gmres, restarted_gmres


@pytest.mark.parametrize("reads", [True, False])
def test_solution_of_a_dense_system(xp, dtype, array, eps, rng, reads):
    A, b = np.eye(12) + 0.4 * rng.standard_normal((12, 12)), rng.standard_normal((3, 4))
    matrix, right = array(A), array(b)
    product = lambda x: xp.reshape(xp.matmul(matrix, xp.reshape(x, (12,))), (3, 4))  # noqa: E731
    x, residual, count = gmres(product, right, 1e-15, 12, reads)
    exact = np.linalg.solve(A, b.ravel()).reshape(3, 4)
    np.testing.assert_allclose(np.asarray(x), exact, atol=2e3 * eps, rtol=0)
    assert float(residual) < 100 * eps
    assert count <= 12
    assert x.dtype == right.dtype


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_of_the_right_side_may_leave_single_precision(xp, array, rng, reads, size):
    A, b = np.eye(6) + 0.2 * rng.standard_normal((6, 6)), rng.standard_normal(6)
    matrix, right = (xp.astype(array(values), xp.float32) for values in (A, size * b))
    x, residual, _ = gmres(lambda v: xp.matmul(matrix, v), right, 1e-6, 6, reads)
    np.testing.assert_allclose(np.asarray(x) / size, np.linalg.solve(A, b), atol=1e-4)
    assert 0 <= float(residual) < 1e-5


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6), st.booleans())
def test_the_residual_is_the_one_reported(n, size, seed, complex_):
    rng = np.random.default_rng(seed)
    A, b = rng.standard_normal((n, n)), rng.standard_normal(n)
    if complex_:
        A, b = A + 1j * rng.standard_normal((n, n)), b + 1j * rng.standard_normal(n)
    for reads in (True, False):
        x, residual, _ = gmres(lambda v: A @ v, b, 0.0, size, reads)
        true = np.linalg.norm(b - A @ x) / np.linalg.norm(b)
        assert float(residual) == pytest.approx(true, abs=1e-8)
        assert true <= 1 + 1e-12  # from zero, and never worse


def test_the_space_is_the_krylov_space_and_stops_growing_where_that_does():
    # Three distinct eigenvalues: three products.
    d = np.repeat([1.0, 2.0, 5.0], 20)
    calls = []
    x, residual, count = gmres(lambda v: (calls.append(1), d * v)[1], np.ones(60), 1e-12, 40)
    assert count == len(calls) == 3
    assert residual < 1e-12
    np.testing.assert_allclose(x, 1 / d)
    x, residual, count = gmres(lambda v: d * v, np.ones(60), 1e-12, 40, False)
    assert count == 40
    np.testing.assert_allclose(x, 1 / d)


def test_operators_that_are_linear_over_the_real_numbers_only():
    b = np.array([1 + 2j, -0.5j, 3.0])
    x, _, _ = gmres(lambda v: v + 0.5 * v.conj(), b, 1e-14, 6)
    np.testing.assert_allclose(x + 0.5 * x.conj(), b, atol=1e-13)


@pytest.mark.parametrize("reads", [True, False])
def test_nothing_to_solve(reads):
    for b in (np.zeros(3), np.zeros((0, 2))):
        x, residual, _ = gmres(lambda v: v, b, 1e-10, 3, reads)
        assert x.shape == b.shape
        assert not np.any(x)
        assert residual == 0


def test_a_singular_operator_is_seen_in_the_residual():
    A = np.diag([1.0, 1.0, 0.0])
    _, residual, _ = gmres(lambda v: A @ v, np.ones(3), 1e-10, 3)
    assert residual == pytest.approx(3**-0.5)


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize(("n", "least"), [(2, 0.01), (3, 0.01), (6, 0.5), (12, 0.5), (30, 0.5)])
def test_what_is_singular_to_rounding_is_never_said_to_be_solved(n, least, reads, rng):
    for _ in range(300):
        A, b = rng.standard_normal((n, n)), rng.standard_normal(n)
        A[-1] = rng.standard_normal(n - 1) @ A[:-1]
        x, residual, _ = gmres(lambda v, A=A: A @ v, b, 0.0, n, reads)
        assert residual >= least * np.linalg.norm(b - A @ x) / np.linalg.norm(b)


def test_values_are_not_read_on_a_device_without_any():
    import torch

    b = torch.ones(4, 3, device="meta")
    x, residual, count = gmres(lambda v: 2 * v, b, 1e-10, 5, False)
    assert x.shape == (4, 3)
    assert residual.shape == ()
    assert count == 5


def test_restarts_reach_the_tolerance_where_one_space_does_not(rng):
    A, b = np.diag(np.linspace(1, 100, 60)), rng.normal(size=60)
    _, residual, _ = gmres(lambda x: A @ x, b, 1e-8, 10)
    assert residual > 1e-3
    x, left = restarted_gmres(lambda x: A @ x, b, 1e-8, 10, 50)
    assert left <= 1e-8
    assert np.linalg.norm(b - A @ x) <= 1.01e-8 * np.linalg.norm(b)
    # A rotation does not let small spaces get anywhere: restarts end.
    calls = []
    _, left = restarted_gmres(
        lambda x: calls.append(x) or np.roll(x, 1), np.eye(60)[0], 1e-8, 10, 50
    )
    assert (len(calls), left) == (10, 1.0)
    assert np.isnan(restarted_gmres(lambda x: x * np.nan, b, 1e-8, 10, 50)[0]).all()
