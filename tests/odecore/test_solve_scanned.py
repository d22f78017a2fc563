"""Given steps that jax traces are one loop of its own, with the values of steps one by one."""

import numpy as np
import pytest

from odecore.families import RK2
from odecore.solve import solve_ivp
from odecore.tableaux import coefficients_at

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

Y0 = np.array([2.0, 0.5])


def van_der_pol(mu, t, y):
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0] + jnp.sin(3 * t)])


def solved(mu, *, y0=Y0, span=(0.0, 2.0), fun=van_der_pol, **options):
    return solve_ivp(lambda t, y: fun(mu, t, y), span, y0, **options)


@pytest.mark.parametrize("method", ["classic", "dopri5"])
def test_a_trace_does_not_grow_with_the_steps(method):
    def calls(steps):
        times = []

        def fun(mu, t, y):
            times.append(t)
            return van_der_pol(mu, t, y)

        jax.jit(lambda mu: solved(mu, fun=fun, method=method, steps=steps).y)(1.5)
        return len(times)

    assert calls(100) == calls(10) < 20


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "options",
    [
        {"method": "classic", "steps": 20},
        {"method": "bosh3", "steps": 3, "t_eval": [0.0, 0.3, 1.0, 2.0]},
        {"method": "heun", "grid": np.linspace(0, 2, 31)},
        {"method": "heun", "grid": np.linspace(0, 2, 31), "t_eval": [0.5, 2.0]},
        {"method": "euler", "step_size": 0.015, "span": (2.0, 1.5)},
        {"method": coefficients_at(RK2, u=0.6), "steps": 2},
    ],
    ids=", ".join,
)
@pytest.mark.parametrize(
    "y0", [Y0, jnp.asarray(Y0, dtype=jnp.float32)], ids=["numpy-float64", "jax-float32"]
)
def test_values_and_gradients_are_those_of_steps_one_by_one(options, y0):
    eps = jnp.finfo(y0.dtype).eps
    plain = solved(jnp.asarray(1.5, dtype=y0.dtype), y0=jnp.asarray(y0), **options)
    found = []

    def states(mu):
        found.append(solved(mu, y0=y0, **options))
        return found[-1].y

    mu = jnp.asarray(1.5, dtype=y0.dtype)
    y, rate = jax.jit(lambda mu: jax.jvp(states, (mu,), (jnp.ones_like(mu),)))(mu)
    assert y.dtype == y0.dtype
    np.testing.assert_allclose(y, plain.y, atol=300 * eps)
    np.testing.assert_array_equal(found[-1].t, plain.t)
    assert found[-1].statistics == plain.statistics
    gradient = jax.jit(jax.grad(lambda mu: states(mu).sum()))(mu)
    np.testing.assert_allclose(gradient, rate.sum(), rtol=3000 * eps)
    if y0.dtype == np.float64:
        step = 1e-6
        above, below = (solved(jnp.asarray(1.5 + d), y0=y0, **options).y for d in (step, -step))
        np.testing.assert_allclose(rate, (above - below) / (2 * step), atol=1e-8)


def test_many_parameters_at_once():
    rates = jnp.array([0.5, 1.0, 1.5])
    found = jax.vmap(lambda mu: solved(mu, method="classic", steps=20).y)(rates)
    for mu, y in zip(rates, found, strict=True):
        np.testing.assert_allclose(y, solved(mu, method="classic", steps=20).y, atol=1e-13)


def test_the_end_may_be_traced():
    def end(time):
        return solved(1.5, y0=jnp.asarray(Y0), span=(0.0, time), method="classic", steps=20).y[-1]

    y, slope = jax.jit(lambda time: jax.jvp(end, (time,), (1.0,)))(2.0)
    np.testing.assert_allclose(y, end(2.0), atol=1e-13)
    np.testing.assert_allclose(slope, van_der_pol(1.5, 2.0, y), atol=1e-3)


def test_coefficients_may_be_traced():
    calls = []

    def fun(mu, t, y):
        calls.append(t)
        return van_der_pol(mu, t, y)

    def end(u):
        method = coefficients_at(RK2, u=u)
        return solved(1.5, y0=jnp.asarray(Y0), fun=fun, method=method, steps=20).y[-1]

    jax.jit(end)(0.6)
    assert len(calls) < 10
    rate = jax.jit(jax.jacfwd(end))(0.6)
    np.testing.assert_allclose(rate, (end(0.6 + 1e-6) - end(0.6 - 1e-6)) / 2e-6, atol=1e-8)


def test_structures_of_complex_arrays():
    y0 = {"a": jnp.ones(3) + 0j, "b": jnp.zeros((2, 2)) + 1j}

    def end(w):
        def fun(t, y):
            return {"a": 1j * w * y["a"], "b": -w * y["b"]}

        return solve_ivp(fun, (0.0, 1.0), y0, method="dopri5", steps=20).y

    found = jax.jit(end)(2.0)
    np.testing.assert_allclose(found["a"][-1], np.exp(2j) * np.ones(3), rtol=1e-6)
    np.testing.assert_allclose(found["b"][-1], 1j * np.exp(-2.0) * np.ones((2, 2)), rtol=1e-6)


READS = {
    "branches": lambda mu, t, y: -mu * y if t > 0.5 else mu * y,
    "looks up": lambda mu, t, y: -mu * y * [1.0, 2.0, 3.0][int(t)],
    "NumPy": lambda mu, t, y: -mu * y * np.cos(t),
    "a key": lambda mu, t, y: -mu * y * {0.0: 2.0}.get(t, 1.0),
}


@pytest.mark.parametrize("name", READS)
def test_what_reads_the_time_is_stepped_one_by_one(name):
    options = {"y0": jnp.asarray(Y0), "fun": READS[name], "method": "classic", "steps": 6}
    found = jax.jit(lambda mu: solved(mu, **options).y)(1.5)
    np.testing.assert_allclose(found, solved(1.5, **options).y, rtol=1e-13)


def test_half_precision_keeps_its_times():
    y0 = jnp.ones(2, dtype=jnp.bfloat16)
    times = []

    def fun(mu, t, y):
        times.append(t)
        return -mu * y

    jax.jit(lambda mu: solved(mu, y0=y0, fun=fun, method="euler", steps=8).y)(
        jnp.asarray(1.5, dtype=jnp.bfloat16)
    )
    assert all(isinstance(t, float) for t in times)


def test_a_loop_reports_its_progress():
    told = []
    options = {"method": "classic", "steps": 10, "t_eval": [0.0, 2.0], "progress": told.append}
    found = jax.jit(lambda mu: solved(mu, **options).y)(1.5)
    assert found.shape == (2, 2)
    assert told[-1] == 1.0
