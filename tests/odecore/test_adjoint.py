"""The restored adjoint against exact gradients."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, expm_frechet

from odecore.adjoint import record_panels, record_steps, restored
from odecore.errors import NonfiniteRHSError
from odecore.solve import solve_ivp

TIMES = [0.0, 0.4, 1.5]
A = np.array([[-0.3, 1.2, 0.1], [-1.0, -0.2, 0.4], [0.2, 0.3, -0.5]])
Y0 = np.array([1.0, -0.5, 0.3])
W = [np.zeros(3), np.array([0.7, -0.2, 1.0]), np.array([-0.4, 0.9, 0.5])]


def exact_gradients():
    """L = sum_i w_i . exp(A t_i) y0, differentiated with respect to y0 and A."""
    y0 = sum(expm(A * t).T @ w for t, w in zip(TIMES, W, strict=True))
    theta = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            E = np.zeros((3, 3))
            E[i, j] = 1
            theta[i, j] = sum(
                w @ expm_frechet(A * t, E * t, compute_expm=False) @ Y0
                for t, w in zip(TIMES, W, strict=True)
            )
    return y0, theta


def linear(xp, matrix):
    field = lambda t, y: xp.matmul(matrix, y)  # noqa: E731
    vjp = lambda t, y, a: xp.matmul(matrix.T, a)  # noqa: E731
    vjp_parameters = lambda t, y, a: (a[:, None] * y[None, :],)  # noqa: E731
    return field, linearization(field, vjp, vjp_parameters)


def linearization(field, vjp, vjp_parameters=lambda t, y, a: ()):
    """In the form that the library takes, from two products."""
    return lambda t, y: (
        field(t, y),
        lambda a, parameters: (vjp(t, y, a), vjp_parameters(t, y, a) if parameters else ()),
    )


def pendulum(rate=3.0):
    """The forced pendulum and its linearization, with the rate as parameter."""
    field = lambda t, y: np.array([y[1], -rate * np.sin(y[0]) + 0.1 * np.cos(t)])  # noqa: E731
    vjp = lambda t, y, a: np.array([-rate * np.cos(y[0]) * a[1], a[0]])  # noqa: E731
    product = lambda t, y, a: (np.array([-np.sin(y[0]) * a[1]]),)  # noqa: E731
    return field, linearization(field, vjp, product)


@pytest.mark.parametrize(
    "options",
    [{"rtol": 1e-9, "atol": 1e-11}, {"method": "classic", "steps": 200}, {"method": "dopri5", "step_size": 0.02}],
    ids=["adaptive", "steps", "step_size"],
)  # fmt: skip
def test_gradients_of_a_linear_problem(options, xp, dtype, array, eps):
    if "rtol" in options:
        options = {"rtol": max(1e-9, 30 * eps), "atol": max(1e-11, 30 * eps)}
    field, linearize = linear(xp, array(A))
    _, panels = record_panels(field, TIMES, array(Y0), nodes=13, **options)
    found = restored(linearize, panels, [array(w) for w in W], **options)
    y0, theta = exact_gradients()
    tolerance = max(1e-7, 500 * eps)
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=tolerance)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=tolerance)
    assert found.y0.dtype == array(Y0).dtype


def test_a_wrong_adjoint_is_seen():
    # The twin: the Jacobian instead of its transpose.
    field, _ = linear(np, A)
    _, panels = record_panels(field, TIMES, Y0, nodes=13, rtol=1e-9, atol=1e-11)
    outer = lambda t, y, a: (a[:, None] * y[None, :],)  # noqa: E731
    wrong = linearization(field, lambda t, y, a: A @ a, outer)
    wrong = restored(wrong, panels, W, rtol=1e-9, atol=1e-11)
    y0, theta = exact_gradients()
    assert np.abs(wrong.y0 - y0).max() > 0.1
    assert np.abs(wrong.parameters[0] - theta).max() > 0.1


def pendulum_errors(nodes):
    """Relative gradient error on a nonlinear problem, the solver's error negligible."""
    field, linearize = pendulum()
    fine = {"rtol": 1e-11, "atol": 1e-13}

    def gradients(n):
        _, panels = record_panels(field, [0, 2.0], [1.2, 0.3], nodes=n, **fine)
        found = restored(linearize, panels, [np.zeros(2), np.array([1.0, -2.0])], **fine)
        return np.concatenate([found.y0, *found.parameters])

    reference = gradients(65)
    return [np.linalg.norm(gradients(n) - reference) / np.linalg.norm(reference) for n in nodes]


def test_convergence_in_the_nodes_is_geometric_then_flat():
    errors = pendulum_errors((5, 9, 13, 17, 33))
    assert errors[0] > 1e-4
    assert all(b < a / 8 for a, b in zip(errors[:3], errors[1:4], strict=True))
    assert errors[3] < 1e-7
    assert errors[4] < 1e-9


def test_parameter_gradient_against_difference_quotients():
    def end(rate):
        y = solve_ivp(pendulum(rate)[0], (0, 2.0), [1.2, 0.3], rtol=1e-12, atol=1e-13).y[-1]
        return y @ np.array([1.0, -2.0])

    slope = (end(3 + 1e-5) - end(3 - 1e-5)) / 2e-5
    field, linearize = pendulum()
    _, panels = record_panels(field, [0, 2.0], [1.2, 0.3], nodes=25, rtol=1e-10, atol=1e-12)
    w = [np.zeros(2), np.array([1.0, -2.0])]
    found = restored(linearize, panels, w, rtol=1e-10, atol=1e-12)
    assert found.parameters[0][0] == pytest.approx(slope, rel=1e-7)


def test_backward_time():
    field, linearize = linear(np, A)
    times = [1.5, 0.4, 0.0]
    _, panels = record_panels(field, times, Y0, nodes=13, rtol=1e-10, atol=1e-12)
    found = restored(linearize, panels, W, rtol=1e-10, atol=1e-12)
    y0 = sum(expm(A * (t - 1.5)).T @ w for t, w in zip(times, W, strict=True))
    np.testing.assert_allclose(found.y0, y0, atol=1e-8)


def test_nodes_are_landed_on_at_full_order():
    field, _ = linear(np, A)
    trajectory, panels = record_panels(field, TIMES, Y0, nodes=7, rtol=1e-10, atol=1e-12)
    assert len(panels) == 2
    assert trajectory.y.shape == (13, 3)
    for t, y in zip(trajectory.t, trajectory.y, strict=True):
        np.testing.assert_allclose(y, expm(A * t) @ Y0, atol=1e-9)
    np.testing.assert_array_equal(panels[0].values[-1], panels[1].values[0])
    assert (panels[0].start, panels[1].end) == (0.0, 1.5)


def test_statistics_count_linearizations():
    calls = []
    field, linearize = linear(np, A)

    def counted(t, y):
        calls.append(t)
        return linearize(t, y)

    _, panels = record_panels(field, TIMES, Y0, nodes=5, steps=6, method="classic")
    found = restored(counted, panels, W, steps=6, method="classic")
    assert found.statistics.evaluations == len(calls)
    # Six steps for each of the two panels; the 9 nodes that the adjoint needs are dense output.
    assert found.statistics.accepted == 2 * 6
    assert len(calls) == 2 * (6 * 4 + 1 + 9)


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        ([0.0], {}, "at least 2 times, got 1"),
        ([0.0, 1.0], {"nodes": 1}, "at least 2, got n = 1"),
        ([0.0, 1.0, 0.5], {}, "strictly increasing"),
        ([0.0, 1.0, 1.0], {"nodes": 9}, "entries 1 and 2 are 1.0 and 1.0: sort them"),
        ([0.0, 1.0, 0.5], {"nodes": 9, "steps": 3}, "entries 1 and 2 are 1.0 and 0.5"),
        ([0.0, 1.0, 0.5], {"nodes": 9, "jump_at": [0.2]}, "entries 1 and 2 are 1.0 and 0.5"),
        ([0.0, np.nan, 1.0], {"nodes": 9, "step_size": 0.3}, r"finite, got \[0.0, nan, 1.0\]"),
        ([0.0, 1.0], {"steps": 0, "method": "classic"}, "positive int"),
    ],
)
def test_bad_input_to_record_panels(times, options, message):
    with pytest.raises(ValueError, match=message):
        record_panels(lambda t, y: -y, times, Y0, **options)


def test_a_failing_backward_solve_is_typed():
    _, panels = record_panels(lambda t, y: -y, TIMES, Y0, nodes=5)
    with pytest.raises(NonfiniteRHSError):
        restored(linearization(lambda t, y: y, lambda t, y, a: a * np.nan), panels, W)


@pytest.mark.parametrize("record", [record_panels, record_steps])
@pytest.mark.parametrize("memory", [0, -1, 1.5, True, float("nan"), -float("inf"), "1e6", 1 + 2j])
def test_a_budget_is_a_whole_number_of_bytes(record, memory):
    with pytest.raises(ValueError, match="`memory` must be a positive whole number of bytes, got"):
        record(lambda t, y: -y, [0.0, 1.0], np.ones(2), memory=memory)


def test_a_budget_without_a_bound():
    for memory in (None, float("inf")):
        options = {"memory": memory, "rtol": 1e-6, "atol": 1e-6}
        assert record_steps(lambda t, y: -y, [0.0, 1.0], np.ones(2), **options)[1].capacity is None
        _, panels = record_panels(lambda t, y: -y, [0.0, 1.0], np.ones(2), **options)
        assert panels[0].tail <= 1


@pytest.mark.parametrize("signs", [1.0, np.array([1.0, -1.0])])  # also where they cancel
@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0, 1000.0])
def test_the_quadrature_looks_at_its_integrand(rate, signs):
    # State and adjoint are constant, and few nodes resolve them; the integrand is cos(rate t).
    field = lambda t, y: 0 * y  # noqa: E731
    _, panels = record_panels(field, [0, 1], [1.0], nodes=5)
    product = lambda t, y, a: (np.cos(rate * t) * a * signs,)  # noqa: E731
    linearize = linearization(field, lambda t, y, a: 0 * a, product)
    found = restored(linearize, panels, [np.zeros(1), np.ones(1)])
    error = abs(found.parameters[0][0] / (np.sin(rate) / rate) - 1)
    assert error <= max(float(found.quadrature), 1e-12)
    assert bool(error < 1e-6) is (rate < 1000)
    assert rate > 10 or float(found.quadrature) < 1e-6
    assert rate < 1000 or float(found.quadrature) > 1e-2


def test_an_unresolved_adjoint_shows_in_the_tail():
    # y = 1 stands still while its sensitivity decays like exp(-200 s).
    _, panels = record_panels(lambda t, y: -200 * (y - 1), [0, 1], [1.0], nodes=17)
    linearize = linearization(lambda t, y: -200 * (y - 1), lambda t, y, a: -200 * a)
    found = restored(linearize, panels, [np.zeros(1), np.ones(1)])
    assert float(found.tail) > 1e-2


@pytest.mark.parametrize(
    ("options", "steps"),
    [({"method": "euler", "step_size": 0.5}, 20), ({"first_step": 0.01}, None)],
)
def test_lengths_of_backward_steps_are_in_units_of_t(options, steps):
    _, panels = record_panels(lambda t, y: -y, [0, 10], [1.0], nodes=5, rtol=1e-4)
    seen = []

    def linearize(t, y):
        seen.append(t)
        return -y, lambda a, parameters: (-a, ())

    found = restored(linearize, panels, [np.zeros(1), np.ones(1)], parameters=False, **options)
    if steps is None:
        assert 10 - max(t for t in seen if t < 10) <= 0.01  # the first stages of the first step
    else:
        assert found.statistics.accepted == steps


def test_no_panels_are_refused():
    with pytest.raises(ValueError, match="at least one panel"):
        restored(linear(np, A)[1], [], [np.ones(1)])


@given(
    starts=st.floats(-1e3, 1e3), lengths=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=4),
    parts=st.integers(1, 5), nudge=st.sampled_from([-np.inf, 0.0, np.inf]), backward=st.booleans(),
)  # fmt: skip
def test_grids_that_miss_outputs_by_rounding_make_panels(starts, lengths, parts, nudge, backward):
    times = list(np.cumsum([starts, *lengths]))
    times = [-t for t in times] if backward else times
    grid = [float(t) for a, b in pairwise(times) for t in np.linspace(a, b, parts + 1)[:-1]]
    ends = {times[0], times[-1]}
    grid = [t if t in ends or not nudge else float(np.nextafter(t, nudge)) for t in grid]
    trajectory, panels = record_panels(
        lambda t, y: -y, times, np.ones(2), method="classic", grid=[*grid, times[-1]]
    )
    assert panels[0].start == times[0]
    assert panels[-1].end == times[-1]
    assert np.isfinite(trajectory.y).all()


@pytest.mark.parametrize("output", [0.5 + 2.0**-52, 0.5 - 2.0**-53])
def test_a_grid_that_holds_a_jump_beside_the_end_of_a_panel(output):
    def linearize(t, y):
        rate = -1.0 if t < 0.5 else -3.0
        return rate * y, lambda a, parameters: (rate * a, ())

    _, panels = record_panels(lambda t, y: -y, [0.0, output, 1.0], np.ones(1))
    options = {"method": "classic", "grid": np.linspace(0, 1, 41), "jump_at": [0.5]}
    found = restored(linearize, panels, [np.zeros(1), np.zeros(1), np.ones(1)], **options)
    assert found.y0 == pytest.approx(np.exp(-2), rel=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers beyond all floats
def test_states_beyond_all_floats_are_what_the_solver_says():
    with pytest.raises(NonfiniteRHSError):
        record_panels(lambda t, y: 1e3 * y, (0.0, 1.0), np.ones(2), method="classic", steps=400)
