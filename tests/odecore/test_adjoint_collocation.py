"""Nodes by tolerance, and the adjoint equation collocated at them."""

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import expm

from odecore._array import namespace
from odecore.adjoint import (
    backsolve,
    collocated,
    cross_at_once,
    discrete,
    node_by_node,
    record_panels,
    record_steps,
    restored,
)
from odecore.errors import NonfiniteRHSError
from odecore.interpolation import Interpolant
from tests.odecore.test_adjoint import (
    TIMES,
    Y0,
    A,
    W,
    exact_gradients,
    linear,
    linearization,
    pendulum,
)
from tests.odecore.test_solve_kernels import kernels_of


def vector(found):
    return np.concatenate([np.ravel(np.asarray(x)) for x in (found.y0, *found.parameters)])


def distance(found, wanted):
    return np.linalg.norm(vector(found) - vector(wanted)) / np.linalg.norm(vector(wanted))


def test_gradients_of_a_linear_problem(xp, dtype, array, eps):
    tolerance = {"rtol": max(1e-9, 30 * eps), "atol": max(1e-11, 30 * eps)}
    field, linearize = linear(xp, array(A))
    _, panels = record_panels(field, TIMES, array(Y0), **tolerance)
    found = collocated(node_by_node(linearize), panels, [array(w) for w in W], **tolerance)
    y0, theta = exact_gradients()
    np.testing.assert_allclose(np.asarray(found.y0), y0, atol=max(1e-7, 500 * eps))
    np.testing.assert_allclose(np.asarray(found.parameters[0]), theta, atol=max(1e-7, 500 * eps))
    assert found.y0.dtype == array(Y0).dtype
    # dL/dt_i = w_i . A y(t_i); dL/dt_0 = -dL/dy_0 . A y_0, for w_0 = 0.
    states = [expm(A * t) @ Y0 for t in TIMES]
    times = [-y0 @ A @ Y0, *(w @ A @ y for w, y in zip(W[1:], states[1:], strict=True))]
    np.testing.assert_allclose([float(x) for x in found.times], times, atol=max(1e-7, 500 * eps))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "tolerance", [1e-3, *(pytest.param(x, marks=pytest.mark.long) for x in (1e-5, 1e-7)), 1e-9]
)
@pytest.mark.parametrize("end", [2.0, 10.0, -3.0])
def test_the_gradient_is_as_good_as_the_tolerance(tolerance, end):
    field, linearize = pendulum()
    cotangents = [np.zeros(2), np.array([1.0, -2.0])]
    options = {"rtol": tolerance, "atol": tolerance}
    fine = {"rtol": 1e-12, "atol": 1e-12}
    _, panels = record_panels(field, [0.0, end], [1.2, 0.3], **fine)
    wanted = restored(linearize, panels, cotangents, **fine)
    _, panels = record_panels(field, [0.0, end], [1.2, 0.3], **options)
    assert max(panel.tail for panel in panels) <= 1
    assert sum(panel.is_last for panel in panels) == 1
    for solve in (collocated, restored):
        found = solve(node_by_node(linearize), panels, cotangents, **options) if (
            solve is collocated
        ) else solve(linearize, panels, cotangents, **options)  # fmt: skip
        assert distance(found, wanted) < 300 * tolerance
        assert float(found.residual) <= tolerance


def test_tighter_tolerances_ask_for_more_nodes():
    field, _ = pendulum()
    counts = []
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10):
        _, panels = record_panels(field, [0, 2], [1.2, 0.3], rtol=tolerance, atol=tolerance)
        counts.append(sum(len(panel.values) for panel in panels))
    assert counts == sorted(counts)
    assert counts[0] <= 9 < counts[-1]


def test_panels_cover_the_interval_without_gaps():
    field, _ = pendulum(40.0)
    times = [0.0, 0.3, 4.0, 4.1]
    trajectory, panels = record_panels(field, times, [1.2, 0.3], rtol=1e-8, atol=1e-8)
    assert len(panels) > 3
    assert panels[0].start == 0.0
    for a, b in zip(panels, panels[1:], strict=False):
        assert a.end == b.start
        np.testing.assert_allclose(a.values[-1], b.values[0], rtol=1e-12)
    assert [panel.end for panel in panels if panel.is_last] == times[1:]
    assert len(trajectory.t) == len(trajectory.y) == 1 + sum(len(p.values) - 1 for p in panels)
    assert np.all(np.diff(trajectory.t) > 0)
    fine = record_panels(field, times, [1.2, 0.3], rtol=1e-11, atol=1e-11, nodes=65)[0]
    np.testing.assert_allclose(trajectory.y[-1], fine.y[-1], atol=1e-5)


def test_a_kink_is_resolved_by_panels_and_not_by_nodes():
    field = lambda t, y: np.abs(t - 0.37) - y  # noqa: E731
    _, panels = record_panels(field, [0, 1], np.zeros(1), rtol=1e-8, atol=1e-8)
    assert len(panels) > 1
    assert max(panel.tail for panel in panels) <= 1
    assert sum(len(panel.values) for panel in panels) < 150


@pytest.mark.sampled(2)
@pytest.mark.parametrize("parameters", [True, False])
@pytest.mark.parametrize("n", [3, 8])  # by elimination, by GMRES
def test_the_error_at_kinks_is_told(n, parameters):
    """y' = -2 max(y - 0.4, 0) - 1/2 meets its kink once, at another time for each entry."""
    field = lambda t, y: -2 * np.maximum(y - 0.4, 0) - 0.5  # noqa: E731

    def linearize(t, y):
        bend, on = np.maximum(y - 0.4, 0), y > 0.4
        return field(t, y), lambda a, p: (-2 * on * a, (-np.sum(a * bend),) if p else ())

    for seed in range(2):
        rng = np.random.default_rng(seed)
        y0, w = rng.uniform(0.5, 1, n), rng.standard_normal(n)
        _, panels = record_panels(field, [0, 1], y0, rtol=1e-10, atol=1e-12)
        cotangents, options = [0 * w, w], {"rtol": 1e-7, "atol": 1e-9, "parameters": parameters}
        found = collocated(linearize, panels, cotangents, **options)
        wanted = w / (1 + 4 * (y0 - 0.4))
        error = np.linalg.norm(found.y0 - wanted) / np.linalg.norm(wanted)
        assert error > 1e-6
        assert error / 5 < found.tail < 5 * error
        seen = []
        kernel = kernel_of(linearize, 14, seen, parameters)
        again = collocated(linearize, panels, cotangents, kernel=kernel, **options)
        assert seen
        assert all(solved for _, solved in seen)
        assert again.tail == pytest.approx(found.tail, rel=0.2)


def test_the_error_of_an_integrand_with_kinks_is_told():
    """y' = -y + p |t - s|: only the integrand of the parameter has the kink."""
    for s in (0.31, 0.37, 0.62):
        field = lambda t, y: -y + abs(t - s)  # noqa: B023, E731

        def linearize(t, y):
            bend = np.abs(t - s)  # noqa: B023
            return -y + bend, lambda a, p: (-a, (np.sum(a * bend, axis=0),) if p else ())

        _, panels = record_panels(field, [0, 1], np.ones(1), nodes=17)
        options = {"rtol": 1e-8, "atol": 1e-9}
        cotangents, nodes, seen = [np.zeros(1), np.ones(1)], node_by_node(linearize), []
        found = collocated(nodes, panels, cotangents, **options)
        kernel = kernel_of(linearize, 14, seen)
        again = collocated(nodes, panels, cotangents, kernel=kernel, **options)
        assert seen
        assert again.quadrature == pytest.approx(found.quadrature, rel=0.05)
        wanted = 2 * np.exp(s - 1) - (s + 1) / np.e - s  # of e^(t - 1) |t - s| dt
        error = abs(found.parameters[0].item() - wanted) / wanted
        assert error > 1e-6
        assert error / 10 < found.quadrature < 10 * error


def test_many_steps_are_never_kept_at_once():
    # One window holds 64 steps; weak references to the stages see what is alive.
    import weakref

    alive, most = set(), 0

    class Counted(np.ndarray):
        pass

    def field(t, y):
        nonlocal most
        value = np.array([y[1], -y[0]]).view(Counted)
        key = id(value)
        alive.add(key)
        weakref.finalize(value, alive.discard, key)
        most = max(most, len(alive))
        return value

    record_panels(field, [0, 400.0], [1.0, 0.0], rtol=1e-6, atol=1e-6)
    assert most < 64 * 10


def test_a_memory_budget_thins_the_nodes_and_says_so():
    field, _ = pendulum()
    options = {"rtol": 1e-8, "atol": 1e-8}
    _, full = record_panels(field, [0, 2], [1.2, 0.3], **options)
    size = sum(panel.values.nbytes for panel in full)
    _, thin = record_panels(field, [0, 2], [1.2, 0.3], memory=size - 1, **options)
    assert sum(panel.values.nbytes for panel in thin) < size
    assert max(panel.tail for panel in thin) > 1 >= max(panel.tail for panel in full)
    _, same = record_panels(field, [0, 2], [1.2, 0.3], memory=size, **options)
    np.testing.assert_array_equal(same[0].values, full[0].values)
    with pytest.raises(ValueError, match="bytes do not hold"):
        record_panels(field, [0, 2], [1.2, 0.3], memory=20, **options)


@pytest.mark.parametrize("steps", [{}, {"steps": 400}])
def test_given_nodes_say_whether_they_resolve_the_trajectory(steps):
    field, linearize = pendulum()
    w = [np.zeros(2), np.ones(2)]
    _, finest = record_panels(field, [0, 20], [1.2, 0.3], rtol=1e-10, atol=1e-10)
    exact = collocated(node_by_node(linearize), finest, w, rtol=1e-10, atol=1e-10).y0
    for nodes, resolve in ((5, False), (33, False), (129, True)):
        _, panels = record_panels(field, [0, 20], [1.2, 0.3], nodes=nodes, **steps)
        found = collocated(node_by_node(linearize), panels, w)
        error = np.linalg.norm(found.y0 - exact) / np.linalg.norm(exact)
        assert (error < 1e-2) == resolve
        assert (panels[0].tail <= 1) == resolve
        assert found.tail < 1e-5  # of the adjoint, which its nodes resolve
    budget = 20 * panels[0].values.nbytes // 129
    _, thin = record_panels(field, [0, 20], [1.2, 0.3], nodes=129, memory=budget)
    assert thin[0].tail > 1


def test_one_evaluation_of_f_at_the_nodes_and_few_passes():
    field, linearize = pendulum()
    nodes, counts = node_by_node(linearize), {"f": 0, "passes": 0}

    def counted(t, y):
        counts["f"] += 1
        value, pull = nodes(t, y)

        def counted_pull(a, parameters):
            counts["passes"] += 1
            return pull(a, parameters)

        return value, counted_pull

    options = {"rtol": 1e-6, "atol": 1e-6}
    _, panels = record_panels(field, [0, 1], [1.2, 0.3], **options)
    found = collocated(counted, panels, [np.zeros(2), np.ones(2)], **options)
    assert counts["f"] <= 2 * len(panels)
    assert found.statistics.newton == counts["passes"] - 2  # the two rules of the quadrature
    assert found.statistics.newton < 15


def test_the_adjoint_gets_the_nodes_that_it_needs():
    # The state stands still, and 5 nodes resolve it; its sensitivity is exp(30 (t - 1)).
    linearize = linearization(lambda t, y: 30 * y, lambda t, y, a: 30 * a)
    _, panels = record_panels(lambda t, y: 30 * y, [0, 1], np.zeros(1), rtol=1e-8, atol=1e-8)
    assert len(panels[0].values) == 5
    found = collocated(
        node_by_node(linearize), panels, [np.zeros(1), np.ones(1)], rtol=1e-8, atol=1e-12
    )
    np.testing.assert_allclose(found.y0, np.exp(30.0), rtol=1e-6)


@pytest.mark.parametrize("rate", [-300.0, -3e4])
def test_where_gmres_does_not_converge_it_steps(rate):
    field = lambda t, y: rate * (y - np.cos(t))  # noqa: E731
    linearize = linearization(field, lambda t, y, a: rate * a, lambda t, y, a: (a * 1.0,))
    options = {"rtol": 1e-6, "atol": 1e-9}
    _, panels = record_panels(field, [0, 1], np.ones(1), method="kvaerno43", **options)
    found = collocated(
        node_by_node(linearize), panels, [np.zeros(1), np.ones(1)], method="kvaerno43", **options
    )
    np.testing.assert_allclose(found.y0, 0, atol=1e-7)
    np.testing.assert_allclose(found.parameters[0], -1 / rate, rtol=1e-3)


def test_a_wrong_transpose_is_seen():
    field, _ = linear(np, A)
    wrong = linearization(field, lambda t, y, a: A @ a, lambda t, y, a: (np.outer(a, y),))
    _, panels = record_panels(field, TIMES, Y0, rtol=1e-9, atol=1e-11)
    found = collocated(node_by_node(wrong), panels, W)
    assert np.abs(found.y0 - exact_gradients()[0]).max() > 0.1


def test_a_jump_at_an_output_time():
    rate = lambda t: 0.3 if t < 1 else 50.0  # noqa: E731
    linearize = linearization(lambda t, y: rate(t) * y, lambda t, y, a: rate(t) * a)
    _, panels = record_panels(
        lambda t, y: rate(t) * y, [0, 1], np.ones(1), jump_at=[1.0], rtol=1e-8
    )
    found = collocated(
        node_by_node(linearize), panels, [np.zeros(1), np.ones(1)], jump_at=[1.0], rtol=1e-8
    )
    np.testing.assert_allclose(found.y0, np.exp(0.3), rtol=1e-6)


def test_a_linearization_that_is_not_finite_is_typed():
    linearize = linearization(lambda t, y: -y, lambda t, y, a: a * np.nan)
    _, panels = record_panels(lambda t, y: -y, [0, 1], np.ones(1))
    with pytest.raises(NonfiniteRHSError):
        collocated(node_by_node(linearize), panels, [np.zeros(1), np.ones(1)])


def test_no_value_is_read_where_there_is_none():
    import torch

    rows = torch.ones(3, 3, device="meta")

    def linearize(t, y):
        return y @ rows, lambda a, parameters: (a @ rows, (rows * a.sum(),) if parameters else ())

    _, panels = record_panels(
        lambda t, y: y @ rows, torch.tensor([0.0, 0.5, 1.0]).to("meta").unbind(),
        torch.ones(4, 3, device="meta"), method="classic", steps=4, nodes=9,
    )  # fmt: skip
    found = collocated(linearize, panels, [torch.ones(4, 3, device="meta")] * 3)
    assert found.y0.shape == (4, 3)
    assert found.parameters[0].shape == (3, 3)
    assert found.residual.shape == ()
    assert found.statistics.newton == 2 * 13


def test_complex_states():
    rate = np.array([1j, -0.5 + 2j])
    field = lambda t, y: rate * y  # noqa: E731
    linearize = linearization(field, lambda t, y, a: rate.conj() * a)
    _, panels = record_panels(field, [0, 1.5], np.ones(2) + 0j, rtol=1e-9, atol=1e-10)
    w = np.array([1.0 - 1j, 2.0])
    found = collocated(
        node_by_node(linearize), panels, [np.zeros(2) + 0j, w], rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(found.y0, np.exp(1.5 * rate).conj() * w, rtol=1e-7)
    np.testing.assert_allclose(
        found.times[1], np.real(np.conj(w) * rate * np.exp(1.5 * rate)).sum(), rtol=1e-6
    )


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_a_jump_between_output_times_ends_a_panel(tolerance):
    rate = lambda t: np.where(t < 0.7, 0.3, -3.0)  # noqa: E731

    def nodes(t, y):
        slope = rate(t)[:, None]
        return slope * y, lambda a, p: (slope * a, ((a * y).sum(0),) if p else ())

    options = {"rtol": tolerance, "atol": tolerance, "jump_at": [0.7]}
    _, panels = record_panels(lambda t, y: rate(t) * y, [0, 2], np.ones(1), **options)
    assert [panel.end for panel in panels] == [0.7, 2.0]
    assert [panel.is_last for panel in panels] == [False, True]
    found = collocated(nodes, panels, [np.zeros(1), np.ones(1)], **options)
    np.testing.assert_allclose(found.y0, np.exp(0.21 - 3.9), rtol=50 * tolerance)
    assert found.statistics.evaluations < 60


def kernel_of(linearize, passes, seen, parameters=True):
    """What a compiler would make of it, without the compiler."""

    def kernel(t, y, end, length, tolerances, rules):
        xp = namespace(end)
        nodes = node_by_node(linearize)
        found = cross_at_once(nodes, parameters, t, y, end, length, tolerances, rules, passes, xp)
        seen.append((y.shape[0], found.is_solved()))
        return found

    return kernel


@pytest.mark.long_on_jax
def test_a_panel_at_once_is_the_panel_pass_by_pass(xp, dtype, array, eps):
    tolerance = {"rtol": max(1e-8, 30 * eps), "atol": max(1e-10, 30 * eps)}
    field, linearize = linear(xp, array(A))
    _, panels = record_panels(field, TIMES[:2], array(Y0), **tolerance)
    cotangents, seen, nodes = [array(w) for w in W[:2]], [], node_by_node(linearize)
    kernel = kernel_of(linearize, 14, seen)
    found = collocated(nodes, panels, cotangents, kernel=kernel, **tolerance)
    assert seen
    assert all(solved for _, solved in seen)
    plain = collocated(nodes, panels, cotangents, **tolerance)
    for a, b in zip((found.y0, *found.parameters), (plain.y0, *plain.parameters), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=max(1e-7, 500 * eps))
    times = [[float(x) for x in gradients.times] for gradients in (found, plain)]
    np.testing.assert_allclose(*times, atol=max(1e-7, 500 * eps))
    assert float(found.residual) <= tolerance["rtol"]
    assert float(found.quadrature) <= tolerance["rtol"]
    assert found.y0.dtype == array(Y0).dtype


@pytest.mark.parametrize("case", ["one pass", "nothing", "steep"])
def test_a_panel_that_is_not_solved_at_once_is_solved_otherwise(case):
    field, linearize = pendulum(300.0 if case == "steep" else 3.0)
    cotangents, seen = [np.zeros(2), np.array([1.0, -2.0])], []
    options = {"rtol": 1e-7, "atol": 1e-7}
    _, panels = record_panels(field, [0.0, 1.0], [1.2, 0.3], **options)
    kernel = kernel_of(linearize, 1 if case == "one pass" else 8, seen)
    if case == "nothing":
        kernel = lambda *arguments: seen.append((0, False))  # noqa: E731
    plain = collocated(node_by_node(linearize), panels, cotangents, **options)
    found = collocated(node_by_node(linearize), panels, cotangents, kernel=kernel, **options)
    assert seen
    assert not seen[0][1]
    assert distance(found, plain) == 0
    assert found.statistics == plain.statistics


def test_more_nodes_where_the_adjoint_asks_for_them_at_once():
    field, linearize = pendulum()
    cotangents, seen = [np.zeros(2), np.array([1.0, -2.0])], []
    options = {"rtol": 1e-8, "atol": 1e-8}
    _, panels = record_panels(field, [0.0, 0.5], [1.2, 0.3], nodes=7, rtol=1e-12, atol=1e-12)
    kernel = kernel_of(linearize, 12, seen)
    found = collocated(node_by_node(linearize), panels, cotangents, kernel=kernel, **options)
    assert [m for m, _ in seen] == [9, 17]
    wanted = collocated(node_by_node(linearize), panels, cotangents, rtol=1e-12, atol=1e-12)
    assert distance(found, wanted) < 1e-7


@pytest.mark.parametrize(("end", "times"), [(1.0, 2), (-8.0, 2), (8.0, 3)])
def test_compiled_steps_give_panels_that_resolve_the_trajectory(end, times):
    field, _ = pendulum()
    y0, calls = np.array([1.2, 0.3]), []
    outputs = np.linspace(0, end, times)
    options = {"rtol": 1e-6, "atol": 1e-6}
    kernels = kernels_of("dopri5", y0, calls)
    _, panels = record_panels(field, outputs, y0, kernels=kernels, **options)
    assert calls
    assert all(panel.tail <= 1 for panel in panels)
    assert sum(panel.is_last for panel in panels) == times - 1
    assert (len(panels) > times - 1) == (end == -8.0)
    _, fine = record_panels(field, outputs, y0, rtol=1e-11, atol=1e-11, nodes=65)
    for panel in panels:
        assert panel.values.shape[0] in (5, 9, 17, 33)
        exact = restored_state(fine, panel.time(0.3))
        np.testing.assert_allclose(state_of(panel, 0.3), exact, atol=2e-4)


def state_of(panel, s):
    return Interpolant(panel.values, (0.0, 1.0))(s)


def restored_state(panels, t):
    inside = next(p for p in panels if min(p.start, p.end) <= t <= max(p.start, p.end))
    return state_of(inside, (t - inside.start) / inside.length)


def test_few_numbers_are_solved_directly():
    A = np.array([[-0.3, 2.0], [-2.0, 0.1]])
    for scale, passes in ((1.0, 2), (30.0, None)):  # Jacobians that are large go to GMRES
        linearize = linearization(
            lambda t, y, s=scale: s * (A @ y), lambda t, y, a, s=scale: s * (A.T @ a)
        )
        field = lambda t, y, s=scale: s * (A @ y)  # noqa: E731
        _, panels = record_panels(field, [0.0, 1.0], np.ones(2), rtol=1e-9, atol=1e-9, nodes=17)
        end = np.array([1.0, -2.0])
        found = collocated(
            node_by_node(linearize), panels, [np.zeros(2), end], rtol=1e-8, atol=1e-10
        )
        wanted = scipy.linalg.expm(scale * A.T) @ end
        assert np.linalg.norm(found.y0 - wanted) < 1e-6 * np.linalg.norm(wanted)
        assert (found.statistics.newton == passes) == (passes is not None)
        assert found.residual <= 50 * np.finfo(float).eps or passes is None


@pytest.mark.parametrize("convert", [list, np.array, lambda t: np.array(t, dtype=np.float32)])
def test_times_of_any_type_are_read(convert):
    def fun(t, y):
        return -t * y

    def linearize(t, y):
        t = np.reshape(t, (*np.shape(t), *(1,) * (y.ndim - np.ndim(t))))
        return -t * y, lambda a, _: (-t * a, (np.sum(-t * a * y),))

    def run(times):
        y0, cotangents = np.ones(5), [np.zeros(5), np.ones(5), np.ones(5)]
        _, panels = record_panels(fun, times, y0, nodes=3)
        _, steps = record_steps(fun, times, y0)
        states = np.stack([y0, *(panel.values[-1] for panel in panels)])
        return [
            collocated(linearize, panels, cotangents),
            restored(linearize, panels, cotangents),
            discrete(linearize, steps, cotangents),
            backsolve(linearize, times, states, cotangents, parameters=[np.ones(())]),
        ]

    for found, wanted in zip(run(convert([0, 1, 2])), run([0.0, 1.0, 2.0]), strict=True):
        np.testing.assert_array_equal(found.y0, wanted.y0)
        np.testing.assert_array_equal(found.parameters, wanted.parameters)
        assert found.statistics == wanted.statistics


@pytest.mark.parametrize(
    ("end", "times", "most"), [(1.0, 9, 1), (-1.0, 40, 1), (8.0, 30, 4), (40.0, 5, None)]
)
def test_compiled_steps_have_outputs_inside_of_panels(end, times, most):
    field, linearize = pendulum()
    y0, calls = np.array([1.2, 0.3]), []
    outputs = np.r_[0, end * np.sort(np.random.default_rng(0).random(times - 2)), end]
    cotangents = [np.array([1.0, (-1.0) ** k]) for k in range(times)]
    options = {"rtol": 1e-6, "atol": 1e-6}
    kernels = kernels_of("dopri5", y0, calls)
    trajectory, panels = record_panels(field, outputs, y0, kernels=kernels, inside=True, **options)
    assert calls
    assert sum(panel.is_last + len(panel.outputs) for panel in panels) == times - 1
    assert len(panels) <= most if most else len(panels) >= times - 1  # far apart: the intervals
    np.testing.assert_array_equal(trajectory.t, outputs)
    fine, exact = record_panels(field, outputs, y0, rtol=1e-11, atol=1e-11, nodes=65)
    ends = np.isin(fine.t, outputs)
    np.testing.assert_allclose(trajectory.y, fine.y[ends], atol=1e-3)
    nodes = node_by_node(linearize)
    found = collocated(nodes, panels, cotangents, **options)
    wanted = collocated(nodes, exact, cotangents, rtol=1e-12, atol=1e-12)
    assert distance(found, wanted) < 1e-3
