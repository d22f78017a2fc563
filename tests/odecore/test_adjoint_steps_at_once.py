"""Many recorded steps transposed at once: the gradient of one after another, in few calls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odecore.adjoint import (
    _steps_at_once,
    discrete,
    node_by_node,
    record_steps,
    steps_at_once,
)
from odecore.tableaux import catalogue, tableau
from tests.odecore.test_adjoint_discrete import TIMES, Y0, A, W, exact_gradients, linear

# Explicit, with and without idle stages; one implicit stage, diagonal ones, coupled ones.
METHODS = ("euler", "classic", "dopri5", "implicit_euler", "alexander2", "kvaerno43", "radau_iia3")


def both(linearize, record, cotangents, **options):
    """One after another, and at once, with the kernel's answers."""
    answers, kernel = [], steps_at_once(node_by_node(linearize), **options)

    def watched(*arguments):
        answers.append(kernel(*arguments))
        return answers[-1]

    alone = discrete(linearize, record, cotangents, **options)
    return alone, discrete(linearize, record, cotangents, kernel=watched, **options), answers


@pytest.mark.long_on_jax
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_a_linear_map(method, xp, dtype, array, eps):
    field, linearize = linear(xp, array(A))
    _, record = record_steps(field, TIMES, array(Y0), method=method, steps=5)
    _, found, answers = both(linearize, record, [array(w) for w in W])
    assert sum(x.count for x in answers) == 10
    y0, theta = exact_gradients(method, record.times, record.outputs)
    assert found.y0.dtype == found.parameters[0].dtype == array(Y0).dtype
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=50 * eps)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=50 * eps)
    assert float(found.residual) < 50 * eps


def pendulum(theta):
    """Forced, with products (n,) and two parameters; states of any shape, entry by entry."""

    def linearize(t, y):
        turned = np.roll(y, 1)
        value = theta[0] * np.sin(turned) * np.cos(t) - theta[1] * y

        def pull(a, parameters):
            inner = np.roll(theta[0] * np.cos(turned) * np.cos(t) * a, -1)
            each = np.sum(np.sin(turned) * np.cos(t) * a), -np.sum(y * a)
            return inner - theta[1] * a, (np.array(each),) if parameters else ()

        return value, pull

    return linearize


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_at_once_is_one_after_another(data):
    method = data.draw(st.sampled_from(sorted(catalogue())))
    shape = data.draw(st.sampled_from([(), (1,), (5,), (2, 3)]))
    outputs = data.draw(st.integers(2, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    times = np.cumsum(rng.uniform(0.1, 0.5, outputs)) * data.draw(st.sampled_from([1, -1]))
    linearize = pendulum(rng.normal(size=2))
    _, record = record_steps(
        lambda t, y: linearize(t, y)[0], list(times), rng.normal(size=shape), method=method,
        steps=data.draw(st.integers(1, 9)),
    )  # fmt: skip
    cotangents = list(rng.normal(size=(outputs, *shape)))
    parameters = data.draw(st.booleans())
    alone, found, _ = both(linearize, record, cotangents, parameters=parameters)
    size = np.max(np.abs(alone.y0)) + 1
    np.testing.assert_allclose(found.y0, alone.y0, atol=1e-10 * size)
    assert len(found.parameters) == parameters
    for x, y in zip(found.parameters, alone.parameters, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-9 * (size + np.max(np.abs(y))))


@pytest.mark.parametrize("method", ["classic", "kvaerno43"])
@pytest.mark.parametrize("nodes", [1, 50, 10**6])
def test_steps_go_back_in_groups(method, nodes, monkeypatch):
    monkeypatch.setattr(_steps_at_once, "NODES", nodes)
    linearize = pendulum(np.array([0.7, 0.2]))
    options = {"method": method, "steps": 20}
    _, record = record_steps(
        lambda t, y: linearize(t, y)[0], [0.0, 1.0, 2.5], np.ones(2), **options
    )
    alone, found, answers = both(linearize, record, [np.ones(2)] * 3)
    np.testing.assert_allclose(found.y0, alone.y0, rtol=1e-12)
    np.testing.assert_allclose(found.parameters[0], alone.parameters[0], rtol=1e-12)
    one = 1 if nodes == 1 else 40 if nodes > 50 else nodes // len(tableau(method).b)
    if nodes > 1:
        assert answers[0].count == one


@pytest.mark.parametrize("method", ["classic", "kvaerno43", "gauss2"])
def test_a_call_for_all_stages(method):
    linearize, calls, passes = pendulum(np.array([0.7, 0.2])), [], []

    def nodes(t, y):
        calls.append(len(t))
        value, pull = node_by_node(linearize)(t, y)

        def counted(a, parameters):
            passes.append(parameters)
            return pull(a, parameters)

        return value, counted

    s = len(tableau(method).b)
    options = {"method": method, "steps": 30}
    _, record = record_steps(lambda t, y: linearize(t, y)[0], [0.0, 2.0], np.ones(3), **options)
    discrete(linearize, record, [np.zeros(3), np.ones(3)], kernel=steps_at_once(nodes))
    groups = s if tableau(method).is_explicit else 1
    assert calls == [30 * s // groups] * groups
    assert len(passes) == 4 * groups  # one for each entry, and one for the parameters
    assert sum(passes) == groups


def test_what_is_left_to_steps_one_by_one():
    linearize = pendulum(np.array([0.7, 0.2]))
    field = lambda t, y: linearize(t, y)[0].astype(y.dtype)  # noqa: E731
    large, rough = np.ones(33), {"method": "kvaerno43", "steps": 9, "memory": 4 * 16}
    for y0, options in (
        (np.ones(2), {"method": "classic", "steps": 6}),  # few
        (large, {"method": "classic", "steps": 90}),
        (np.ones(65), {"method": "implicit_euler", "steps": 20}),
        (np.ones(2), rough),  # stages are not kept
        (np.ones(2, dtype=np.complex128), {"method": "classic", "steps": 20}),
    ):
        _, record = record_steps(field, [0.0, 1.0], y0, **options)
        alone, found, answers = both(linearize, record, [0 * y0, y0])
        assert not any(answers)
        assert np.array_equal(found.y0, alone.y0)


@pytest.mark.parametrize("method", ["classic", "euler"])
def test_what_is_not_finite_stays_in_its_entry(method):
    slope = np.array([0.3, np.nan, -0.2])
    linearize = lambda t, y: (y * [0.3, 0.0, -0.2], lambda a, p: (slope * a, ()))  # noqa: E731
    options = {"method": method, "steps": 40}
    _, record = record_steps(lambda t, y: linearize(t, y)[0], [0.0, 1.0], np.ones(3), **options)
    alone, found, _ = both(linearize, record, [np.zeros(3), np.ones(3)], parameters=False)
    assert np.isfinite(found.y0).tolist() == [True, False, True]
    np.testing.assert_array_equal(found.y0, alone.y0)


def test_stiff_steps_and_singular_ones():
    # 1 - h J is zero in the second case, whose steps are those of no solve.
    for rate, singular in ((1e7, False), (-8.0, True)):
        field = lambda t, y: -rate * (y - np.cos(t))  # noqa: B023, E731
        linearize = lambda t, y: (field(t, y), lambda a, p: (-rate * a, ()))  # noqa: B023, E731
        _, record = record_steps(field, [0.0, 0.5], np.ones(1), method="implicit_euler", steps=5)
        if singular:
            times = tuple(k / 8 for k in range(6))  # 1 + h rate = 0
            record = type(record)(**{**vars(record), "times": times})
        answer = steps_at_once(node_by_node(linearize))(record.method, record, 5, np.ones(1), {})
        assert (answer is None) is singular
        if not singular:
            alone = discrete(linearize, record, [np.zeros(1), np.ones(1)])
            np.testing.assert_allclose(answer.a, alone.y0, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("twin", ["coupling", "Jacobian"])
@pytest.mark.parametrize("method", ["bosh3", "kvaerno43", "radau_iia3"])
def test_a_wrong_transpose_is_seen(twin, method):
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES, Y0, method=method, steps=5)
    y0, _ = exact_gradients(method, record.times, record.outputs)
    if twin == "coupling":  # weights in another order
        coefficients = record.method
        wrong = type(coefficients)(coefficients.A, coefficients.b[::-1], c=coefficients.c)
        record = type(record)(**{**vars(record), "method": wrong})
    else:
        linearize = lambda t, y: (A @ y, lambda a, p: (A @ a, (a,) if p else ()))  # noqa: E731
    _, found, answers = both(linearize, record, W)
    assert any(answers)
    assert np.abs(found.y0 - y0).max() > 1e-4
