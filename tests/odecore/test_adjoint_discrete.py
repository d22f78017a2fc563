"""The discrete adjoint: the transpose of the steps, against matrices, differences and autograd."""

import math
import weakref
from contextlib import suppress
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odecore.adjoint import StepRecord, discrete, record_steps
from odecore.adjoint._step_record import schedule
from odecore.errors import MaxStepsError
from odecore.solve import Adams, solve_ivp
from odecore.tableaux import Coefficients, tableau
from tests.odecore.test_adjoint import TIMES, Y0, A, linear

W = [np.array([0.3, -0.6, 0.2]), np.array([0.7, -0.2, 1.0]), np.array([-0.4, 0.9, 0.5])]
# With and without an idle last stage; fehlberg45 has b_5 != 0 = b_6, and so have others.
METHODS = ("euler", "heun", "classic", "bosh3", "dopri5", "fehlberg45")


# The linear problem: exact gradients from matrices.


def stability_matrix(method, z):
    """R(z) of a method at a square matrix, from the equations of all stages at once."""
    rk, b = np.array(method.A, dtype=float), np.array(method.b, dtype=float)
    n, s = len(z), len(b)
    stages = np.linalg.solve(np.eye(n * s) - np.kron(rk, z), np.kron(np.ones((s, 1)), np.eye(n)))
    return np.eye(n) + np.kron(b[None, :], z) @ stages


@cache
def exact_gradients(name, ends, outputs):
    """L = sum_k w_k . R(h_k A) ... R(h_1 A) y0, differentiated with respect to y0 and A."""
    method, cotangents = tableau(name), W[len(W) - len(outputs) :]

    def maps(m):
        found = [np.eye(len(m))]
        for a, b in pairwise(ends):
            found.append(stability_matrix(method, (b - a) * m) @ found[-1])
        return [found[k] for k in outputs]

    n = len(A)
    gradient = sum(P.T @ w for P, w in zip(maps(A), cotangents, strict=True))
    theta = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            E = np.zeros((n, n))
            E[i, j] = 1  # the derivative in its direction is a block of a function of blocks
            blocks = maps(np.block([[A, E], [np.zeros((n, n)), A]]))
            theta[i, j] = sum(w @ P[:n, n:] @ Y0 for P, w in zip(blocks, cotangents, strict=True))
    return gradient, theta


OPTIONS = {
    "steps": {"steps": 3},
    "step_size": {"step_size": 0.25},
    "grid": {"grid": [0.0, 0.13, 0.4, 0.7, 1.21, 1.5]},
}


CHOICES = [(method, "steps") for method in METHODS] + [("dopri5", "step_size"), ("heun", "grid")]


@pytest.mark.parametrize(("method", "choice"), CHOICES)
def test_gradients_of_a_linear_map(method, choice, xp, dtype, array, eps):
    options = OPTIONS[choice]
    field, linearize = linear(xp, array(A))
    trajectory, record = record_steps(field, TIMES, array(Y0), method=method, **options)
    found = discrete(linearize, record, [array(w) for w in W])
    y0, theta = exact_gradients(method, record.times, record.outputs)
    assert found.y0.dtype == found.parameters[0].dtype == found.tail.dtype == array(Y0).dtype
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=20 * eps)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=20 * eps)
    assert float(found.tail) == 0.0
    assert found.tail.shape == ()
    expected = solve_ivp(field, (0.0, 1.5), array(Y0), method=method, t_eval=TIMES, **options)
    np.testing.assert_array_equal(np.asarray(trajectory.y), np.asarray(expected.y))


def test_adaptive_steps_land_on_the_output_times(xp, dtype, array, eps):
    field, linearize = linear(xp, array(A))
    options = {"rtol": 1e-3, "atol": 1e-5, "step_at": [0.77]}
    trajectory, record = record_steps(field, TIMES, array(Y0), **options)
    assert [record.times[k] for k in record.outputs] == TIMES
    assert 0.77 in record.times
    assert record.outputs[-1] == len(record.times) - 1 == trajectory.statistics.accepted
    found = discrete(linearize, record, [array(w) for w in W])
    y0, theta = exact_gradients("dopri5", record.times, record.outputs)
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=20 * eps)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=20 * eps)
    assert trajectory.y.shape == (3, 3)
    np.testing.assert_array_equal(trajectory.t, TIMES)
    _, record = record_steps(field, TIMES, array(Y0), memory=48, **options)
    again = discrete(linearize, record, [array(w) for w in W])
    np.testing.assert_array_equal(np.asarray(again.y0), np.asarray(found.y0))


def test_rejected_steps_are_not_recorded():
    field = lambda t, y: -(y**3) * (1 + 50 * math.exp(-1000 * (t - 0.5) ** 2))  # noqa: E731
    seen = []
    trajectory, record = record_steps(
        field, [0.0, 1.0], np.ones(2), rtol=1e-6, observe=lambda *args: seen.append(args)
    )
    assert trajectory.statistics.rejected > 0
    accepted = [(t, y) for what, t, y, h in seen if what == "accept"]
    assert [t for t, _ in accepted] == list(record.times[:-1])
    assert all(a is b for (_, a), b in zip(accepted, record.states, strict=True))
    assert {what for what, *_ in seen} == {"step", "accept", "reject"}


@pytest.mark.parametrize("method", ["classic", "dopri5"])
def test_backward_time(method):
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES[::-1], Y0, method=method, step_size=0.2)
    found = discrete(linearize, record, W)
    y0, theta = exact_gradients(method, record.times, record.outputs)
    np.testing.assert_allclose(found.y0, y0, atol=1e-13)
    np.testing.assert_allclose(found.parameters[0], theta, atol=1e-13)


def test_complex_states_follow_the_pulls():
    # The real loss Re(w . y) of y' = M y, with the gradient dL/d(Re y) + i dL/d(Im y).
    rng = np.random.default_rng(0)
    M, w, y0 = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((3, 3), (3,), (3,)))

    def linearize(t, y):
        return M @ y, lambda a, parameters: (M.conj().T @ a, ())

    _, record = record_steps(lambda t, y: M @ y, [0.0, 0.5], y0, method="dopri5", steps=4)
    found = discrete(linearize, record, [0 * w, w.conj()], parameters=False).y0
    end = lambda z: (w @ solve_ivp(lambda t, y: M @ y, (0, 0.5), z, steps=4).y[-1]).real  # noqa: E731
    expected = [
        sum(unit * (end(y0 + unit * e) - end(y0)) for unit in (1, 1j)) for e in np.eye(3)
    ]  # L is linear over the reals: differences are exact
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.dtype == np.complex128


# A nonlinear field that depends on time, with parameters.

THETA = np.array([0.8, -0.5, 1.3])


def nonlinear(theta):
    """y1' = theta_0 y2 + sin(theta_2 t), y2' = theta_1 sin(y1) y2 + cos(t) y1, by the numbers."""

    def field(t, y):
        first = theta[0] * y[1] + np.sin(theta[2] * t)
        second = theta[1] * np.sin(y[0]) * y[1] + np.cos(t) * y[0]
        return np.stack([first, second])

    def linearize(t, y):
        def pull(a, parameters):
            s, c = np.sin(y[0]), np.cos(y[0])
            J = np.array([[0, theta[0]], [theta[1] * c * y[1] + np.cos(t), theta[1] * s]])
            terms = np.array([a[0] * y[1], a[1] * s * y[1], a[0] * t * np.cos(theta[2] * t)])
            return J.T @ a, (terms,) if parameters else ()

        return field(t, y), pull

    return field, linearize


def loss(theta, y0, record, cotangents, method):
    """The loss in complex arithmetic: its imaginary part is a derivative, to rounding."""
    field, _ = nonlinear(theta)
    outputs = [record.times[k] for k in record.outputs]
    span = (outputs[0], outputs[-1])
    y = solve_ivp(field, span, y0, method=method, t_eval=outputs, grid=record.times).y
    return sum(state @ w for state, w in zip(y, cotangents, strict=True))


def complex_step(function, x):
    found = []
    for k in range(len(x)):
        z = x.astype(complex)
        z[k] += 1e-30j
        found.append(function(z).imag / 1e-30)
    return np.array(found)


CASES = [(m, o) for m in METHODS for o in ({"steps": 5}, {"rtol": 1e-3, "atol": 1e-4})]


@pytest.mark.parametrize(
    ("method", "options"),
    [case for case in CASES if "steps" in case[1] or tableau(case[0]).b_hat is not None],
)
def test_gradients_of_a_nonlinear_map_with_its_grid_frozen(method, options):
    y0, times = np.array([0.7, -0.4]), [0.2, 0.9, 1.0, 2.2]
    w = np.random.default_rng(1).normal(size=(4, 2))
    field, linearize = nonlinear(THETA)
    _, record = record_steps(field, times, y0, method=method, **options)
    found = discrete(linearize, record, list(w))
    expected = complex_step(lambda z: loss(THETA, z, record, w, method), y0)
    np.testing.assert_allclose(found.y0, expected, rtol=1e-12, atol=1e-13)
    zero = y0.astype(complex)
    expected = complex_step(lambda z: loss(z, zero, record, w, method), THETA)
    np.testing.assert_allclose(found.parameters[0], expected, rtol=1e-12, atol=1e-13)


# Memory.


def recorded(steps, capacity, method="bosh3", size=8):
    """A record of given steps with room for `capacity` states of two float64, and the pullback."""
    field, linearize = nonlinear(THETA)
    memory = None if capacity is None else 2 * size * capacity
    options = {"method": method, "steps": steps, "memory": memory}
    _, record = record_steps(field, [0.0, 3.0], np.array([0.7, -0.4]), **options)
    return record, linearize


W2 = [np.array([0.1, -0.3]), np.array([1.0, 0.6])]


@cache
def fewest(steps, slots):
    """The fewest steps to make again, by trying each place for the next state."""
    if steps <= 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(m + fewest(steps - m, slots - 1) + fewest(m, slots) for m in range(1, steps))


def test_the_schedule_makes_the_fewest_steps_again():
    for steps in range(60):
        for slots in range(1, 9):
            ahead, repeated = schedule(steps, slots)
            assert repeated == fewest(steps, slots)
            if steps > 1:
                rest = schedule(steps - ahead, slots - 1)[1] if slots > 1 else 0
                assert slots == 1 or repeated == ahead + rest + schedule(ahead, slots)[1]


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("method", ["classic", "bosh3"])
def test_budgets_change_the_work_and_not_one_bit(steps, method):
    record, linearize = recorded(steps, None, method)
    full = discrete(linearize, record, W2)
    stages = {"classic": 4, "bosh3": 3}[method]
    assert full.statistics.evaluations == stages * steps
    assert full.statistics.accepted == steps
    for capacity in (2, 3, 5, 12, 30, 64, 1000):
        record, linearize = recorded(steps, capacity, method)
        assert len(record.states) <= capacity
        assert record.states[0][0] == 0.7
        found = discrete(linearize, record, W2)
        np.testing.assert_array_equal(found.y0, full.y0)
        np.testing.assert_array_equal(found.parameters[0], full.parameters[0])
        # Not more than from the initial state alone, with (c + r over r) >= steps.
        r = next(r for r in range(steps) if math.comb(capacity + r, r) >= steps)
        evaluations = found.statistics.evaluations
        assert evaluations <= stages * steps * (1 + r)
        assert steps > capacity or evaluations == stages * steps
        assert evaluations <= 2 * stages * steps or capacity**2 < 4 * steps


@pytest.mark.parametrize("method", ["classic", "dopri5", "tsit5"])
def test_steps_made_again_have_the_bits_of_the_forward_solve(method):
    field, linearize = nonlinear(THETA)
    grid = [-2.0, -0.9, -0.7 / 1.3, 0.1 / 3, 0.4, 0.55, 1.3]
    assert any(a + (b - a) != b for a, b in pairwise(grid))  # the end of a step is no t + h
    options = {"method": method, "grid": grid}
    forward, seen = set(), set()

    def watched(t, y):
        forward.add((t, *y.tolist()))
        return field(t, y)

    def spy(t, y):
        seen.add((t, *y.tolist()))
        return linearize(t, y)

    y0, times = np.array([0.7, -0.4]), (grid[0], grid[-1])
    _, record = record_steps(watched, times, y0, memory=48, **options)
    discrete(spy, record, W2)
    assert len(record.states) < 4
    assert seen <= forward


@pytest.mark.parametrize(
    ("method", "needed"), [("fehlberg45", 5), ("dopri5", 6), ("zonneveld", 4), ("heun", 2)]
)
def test_stages_without_effect_are_not_evaluated(method, needed):
    record, linearize = recorded(7, None, method)
    assert discrete(linearize, record, W2).statistics.evaluations == 7 * needed


def test_logarithmically_many_states_repeat_logarithmically_often():
    for steps in (100, 1000):
        capacity = 2 + math.ceil(math.log2(steps))
        record, linearize = recorded(steps, capacity, "heun")
        found = discrete(linearize, record, W2, parameters=False)
        assert found.parameters == ()
        assert found.statistics.evaluations <= 2 * steps * (1 + math.log2(steps) / 2)


@pytest.mark.parametrize("capacity", [2, 3, 5, 12, 40])
def test_states_alive_are_within_the_budget(capacity):
    record, linearize = recorded(100, capacity)
    times, most = set(record.times), 0
    kept = {id(y) for y in record.states}
    alive = weakref.WeakValueDictionary()

    def spy(t, y):
        nonlocal most
        if t in times and len(y) == 2:  # the first stage of a step is its state
            most = max(most, len((set(alive) | kept) - {id(y)}))
            alive[id(y)] = y
        return linearize(t, y)

    discrete(spy, record, W2)
    assert max(1, capacity // 2) <= most <= capacity


def test_states_are_kept_while_their_number_is_not_known():
    alive, most = weakref.WeakValueDictionary(), 0

    def spy(what, t, y, h):
        nonlocal most
        alive[t] = y
        most = max(most, len(alive))

    field, _ = nonlinear(THETA)
    options = {"method": "heun", "steps": 300, "observe": spy}
    record_steps(field, [0.0, 3.0], np.array([0.7, -0.4]), memory=16 * 10, **options)
    assert 10 <= most <= 10 + 3  # the initial state of the caller, and the two ends of a step


def test_budgets_count_bytes_of_the_state_as_it_is(xp, dtype, array):
    field, _ = linear(xp, array(A))
    size = {"float32": 4, "float64": 8}[dtype]
    options = {"method": "heun", "step_size": 0.01}
    _, record = record_steps(field, TIMES, array(Y0), memory=3 * size * 20 + 1, **options)
    assert record.capacity == 20
    assert all(y.dtype == array(Y0).dtype for y in record.states)
    _, record = record_steps(lambda t, y: 1j * y, TIMES, 1j * Y0, memory=48 * 5, **options)
    assert record.capacity == 5


def test_a_record_may_be_used_again_and_owns_its_first_state(xp, array):
    field, linearize = linear(xp, array(A))
    y0, cotangents = array(Y0), [array(w) for w in W]
    _, record = record_steps(field, TIMES, y0, method="classic", steps=20, memory=24 * 6)
    first = discrete(linearize, record, cotangents)
    with suppress(TypeError):  # of jax, whose arrays do not change
        y0[:] = 17.0
    again = discrete(linearize, record, cotangents)
    np.testing.assert_array_equal(np.asarray(first.y0), np.asarray(again.y0))
    np.testing.assert_array_equal(np.asarray(first.parameters[0]), np.asarray(again.parameters[0]))


def test_buffers_that_are_used_again_do_no_harm():
    _, linearize = linear(np, A)
    value, back, term = np.empty(3), np.empty(3), np.empty((3, 3))

    def reuses(t, y):
        found, pull = linearize(t, y)
        value[:] = found

        def pull_into(a, parameters):
            back[:], (term[:],) = pull(a, parameters)
            return back, (term,)

        return value, pull_into

    _, record = record_steps(lambda t, y: A @ y, TIMES, Y0, method="dopri5", steps=9, memory=96)
    expected, found = discrete(linearize, record, W), discrete(reuses, record, W)
    np.testing.assert_array_equal(found.y0, expected.y0)
    np.testing.assert_array_equal(found.parameters[0], expected.parameters[0])


# Any explicit method, against torch's autograd through the same steps.


@st.composite
def explicit_methods(draw):
    number = st.one_of(st.just(0.0), st.floats(-2, 2, allow_subnormal=False))
    s = draw(st.integers(1, 5))
    rows = tuple(tuple(draw(number) for _ in range(i)) for i in range(s))
    if s > 1 and draw(st.booleans()):  # the last stage is the first of the next step
        c = (*(sum(row) for row in rows[:-1]), 1.0)
        return Coefficients(rows, (*rows[-1], 0.0), last_stage_is_first=True, c=c)
    return Coefficients(rows, tuple(draw(number) for _ in range(s)))


def torch_field(theta):
    import torch

    def field(t, y):
        return torch.tanh(theta @ y) * math.cos(t) + theta[0] * y[1]

    def linearize(t, y):
        with torch.enable_grad():
            state, weights = y.detach().requires_grad_(), theta.detach().requires_grad_()
            value = torch.tanh(weights @ state) * math.cos(t) + weights[0] * state[1]

        def pull(a, parameters):
            inputs = (state, weights) if parameters else (state,)
            q, *terms = torch.autograd.grad(value, inputs, a, retain_graph=True)
            return q, tuple(terms)

        return value, pull

    return field, linearize


@settings(max_examples=40)
@given(
    method=explicit_methods(),
    shares=st.lists(st.floats(0.02, 0.3), min_size=1, max_size=12),
    budget=st.one_of(st.none(), st.integers(2, 6)),
    sign=st.sampled_from([1.0, -1.0]),
    data=st.data(),
)
def test_any_method_against_autograd(method, shares, budget, sign, data):
    import torch

    grid = [0.3 + sign * sum(shares[:k]) for k in range(len(shares) + 1)]
    inside = data.draw(st.sets(st.sampled_from(grid[1:])))
    times = [t for t in grid if t in (grid[0], grid[-1]) or t in inside]
    generator = torch.Generator().manual_seed(len(grid))
    theta, y0, w = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 2), (2,), (len(times), 2))
    )
    theta.requires_grad_()
    y0.requires_grad_()
    options = {"method": method, "grid": grid}
    field, linearize = torch_field(theta)
    y = solve_ivp(field, (grid[0], grid[-1]), y0, t_eval=times, **options).y
    expected = torch.autograd.grad(torch.sum(y * w), (y0, theta), materialize_grads=True)
    memory = None if budget is None else 16 * budget
    trajectory, record = record_steps(field, times, y0, memory=memory, **options)
    assert not any(state.requires_grad for state in record.states)
    found = discrete(linearize, record, list(w))
    scale = 1 + float(expected[0].abs().max()) + float(expected[1].abs().max())
    torch.testing.assert_close(trajectory.y, y, rtol=0, atol=0)
    torch.testing.assert_close(found.y0, expected[0], rtol=0, atol=1e-12 * scale)
    torch.testing.assert_close(found.parameters[0], expected[1], rtol=0, atol=1e-12 * scale)
    assert not found.y0.requires_grad


def test_coefficients_that_are_arrays():
    half = np.asarray(0.5)
    method = Coefficients(((), (half,)), (np.asarray(0.0), np.asarray(1.0)))
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES, Y0, method=method, steps=4)
    found = discrete(linearize, record, W)
    _, record = record_steps(field, TIMES, Y0, method="midpoint", steps=4)
    expected = discrete(linearize, record, W)
    np.testing.assert_allclose(found.y0, expected.y0, rtol=1e-14)
    np.testing.assert_allclose(found.parameters[0], expected.parameters[0], rtol=1e-13)


def rate(t):
    return 1.0 if t < 0.4 else -2.0 if t < 0.75 else 0.5


def at_rates(t, y):
    return rate(t) * (A @ y), lambda a, parameters: (rate(t) * (A.T @ a), (a @ (A @ y) * rate(t),))


@pytest.mark.parametrize("times", [[0.0, 0.4, 1.0], [1.0, 0.4, 0.0]])
@pytest.mark.parametrize("memory", [None, 48])
@pytest.mark.parametrize(
    "name", ["heun", "classic", "bosh3", "trapezoidal", "radau_iia2", "gauss2"]
)
def test_steps_stay_on_their_side_of_jumps(name, memory, times):
    # Stages at the ends of steps see the rate inside, so that each step is a matrix.
    jumps = [0.0, 0.4, 0.75, 1.0]
    grid = sorted([0.0, 0.1, 0.4, 0.5, 0.75, 0.8, 1.0], reverse=times[0] > 0)
    options = {"method": name, "grid": grid, "jump_at": jumps, "memory": memory}
    trajectory, record = record_steps(lambda t, y: at_rates(t, y)[0], times, Y0, **options)
    found = discrete(at_rates, record, [0 * Y0, 0 * Y0, W[2]])
    whole = np.eye(3)
    for a, b in pairwise(grid):
        whole = stability_matrix(tableau(name), (b - a) * rate((a + b) / 2) * A) @ whole
    np.testing.assert_allclose(trajectory.y[-1], whole @ Y0, rtol=1e-10)
    np.testing.assert_allclose(found.y0, whole.T @ W[2], rtol=1e-9)
    if name in ("heun", "classic", "trapezoidal"):  # the twin: a stage on the other side
        crossed = discrete(at_rates, changed(record, jumps=frozenset()), [0 * Y0, 0 * Y0, W[2]])
        assert np.abs(crossed.y0 - whole.T @ W[2]).max() > 1e-3


def test_adaptive_steps_that_jump_are_made_again():
    options = {"method": "dopri5", "jump_at": np.array([0.4, 0.75]), "rtol": 1e-9, "atol": 1e-10}
    _, record = record_steps(lambda t, y: at_rates(t, y)[0], [0.0, 1.0], Y0, **options)
    assert {0.4, 0.75} <= set(record.times)
    found = discrete(at_rates, record, [0 * Y0, W[2]])
    whole, term, power = np.eye(3), np.eye(3), (0.4 - 0.7 + 0.125) * A
    for k in range(1, 20):
        term = term @ power / k
        whole = whole + term
    np.testing.assert_allclose(found.y0, whole.T @ W[2], rtol=1e-7)
    y = whole @ Y0
    theta = (0.4 - 0.7 + 0.125) * (W[2] @ A @ y)  # of a factor of all rates
    np.testing.assert_allclose(found.parameters[0], theta, rtol=1e-7)


# Twins that must fail.


def changed(record, **changes):
    fields = {name: getattr(record, name) for name in StepRecord.__dataclass_fields__}
    return StepRecord(**fields | changes)


def without_inner_terms(method):
    """A recursion that forgets the terms a_ji q_j: what a quadrature of J^T lambda does."""
    return Coefficients(tuple((0.0,) * len(row) for row in method.A), method.b, c=method.c)


@pytest.mark.parametrize("twin", ["inner terms", "Jacobian", "weights", "times", "outputs"])
def test_a_wrong_transpose_is_seen(twin):
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES, Y0, method="classic", steps=3)
    y0, theta = exact_gradients("classic", record.times, record.outputs)
    wrong, method = linearize, record.method
    if twin == "inner terms":
        record = changed(record, method=without_inner_terms(method))
    elif twin == "weights":
        record = changed(record, method=Coefficients(method.A, method.b[::-1][1:] + (0.1,)))
    elif twin == "times":
        record = changed(record, times=(*record.times[:-1], 1.6))
    elif twin == "outputs":
        record = changed(record, outputs=(0, 2, 6))
    else:
        wrong = lambda t, y: (A @ y, lambda a, p: (A @ a, linearize(t, y)[1](a, p)[1]))  # noqa: E731
    found = discrete(wrong, record, W)
    assert np.abs(found.y0 - y0).max() > 1e-4
    assert np.abs(found.parameters[0] - theta).max() > 1e-4


# Input that breaks a rule.


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        ([0.0], {}, "at least 2 times, got 1"),
        ([0.0, 1.0, 0.5], {"steps": 2}, "strictly increasing"),
        (["a", 1.0], {}, "`times` must be a sequence of times"),
        (3.0, {}, "`times` must be a sequence of times, got 3.0"),
        (np.zeros((2, 2)), {}, "one-dimensional, got `times`"),
        ([0.0, 1.0], {"method": Adams(3), "steps": 2}, "Runge-Kutta .* got Adams: choose"),
        ([0.0, 1.0], {"method": "dopry5"}, "no method 'dopry5'"),
        ([0.0, 0.4, 1.0], {"grid": [0.0, 0.6, 0.5, 1.0]}, "strictly increasing"),
        ([0.0, 0.4, 1.0], {"grid": [0.0, 0.5]}, "grid"),
        ([0.0, 1.0], {"grid": ["x"]}, "`grid` must be a sequence of times"),
        ([0.0, 1.0], {"memory": 47}, "at least 2 states of 24 bytes, got 47"),
        ([0.0, 1.0], {"memory": 1e1}, "at least 2 states of 24 bytes, got 10"),
        ([0.0, 1.0], {"method": "euler"}, "embedded error estimate"),
        ([0.0, 1.0], {"steps": 2, "step_at": [0.5]}, "step_at steer adaptive steps"),
        ([0.0, 1.0], {"steps": 4, "jump_at": [0.3]}, "must be ends of steps"),
        ([0.0, 1.0], {"jump_at": 0.5}, "`jump_at` must be a sequence of times"),
        ([0.0, 1.0], {"step_at": b"1"}, "`step_at` must be a sequence of times"),
        ([0.0, 1.0], {"step_at": {0.5: 1}}, "`step_at` must be a sequence of times"),
        ([0.0, 1.0], {"t_eval": [0.5], "throw": False}, "can not have t_eval, throw"),
    ],
)
def test_bad_input_to_record_steps(times, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        record_steps(lambda t, y: -y, times, Y0, **options)


def test_times_may_be_arrays_on_the_host(xp, array):
    times = array([0.0, 0.5, 1.5])
    _, record = record_steps(lambda t, y: -y, times, array(Y0), method="heun", steps=2)
    assert record.times == (0.0, 0.25, 0.5, 1.0, 1.5)
    assert record.outputs == (0, 2, 4)
    assert all(type(t) is float for t in record.times)


def test_times_that_can_not_be_read_are_refused():
    import torch

    times = torch.zeros(2, device="meta")
    with pytest.raises(ValueError, match="`times` must be floats, or arrays on the host to read"):
        record_steps(lambda t, y: -y, times, torch.ones(2), steps=2, method="heun")


def test_a_failing_forward_solve_is_typed():
    with pytest.raises(MaxStepsError):
        record_steps(lambda t, y: -y, [0.0, 1.0], Y0, rtol=1e-10, max_steps=2)


def test_states_of_any_shape():
    for shape in [(), (2, 3), (0,), (2, 0)]:
        y0 = np.full(shape, 0.5)
        _, record = record_steps(lambda t, y: -y, TIMES, y0, method="dopri5", steps=3, memory=1000)
        found = discrete(lambda t, y: (-y, lambda a, p: (-a, ())), record, [y0, y0, y0])
        factor = stability_matrix(tableau("dopri5"), np.array([[-1.1 / 3]]))[0, 0] ** 3
        first = stability_matrix(tableau("dopri5"), np.array([[-0.4 / 3]]))[0, 0] ** 3
        np.testing.assert_allclose(found.y0, y0 * (1 + first * (1 + factor)), rtol=1e-14)
        assert found.y0.shape == shape


def test_jax_takes_the_gradient_under_jit():
    import jax
    import jax.numpy as jnp

    matrix = jnp.asarray(A.tolist())
    field, linearize = linear(jnp, matrix)

    @jax.jit
    def gradient(y0, w):
        _, record = record_steps(field, [0.0, 1.0], y0, method="classic", steps=5, memory=10**4)
        return discrete(linearize, record, [0 * w, w]).y0

    expected, _ = exact_gradients("classic", tuple(k / 5 for k in range(6)), (5,))
    found = gradient(jnp.asarray(Y0.tolist()), jnp.asarray(W[2].tolist()))
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)


def test_output_times_are_added_to_a_grid():
    trajectory, record = record_steps(
        lambda t, y: -y, [0.0, 0.4, 1.0], np.ones(2), method="classic", grid=[0.0, 0.5, 1.0]
    )
    assert record.times == (0.0, 0.4, 0.5, 1.0)
    np.testing.assert_allclose(trajectory.y[:, 0], np.exp([0.0, -0.4, -1.0]), rtol=1e-3)
