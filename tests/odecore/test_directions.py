"""The equiangular direction: properties, edge cases, certificate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog, minimize

from odecore.directions import (
    _pareto,
    equiangular_weights,
    gramian,
    min_norm_weights,
    pareto_stationarity,
)
from odecore.directions._nonnegative import nonnegative_minimizer
from odecore.solve import Event, Status, solve_ivp


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
    # Homogeneous of degree one. Nearly dependent gradients leave the weights to rounding, which
    # powers of two do not have, but not the direction.
    np.testing.assert_allclose(
        equiangular_weights(gramian(4 * J)).weights, found.weights, rtol=1e-12
    )
    other = J.T @ equiangular_weights(gramian(3 * J)).weights
    np.testing.assert_allclose(other / np.linalg.norm(other), unit, atol=1e-8)


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
    assert all_zero.worst_cosine == 0
    of_kept = equiangular_weights(np.diag([1.0, 4.0, 0.0]), on_zero="drop")
    assert of_kept.worst_cosine == pytest.approx(0.5**0.5)
    assert equiangular_weights(np.diag([1.0, 4.0, 0.0])).worst_cosine == 0


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


@pytest.mark.parametrize("found", [[[1.0, 2.0], [3.0]], [["1", "0"], ["0", "1"]], [[None]], "1"])
def test_what_holds_no_numbers_is_refused_by_name(found):
    for ask, label in (
        (gramian, "jacobian"),
        (equiangular_weights, "gramian"),
        (min_norm_weights, "gramian"),
        (pareto_stationarity, "gramian"),
    ):
        with pytest.raises(TypeError, match=f"`{label}` must be a real number, or an array of th"):
            ask(found)


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


DEGENERATE = {
    "duplicate": [[3.0, 1.0, 0.0], [3.0, 1.0, 0.0], [0.0, 1.0, 2.0]],
    "parallel": [[3.0, 1.0, 0.0], [30.0, 10.0, 0.0], [0.0, 1.0, 2.0]],
    "dependent": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, -0.5, 0.0]],
    "cone": [[1, 1, 2], [1, -1, 2], [-1, 1, 2], [-1, -1, 2], [0, 0, 1.0]],
}


@pytest.mark.parametrize("J", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_dependent_gradients_at_any_scale(J, scale):
    J = np.array(J) * scale
    found = equiangular_weights(gramian(J))
    d = (J / scale).T @ found.weights
    c = cosines(J / scale, d)
    assert c.min() > 0
    assert np.ptp(c[found.active]) < 1e-13
    np.testing.assert_allclose(found.cosines, c, atol=1e-13)


def test_of_dependent_gradients_the_least_norm_is_taken():
    # A cone over a square has many combinations; only one of them is symmetric.
    found = equiangular_weights(gramian(DEGENERATE["cone"]))
    np.testing.assert_allclose(found.multipliers, [0.25, 0.25, 0.25, 0.25, 0], atol=1e-13)
    same = equiangular_weights(gramian(DEGENERATE["duplicate"]))
    assert same.weights[0] == pytest.approx(same.weights[1], rel=1e-12)
    # Where the least solution of either sign is negative: four points above one line.
    J = np.array([[x, 1.0, 0.0] / np.hypot(x, 1.0) for x in (-2.0, 0.1, 0.2, 3.0)])
    J = np.column_stack([J[:, :2] * 0.6, np.full(4, 0.8)])
    best = equiangular_weights(gramian(J))
    c = cosines(J, J.T @ best.weights)
    assert np.ptp(c[best.active]) < 1e-12
    assert c.min() == pytest.approx(best.worst_cosine, abs=1e-12)


@given(st.integers(2, 6), st.integers(0, 2**31), st.randoms())
def test_weights_follow_a_permutation_also_of_dependent_gradients(m, seed, random):
    rng = np.random.default_rng(seed)
    J = rng.integers(-1, 3, (m, 2)).astype(float)
    J[(J == 0).all(axis=1)] = 1.0
    order = list(range(m))
    random.shuffle(order)
    found, other = equiangular_weights(gramian(J)), equiangular_weights(gramian(J[order]))
    assert found.stationary is other.stationary
    np.testing.assert_allclose(other.weights, found.weights[order], atol=1e-8)


def test_weights_follow_a_permutation_of_almost_equal_gradients(rng):
    # Between equal and different gradients the weights jump, but not by their order.
    for distance in (1e-5, 1e-6, *np.geomspace(1e-7, 1e-6, 12), 3e-9, 1e-10, 1e-13, 1e-15):
        for _ in range(10):
            J = rng.standard_normal((5, 7)) + 0.5
            J[1] = 2 * J[0] + distance * rng.standard_normal(7)
            J[3] = J[2] + distance * rng.standard_normal(7)
            order = rng.permutation(5)
            found, other = (equiangular_weights(gramian(K)) for K in (J, J[order]))
            np.testing.assert_allclose(other.weights, found.weights[order], atol=1e-10)
            assert other.length == pytest.approx(found.length, rel=1e-10)


@given(jacobians())
def test_rates_are_the_products_with_the_direction(J):
    for found in (equiangular_weights(gramian(J)), min_norm_weights(gramian(J))):
        d = J.T @ found.weights
        scale = np.linalg.norm(J, axis=1) * (found.weights @ np.linalg.norm(J, axis=1))
        np.testing.assert_allclose(
            found.rates / np.maximum(scale, 1e-300), J @ d / np.maximum(scale, 1e-300), atol=1e-7
        )
        assert (found.rates >= 0).all()
        assert found.multipliers.sum() == pytest.approx(1)


def test_scalings_share_the_direction_and_differ_in_length(rng):
    J = rng.standard_normal((3, 8)) * [[1.0], [7.0], [0.2]]
    found = {s: equiangular_weights(gramian(J), scaling=s) for s in ("harmonic", "min", "unit")}
    lengths = {s: np.linalg.norm(J.T @ w.weights) for s, w in found.items()}
    for s, w in found.items():
        np.testing.assert_allclose(w.weights / w.weights.sum(), found["harmonic"].weights)
        assert w.length == pytest.approx(lengths[s])
    worst = found["unit"].worst_cosine
    assert lengths["unit"] == pytest.approx(worst)
    assert lengths["min"] == pytest.approx(worst * np.linalg.norm(J, axis=1).min())
    assert found["harmonic"].weights.sum() == pytest.approx(1)
    degree = {"harmonic": 1, "min": 1, "unit": 0}
    for s in found:
        d = 5 * J.T @ equiangular_weights(gramian(5 * J), scaling=s).weights
        assert np.linalg.norm(d) == pytest.approx(5 ** degree[s] * lengths[s])


def test_the_min_scaling_is_monotone_up_to_twice_the_inverse_curvature(rng):
    # f_i = |x - c_i|^2 s_i / 2 has L = s_i; the others are flatter.
    centres, L = rng.standard_normal((5, 7)), np.array([1.0, 0.5, 0.3, 1.0, 0.9])
    values = lambda x: L * ((x - centres) ** 2).sum(axis=1) / 2  # noqa: E731
    x, h = np.full(7, 4.0), 1.99
    for _ in range(40):
        J = L[:, None] * (x - centres)
        found = equiangular_weights(gramian(J), scaling="min")
        if found.worst_cosine < 1e-6:
            break
        moved = x - h * J.T @ found.weights
        assert (values(moved) < values(x)).all()
        x = moved


@pytest.mark.parametrize("m", [2, 3, 8, 40])
def test_gramians_in_float32(m, rng):
    J = rng.standard_normal((m, 12)).astype(np.float32) + 1
    found = equiangular_weights(J @ J.T)
    wide = J.astype(float)
    assert cosines(wide, wide.T @ found.weights).min() > 0
    squared = equiangular_weights(wide @ wide.T).worst_cosine ** 2
    assert found.worst_cosine**2 == pytest.approx(squared, abs=1e-5)


def test_a_float32_gramian_of_opposite_gradients_is_stationary(rng):
    g = rng.standard_normal(1000).astype(np.float32)
    J = np.stack([g, -3 * g, rng.standard_normal(1000).astype(np.float32)])
    C = J @ J.T
    C[0, 1] = C[1, 0] = C[0, 1] * np.float32(1 - 2e-7)
    assert equiangular_weights(C).stationary


@given(jacobians())
def test_the_min_norm_point_is_the_shortest(J):
    found = min_norm_weights(gramian(J))
    n = np.linalg.norm(J, axis=1)
    assert found.multipliers.sum() == pytest.approx(1)
    d = J.T @ found.multipliers
    # Optimal if no gradient has a smaller product with d than d itself (Wolfe's criterion).
    slack = (d @ d - J @ d) / (n * n.min())
    rounding = np.finfo(float).eps * n.max() / n.min()  # of d, a sum of gradients that may cancel
    assert slack.max() < 1e-10 + 4 * rounding
    assert found.length <= n.min() * (1 + 1e-12)


def test_min_norm_of_two_is_the_published_formula(rng):
    a, b = rng.standard_normal((2, 5)) * [[1.0], [1.5]]
    t = np.clip((b - a) @ b / ((a - b) @ (a - b)), 0, 1)
    np.testing.assert_allclose(min_norm_weights(gramian([a, b])).weights, [t, 1 - t], atol=1e-14)
    # Dominated by the smallest, which equiangular weights are not.
    J = np.diag([1.0, 100.0])
    assert min_norm_weights(gramian(J)).cosines[1] < 0.011
    np.testing.assert_allclose(equiangular_weights(gramian(J)).cosines, 0.5**0.5)
    far = min_norm_weights(gramian(np.diag([1e-150, 1e150])))
    np.testing.assert_array_equal(far.weights, [1, 0])


def test_min_norm_edge_cases():
    assert min_norm_weights(gramian([[0.0], [1.0]])).stationary
    assert min_norm_weights(gramian([[0.0], [1.0]]), on_zero="drop").weights.tolist() == [0, 1]
    assert min_norm_weights(gramian([[2.0], [-1.0]])).stationary
    assert min_norm_weights([[4.0]]).weights.tolist() == [1]


@pytest.mark.parametrize(
    ("J", "stationary", "proper"),
    [
        ([[1.0, 0.0], [-100.0, 0.0]], True, True),
        ([[1.0, 0.0], [-3.0, 0.0], [0.0, 1.0]], True, False),
        ([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]], True, True),
        ([[1.0, 0.0], [0.0, 1.0]], False, False),
        ([[0.0, 0.0], [1.0, 0.0]], True, False),
        ([[0.0, 0.0]], True, True),
        ([[1.0, 0.0], [-1.0, 1e-3]], False, False),
    ],
)
def test_pareto_stationarity(J, stationary, proper):
    J = np.array(J)
    found = pareto_stationarity(gramian(J))
    assert (found.stationary, found.proper) == (stationary, proper)
    assert found.multipliers.sum() == pytest.approx(1)
    combined = J.T @ found.multipliers
    if stationary:
        np.testing.assert_allclose(combined, 0, atol=1e-12)
    else:
        assert (J @ combined > 0).all()


@pytest.mark.parametrize("k", [10.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e8])
def test_proofs_with_small_multipliers(k):
    """With those of 1/k: all are found that rounding lets see, and none that are not there."""
    proper = [[0.0, 1.0, 0.0], [k, -1.0, 0.0], [-k, -1.0, 0.0]]  # 2 g_0 + g_1 + g_2 = 0
    assert pareto_stationarity(gramian(proper)).proper == (k < 1e5)
    assert pareto_stationarity(gramian(proper)).stationary
    for sine in (1.0, 0.1, 0.02):  # of g_0 to the plane of the others, whose cone it is outside
        aside = [[0.0, 1.0, sine], [k, -1.0, 0.0], [-k, -1.0, 0.0]]
        assert not pareto_stationarity(gramian(aside)).proper
    # Opposite to rounding, in a plane or aside: no proof includes g_0.
    for others in ([[k, 1.0, 0.0], [-k, -1.0, 0.0]], [[1.0, 0.0, 1 / k], [-3.0, 0.0, -3 / k]]):
        found = pareto_stationarity(gramian([[0.0, 1.0, 0.0], *others]))
        assert (found.stationary, found.proper) == (True, False)


def test_pareto_tolerance():
    G = gramian([[1.0, 0.0], [-1.0, 1e-3]])
    assert pareto_stationarity(G, tolerance=1e-2).stationary
    assert not pareto_stationarity(G, tolerance=0.0).stationary
    found = pareto_stationarity(G, tolerance=np.float32(0.25))
    assert (type(found.stationary), type(found.tolerance)) == (bool, float)
    for wrong in (-0.1, 1.0, float("nan"), np.full(2, 0.1)):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
            pareto_stationarity(G, tolerance=wrong)
    with pytest.raises(TypeError, match="`tolerance` must be a real number"):
        pareto_stationarity(G, tolerance="a")


def test_what_is_no_gramian_is_refused():
    with pytest.raises(ValueError, match="objectives 0 and 1 is 2 times"):
        equiangular_weights([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match=r"eigenvalue -0\.5"):
        equiangular_weights([[1.0, 0.75, -0.75], [0.75, 1.0, 0.75], [-0.75, 0.75, 1.0]])
    with pytest.raises(ValueError, match="`scaling` must be"):
        equiangular_weights([[1.0]], scaling="sum")


@pytest.mark.parametrize(("m", "n"), [(40, 30), (128, 65), (64, 20), (256, 129)])
def test_many_dependent_objectives(m, n, rng):
    J = rng.standard_normal((m, n)) + 0.3
    found = equiangular_weights(gramian(J))
    assert abs(found.duality_gap) < 1e-12
    if not found.stationary:
        c = cosines(J, J.T @ found.weights)
        assert np.ptp(c[found.active]) < 1e-10
        assert c.min() > 0


def test_minimisers_keep_their_conditions(rng):
    for _ in range(100):
        m, rank = rng.integers(1, 12), rng.integers(1, 12)
        A = rng.standard_normal((m, rank))
        M, target = A @ A.T, A @ rng.standard_normal(rank)
        a = nonnegative_minimizer(M, target)
        slope = M @ a - target
        assert (a >= 0).all()
        assert slope.min() > -1e-10
        assert abs(slope[a > 1e-9]).max(initial=0) < 1e-10


@pytest.mark.parametrize("scaling", ["harmonic", "min", "unit"])
def test_the_flow_lowers_all_objectives_and_ends_at_a_pareto_point(scaling):
    curvatures = np.array([[1.0, 4.0, 2.0], [300.0, 100.0, 100.0]])
    minima = np.array([[1.0, 0.0, 0.0], [-1.0, 2.0, 1.0]])
    jacobian = lambda x: curvatures * (x - minima)  # noqa: E731
    weights = lambda x: equiangular_weights(gramian(jacobian(x)), scaling=scaling)  # noqa: E731
    stop = Event(lambda t, x: weights(x).worst_cosine - 1e-2, terminal=True, direction=-1)
    found = solve_ivp(
        lambda t, x: -jacobian(x).T @ weights(x).weights,
        (0, 100),
        np.array([4.0, 3.0, -5.0]),
        rtol=1e-6,
        events=[stop],
    )
    assert found.status is Status.EVENT
    values = np.array([(curvatures * (x - minima) ** 2).sum(axis=1) for x in found.y])
    assert (np.diff(values, axis=0) < 0).all()
    assert pareto_stationarity(gramian(jacobian(found.y[-1])), tolerance=0.011).stationary
    assert not pareto_stationarity(gramian(jacobian(found.y[0])), tolerance=0.011).stationary


def test_gramians_of_whole_numbers_and_in_half_precision():
    import torch

    expected = equiangular_weights([[2.0, 1.0], [1.0, 3.0]])
    for G in ([[2, 1], [1, 3]], np.array([[2, 1], [1, 3]]), torch.tensor([[2, 1], [1, 3]])):
        np.testing.assert_array_equal(equiangular_weights(G).weights, expected.weights)
    for dtype in (torch.float16, torch.bfloat16):
        found = equiangular_weights(torch.tensor([[2, 1], [1, 3]], dtype=dtype))
        np.testing.assert_allclose(found.weights, expected.weights)


def test_gradients_that_are_almost_duplicates(rng):
    for distance in (1e-3, 1e-6, 1e-8, 1e-10, 1e-12, 1e-15):
        for _ in range(30):
            J = rng.integers(-1, 4, (9, 4)) + distance * rng.standard_normal((9, 4))
            J[np.linalg.norm(J, axis=1) < 0.5] = 1.0
            assert abs(equiangular_weights(gramian(J)).duality_gap) < 1e-11


def test_min_norm_at_scales_that_no_sum_resolves(rng):
    for _ in range(60):
        m, n = rng.integers(2, 25), rng.integers(2, 8)
        J = (rng.standard_normal((m, n)) + 0.3) * 10 ** rng.uniform(-100, 100, (m, 1))
        found = min_norm_weights(gramian(J))
        assert found.stationary or abs(found.duality_gap) < 1e-9
        assert found.stationary or found.cosines.min() > -1e-6


@pytest.mark.parametrize(
    "J",
    [
        [[0.6, 0.8], [1e8, 0], [-3e8, 0]],
        [[-3.0, -1], [-3e4, 0], [3e8, -3e8], [-9e8, 9e8]],
    ],
)
def test_long_opposite_gradients_are_stationary(J):
    found = min_norm_weights(gramian(J))
    assert found.stationary
    assert (found.weights == 0).all()
    assert abs(found.duality_gap) < 1e-12
    terms = found.multipliers[:, None] * np.array(J)
    np.testing.assert_allclose(terms.sum(axis=0), 0, atol=1e-7 * np.abs(terms).max())


def test_min_norm_of_small_integers_at_any_scales(rng):
    stationary = 0
    for _ in range(150):
        m, n = rng.integers(2, 9), rng.integers(1, 7)
        rows = rng.integers(-3, 4, (m, n))
        rows[(rows == 0).all(axis=1), 0] = 1
        hull = {"A_eq": np.vstack([rows.T, np.ones(m)]), "b_eq": np.r_[np.zeros(n), 1]}
        known = linprog(np.zeros(m), **hull).status == 0  # zero is in it, whatever the lengths
        exponents = np.r_[0, rng.integers(6, 10, m - 1)] if m % 2 else rng.integers(-9, 10, m)
        found = min_norm_weights(gramian(rows * 10.0 ** exponents[:, None]))
        assert found.stationary is known
        assert abs(found.duality_gap) < 1e-9
        assert known or found.cosines.min() > -1e-9
        stationary += known
    assert 25 < stationary < 125


def test_many_objectives_are_in_few_proofs(monkeypatch):
    """All m were asked one after another: 33 s for 512 objectives in place of 0.4 s."""
    calls = []

    def counted(*arguments):
        calls.append(1)
        return nonnegative_minimizer(*arguments)

    monkeypatch.setattr(_pareto, "nonnegative_minimizer", counted)
    for m, n in ((100, 20), (100, 40), (128, 64)):
        J = np.random.default_rng(0).standard_normal((m, n))
        assert pareto_stationarity(J @ J.T).proper
        assert len(calls) <= 1
        calls.clear()
    J = np.random.default_rng(0).standard_normal((100, 20))
    # The twin: one objective that is in no proof, among many that are.
    J = np.hstack([J, np.zeros((100, 1))])
    J[50, 20] = 1.0
    found = pareto_stationarity(J @ J.T)
    assert found.stationary
    assert not found.proper
    assert len(calls) == 2
    zero = J.copy()
    zero[3] = 0.0
    assert not pareto_stationarity(zero @ zero.T).proper
