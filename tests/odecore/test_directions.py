"""The equiangular direction: properties, edge cases, certificate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from odecore.directions import equiangular_weights, gramian


@st.composite
def jacobians(draw, largest=8):
    m = draw(st.integers(1, largest))
    n = draw(st.integers(1, 12))
    J = draw(arrays(np.float64, (m, n), elements=st.floats(-1, 1, width=32)))
    rows = np.linalg.norm(J, axis=1)
    J[rows < 1e-3] = np.eye(m, n)[rows < 1e-3] + 0.5
    exponents = draw(arrays(np.float64, (m, 1), elements=st.floats(-6, 6)))
    return J * 10**exponents


def cosines(J, d):
    return (J @ d) / np.linalg.norm(J, axis=1) / np.linalg.norm(d)


@given(jacobians())
def test_no_conflict_and_equal_decrease_on_the_active_set(J):
    found = equiangular_weights(gramian(J))
    assert (found.weights >= 0).all()
    if found.stationary:
        assert (found.weights == 0).all()
        return
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    # Near stationarity, rounding in d grows like eps over the worst cosine.
    tolerance = 1e-10 + 1e-12 / found.worst_cosine
    c = cosines(J, J.T @ found.weights)
    np.testing.assert_allclose(found.cosines, c, atol=tolerance)
    active = found.weights > 0
    assert np.ptp(c[active]) < tolerance
    assert (c >= found.worst_cosine - tolerance).all()
    assert c.min() > -tolerance
    assert found.duality_gap < 1e-12


@given(jacobians(4))
def test_no_other_direction_has_a_better_worst_cosine(J):
    found = equiangular_weights(gramian(J))
    worst = 0.0 if found.stationary else found.worst_cosine
    unit = J / np.linalg.norm(J, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    others = rng.standard_normal((300, J.shape[1]))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert (unit @ others.T).min(axis=0).max() <= worst + 1e-7


@pytest.mark.parametrize(("m", "n"), [(3, 20), (5, 5), (8, 3), (20, 30)])
def test_agrees_with_a_general_optimizer(m, n, rng):
    for _ in range(5):
        J = rng.standard_normal((m, n)) * 10 ** rng.uniform(-2, 2, (m, 1))
        unit = J / np.linalg.norm(J, axis=1, keepdims=True)
        C = unit @ unit.T
        best = minimize(
            lambda a, C=C: a @ C @ a,
            np.full(m, 1 / m),
            jac=lambda a, C=C: 2 * C @ a,
            bounds=[(0, 1)] * m,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        found = equiangular_weights(gramian(J))
        squared = 0.0 if found.stationary else found.worst_cosine**2
        assert squared <= best.fun + 1e-12
        assert squared == pytest.approx(best.fun, abs=1e-6)


def test_many_objectives_where_most_closed_forms_are_negative(rng):
    for m in (5, 32, 128):
        J = rng.standard_normal((m, m))
        found = equiangular_weights(gramian(J))
        c = cosines(J, J.T @ found.weights)
        assert np.ptp(c[found.weights > 0]) < 1e-10
        assert c.min() >= found.worst_cosine - 1e-10


@given(jacobians(5), st.randoms(), st.integers(0, 2**31))
def test_invariances(J, random, seed):
    found = equiangular_weights(gramian(J))
    if found.stationary or found.worst_cosine < 1e-3:
        return
    d = J.T @ found.weights
    unit = d / np.linalg.norm(d)
    m, n = J.shape
    # Positive rescaling of an objective leaves the direction.
    scales = np.random.default_rng(seed).uniform(0.01, 100, (m, 1))
    rescaled = equiangular_weights(gramian(scales * J))
    other = (scales * J).T @ rescaled.weights
    np.testing.assert_allclose(other / np.linalg.norm(other), unit, atol=1e-8)
    # Rotation of parameter space leaves the weights' direction.
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    rotated = equiangular_weights(gramian(J @ Q))
    other = J.T @ rotated.weights
    np.testing.assert_allclose(other / np.linalg.norm(other), unit, atol=1e-8)
    # Order of the objectives.
    order = list(range(m))
    random.shuffle(order)
    other = J[order].T @ equiangular_weights(gramian(J[order])).weights
    np.testing.assert_allclose(other / np.linalg.norm(other), unit, atol=1e-8)
    # Homogeneous of degree one.
    np.testing.assert_allclose(
        equiangular_weights(gramian(3 * J)).weights, found.weights, rtol=1e-9
    )


def test_two_objectives_give_the_bisector_of_the_paper(rng):
    g1, g2 = rng.standard_normal((2, 6)) * [[1.0], [30.0]]
    n1, n2 = np.linalg.norm(g1), np.linalg.norm(g2)
    d = np.stack([g1, g2]).T @ equiangular_weights(gramian([g1, g2])).weights
    np.testing.assert_allclose(d, (n2 * g1 + n1 * g2) / (n1 + n2), rtol=1e-12)


def test_the_direction_is_not_linear_under_scaling():
    J = np.array([[1.0, 0.0], [0.0, 1.0]])
    d = J.T @ equiangular_weights(gramian(J)).weights
    J[0] *= 2
    assert not np.allclose(J.T @ equiangular_weights(gramian(J)).weights, [2 * d[0], d[1]])


@pytest.mark.parametrize(
    ("J", "stationary"),
    [
        ([[1.0, 2.0]], False),
        ([[1.0, 0.0], [-1.0, 0.0]], True),
        ([[1.0, 0.0], [-3.0, 0.0], [0.0, 1.0]], True),
        ([[1.0, 0.0], [1.0, 0.0]], False),
        ([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], False),
        ([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]], True),
        ([[0.0, 0.0], [1.0, 0.0]], True),
        ([[0.0, 0.0]], True),
        ([[1e-100, 0.0], [0.0, 1e100]], False),
    ],
)
def test_edge_cases(J, stationary):
    J = np.array(J)
    found = equiangular_weights(gramian(J))
    assert found.stationary is stationary
    if stationary:
        assert (found.weights == 0).all()
    else:
        d = J.T @ found.weights
        assert (J @ d > 0).all()
        c = cosines(J, d)
        assert np.ptp(c[found.weights > 0]) < 1e-10


def test_a_zero_gradient_may_be_dropped():
    found = equiangular_weights(gramian([[0.0, 0.0], [3.0, 4.0]]), on_zero="drop")
    np.testing.assert_array_equal(found.weights, [0, 1])
    assert not found.stationary
    all_zero = equiangular_weights(np.zeros((2, 2)), on_zero="drop")
    assert all_zero.stationary


def test_every_array_library_and_precision(array, eps, rng):
    J = rng.standard_normal((4, 30))
    found = equiangular_weights(gramian(array(J)))
    assert found.weights.dtype == np.float64
    np.testing.assert_allclose(found.weights, equiangular_weights(J @ J.T).weights, atol=100 * eps)


def test_wide_scales_in_float32_keep_the_direction(rng):
    # The Gramian is formed in float64: norms 1 : 1e4 : 1e8 would drown in float32.
    J = (np.eye(3, 9) * [[1.0], [1e4], [1e8]]).astype(np.float32)
    d = J.T.astype(float) @ equiangular_weights(gramian(J)).weights
    np.testing.assert_allclose(d[:3] / np.linalg.norm(d), 3**-0.5, rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equiangular_weights(np.zeros((0, 0))), "at least one; got shape"),
        (lambda: equiangular_weights(np.ones((2, 3))), "square matrix"),
        (lambda: equiangular_weights(np.ones(3)), "square matrix"),
        (lambda: equiangular_weights([[1.0, np.nan], [np.nan, 1.0]]), "must be finite"),
        (lambda: equiangular_weights([[1.0, 0.0], [0.0, np.inf]]), r"objectives \[1\] are not"),
        (lambda: equiangular_weights([[-1.0]]), "non-negative diagonal"),
        (lambda: equiangular_weights([[1.0, 0.5], [0.1, 1.0]]), "symmetric"),
        (lambda: equiangular_weights(np.eye(2), on_zero="ignore"), "`on_zero` must be"),
        (lambda: gramian(np.ones(3)), "row for each objective"),
        (lambda: gramian(np.ones((0, 3))), "at least one"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_jacobians_are_refused():
    with pytest.raises(TypeError, match="real"):
        gramian(np.array([[1j, 1.0]]))


def test_half_precision_jacobians():
    import torch

    assert gramian(torch.ones(2, 3, dtype=torch.bfloat16)).tolist() == [[3, 3], [3, 3]]


def test_rounding_is_no_asymmetry():
    equiangular_weights([[1.0, 1e-18], [2e-18, 1.0]])


def test_near_dependence_stays_exact(rng):
    for _ in range(200):
        m, n = rng.integers(3, 7), rng.integers(2, 4)
        J = rng.integers(-2, 3, (m, n)) + 1e-7 * rng.standard_normal((m, n))
        J[np.linalg.norm(J, axis=1) < 0.5] = 1.0
        found = equiangular_weights(gramian(J))
        assert abs(found.duality_gap) < 1e-11
