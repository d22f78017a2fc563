"""The transpose of implicit steps, against matrices, differences and the steps' own gradients."""

import numpy as np
import pytest
import torch

from odecore.adjoint import _transposed_step, discrete, record_steps
from odecore.errors import NewtonFailedError
from odecore.solve import (
    Accepted,
    Newton,
    _transposed_stages,
    explicit_step,
    implicit_step,
    solve_ivp,
    transposed_inverse,
    transposed_stages,
)
from odecore.tableaux import Coefficients, tableau
from tests.odecore.test_adjoint_discrete import (
    THETA,
    TIMES,
    Y0,
    A,
    W,
    exact_gradients,
    linear,
    nonlinear,
    stability_matrix,
)

# One stage, diagonal ones, an explicit first stage, fully implicit ones.
METHODS = ("implicit_euler", "alexander2", "kvaerno43", "gauss2", "radau_iia3")


@pytest.mark.long_on_jax
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_a_linear_map(method, xp, dtype, array, eps):
    field, linearize = linear(xp, array(A))
    _, record = record_steps(field, TIMES, array(Y0), method=method, steps=3)
    found = discrete(linearize, record, [array(w) for w in W])
    y0, theta = exact_gradients(method, record.times, record.outputs)
    assert found.y0.dtype == found.parameters[0].dtype == array(Y0).dtype
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=50 * eps)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=50 * eps)
    assert float(found.residual) < 50 * eps
    assert found.statistics.newton > 0


def ends(y0, theta, times, grid, method, **options):
    field, _ = nonlinear(theta)
    return solve_ivp(field, (times[0], times[-1]), y0, method=method, t_eval=times, grid=grid).y


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{"steps": 4}, {"rtol": 1e-4, "atol": 1e-5}])
def test_gradients_of_a_nonlinear_map_with_its_grid_frozen(method, options):
    if "rtol" in options and tableau(method).b_hat is None:
        pytest.skip("no error estimate")
    y0, times = np.array([0.7, -0.4]), [0.2, 0.9, 2.2]
    w = np.random.default_rng(1).normal(size=(3, 2))
    field, linearize = nonlinear(THETA)
    _, record = record_steps(field, times, y0, method=method, **options)
    found = discrete(linearize, record, list(w))

    def difference(function, x):
        moves = 1e-5 * np.eye(len(x))
        loss = lambda x: np.sum(w * function(x))  # noqa: E731
        return [(loss(x + d) - loss(x - d)) / 2e-5 for d in moves]

    # In adaptive steps the states are those of Newton's method stopped at the tolerance.
    precision = {"rtol": 1e-7 if "steps" in options else 1e-5, "atol": 1e-8}
    grid = record.times
    expected = difference(lambda x: ends(x, THETA, times, grid, method), y0)
    np.testing.assert_allclose(found.y0, expected, **precision)
    expected = difference(lambda x: ends(y0, x, times, grid, method), THETA)
    np.testing.assert_allclose(found.parameters[0], expected, **precision)


def test_stiff_steps():
    # Prothero and Robinson's problem with a rate that no explicit method could take.
    rate = 1e6
    field = lambda t, y: -rate * (y - np.cos(t)) * np.array([1.0, 1e-3]) - np.sin(t)  # noqa: E731
    slopes = -rate * np.array([1.0, 1e-3])
    linearize = lambda t, y: (field(t, y), lambda a, p: (slopes * a, ()))  # noqa: E731
    _, record = record_steps(field, [0.0, 1.0], np.ones(2), method="radau_iia3", steps=3)
    found = discrete(linearize, record, [np.zeros(2), np.ones(2)])
    R = stability_matrix(tableau("radau_iia3"), np.diag(slopes) / 3)
    np.testing.assert_allclose(found.y0, np.diag(R) ** 3, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("method", ["kvaerno43", "gauss2"])
def test_complex_states_follow_the_pulls(method):
    rng = np.random.default_rng(0)
    M, w, y0 = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((3, 3), (3,), (3,)))
    linearize = lambda t, y: (M @ y, lambda a, parameters: (M.conj().T @ a, ()))  # noqa: E731
    _, record = record_steps(lambda t, y: M @ y, [0.0, 0.5], y0, method=method, steps=4)
    found = discrete(linearize, record, [0 * w, w], parameters=False)
    R = stability_matrix(tableau(method), M / 8)
    np.testing.assert_allclose(found.y0, np.linalg.matrix_power(R.conj().T, 4) @ w, atol=1e-13)


@pytest.mark.parametrize("method", ["kvaerno43", "radau_iia3"])
def test_budgets_change_the_work_and_not_the_gradient(method):
    field, linearize = nonlinear(THETA)
    found = {}
    for memory in (None, 3 * 16):
        options = {"method": method, "steps": 20, "memory": memory}
        _, record = record_steps(field, [0.0, 3.0], np.array([0.7, -0.4]), **options)
        found[memory] = discrete(linearize, record, [np.zeros(2), np.ones(2)])
    whole, few = found.values()
    assert few.statistics.evaluations > 2 * whole.statistics.evaluations
    np.testing.assert_allclose(few.y0, whole.y0, rtol=1e-12)
    np.testing.assert_allclose(few.parameters[0], whole.parameters[0], rtol=1e-12)


@pytest.mark.parametrize("solver", ["direct", "krylov"])
def test_the_forward_solver_is_that_of_the_backward_pass(solver):
    field, linearize = nonlinear(THETA)
    calls = []

    def jacobian(t, y):
        calls.append(t)
        return linearize(t, y)[1](np.array([1.0, 0.0]), False)[0] * np.eye(2)  # crude

    jacobian = None if solver == "krylov" else jacobian
    newton = Newton(jacobian=jacobian, linear_solver=solver)
    options = {"method": "implicit_euler", "steps": 6, "newton": newton, "memory": 6 * 16}
    _, record = record_steps(field, [0.0, 0.5], np.array([0.7, -0.4]), **options)
    before = len(calls)
    found = discrete(linearize, record, [np.zeros(2), np.ones(2)])
    assert (len(calls) > before) is (solver == "direct")
    _, plain = record_steps(field, [0.0, 0.5], record.states[0], method="implicit_euler", steps=6)
    expected = discrete(linearize, plain, [np.zeros(2), np.ones(2)])
    np.testing.assert_allclose(found.y0, expected.y0, rtol=1e-11)


@pytest.mark.parametrize("twin", ["coupling", "Jacobian"])
def test_a_wrong_transpose_is_seen(twin):
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES, Y0, method="radau_iia3", steps=3)
    y0, _ = exact_gradients("radau_iia3", record.times, record.outputs)
    if twin == "coupling":  # A in place of its transpose
        method = record.method
        flipped = tuple(zip(*method.A, strict=True))
        wrong = Coefficients(flipped, method.b, c=method.c)
        record = type(record)(**{**vars(record), "method": wrong})
    else:
        linearize = lambda t, y: (A @ y, lambda a, p: (A @ a, (a,) if p else ()))  # noqa: E731
    assert np.abs(discrete(linearize, record, W).y0 - y0).max() > 1e-4


@pytest.mark.parametrize("method", ["implicit_euler", "kvaerno43", "gauss2", "radau_iia3"])
def test_matrices_follow_where_products_do_not_arrive(monkeypatch, method):
    field, linearize = nonlinear(THETA)
    _, record = record_steps(field, [0.0, 3.0], np.array([0.7, -0.4]), method=method, steps=9)
    w = [np.zeros(2), np.ones(2)]
    wanted = discrete(linearize, record, w)
    monkeypatch.setattr(_transposed_stages, "SPACE", 1)
    found = discrete(linearize, record, w)
    np.testing.assert_allclose(found.y0, wanted.y0, rtol=1e-10)
    np.testing.assert_allclose(found.parameters[0], wanted.parameters[0], rtol=1e-10)
    assert found.statistics.newton != wanted.statistics.newton


def test_equations_that_are_not_solved_raise(monkeypatch):
    field, linearize = linear(np, A)
    _, record = record_steps(field, TIMES, Y0, method="gauss2", steps=3)
    monkeypatch.setattr(_transposed_stages, "SPACE", 1)
    monkeypatch.setattr(_transposed_stages, "LARGEST", 0)
    with pytest.raises(NewtonFailedError, match=r"relative residual of .* after 1 products"):
        discrete(linearize, record, W)
    monkeypatch.undo()
    # A field that is not the one of the forward solve.
    _, record = record_steps(field, TIMES, Y0, method="gauss2", steps=3, memory=6 * 24)
    wrong = lambda t, y: (np.sqrt(np.abs(y)) * 1e8, linearize(t, y)[1])  # noqa: E731
    with pytest.raises(NewtonFailedError, match="not found to rounding") as caught:
        discrete(wrong, record, W)
    assert caught.value.trajectory.t.tolist() == [record.times[-2]]


@pytest.mark.parametrize("method", ["kvaerno43", "gauss2"])
def test_statistics_count_linearizations_and_products(method):
    _, linearize = nonlinear(THETA)
    calls, pulls = [], []

    def counted(t, y):
        calls.append(t)
        value, pull = linearize(t, y)

        def counting(a, parameters):
            pulls.append(parameters)
            return pull(a, parameters)

        return value, counting

    field, y0 = nonlinear(THETA)[0], np.array([0.7, -0.4])
    _, record = record_steps(field, [0.0, 1.0], y0, method=method, steps=3)
    found = discrete(counted, record, [np.zeros(2), np.ones(2)])
    stages = len(record.method.b)
    assert found.statistics.evaluations == len(calls)
    assert sum(pulls) == 3 * stages  # parameters once for each stage
    # Of diagonal stages one product each is of one stage, of coupled ones of all.
    solved = stages - 1 if method == "kvaerno43" else 1
    assert 3 * solved <= found.statistics.newton <= 3 * solved * 2 * stages


@pytest.mark.parametrize("method", ["kvaerno54", "radau_iia3"])
@pytest.mark.parametrize("room", [6, 23, 24, 200])
def test_stages_are_kept_while_there_is_room(method, room):
    field, linearize = nonlinear(THETA)
    options = {"method": method, "steps": 6, "memory": room * 16}
    _, record = record_steps(field, [0.0, 1.0], np.array([0.7, -0.4]), **options)
    kept = 6 * (1 + len(record.method.b)) <= room
    assert (len(record.states), len(record.stages)) == (6, 6 if kept else 0)
    found = discrete(linearize, record, [np.zeros(2), np.ones(2)])
    assert (found.statistics.evaluations == 6 * len(record.method.b)) is kept
    _, whole = record_steps(field, [0.0, 1.0], record.states[0], method=method, steps=6)
    expected = discrete(linearize, whole, [np.zeros(2), np.ones(2)])
    np.testing.assert_allclose(found.y0, expected.y0, rtol=1e-12)
    np.testing.assert_allclose(found.parameters[0], expected.parameters[0], rtol=1e-12)


@pytest.mark.parametrize("method", ["kvaerno54", "radau_iia3", "implicit_euler"])
@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_an_empty_state_has_an_empty_gradient(method, shape):
    def linearize(t, y):
        return -y, lambda a, p: (-a, (np.sum(y * a),) if p else ())

    y0 = np.zeros(shape)
    _, record = record_steps(lambda t, y: -y, TIMES, y0, method=method, steps=2)
    found = discrete(linearize, record, [y0] * len(TIMES))
    assert found.y0.shape == shape
    assert found.parameters == (0.0,)
    assert float(found.residual) == 0


@pytest.mark.parametrize("method", ["kvaerno54", "dopri5"])
def test_an_observer_of_accepted_steps_is_told_of_them(method):
    alone, beside, looked = [], [], []
    for told in (alone, beside):
        observe = Accepted(
            lambda t, y, h, stages, told=told: told.append((t, h, len(stages))),
            lambda what, t, y, h: looked.append(what),
        )
        solve = solve_ivp if told is alone else record_steps
        solve(lambda t, y: -50 * (y - t), [0.0, 1.0], np.ones(2), method=method, observe=observe)
    assert beside == alone
    assert looked.count("accept") == len(alone) + len(beside)
    with pytest.raises(TypeError, match="`observe` must be callable as observe"):
        record_steps(lambda t, y: -y, [0.0, 1.0], np.ones(2), method=method, observe=3)


def heat(n):
    """The heat equation on n points, with a reaction, and its transposed products."""
    D = (n + 1.0) ** 2 * (np.eye(n, k=1) - 2 * np.eye(n) + np.eye(n, k=-1))

    def linearize(t, y):
        return D @ y + y * (1 - y), lambda a, p: (D.T @ a + (1 - 2 * y) * a, (y * a,) if p else ())

    return lambda t, y: linearize(t, y)[0], linearize, np.sin(np.linspace(0, 3, n))


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("method", ["kvaerno54", "esdirk436_pair", "radau_iia3"])
def test_stiff_steps_form_matrices_once_products_are_many(monkeypatch, method, given):
    n = 60
    field, linearize, y0 = heat(n)
    calls = []

    def jacobian(t, y):
        calls.append(t)
        _, pull = linearize(t, y)
        return np.stack([pull(e, False)[0] for e in np.eye(n)])

    newton = Newton(jacobian=jacobian) if given else None
    steps = {"rtol": 1e-4, "atol": 1e-6} if tableau(method).b_hat else {"steps": 8}
    _, record = record_steps(field, [0.0, 0.1], y0, method=method, newton=newton, **steps)
    calls.clear()
    found = discrete(linearize, record, [np.zeros(n), np.ones(n)])
    assert float(found.residual) < 1e-9
    assert not given or len(calls) in (len(record.times) - 1, len(record.times) - 2)  # one a step
    monkeypatch.setattr(_transposed_step, "MANY", np.inf)
    alone = discrete(linearize, record, [np.zeros(n), np.ones(n)])
    assert found.statistics.newton < alone.statistics.newton / 3
    np.testing.assert_allclose(found.y0, alone.y0, rtol=1e-9)
    np.testing.assert_allclose(found.parameters[0], alone.parameters[0], rtol=1e-8)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
@pytest.mark.parametrize("method", ["gauss2", "radau_iia3"])
def test_a_jacobian_of_another_kind_serves_as_well(method, kind):
    n = 60
    D = 3721 * (np.eye(n, k=1) - 2 * np.eye(n) + np.eye(n, k=-1))
    counts = []
    for matrix in (D, D.astype(kind)):
        options = {"method": method, "newton": Newton(jacobian=lambda t, y, m=matrix: m)}
        y0 = np.sin(np.linspace(0, 3, n))
        _, record = record_steps(lambda t, y: D @ y, [0.0, 0.1], y0, steps=8, **options)
        linearize = lambda t, y: (D @ y, lambda a, p: (D @ a, ()))  # noqa: E731
        found = discrete(linearize, record, [np.zeros(n), np.ones(n)])
        assert float(found.residual) < 1e-9
        counts.append(found.statistics.newton)
    assert counts[0] == counts[1]


def test_a_right_hand_side_of_zeros_needs_no_inverse():
    """As stages of no weight have, of which the error estimate alone is made."""
    zero = np.zeros(3)
    inverse = transposed_inverse([[0.1]], -np.eye(3))
    found, residual, count = transposed_stages(0.0, zero, [[0.1]], [lambda v: -v], [zero], inverse)
    np.testing.assert_array_equal(found, [zero])
    assert (residual, count) == (0.0, 0)


def test_a_jacobian_recorded_by_autograd_leaves_no_history():
    D = 3721.0 * torch.tensor(np.eye(60, k=1) - 2 * np.eye(60) + np.eye(60, k=-1))
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    newton = Newton(jacobian=lambda t, y: scale * D)
    y0 = torch.linspace(0, 3, 60, dtype=torch.float64).sin()
    options = {"method": "radau_iia3", "steps": 8, "newton": newton}
    _, record = record_steps(lambda t, y: D @ y, [0.0, 0.1], y0, **options)
    linearize = lambda t, y: (D @ y, lambda a, p: (D @ a, ()))  # noqa: E731
    found = discrete(linearize, record, [0 * y0, 1 + 0 * y0])
    assert not found.y0.requires_grad


def test_a_wrong_jacobian_costs_products_and_not_the_gradient():
    n = 60
    field, linearize, y0 = heat(n)
    found = {}
    for factor in (1.0, -0.3):
        exact = lambda t, y: np.stack([linearize(t, y)[1](e, False)[0] for e in np.eye(n)])  # noqa: E731
        _, record = record_steps(field, [0.0, 0.1], y0, method="implicit_euler", steps=8)
        newton = Newton(jacobian=lambda t, y: factor * exact(t, y))  # noqa: B023
        record = type(record)(**{**vars(record), "newton": newton})
        found[factor] = discrete(linearize, record, [np.zeros(n), np.ones(n)])
    right, wrong = found.values()
    assert wrong.statistics.newton > right.statistics.newton
    np.testing.assert_allclose(wrong.y0, right.y0, rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-160, 1e-250, 1e-310, 5e-324, 1e300])
@pytest.mark.parametrize("shape", [(), (60,)])
def test_cotangents_that_fade_out(scale, shape):
    # L-stable steps take them down to where squares of them are zero, and on.
    right = [np.full(shape, scale)] * 2
    coupling, pulls = [[2.0, 0.0], [1.0, 4.0]], [lambda v: -1e4 * v] * 2
    transposed = np.array([[2e4 + 1, 1e4], [0.0, 4e4 + 1]])
    exact = np.linalg.solve(transposed, np.ones(2))
    for more in ((), (transposed_inverse(coupling, -9e3 * np.eye(max(1, *shape, 1))),)):
        mu, residual, _ = transposed_stages(0.0, right[0], coupling, pulls, right, *more)
        assert residual < 1e-12
        for found, number in zip(mu, exact, strict=True):
            np.testing.assert_allclose(found, number * scale, rtol=1e-12, atol=1e-322)


def test_states_of_any_shape():
    for shape in [(), (2, 3)]:
        y0 = np.full(shape, 0.5)
        _, record = record_steps(lambda t, y: -y, [0.0, 0.4], y0, method="gauss2", steps=3)
        found = discrete(lambda t, y: (-y, lambda a, p: (-a, ())), record, [0 * y0, y0])
        factor = stability_matrix(tableau("gauss2"), np.array([[-0.4 / 3]]))[0, 0] ** 3
        np.testing.assert_allclose(found.y0, y0 * factor, rtol=1e-13)


def test_one_implicit_step():
    # The trapezoidal rule on y' = -y + t, by hand.
    fun = lambda t, y: -y + t  # noqa: E731
    method = tableau("trapezoidal").coefficients
    found = implicit_step(fun, 0.5, np.array([2.0]), 0.2, method)
    exact = (2.0 + 0.1 * (-2.0 + 0.5) + 0.1 * 0.7) / 1.1
    assert found.failure is None
    np.testing.assert_allclose(found.y, exact, rtol=1e-14)
    given = implicit_step(fun, 0.5, np.array([2.0]), 0.2, method, first_stage=np.array([-1.5]))
    np.testing.assert_allclose(given.y, exact, rtol=1e-14)
    euler = explicit_step(fun, 0.5, np.array([2.0]), 0.2, tableau("euler").coefficients)
    assert abs(float(euler.y[0]) - exact) > 1e-2
