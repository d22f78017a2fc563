"""Many steps as one function of arrays decide as the loop does, one step at a time."""

import itertools
import math

import jax
import numpy as np
import pytest

from odecore._array import namespace
from odecore.errors import SolveError
from odecore.solve import (
    Kernels,
    StepControl,
    adaptive_leap,
    explicit_step,
    given_run,
    given_steps,
    solve_ivp,
)
from odecore.tableaux import tableau


def van_der_pol(t, y):
    return np.stack([y[..., 1], 5 * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]], axis=-1)


def kepler(t, y):
    return np.concatenate([y[2:], -y[:2] / (y[:2] @ y[:2]) ** 1.5])


PROBLEMS = {
    "van der Pol": (van_der_pol, np.array([[2.0, 0.0], [1.0, -1.0]]), 12.0),
    "Kepler": (kepler, np.array([0.1, 0.0, 0.0, math.sqrt(19.0)]), 7.0),
    "decay": (lambda t, y: -y + np.cos(t), np.array([1.0]), 3.0),
}


METHODS, CONTROLLERS = ("dopri5", "bosh3", "heun_euler", "fehlberg45"), ("I", "PI", "PID")
#: Each method and controller, and recorded steps with each controller; the others are long tests.
SOME = {
    ("dopri5", "I"),
    ("dopri5", "PI"),
    ("bosh3", "PID"),
    ("heun_euler", "I"),
    ("fehlberg45", "PI"),
}


def python_loop(condition, body, carried):
    while condition(carried):
        carried = body(carried)
    return carried


def root_mean_square(x):
    return (abs(x) ** 2).mean() ** 0.5


def kernels_of(method, y0, calls=None, begins=False, runs=None, most=64):
    coefficients, xp = tableau(method).coefficients, namespace(y0)
    calls = [] if calls is None else calls

    def leap(fun, law, tolerances, y, slope, numbers, every=False, stages=False):
        calls.append(numbers)
        slope = y * 0 if slope is None else slope
        shape = (len(coefficients.b) + 1, *y.shape) if stages else y.shape
        times, each = np.full(most, np.nan), np.full((most, *shape), np.nan, y.dtype)
        if every or stages:
            numbers = [*numbers[:-1], min(most, numbers[-1])]

        def record(k, t, y, ks):
            times[k], each[k] = t, np.stack([y, *ks]) if stages else y

        found = adaptive_leap(
            python_loop, fun, coefficients, law, root_mean_square, y, slope,
            xp.asarray(numbers, dtype=xp.float64), tolerances, xp,
            record if every or stages else None,
        )  # fmt: skip
        return found._replace(times=times, each=each) if every or stages else found

    def chunk(fun, times, y, slope):
        calls.append(times)
        slope = slope if coefficients.last_stage_is_first else None
        return given_steps(fun, coefficients, np.asarray(times), y, slope)

    def run(fun, times, y, slope, every=False):
        calls.append(times)
        reuses, n = coefficients.last_stage_is_first, len(times) - 1
        filled, count = np.asarray([*times, *[times[-1]] * 3]), np.asarray([n])
        states = np.full((n, *y.shape), np.nan, y.dtype)

        def record(k, y):
            states[k] = y

        record = record if every else None
        end, last = given_run(python_loop, fun, coefficients, filled, count, y, slope, xp, record)
        return (
            states if every else end,
            last,
            n * (len(coefficients.b) - reuses) + (reuses and slope is None),
        )

    return Kernels(
        leap=leap, chunk=chunk, begins=lambda _: begins, run=runs and run, most=most,
        records=bool(runs), stages=bool(runs),
    )  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("method", "controller"),
    [
        pair if pair in SOME else pytest.param(*pair, marks=pytest.mark.long)
        for pair in itertools.product(METHODS, CONTROLLERS)
    ],
)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_leap_takes_the_steps_of_the_loop(problem, method, controller):
    fun, y0, end = PROBLEMS[problem]
    most = 5 if controller == "PI" else 64
    rtol = 1e-3 if method == "heun_euler" else 1e-6
    options = {"method": method, "rtol": rtol, "atol": 1e-8, "controller": controller}
    times = np.concatenate([[0.0], np.linspace(0.05, 0.9, 17), [end]])
    for t_eval in (times, [end]):
        calls = []
        kernels = kernels_of(method, y0, calls, controller != "PI", runs=True, most=most)
        plain = solve_ivp(fun, (0.0, end), y0, t_eval=t_eval, **options)
        leaps = solve_ivp(fun, (0.0, end), y0, t_eval=t_eval, kernels=kernels, **options)
        assert calls
        if method in ("dopri5", "bosh3"):  # whose steps are recorded; the last 7 outputs are few
            steps = plain.statistics.accepted + plain.statistics.rejected
            assert len(calls) <= 9 + steps / most
        else:
            assert len(calls) <= len(t_eval)
        assert leaps.t.tolist() == plain.t.tolist()
        assert leaps.statistics.accepted == plain.statistics.accepted
        assert leaps.statistics.rejected == plain.statistics.rejected
        np.testing.assert_allclose(leaps.y, plain.y, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("backward", [False, True])
def test_bounds_of_the_step_hold_in_a_leap(backward):
    fun, y0, _ = PROBLEMS["Kepler"]
    span = (1.0, 0.0) if backward else (0.0, 1.0)
    for options in ({"max_step": 0.01}, {"min_step": 0.1}, {"step_at": [0.35]}):
        plain = solve_ivp(fun, span, y0, t_eval=[span[1]], **options)
        calls = []
        kernels = kernels_of("dopri5", y0, calls, begins=True)
        leaps = solve_ivp(fun, span, y0, t_eval=[span[1]], kernels=kernels, **options)
        assert calls
        assert leaps.statistics == plain.statistics
        np.testing.assert_allclose(leaps.y, plain.y, rtol=1e-9)


@pytest.mark.parametrize("span", [(0.0, 1.0), (10.0, 11.0), (11.0, 10.0)])
def test_a_leap_forces_the_smallest_steps_wherever_times_are(span):
    def fun(t, y):
        return np.cos(50 * t) - 5 * y * (span[1] - span[0])

    options = {"min_step": 0.01, "rtol": 1e-10, "atol": 1e-12}
    plain = solve_ivp(fun, span, np.zeros(1), t_eval=[span[1]], **options)
    calls = []
    kernels = kernels_of("dopri5", np.zeros(1), calls)
    leaps = solve_ivp(fun, span, np.zeros(1), t_eval=[span[1]], kernels=kernels, **options)
    assert len(calls) == 1
    assert leaps.statistics == plain.statistics
    assert plain.statistics.forced >= 90


@pytest.mark.parametrize("start", [0.0, 1.7e12, -1.7e12])
def test_a_leap_finds_a_first_step_at_rest_wherever_times_are(start):
    calls, y0, end = [], np.ones(1), start + 1e6
    kernels = kernels_of("dopri5", y0, calls, begins=True)
    found, plain = (
        solve_ivp(lambda t, y: 0 * y, (start, end), y0, t_eval=[end], kernels=some)
        for some in (kernels, None)
    )
    assert calls
    assert found.y[-1] == y0
    assert found.statistics == plain.statistics


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize(
    ("fun", "options"),
    [
        (lambda t, y: y**2, {}),
        (lambda t, y: y * np.nan, {}),
        (lambda t, y: np.where(t > 0, np.nan, 1.0) * y, {}),
        (lambda t, y: np.where(t > 0.5, np.nan, 1.0) * y, {}),
        (lambda t, y: np.cos(50 * t) * y, {"max_steps": 7}),
        (lambda t, y: np.where(t > 0.5, np.inf, 1.0) * y, {"min_step": 0.2}),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_failures_have_the_status_of_the_loop(fun, options, begins):
    found = []
    kernels = [kernels_of("dopri5", np.ones(1), None, begins, runs) for runs in (None, True)]
    for some in (None, *kernels):
        with pytest.raises(SolveError) as caught:
            solve_ivp(fun, (0.0, 2.0), [1.0], t_eval=[0.1, 2.0], kernels=some, **options)
        trajectory = caught.value.trajectory
        found.append((trajectory.status, trajectory.t.tolist()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("method", ["classic", "dopri5"])
def test_a_run_begins_with_or_without_the_slope(method):
    fun, y0, _ = PROBLEMS["van der Pol"]
    given = python_loop, fun, tableau(method).coefficients, np.linspace(0, 1, 9), np.asarray([8])
    y, slope = given_run(*given, y0, None, np)
    known, same = given_run(*given, y0, fun(0.0, y0), np)
    np.testing.assert_array_equal(y, known)
    if method == "dopri5":
        np.testing.assert_array_equal(slope, same)
        np.testing.assert_allclose(slope, fun(1.0, y), rtol=1e-12)
    else:
        assert slope is same is None


@pytest.mark.parametrize(("runs", "begins"), [(None, False), (True, False), (True, True)])
@pytest.mark.parametrize("method", ["classic", "dopri5", "euler"])
@pytest.mark.parametrize("grid", [np.linspace(0, 1, 41), np.linspace(0, 1, 20) ** 2])
def test_many_given_steps_are_the_steps(method, grid, runs, begins):
    fun, y0, _ = PROBLEMS["van der Pol"]
    calls = []
    kernels = kernels_of(method, y0, calls, begins, runs)
    for t_eval in ([1.0], [grid[3], grid[8], 1.0], [0.5 * grid[9] + 0.5 * grid[10], 1.0], grid):
        options = {"method": method, "grid": grid.tolist(), "t_eval": t_eval}
        plain = solve_ivp(fun, (0.0, 1.0), y0, **options)
        chunks = solve_ivp(fun, (0.0, 1.0), y0, kernels=kernels, **options)
        assert calls
        if runs and len(t_eval) == 1:
            assert len(calls) == 1
        calls.clear()
        assert chunks.t.tolist() == plain.t.tolist()
        np.testing.assert_allclose(chunks.y, plain.y, rtol=1e-12)
        assert chunks.statistics.accepted == plain.statistics.accepted
        if begins and len(t_eval) == 1:  # nothing is evaluated in vain
            assert chunks.statistics == plain.statistics


@pytest.mark.sampled(3)
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("method", ["classic", "dopri5", "bosh3", "fehlberg45"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_step_of_loops_is_recorded(problem, given, method, begins):
    if method == "classic" and not given:
        pytest.skip("no error estimate")
    fun, y0, end = PROBLEMS[problem]
    if given:
        end = min(end, 2.0)
        options = {"grid": np.linspace(0, 1, 90) ** 2 * end}
    else:
        options = {"step_at": [0.3 * end], "rtol": 1e-6}
    calls, told = [], []
    kernels = kernels_of(method, y0, calls, begins, runs=True, most=16)
    plain = solve_ivp(fun, (0.0, end), y0, method=method, **options)
    options["progress"] = told.append
    found = solve_ivp(fun, (0.0, end), y0, method=method, kernels=kernels, **options)
    assert len(calls) <= len(found.t) / 12 + 3
    assert len(told) >= len(calls)
    assert len(found.t) == len(plain.t) == found.statistics.accepted + 1
    np.testing.assert_allclose(found.t, plain.t, rtol=1e-6)  # rounding of errors of small steps
    np.testing.assert_allclose(found.y, plain.y, rtol=1e-6, atol=1e-8)
    assert found.statistics.rejected == plain.statistics.rejected


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("options", [{"max_steps": 40}, {}])
def test_steps_before_a_failure_are_recorded(options):
    fun = lambda t, y: np.where(t > 0.5, np.nan, 1.0) * y * np.cos(300 * t)  # noqa: E731
    kernels = kernels_of("dopri5", np.ones(1), runs=True, most=16)
    found, plain = (
        solve_ivp(fun, (0.0, 1.0), [1.0], throw=False, kernels=k, **options)
        for k in (kernels, None)
    )
    assert found.status is plain.status
    before = int(np.sum(plain.t < 0.49))  # beside the last states rounding decides
    assert before > 20
    np.testing.assert_allclose(found.t[:before], plain.t[:before], rtol=1e-9)
    np.testing.assert_allclose(found.y[:before], plain.y[:before], rtol=1e-9)


@pytest.mark.parametrize("method", ["fehlberg45", "dopri5"])
@pytest.mark.parametrize("grid", [None, np.linspace(0, 2, 33)])
def test_jumps_are_evaluated_beside_themselves(method, grid):
    seen = []

    def fun(t, y):
        seen.append(t)
        return np.where(t < 1.0, 1.0, -2.0) * y

    kernels = kernels_of(method, np.ones(1))
    options = {"method": method, "grid": grid, "t_eval": [2.0], "jump_at": [1.0]}
    found = solve_ivp(fun, (0.0, 2.0), [1.0], kernels=kernels, **options)
    assert 1.0 not in seen
    np.testing.assert_allclose(found.y[-1], math.exp(-1.0), rtol=1e-5)


def test_what_happens_at_each_step_still_happens():
    fun, y0, _ = PROBLEMS["van der Pol"]
    kernels, seen = kernels_of("dopri5", y0), []
    options = {"t_eval": [1.0], "kernels": kernels}
    solve_ivp(fun, (0.0, 1.0), y0, observe=lambda *now: seen.append(now), **options)
    assert len(seen) > 4
    assert solve_ivp(fun, (0.0, 1.0), y0, dense=True, **options)(0.5).shape == y0.shape
    assert len(solve_ivp(fun, (0.0, 1.0), y0, kernels=kernels).t) > 4


def test_a_leap_under_jit_of_jax():
    method = tableau("dopri5").coefficients
    law, jnp = StepControl(), jax.numpy
    jax.config.update("jax_enable_x64", True)

    @jax.jit
    def solve(y, slope, numbers, tolerances):
        return adaptive_leap(
            jax.lax.while_loop, lambda t, y: -y + jnp.cos(t), method, law, root_mean_square,
            y, slope, numbers, tolerances, namespace(y),
        )  # fmt: skip

    y0 = jnp.ones(1)
    numbers = jnp.asarray([0, 0.01, 1, 1, 0, 1, 3, 3, 0, math.inf, 1000], dtype=jnp.float64)
    found = solve(y0, 0 * y0, numbers, (jnp.asarray(1e-8), jnp.asarray(1e-10)))
    plain = solve_ivp(
        lambda t, y: -y + np.cos(t), (0, 3), [1.0], first_step=0.01, rtol=1e-8, atol=1e-10
    )
    assert int(found.numbers[4]) == plain.statistics.accepted
    np.testing.assert_allclose(found.y, plain.y[-1], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("complex64", marks=pytest.mark.long)])
def test_times_in_more_bits_leave_the_state_what_it_is(dtype):
    jax.config.update("jax_enable_x64", True)
    y0, method = jax.numpy.ones(2, dtype), tableau("bosh3").coefficients
    field = lambda t, y: y[::-1] * jax.numpy.asarray([1, -1], dtype)  # noqa: E731
    numbers = jax.numpy.asarray([0.0, 0, 1, 1, 0, 1, 2, 2, 0, math.inf, 1000])
    assert numbers.dtype == "float64"
    leap = jax.jit(
        lambda y: adaptive_leap(
            jax.lax.while_loop, field, method, StepControl(), root_mean_square, y, field(0.0, y),
            numbers, (1e-4, 1e-6), namespace(y),
        )
    )  # fmt: skip
    found = leap(y0)
    plain = solve_ivp(field, (0.0, 2.0), y0, method="bosh3", rtol=1e-4, atol=1e-6)
    assert found.y.dtype == found.stages.dtype == y0.dtype
    np.testing.assert_allclose(found.y, plain.y[-1], atol=1e-3)
    states, _, _ = given_steps(field, method, jax.numpy.linspace(0, 2, 9), y0, None)
    last = jax.jit(lambda end: solve_ivp(field, (0.0, end), y0, method="bosh3", steps=8).y[-1])(2.0)
    assert states[-1].dtype == last.dtype == y0.dtype
    np.testing.assert_allclose(states[-1], last, atol=1e-5)
    step = explicit_step(lambda t, y: -y, 0.0, np.ones(2, dtype), np.float64(0.1), method)
    assert step.y.dtype == step.error.dtype == dtype
