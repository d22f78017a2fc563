"""The reversed adjoint, and where it drifts."""

import numpy as np
import pytest

from odecore.adjoint import backsolve, collocated, node_by_node, record_panels
from odecore.errors import DriftError, SolveError
from odecore.solve import solve_ivp
from tests.odecore.test_adjoint import TIMES, Y0, A, W, exact_gradients, linear, linearization


@pytest.mark.parametrize("seminorm", [False, True])
def test_gradients_of_a_linear_problem(seminorm, xp, dtype, array, eps):
    options = {"rtol": max(1e-9, 30 * eps), "atol": max(1e-11, 30 * eps)}
    field, linearize = linear(xp, array(A))
    states = solve_ivp(field, (0.0, 1.5), array(Y0), t_eval=TIMES, **options).y
    found = backsolve(
        linearize, TIMES, states, [array(w) for w in W], parameters=(array(A),),
        seminorm=seminorm, **options,
    )  # fmt: skip
    y0, theta = exact_gradients()
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=max(1e-7, 500 * eps))
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=max(1e-7, 500 * eps))
    slopes = [float(w @ A @ y) for w, y in zip(W[1:], np.asarray(states)[1:], strict=True)]
    np.testing.assert_allclose([float(x) for x in found.times[1:]], slopes, atol=500 * eps + 1e-6)
    np.testing.assert_allclose(float(found.times[0]), -y0 @ A @ Y0, atol=max(1e-6, 500 * eps))


@pytest.mark.parametrize(
    "options",
    [
        {"method": "classic", "steps": 60},
        {"steps": [30, 60]},
        {"step_size": 0.02},
    ],
    ids=str,
)
def test_given_steps(options):
    field, linearize = linear(np, A)
    states = solve_ivp(field, (0.0, 1.5), Y0, t_eval=TIMES, rtol=1e-10, atol=1e-10).y
    found = backsolve(linearize, TIMES, states, W, parameters=(A,), **options)
    np.testing.assert_allclose(found.parameters[0], exact_gradients()[1], atol=1e-6)


def test_a_state_that_ends_backwards_is_told_to_be_one():
    # Backwards y' = -100 y^3 ends after 1 / (200 y^2), wherever the forward solve came from.
    linearize = linearization(lambda t, y: -100 * y**3, lambda t, y, a: -300 * y**2 * a)
    with pytest.raises(SolveError) as caught:
        backsolve(linearize, [0.0, 5.0], np.array([[1.0], [0.1]]), [np.zeros(1), np.ones(1)])
    assert "take another adjoint" in caught.value.__notes__[0]


def test_the_seminorm_takes_fewer_steps():
    # The gradient of the parameters is large and moves fast; state and adjoint do not see it.
    field = lambda t, y: -0.1 * y  # noqa: E731
    product = lambda t, y, a: (1e3 * np.cos(20 * t) * a * y,)  # noqa: E731
    linearize = linearization(field, lambda t, y, a: -0.1 * a, product)
    times, w = [0.0, 3.0], [np.zeros(1), np.ones(1)]
    states = solve_ivp(field, times, [1.0], t_eval=times).y
    full = backsolve(linearize, times, states, w, parameters=(np.zeros(1),))
    semi = backsolve(linearize, times, states, w, parameters=(np.zeros(1),), seminorm=True)
    assert semi.statistics.evaluations < full.statistics.evaluations / 3


@pytest.mark.long_on_jax
@pytest.mark.parametrize("seminorm", [False, True])
def test_an_empty_state_has_no_error(seminorm, xp, array):
    linearize = linearization(lambda t, y: -y, lambda t, y, a: -a, lambda t, y, a: (xp.sum(a),))
    w = [array(np.zeros((2, 0)))] * 2
    found = backsolve(
        linearize, [0.0, 1.0], w, w, parameters=(array(np.ones(())),), seminorm=seminorm
    )
    assert found.y0.shape == (2, 0)
    assert float(found.parameters[0]) == 0


def test_it_drifts_where_the_flow_contracts_and_the_restored_does_not():
    # y1 = exp(-20 t) is below the tolerance at the end; backwards its error grows by exp(20).
    field = lambda t, y: np.array([-20 * y[0], y[0] ** 2])  # noqa: E731
    vjp = lambda t, y, a: np.array([-20 * a[0] + 2 * y[0] * a[1], 0.0])  # noqa: E731
    linearize, times = linearization(field, vjp), [0.0, 1.0]
    w = [np.zeros(2), np.array([0.0, 1.0])]
    options = {"rtol": 1e-6, "atol": 1e-9}
    y0, exact = np.array([1.0, 0.0]), np.array([0.05, 1.0])
    states = solve_ivp(field, times, y0, t_eval=times, **options).y
    drifted = backsolve(linearize, times, states, w, **options).y0
    _, panels = record_panels(field, times, y0, **options)
    kept = collocated(node_by_node(linearize), panels, w, **options).y0
    np.testing.assert_allclose(kept, exact, rtol=1e-4)
    assert abs(drifted[0] - exact[0]) > 100 * abs(kept[0] - exact[0])


def test_bad_input():
    _, linearize = linear(np, A)
    with pytest.raises(ValueError, match="2 times and 1 states"):
        backsolve(linearize, [0.0, 1.0], [Y0], W[:2])
    for wrong in (A, True, None, (1.0,)):
        with pytest.raises(TypeError, match="`parameters` must be a sequence of arrays"):
            backsolve(linearize, [0.0, 1.0], [Y0, Y0], W[:2], parameters=wrong)
    for wrong in ((Y0,), (A, A)):
        with pytest.raises(ValueError, match=r"each of `parameters`, of shapes .*got \[\(3, 3\)\]"):
            backsolve(linearize, [0.0, 1.0], [Y0, Y0], W[:2], parameters=wrong)


def reversed_lorenz(**options):
    numbers, y0, times = np.array([10.0, 28.0, 8 / 3]), np.ones(3), [0.0, 5.0]

    def linearize(t, y):
        (s, r, b), (u, v, w) = numbers, y
        J = np.array([[-s, s, 0], [r - w, -1, -u], [v, u, -b]])
        return J @ y + [0, u * w, 0], lambda a, p: (J.T @ a, (a * [v - u, u, -w],) if p else ())

    tolerances = {"rtol": 1e-4, "atol": 1e-6}
    states = solve_ivp(lambda t, y: linearize(t, y)[0], times, y0, t_eval=times, **tolerances).y
    w = [np.zeros(3), np.ones(3)]
    return backsolve(linearize, times, states, w, **tolerances | options)


@pytest.mark.parametrize(
    "options",
    [{"parameters": (np.ones(3),)}, {"rtol": (1e-4, 1e-4)}, {"rtol": [1e-4, 1e-4]}],
    ids=["parameters", "tuple", "list"],
)
def test_a_state_that_runs_away_backwards_is_refused(options):
    with pytest.raises(DriftError, match=r"left the trajectory.*take another adjoint") as caught:
        reversed_lorenz(**options)
    found = caught.value.trajectory
    assert found.statistics.accepted <= 1000
    assert np.linalg.norm(found.y[1]) > 10 * np.linalg.norm(found.y[0])


@pytest.mark.parametrize(
    ("rate", "fast", "fewest"),
    [
        (-250.0, 0.0, 1000),
        (30.0, 0.0, 0),
        pytest.param(-0.1, 20.0, 1000, marks=pytest.mark.long),
    ],
    ids=["stiff", "growing by 1e13", "small steps for the parameters"],
)
def test_many_steps_and_drift_are_not_refused_by_themselves(rate, fast, fewest):
    force = lambda t: np.cos(t) if rate < -1 else 0.0  # noqa: E731

    def linearize(t, y):
        pull = lambda a, p: (rate * a, (1e3 * a * np.cos(fast / (t + 3e-3)),) if p else ())  # noqa: E731
        return rate * (y - force(t)), pull

    times, options = [0.0, 1.0], {"rtol": 1e-7, "atol": 1e-7}
    y0, w = np.ones(1), [np.zeros(1), np.ones(1)]
    states = solve_ivp(lambda t, y: linearize(t, y)[0], times, y0, t_eval=times, **options).y
    found = backsolve(linearize, times, states, w, parameters=(np.ones(1),), **options)
    assert found.statistics.accepted > fewest
    np.testing.assert_allclose(found.y0, np.exp(rate), rtol=1e-4, atol=1e-7)
