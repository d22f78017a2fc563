"""Many transposed steps as one function of arrays are the steps of the discrete adjoint."""

import jax
import numpy as np
import pytest

from odecore._array import namespace
from odecore.adjoint import Undone, discrete, record_steps, transposed_run
from odecore.errors import MaxStepsError
from odecore.solve import solve_ivp
from odecore.tableaux import tableau
from tests.odecore.test_adjoint_discrete import THETA, nonlinear
from tests.odecore.test_solve_kernels import kernels_of, python_loop

Y0 = np.array([0.7, -0.4])
TIMES = [0.2, 0.9, 1.0, 2.2]
W = list(np.random.default_rng(1).normal(size=(4, 2)))


def kernel_of(linearize, most=64, calls=None, wanted=True, twin=False):
    calls = [] if calls is None else calls

    def kernel(method, record, end, a, cotangents):
        n = min(most, end)
        start = end - n
        calls.append(n)
        inside = None
        if any(k in cotangents for k in range(start, end)) and not twin:
            zero = np.zeros_like(a)
            inside = np.stack([cotangents.get(k, zero) for k in range(start, end)])
        found = transposed_run(
            python_loop, linearize, method, np.array(record.times[start : end + 1]), np.array([n]),
            np.stack(record.states[start:end]), a, (np.zeros(3),) if wanted else (), np, inside,
        )  # fmt: skip
        return Undone(*found, n)

    return kernel


def check(record, linearize, kernel, **options):
    plain = discrete(linearize, record, W, **options)
    found = discrete(linearize, record, W, kernel=kernel, **options)
    np.testing.assert_allclose(found.y0, plain.y0, rtol=1e-13)
    assert len(found.parameters) == len(plain.parameters)
    for x, z in zip(found.parameters, plain.parameters, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-14)
    assert found.statistics == plain.statistics


@pytest.mark.parametrize("most", [1, 5, 64])
@pytest.mark.parametrize("options", [{"steps": 7}, {"step_size": 0.13}, {"rtol": 1e-4}])
@pytest.mark.parametrize("method", ["euler", "classic", "bosh3", "dopri5", "fehlberg45"])
def test_runs_transpose_what_the_steps_do(method, options, most):
    if "rtol" in options and tableau(method).b_hat is None:
        pytest.skip("no error estimate")
    field, linearize = nonlinear(THETA)
    _, record = record_steps(field, TIMES, Y0, method=method, **options)
    calls = []
    check(record, linearize, kernel_of(linearize, most, calls))
    assert sum(calls) == len(record.times) - 1
    kernel = kernel_of(linearize, most, wanted=False)
    check(record, linearize, kernel, parameters=False)
    with pytest.raises(AssertionError):  # without the cotangents on the way
        check(record, linearize, kernel_of(linearize, 64, twin=True))


@pytest.mark.parametrize("after", [0, 1, 3])
def test_what_the_program_refuses_is_transposed_step_by_step(after):
    field, linearize = nonlinear(THETA)
    _, record = record_steps(field, TIMES, Y0, steps=5)
    kernel = kernel_of(linearize, most=2)
    left = iter(range(after))
    check(
        record, linearize, lambda *given: kernel(*given) if next(left, None) is not None else None
    )


def test_dropped_states_and_jumps_are_for_single_steps():
    field, linearize = nonlinear(THETA)

    def refused(*given):
        raise AssertionError

    _, record = record_steps(field, TIMES, Y0, steps=20, memory=5 * 16)
    check(record, linearize, refused)
    _, record = record_steps(field, TIMES, Y0, steps=20, jump_at=[1.0])
    check(record, linearize, refused)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 9},
        {"steps": [2, 11, 30]},
        {"step_size": 0.05},
        {"grid": np.linspace(0.2, 2.2, 50)},
        {"rtol": 1e-6},
        {"rtol": 1e-8, "first_step": 0.01},
        {"rtol": 1e-6, "jump_at": [0.5]},
        {"rtol": 1e-6, "memory": 5 * 16},
    ],
)
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "fehlberg45"])
def test_loops_record_the_steps(method, options):
    field, _ = nonlinear(THETA)
    calls = []
    kernels = kernels_of(method, Y0, calls, begins=True, runs=True, most=16)
    plain, expected = record_steps(field, TIMES, Y0, method=method, **options)
    found, record = record_steps(field, TIMES, Y0, method=method, kernels=kernels, **options)
    assert bool(calls) == options.keys().isdisjoint({"jump_at"})
    assert found.t.tolist() == plain.t.tolist() == TIMES
    np.testing.assert_allclose(found.y, plain.y, rtol=1e-9)
    assert record.outputs == expected.outputs
    assert (record.stride, record.jumps, record.method) == (
        expected.stride, expected.jumps, expected.method,
    )  # fmt: skip
    np.testing.assert_allclose(record.times, expected.times, rtol=1e-7)
    np.testing.assert_allclose(np.stack(record.states), np.stack(expected.states), rtol=1e-6)


def test_a_failure_in_loops_leaves_the_outputs_before_it():
    field, _ = nonlinear(THETA)
    options = {"rtol": 1e-10, "atol": 1e-12, "max_steps": 60}
    found = []
    for kernels in (None, kernels_of("dopri5", Y0, runs=True, most=16)):
        with pytest.raises(MaxStepsError) as caught:
            record_steps(field, TIMES, Y0, kernels=kernels, **options)
        found.append(caught.value.trajectory.t.tolist())
    assert found[0] == found[1]
    assert 1 < len(found[0]) < 4


@pytest.mark.long
def test_a_run_under_jit_of_jax():
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    theta, method = jnp.asarray(THETA), tableau("bosh3").coefficients

    def field(theta, t, y):
        return jnp.stack([theta[0] * y[1], jnp.sin(theta[1] * y[0]) + t * jnp.cos(theta[2] * y[1])])

    def linearize(t, y):
        value, pull = jax.vjp(lambda y, theta: field(theta, t, y), y, theta)

        def pulled(a, parameters):
            state, *terms = pull(a)
            return state, tuple(terms) if parameters else ()

        return value, pulled

    @jax.jit
    def run(times, count, states, a):
        given = linearize, method, times, count, states, a, (jnp.zeros(3),)
        return transposed_run(jax.lax.while_loop, *given, namespace(a))

    times = jnp.linspace(0.0, 2.0, 11)

    def loss(y0, theta):
        grid = [float(t) for t in times]
        options = {"method": "bosh3", "grid": grid, "t_eval": [2.0]}
        y = solve_ivp(lambda t, y: field(theta, t, y), (0.0, 2.0), y0, **options).y[-1]
        return jnp.sum(y * jnp.asarray(W[0]))

    y0 = jnp.asarray(Y0)
    _, record = record_steps(
        lambda t, y: field(theta, t, y), [0.0, 2.0], y0, method="bosh3", grid=times
    )
    filled = jnp.stack([*record.states, *[record.states[0] * jnp.nan] * 3])
    a, (gradient,) = run(
        jnp.concatenate([times, times[:3]]), jnp.asarray([10]), filled, jnp.asarray(W[0])
    )
    expected = jax.grad(loss, argnums=(0, 1))(y0, theta)
    np.testing.assert_allclose(a, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-12)
