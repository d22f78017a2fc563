"""Panels with output times inside: the transpose of the collocated states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from odecore.adjoint import collocated, record_panels, restored
from odecore.adjoint._inner_outputs import _probe
from tests.odecore.test_adjoint import Y0, A, linear, linearization


def exact(times, cotangents):
    """Of the linear problem y' = A y: with respect to y0, A and the times, by a difference."""

    def loss(matrix, y0, times):
        states = (expm(matrix * (t - times[0])) @ y0 for t in times)
        return sum(w @ y for w, y in zip(cotangents, states, strict=True))

    def derivative(f, x, h=1e-5):
        units = np.eye(x.size).reshape(-1, *x.shape) * h
        gaps = [8 * (f(x + u) - f(x - u)) - (f(x + 2 * u) - f(x - 2 * u)) for u in units]
        return np.reshape(gaps, x.shape) / (12 * h)

    return (
        derivative(lambda y0: loss(A, y0, times), Y0),
        derivative(lambda m: loss(m, Y0, times), A),
        derivative(lambda t: loss(A, Y0, t), np.array(times)),
    )


def batched(xp, matrix):
    """y' = A y linearized at nodes (m, n)."""

    def linearize(t, y):
        def pull(a, parameters):
            total = xp.matmul(xp.permute_dims(a, (1, 0)), y) if parameters else None
            return xp.matmul(a, matrix), (total,) if parameters else ()

        return xp.matmul(y, xp.permute_dims(matrix, (1, 0))), pull

    return linearize


@pytest.mark.long_on_jax
@pytest.mark.parametrize("sign", [1, -1], ids=["forward", "backward"])
def test_gradients_of_a_linear_problem(sign, xp, dtype, array, eps):
    rng = np.random.default_rng(5)
    times = [0.0, *(sign * np.sort(rng.uniform(0, 1.5, 14))), sign * 1.5]
    cotangents = rng.normal(size=(16, 3))
    rtol = max(1e-9, 30 * eps)
    field, _ = linear(xp, array(A))
    options = {"rtol": rtol, "atol": rtol / 100}
    trajectory, panels = record_panels(field, times, array(Y0), inside=True, **options)
    assert len(panels) < 8  # of 15 intervals
    assert sum(len(p.outputs) for p in panels) + sum(p.is_last for p in panels) == 15
    states = [expm(A * t) @ Y0 for t in times]
    np.testing.assert_allclose(np.asarray(trajectory.y), states, atol=max(1e-7, 500 * eps))
    found = collocated(batched(xp, array(A)), panels, [array(w) for w in cotangents], **options)
    for value, wanted in zip((found.y0, *found.parameters), exact(times, cotangents), strict=False):
        np.testing.assert_allclose(np.asarray(value), wanted, atol=max(2e-7, 5000 * eps))
    wanted = exact(times, cotangents)[2]
    np.testing.assert_allclose([float(x) for x in found.times], wanted, atol=max(2e-7, 5000 * eps))
    assert float(found.quadrature) <= 10 * rtol


def pendulum(counts):
    """theta'' = -k sin theta, and its linearization at nodes with respect to y and k."""

    def linearize(t, y):
        counts.append(len(y))
        sin, cos = np.sin(y[:, 0]), np.cos(y[:, 0])

        def pull(a, parameters):
            state = np.stack([-K * cos * a[:, 1], a[:, 0]], axis=1)
            return state, (np.sum(-sin * a[:, 1]),) if parameters else ()

        return np.stack([y[:, 1], -K * sin], axis=1), pull

    return lambda t, y: np.array([y[1], -K * np.sin(y[0])]), linearize


K = 1.7


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.01, 2.99), min_size=4, max_size=30, unique=True),
    st.integers(0, 10**6),
    st.sampled_from([1e-4, 1e-7]),
)
def test_outputs_inside_are_as_good_as_ends_of_panels(inner, seed, tol):
    times = [0.0, *sorted(inner), 3.0]
    cotangents = list(np.random.default_rng(seed).normal(size=(len(times), 2)))
    field, linearize = pendulum([])
    options = {"rtol": tol, "atol": tol}
    exact, found = (
        collocated(
            linearize,
            record_panels(field, times, np.array([1.0, 0.5]), inside=inside, **few)[1],
            cotangents,
            **few,
        )
        for inside, few in ((False, {"rtol": 1e-10, "atol": 1e-12}), (True, options))
    )
    scale = sum(np.abs(w).sum() for w in cotangents)
    assert np.abs(found.y0 - exact.y0).max() < 20 * tol * scale
    assert abs(found.parameters[0] - exact.parameters[0]) < 20 * tol * scale


def test_cost_is_that_of_panels_not_of_outputs():
    few, many = [], []
    for counts, n in ((few, 20), (many, 2000)):
        field, linearize = pendulum(counts)
        times = list(np.linspace(0, 3, n))
        _, panels = record_panels(field, times, np.array([1.0, 0.5]), inside=True)
        collocated(linearize, panels, [np.ones(2)] * n)
    assert sum(many) <= sum(few) < 300


def test_cotangents_that_cancel_hide_nothing():
    field, linearize = pendulum([])
    times = list(np.linspace(0, 3, 41))
    cotangents = [np.zeros(2)] + [np.array([1.0, -1.0]) * (-1) ** k for k in range(40)]
    assert np.abs(sum(cotangents)).max() == 0
    panels = record_panels(field, times, np.array([1.0, 0.5]), inside=True)[1]
    wanted = record_panels(field, times, np.array([1.0, 0.5]), rtol=1e-11, atol=1e-12)[1]
    found, exact = (
        collocated(linearize, panels, cotangents),
        collocated(linearize, wanted, cotangents, rtol=1e-11, atol=1e-12),
    )
    np.testing.assert_allclose(found.y0, exact.y0, atol=1e-4)


@pytest.mark.parametrize("signs", ["alike", "alternate", "random"])
@pytest.mark.parametrize("rate", [3.0, 30.0, 1000.0])
def test_what_a_flow_conserves_hides_nothing(rate, signs):
    """At the rest point of a Markov chain states say nothing of the rate, and cotangents of one
    size, as those of a sum of absolute values, may be ones that it keeps.
    """
    matrix = rate * np.array([[-1.0, 0.5], [1.0, -0.5]])
    y0, times = np.array([1.0, 2.0]), np.linspace(0, 2, 41)
    signs = {
        "alike": np.ones((41, 2)),
        "alternate": (-1.0) ** np.arange(41)[:, None] * np.ones(2),
        "random": np.sign(np.random.default_rng(2).normal(size=(41, 2))),
    }[signs]
    tilt = np.array([1.0, -1.0]) * (np.arange(41)[:, None] % 7 == 3)  # not a multiple of the probe
    cotangents = list(signs + (tilt if rate < 100 else 0 * tilt))
    _, panels = record_panels(lambda t, y: matrix @ y, list(times), y0, inside=True)
    assert max(len(panel.outputs) for panel in panels) > 20
    found = collocated(batched(np, matrix), panels, cotangents, rtol=1e-8, atol=1e-10)
    wanted = sum(expm(matrix.T * t) @ w for t, w in zip(times, cotangents, strict=True))
    np.testing.assert_allclose(found.y0, wanted, atol=1e-5)


def test_what_no_state_meets_is_resolved():
    """f depends on the third state, which is zero."""
    times = list(np.linspace(0, 3, 41))
    cotangents = [np.array([1.0, -1.0, -1.0])] * 41

    def linearize(t, y):
        k = np.sin(20 * np.asarray(t))[:, None]
        slope = np.concatenate([k * y[:, 2:], -k * y[:, 2:], 0 * k], axis=1)

        def pull(a, parameters):
            c = k * (a[:, :1] - a[:, 1:2])
            total = (np.sum(c * y[:, 2:]),) if parameters else ()
            return np.concatenate([0 * k, 0 * k, c], axis=1), total

        return slope, pull

    y0 = np.array([1.0, 0.5, 0.0])
    panels = record_panels(lambda t, y: 0 * y, times, y0, inside=True)[1]
    found = collocated(linearize, panels, cotangents, rtol=1e-8, atol=1e-10)
    third = sum(-1 + 2 * (1 - np.cos(20 * t)) / 20 for t in times)
    np.testing.assert_allclose(found.y0, [41, -41, third], atol=1e-5)


def test_the_cotangents_are_asked_where_the_one_that_stands_for_them_is_conserved():
    """f = u sin(20 t) y_3 with u orthogonal to the stand-in, which then has a constant adjoint."""
    times = list(np.linspace(0, 3, 41))
    v = _probe(np.ones(3))
    u = np.array([v[1], -v[0], 0.0])

    def linearize(t, y):
        k = np.sin(20 * np.asarray(t))[:, None]

        def pull(a, parameters):
            return k * (a @ u)[:, None] * np.array([0.0, 0.0, 1.0]), ()

        return k * y[:, 2:] * u, pull

    panels = record_panels(lambda t, y: 0 * y, times, np.array([1.0, 0.5, 0.0]), inside=True)[1]
    cotangents = [np.array([1.0, 1.0, 1.0])] * 41
    found = collocated(linearize, panels, cotangents, parameters=False, rtol=1e-8, atol=1e-10)
    third = sum(1 + (u[0] + u[1]) * (1 - np.cos(20 * t)) / 20 for t in times)
    np.testing.assert_allclose(found.y0, [41, 41, third], atol=1e-5)


def test_the_integrand_of_parameters_may_vary_where_state_and_adjoint_do_not():
    """f = theta sin(20 t) at theta = 0: a constant state and adjoint."""
    times = list(np.linspace(0, 3, 41))

    def linearize(t, y):
        k = np.sin(20 * np.asarray(t))[:, None]
        return 0 * y, lambda a, wanted: (0 * a, (np.sum(k * a),) if wanted else ())

    panels = record_panels(lambda t, y: 0 * y, times, np.ones(1), inside=True)[1]
    found = collocated(linearize, panels, [np.ones(1)] * 41, rtol=1e-8, atol=1e-10)
    wanted = sum((1 - np.cos(20 * t)) / 20 for t in times)
    np.testing.assert_allclose(found.parameters, [wanted], rtol=1e-6)


def test_where_nodes_do_not_resolve_the_adjoint_outputs_divide_the_panel():
    """f depends on the state by a kink that the trajectory does not meet, but its adjoint does."""
    times = list(np.linspace(0, 1, 9))

    def slope(t):
        return np.sign(np.sin(200 * np.asarray(t)))

    def linearize(t, y):
        k = np.reshape(slope(t), (-1, 1))
        return y * 0, lambda a, parameters: (k * a, (np.sum(k * a),) if parameters else ())

    _, panels = record_panels(lambda t, y: y * 0, times, np.zeros(1), inside=True)
    assert len(panels[-1].outputs) >= 5
    found = collocated(linearize, panels, [np.ones(1)] * 9)
    grid = (np.arange(10**6) + 0.5) / 10**6
    growth = np.exp(np.concatenate([[0], np.cumsum(slope(grid))]) / 10**6)
    wanted = sum(growth[round(t * 10**6)] for t in times)
    assert abs(float(found.y0[0]) - wanted) < 5e-2
    assert found.statistics.evaluations > 500  # it was not easy


def test_other_adjoints_divide_the_panels():
    times = list(np.linspace(0, 1.5, 9))
    field, linearize = linear(np, A)
    _, panels = record_panels(field, times, Y0, inside=True)
    cotangents = list(np.random.default_rng(1).normal(size=(9, 3)))
    found = restored(linearize, panels, cotangents, rtol=1e-8, atol=1e-10)
    for value, wanted in zip((found.y0, *found.parameters), exact(times, cotangents), strict=False):
        np.testing.assert_allclose(value, wanted, atol=1e-5)
    assert len(found.times) == 9


@pytest.mark.parametrize("jumps", [None, [0.45]])
@pytest.mark.parametrize("steps", [4, [4] * 10])
def test_steps_between_outputs_that_are_inside_of_panels(steps, jumps):
    times, w = list(np.linspace(0, 1, 11)), [np.ones(1)] * 11
    linearize = linearization(lambda t, y: -y, lambda t, y, a: -a)
    _, panels = record_panels(lambda t, y: -y, times, np.ones(1), inside=True, jump_at=jumps)
    assert any(panel.outputs for panel in panels)
    options = {"method": "classic", "steps": steps, "parameters": False}
    found = restored(linearize, panels, w, **options)
    assert found.statistics.accepted == 40


def test_a_jump_is_the_end_of_a_panel():
    times = list(np.linspace(0, 1, 11))
    field = lambda t, y: -y if t < 0.45 else y  # noqa: E731
    _, panels = record_panels(field, times, np.ones(1), inside=True, jump_at=[0.45])
    assert 0.45 in [p.end for p in panels]
    assert sum(len(p.outputs) + p.is_last for p in panels) == 10
    linearize = linearization(field, lambda t, y, a: field(t, a))

    def at_nodes(t, y):
        k = np.where(np.asarray(t) < 0.45, -1.0, 1.0)[:, None]
        return k * y, lambda a, parameters: (k * a, ())

    found = collocated(at_nodes, panels, [np.ones(1)] * 11, parameters=False, jump_at=[0.45])
    wanted = sum(np.exp(-min(t, 0.45) + max(t - 0.45, 0)) for t in times)
    np.testing.assert_allclose(found.y0, [wanted], rtol=1e-5)
    stepped = restored(linearize, panels, [np.ones(1)] * 11, parameters=False, jump_at=[0.45])
    np.testing.assert_allclose(stepped.y0, [wanted], rtol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("outputs", [2, 15])
def test_states_that_grow_are_known_where_they_are_small(outputs, inside):
    """y' = y (2 + sin(3 log y)) grows by e^16, and its Jacobian depends on y while it is small."""

    def field(t, y):
        return y * (2 + np.sin(3 * np.log(y)))

    def linearize(t, y):
        u = 3 * np.log(y)
        slope = 2 + np.sin(u) + 3 * np.cos(u)
        return field(t, y), lambda a, parameters: (slope * a, (np.sum(y * a),))

    times = list(np.linspace(0, 8, outputs))

    def gradients(inside, **tolerances):
        trajectory, panels = record_panels(field, times, np.ones(1), inside=inside, **tolerances)
        ends = trajectory.y if inside else trajectory.y[-1:]
        cotangents = [np.zeros(1)] * (outputs - 1) + [1 / ends[-1]]
        return collocated(linearize, panels, cotangents, **tolerances)

    exact = gradients(False, rtol=1e-11, atol=1e-13)
    found = gradients(inside, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.y0, exact.y0, rtol=2e-3)
    np.testing.assert_allclose(found.parameters[0], exact.parameters[0], rtol=2e-3)


@pytest.mark.parametrize("nodes", [5, 3, 2])
def test_fewer_nodes_within_a_budget(nodes):
    times = np.linspace(0, 0.5, 12)
    options = {"inside": True, "rtol": 1e-9, "atol": 1e-9, "max_step": 0.5}
    _, panels = record_panels(lambda t, y: 0.1 * A @ y, times, Y0, memory=24 * nodes, **options)
    assert [p.values.shape[0] for p in panels] == [nodes]
    assert len(panels[0].outputs) == 10
    cotangents = list(np.random.default_rng(0).normal(size=(12, 3)))
    found = collocated(batched(np, 0.1 * A), panels, cotangents, rtol=1e-9, atol=1e-9)
    wanted = sum(expm(0.1 * A.T * t) @ w for t, w in zip(times, cotangents, strict=True))
    np.testing.assert_allclose(found.y0, wanted, rtol=1e-8)
