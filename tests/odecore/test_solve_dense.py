"""Dense output, events and output times."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore import errors
from odecore.families import RK4
from odecore.order import rooted_trees
from odecore.solve import Adams, Event, Newton, Status, solve_ivp
from odecore.solve._events import find_root
from odecore.tableaux import (
    catalogue,
    coefficients_at,
    continuous_extension,
    tableau,
)
from tests.conftest import load
from tests.helpers.problems import PAIR

TIMES = np.linspace(0.05, 1.95, 37)
INTERVALS = {1: 32, 2: 32, 3: 32, 4: 32, 5: 20, 6: 16, 7: 10, 8: 8, 9: 6, 10: 4}


def pair_jacobian(t, y):
    return np.array([[y[1], y[0]], [math.cos(t) - y[1], -y[0]]])


def dense_error(method, intervals, **options):
    if not getattr(method, "is_explicit", True):
        options["newton"] = Newton(jacobian=pair_jacobian)
    grid = np.linspace(0, 2, intervals + 1)
    found = solve_ivp(
        PAIR.field(np), (0, 2), PAIR.exact(0), method=method, grid=grid, dense=True, **options
    )
    exact = np.array([PAIR.exact(t) for t in TIMES])
    end = np.abs(found.y[-1] - PAIR.exact(2.0)).max()
    return max(np.abs(found(TIMES) - exact).max(), end)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [n for n in catalogue() if tableau(n).uncertainty < 1e-8])
def test_dense_output_has_the_full_order_of_every_method(name):
    method = tableau(name)
    n = INTERVALS[method.order]
    coarse, fine = dense_error(method, n), dense_error(method, 2 * n)
    # Above where the leading error is small; rounding ends what can be seen.
    assert math.log2(coarse / fine) > method.order - 0.6 or fine < 2e-12
    assert coarse > 2e-12


def test_linear_dense_output_is_seen_to_be_of_second_order():
    coarse, fine = (dense_error(tableau("classic"), n, interpolation="linear") for n in (32, 64))
    assert 1.7 < math.log2(coarse / fine) < 2.3
    coarse, fine = (dense_error(tableau("dop853"), n, interpolation="hermite") for n in (16, 32))
    assert 3.7 < math.log2(coarse / fine) < 4.5


@pytest.mark.parametrize("name", ["dopri5", "tsit5", "butcher5", "owren_zennaro5", "ssp85"])
def test_free_weights_satisfy_the_order_conditions(name):
    # Hairer, Norsett, Wanner I, theorem II.6.1, on random theta; with f at both ends as stages.
    method = tableau(name)
    extension = continuous_extension(method.coefficients)
    assert not extension.extra
    assert np.any(extension.weights[:, 2:-1])
    s = method.stages
    A = np.zeros((s + 2, s + 2))
    A[1 : s + 1, 1 : s + 1] = [[float(a) for a in row] for row in method.A]
    A[s + 1, 1 : s + 1] = [float(b) for b in method.b]

    def g(tree):
        return np.prod([np.ones(s + 2)] + [A @ g(child) for child in tree.children], axis=0)

    for theta in (0.0, 0.21, 0.5, 0.83, 1.0):
        weights = np.array(extension.at(extension.weights, theta))[1:]
        for n in range(1, extension.order + 1):
            for tree in rooted_trees(n):
                wanted = theta**n / tree.density
                assert weights @ g(tree) == pytest.approx(wanted, abs=1e-12)
    # At the end of the step they are the weights of the method.
    _, slope, first, *rest, last = extension.at(extension.weights, 1.0)
    b = [float(x) for x in method.b]
    np.testing.assert_allclose([slope + first, *rest, last], [*b, 0.0], atol=1e-12)


def test_extra_evaluations_are_those_that_are_documented():
    for name, count in [
        ("classic", 0),
        ("dopri5", 0),
        ("verner65", 2),
        ("gauss5", 15),
        ("fehlberg45", 1),
        ("dormand_prince87", 12),
        ("verner87", 18),
    ]:
        assert len(continuous_extension(tableau(name).coefficients).extra) == count
    with_arrays = coefficients_at(RK4, u=np.asarray(0.3), v=np.asarray(0.6))
    assert continuous_extension(with_arrays).order == 3


@pytest.mark.parametrize(
    "name",
    [
        "bosh5",
        "rdpk3sp510",
        "sharp_smart54",
        "verner65_2006",
        "dopri5",
        "dormand_prince87",
        "verner87",
    ],
)
def test_the_polynomial_is_not_much_worse_than_the_steps(name):
    """Without one more round bosh5 is 300 tolerances off inside of its steps, at the ends 2."""
    field = lambda t, y: np.stack([y[1], -np.sin(y[0])])  # noqa: E731
    found, exact = (
        solve_ivp(field, (0, 10), [1.0, 0.0], method=method, rtol=tol, atol=tol, dense=True)
        for method, tol in ((name, 1e-6), ("dop853", 1e-12))
    )
    t = np.linspace(0, 10, 500)
    assert np.abs(found(t) - exact(t)).max() < 100e-6
    plain = solve_ivp(field, (0, 10), [1.0, 0.0], method=name, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.t, plain.t)


@pytest.mark.parametrize("name", ["fehlberg45", "fehlberg56"])
def test_pairs_that_go_on_with_their_lower_order(name):
    """Their steps are chosen by an error of one power of h more than other pairs'."""
    field = lambda t, y: np.stack([y[1], 2 * (1 - y[0] ** 2) * y[1] - y[0]])  # noqa: E731
    found, exact = (
        solve_ivp(field, (0, 10), [2.0, 0.0], method=method, rtol=tol, atol=tol, dense=True)
        for method, tol in ((name, 1e-8), ("dop853", 1e-12))
    )
    inside, ends = np.linspace(0, 10, 500), found.t
    errors = [np.abs(found(t) - exact(t)).max() for t in (inside, ends)]
    assert errors[0] < 1.1 * errors[1]  # 2.4 and 2.9 with order p - 1


def test_outputs_do_not_change_the_steps():
    field, y0 = PAIR.field(np), PAIR.exact(0)
    alone = solve_ivp(field, (0, 2), y0, rtol=1e-8)
    times = np.linspace(0, 2, 301)
    found = solve_ivp(field, (0, 2), y0, rtol=1e-8, t_eval=times)
    assert found.statistics == alone.statistics
    np.testing.assert_array_equal(found.t, times)
    np.testing.assert_array_equal(found.y[-1], alone.y[-1])
    error = np.abs(found.y - np.array([PAIR.exact(t) for t in times])).max()
    assert error < 1e-7
    landed = solve_ivp(field, (0, 2), y0, rtol=1e-8, t_eval=times, step_at=times)
    assert landed.statistics.accepted >= 300
    # A method with extra stages pays in steps that hold outputs, and counts what it pays.
    for name in ("dop853", "verner65"):
        calls = 0

        def counted(t, y):
            nonlocal calls
            calls += 1
            return field(t, y)

        found = solve_ivp(counted, (0, 2), y0, method=name, rtol=1e-8, t_eval=[0.5, 1.5])
        assert calls == found.statistics.evaluations


@pytest.mark.parametrize("span", [(0, 2), (2, 0)])
def test_dense_output_ends_where_the_solution_does(span):
    start = PAIR.exact(span[0])
    found = solve_ivp(PAIR.field(np), span, start, rtol=1e-9, atol=1e-9, dense=True)
    assert found.dense.interval == span
    assert found(0.5).shape == (2,)
    assert found([]).shape == (0, 2)
    np.testing.assert_allclose(found(found.t), found.y, rtol=1e-14)
    np.testing.assert_allclose(found([0.3, 1.7]), [PAIR.exact(0.3), PAIR.exact(1.7)], rtol=1e-7)
    for outside in (-1e-9, 2.0000001, np.nan):
        with pytest.raises(ValueError, match="not extrapolated"):
            found([1.0, outside])
    with pytest.raises(ValueError, match="dense=True"):
        solve_ivp(PAIR.field(np), span, start)(0.5)


def test_dense_output_on_every_array_library(xp, dtype, array, eps):
    found = solve_ivp(PAIR.field(xp), (0, 2), array(PAIR.exact(0)), rtol=100 * eps, atol=100 * eps, dense=True)  # fmt: skip
    y = found([0.4, 1.1])
    assert y.dtype == array([1.0]).dtype
    for k, t in enumerate((0.4, 1.1)):
        for j, wanted in enumerate(PAIR.exact(t)):
            assert float(y[k, j]) == pytest.approx(wanted, abs=max(3e-8, 3000 * eps))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (5000, 2)])
def test_the_states_at_many_times_are_those_at_each(xp, array, eps, shape):
    start = array(np.cos(np.arange(math.prod(shape))).reshape(shape))
    found = solve_ivp(
        lambda t, y: xp.sin(5 * y), (0, 1), start, steps=3, method="dopri5", dense=True
    )
    order = np.random.default_rng(0).permutation(40)
    times = np.concatenate([[1 / 3, 1.0, 0.0], np.linspace(0, 1, 38), [2 / 3]])[order]
    together = found(times)
    assert together.shape == (40, *shape)
    assert together.dtype == start.dtype
    for t, y in zip(times, np.asarray(together), strict=True):
        np.testing.assert_allclose(y, np.asarray(found(t)), rtol=30 * eps, atol=30 * eps)
    assert bool(xp.all(found([1.0, 0.9, 0.8, 0.7, 0.0])[0, ...] == found.y[-1, ...]))


def test_outputs_in_one_step_are_those_of_dense_output(xp, dtype, array, eps):
    t_eval = np.concatenate([np.linspace(0, 0.4, 30), [1.7, 2.0]])
    start = array(PAIR.exact(0))
    options = {"grid": [0.0, 0.5, 1.0, 1.5, 2.0], "dense": True}
    found = solve_ivp(PAIR.field(xp), (0, 2), start, t_eval=t_eval, **options)
    assert found.y.shape == (32, 2)
    single = [np.asarray(found(t)) for t in t_eval]
    np.testing.assert_allclose(np.asarray(found.y), single, rtol=30 * eps, atol=30 * eps)


def test_no_setting_for_fast_products_touches_the_states_at_many_times():
    torch = pytest.importorskip("torch")
    y, times = torch.ones(3), np.linspace(0, 1, 50)
    found = solve_ivp(lambda t, y: -y, (0, 1), y, dense=True)
    wanted = found(times)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(found(times), wanted)
    finally:
        torch.set_float32_matmul_precision("highest")


# Events.


def test_a_ball_hits_the_ground():
    # y = 10 + 5t - 9.81 t^2/2.
    hit = (5 + math.sqrt(25 + 2 * 9.81 * 10)) / 9.81
    field = lambda t, y: np.array([y[1], -9.81])  # noqa: E731
    top = lambda t, y: y[1]  # noqa: E731
    found = solve_ivp(
        field, (0, 10), [10.0, 5.0], events=[Event(lambda t, y: y[0], terminal=True), top]
    )
    assert found.status is Status.EVENT
    assert found.success
    assert found.t[-1] == found.events[0].t[0] == pytest.approx(hit, rel=1e-13)
    assert found.y[-1, 0] == pytest.approx(0, abs=1e-12)
    assert found.events[1].t == pytest.approx([5 / 9.81], rel=1e-13)
    assert found.events[1].y.shape == (1, 2)
    outputs = solve_ivp(field, (0, 10), [10.0, 5.0], events=Event(lambda t, y: y[0], True), t_eval=np.arange(11.0))  # fmt: skip
    np.testing.assert_array_equal(outputs.t, [0, 1, 2])


@pytest.mark.parametrize("span", [(0.0, 20.0), (20.0, 0.0)])
@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("options", [{"rtol": 1e-10, "atol": 1e-10}, {"steps": 100}])
def test_all_crossings_are_found(direction, span, options):
    found = solve_ivp(
        lambda t, y: np.array([y[1], -y[0]]),
        span,
        [math.cos(span[0]), -math.sin(span[0])],
        events=Event(lambda t, y: y[0], direction=direction),
        method="dopri5",
        **options,
    )
    zeros = (np.arange(6) + 0.5) * np.pi
    rising = np.array([1 if -math.sin(z) > 0 else -1 for z in zeros])
    if span[1] < span[0]:
        zeros, rising = zeros[::-1], -rising[::-1]
    wanted = zeros if direction == 0 else zeros[rising == direction]
    np.testing.assert_allclose(found.events[0].t, wanted, atol=2e-6)


def test_the_first_of_two_terminal_events_ends_the_solve():
    events = [
        Event(lambda t, y: y[0] - 0.2, terminal=True),
        Event(lambda t, y: y[0] - 0.7, terminal=True),
    ]
    # Both lie in the one step.
    found = solve_ivp(lambda t, y: -y, (0, 2), [1.0], events=events, method="gauss5", steps=1)
    assert len(found.events[0].t) == 0
    assert found.events[1].t == pytest.approx([-math.log(0.7)], rel=1e-6)
    assert found.statistics.accepted == 1
    assert found.dense is None


@pytest.mark.parametrize("terminal", [True, 1, np.bool_(True), np.int8(1)])
def test_terminal_is_a_bool_or_a_number_of_either_library(terminal):
    event = Event(lambda t, y: y[0] - 0.5, terminal)
    assert solve_ivp(lambda t, y: -y, (0, 2), [1.0], events=event).status is Status.EVENT


def test_an_event_cuts_dense_output():
    found = solve_ivp(lambda t, y: -y, (0, 5), [1.0], events=Event(lambda t, y: y[0] - 0.5, True), dense=True)  # fmt: skip
    assert found.dense.interval[1] == found.t[-1] == pytest.approx(math.log(2), rel=1e-6)
    with pytest.raises(ValueError, match="not extrapolated"):
        found(1.0)


def test_a_start_on_the_zero_is_no_event():
    found = solve_ivp(lambda t, y: np.ones(1), (0, 1), [0.0], events=lambda t, y: y[0])
    assert len(found.events[0].t) == 0


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        (3, TypeError, "must be callable"),
        (lambda t, y: y, ValueError, "one real number"),
        (lambda t, y: "x", ValueError, "one real number"),
    ],
)
def test_events_that_are_none(events, error, message):
    with pytest.raises(error, match=message):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0, 2.0], events=events)
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        Event(lambda t, y: y[0], direction=2)


@given(st.floats(-5, 5), st.floats(0.1, 3), st.sampled_from([1, 3, 9]), st.booleans())
def test_the_root_finder_brackets_the_root(root, width, power, rising):
    sign = 1 if rising else -1

    def g(x):
        nonlocal calls
        calls += 1
        return sign * ((x - root) ** power + 1e-3 * (x - root))

    calls = 0
    a, b = root - 0.37 * width, root + 0.63 * width
    found = find_root(g, a, b, g(a), g(b))
    assert abs(found - root) <= 8 * np.spacing(max(abs(a), abs(b)))
    assert g(found) * sign >= 0
    assert calls < 100


def test_the_root_finder_takes_values_whose_ratios_have_no_square():
    def g(x):
        return -1.0 if x < 0.3 else 1e200 if x < 0.9 else 1.0

    assert find_root(g, 0.0, 1.0, g(0.0), g(1.0)) == pytest.approx(0.3)


def test_events_in_torch_and_jax(xp, array):
    found = solve_ivp(
        lambda t, y: -y, (0, 5), array([1.0]), events=Event(lambda t, y: y[0] - 0.5, terminal=True)
    )
    assert found.t[-1] == pytest.approx(math.log(2), rel=1e-5)


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="full, hermite, linear"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], interpolation="cubic")


@pytest.mark.parametrize("y0", [np.array([np.nan, 1.0]), {"a": np.array([np.nan])}])
def test_every_event_has_a_record_where_the_input_is_not_finite(y0):
    events = [lambda t, y: 1.0, lambda t, y: 2.0]
    found = solve_ivp(lambda t, y: y, (0, 1), y0, events=events, throw=False)
    assert found.status is Status.NONFINITE_INPUT
    assert [len(record.t) for record in found.events] == [0, 0]


def test_an_event_with_nan_is_no_crossing_and_the_failure_is_typed():
    with pytest.raises(errors.NonfiniteRHSError):
        solve_ivp(
            lambda t, y: np.array([np.nan if t > 0.5 else 1.0]),
            (0, 1),
            [0.0],
            events=lambda t, y: y[0] - 2,
        )


@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"steps": 2, "method": "gauss2"}])
def test_events_are_found_beside_where_their_function_is_undefined(options):
    # sqrt(y) has no value in the later part of a step, log(y - 1) none in the earlier part.
    root = Event(lambda t, y: math.sqrt(y[0]) - 0.5 if y[0] >= 0 else math.nan, terminal=True)
    found = solve_ivp(lambda t, y: -np.ones(1), (0, 3), [1.0], events=root, **options)
    assert found.status is Status.EVENT
    assert found.t[-1] == pytest.approx(0.75, rel=1e-9)
    late = Event(lambda t, y: math.log(y[0]) if y[0] > 0.5 else math.nan)
    found = solve_ivp(lambda t, y: np.ones(1), (0, 3), [0.0], events=late, **options)
    np.testing.assert_allclose(found.events[0].t, [1.0], rtol=1e-9)
    # The twin: a part without a change of sign has no event.
    none = Event(lambda t, y: math.sqrt(y[0]) + 0.5 if y[0] >= 0 else math.nan, terminal=True)
    found = solve_ivp(lambda t, y: -np.ones(1), (0, 3), [1.0], events=none, **options)
    assert found.status is Status.SUCCESS
    assert not len(found.events[0].t)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("t_eval", [None, [0.0, 0.1, 2.0]])
def test_nothing_comes_from_where_given_steps_blew_up(t_eval):
    seen = []

    def value(t, y):
        seen.append(y[0])
        return t - 1.0

    found = solve_ivp(
        lambda t, y: y**3, (0, 2), [3.0], method="classic", steps=20, dense=True, throw=False,
        events=value, t_eval=t_eval,
    )  # fmt: skip
    assert found.status is Status.NONFINITE_RHS
    assert np.isfinite(seen).all()
    assert not len(found.events[0].t)
    last = found.dense.interval[1]
    assert 0 < last <= found.t[-1] if t_eval is None else 0 < last < 0.1
    assert np.isfinite(found(np.linspace(0, last, 50))).all()
    with pytest.raises(ValueError, match="not extrapolated"):
        found(2.0)


@pytest.mark.parametrize("options", [{"steps": 7}, {"grid": [0, 0.2, 0.4, 0.6, 0.8, 1]}])
@pytest.mark.parametrize("method", ["euler", "midpoint", "classic", "bosh3", "dopri5", "gauss2"])
@pytest.mark.parametrize("interpolation", ["full", "hermite", "linear"])
@pytest.mark.parametrize("last", [0.55, 0.999])
def test_dense_output_ends_where_the_right_hand_side_does(options, method, interpolation, last):
    found = solve_ivp(
        lambda t, y: -y if t < last else y * np.nan, (0, 1), [1.0], method=method, throw=False,
        dense=True, interpolation=interpolation, **options,
    )  # fmt: skip
    start, end = found.dense.interval
    assert start == 0 < last - 0.25 < end < last + 0.2
    times = np.linspace(start, end, 101)
    np.testing.assert_allclose(found(times)[:, 0], np.exp(-times), atol=0.06)
    reached = found.t[-1]  # which a method that looks at no later time than its start may
    assert end <= reached
    if found.status is Status.SUCCESS:
        assert end == reached == 1
    else:
        assert found.status is Status.NONFINITE_RHS


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("method", ["bosh3", "fehlberg12", "owren_zennaro4", "dopri5", "euler"])
def test_dense_output_ends_before_a_hole_at_the_end(method):
    found = solve_ivp(
        lambda t, y: y * (np.inf if t == 1 else -1.0), (0, 1), [1.0], method=method, steps=4,
        dense=True, throw=False,
    )  # fmt: skip
    assert found.status is Status.NONFINITE_RHS
    assert found.dense.interval == (0, 0.75)


def test_dense_output_ends_before_a_hole_that_no_stage_fell_into():
    def fun(t, y):
        return -y if abs(t - hole) > 1e-6 else y * np.nan

    hole = 2.0
    options = {"method": "dormand_prince87", "steps": 4}
    times = {False: [], True: []}
    for dense, seen in times.items():
        solve_ivp(lambda t, y, s=seen: s.append(t) or -y, (0, 1), [1.0], dense=dense, **options)
    hole = max(t for t in {*times[True]} - {*times[False]} if t < 0.75)
    assert solve_ivp(fun, (0, 1), [1.0], **options).success
    with pytest.raises(errors.NonfiniteRHSError) as caught:
        solve_ivp(fun, (0, 1), [1.0], dense=True, **options)
    trajectory = caught.value.trajectory
    assert trajectory.dense.interval == (0, 0.5)
    assert len(trajectory.t) == 5


def decay(t, y):
    return -y


def blow_up(t, y):
    return y * y


def decay_in_parts(t, y):
    return {"a": -y["a"]}


@pytest.mark.parametrize("jump_at", [None, [0.4]])
@pytest.mark.parametrize("kind", ["array", "structure", "tensor"])
@pytest.mark.parametrize(
    "method", ["dopri5", "classic", "kvaerno43", "gauss2", Adams(), Adams(implicit=True, rtol=1e-3)]
)
def test_dense_output_crosses_processes(method, kind, jump_at):
    # The right-hand side is needed for steps that are made again alone.
    multistep = isinstance(method, Adams)
    options = {"steps": 5} if multistep or not tableau(method).b_hat else {}
    repeats = multistep or not tableau(method).is_explicit
    field = decay if repeats else lambda t, y: -y
    y0 = load("torch" if kind == "tensor" else "numpy").ones(2)
    structured = kind == "structure"
    if structured:
        y0, field = {"a": y0}, decay_in_parts if repeats else lambda t, y: {"a": -y["a"]}
    if jump_at:
        options["jump_at"] = jump_at
    found = solve_ivp(field, (0, 1), y0, method=method, dense=True, **options)
    times = np.linspace(0, 1, 7)
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):  # noqa: S301
        both = (x(times)["a"] if structured else x(times) for x in (found, again))
        np.testing.assert_array_equal(*both)
        assert again.dense.interval == found.dense.interval


@pytest.mark.parametrize("method", ["dopri5", "kvaerno43"])
def test_errors_of_solves_with_dense_output_cross_processes(method):
    with pytest.raises(errors.SolveError) as caught:
        solve_ivp(blow_up, (0, 2), [1.0], method=method, dense=True, max_steps=20)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(again) == str(caught.value)
    assert again.trajectory.dense(0.1) == caught.value.trajectory.dense(0.1)


def test_dense_output_with_a_local_function_names_it():
    found = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method="gauss2", steps=2, dense=True)
    with pytest.raises((AttributeError, pickle.PicklingError), match="test_dense_output_with_a"):
        pickle.dumps(found)


@pytest.mark.parametrize("name", ["dopri5", "tsit5", "dop853", "verner87", "fehlberg78"])
def test_half_precision_is_as_good_inside_of_steps_as_at_their_ends(name):
    # Weights on the stages that solve the conditions of order 6 for dop853 amplify rounding by 1134.
    def error(**output):
        y0 = np.ones(1, np.float16)
        found = solve_ivp(lambda t, y: -y, (0, 2), y0, method=name, rtol=0.01, atol=0.01, **output)
        assert found.y.dtype == np.float16
        return np.abs(found.y[:, 0].astype(float) - np.exp(-found.t)).max()

    assert error(t_eval=np.linspace(0, 2, 41)) < error() + 3 * np.finfo(np.float16).eps


def test_weights_on_the_stages_are_kept_where_they_are_small():
    dopri5, tsit5 = (tableau(name).coefficients for name in ("dopri5", "tsit5"))
    kept = continuous_extension(dopri5, amplification=4).weights
    np.testing.assert_array_equal(kept, continuous_extension(dopri5).weights)
    found, free = continuous_extension(tsit5, amplification=4), continuous_extension(tsit5)
    assert (found.order, len(found.extra)) == (free.order, 1)
    assert not free.extra
    size = [
        max(sum(map(abs, e.at(e.weights, x))) for x in np.linspace(0, 1, 99)) for e in (found, free)
    ]
    assert size[0] < 1.2
    assert size[1] == pytest.approx(11.2, abs=0.1)


@pytest.mark.parametrize("method", ["dopri5", "kvaerno43"])
@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_dense_output_stays_when_the_caller_writes_into_the_state(library, method):
    xp = load(library)
    y, steps = xp.ones(1, dtype=xp.float64), []
    found = solve_ivp(lambda t, y: -y, (0, 1), y, method=method, dense=True)
    solve_ivp(lambda t, y: -y, (0, 1), y, method=method, dense=steps.append)
    y[...] = 5.0
    np.testing.assert_allclose(found([0.0, 0.01])[:, 0], np.exp([0.0, -0.01]), rtol=1e-5)
    first = steps[0]
    inside = first.t_new / 2
    assert float(first(0.0)[0]) == 1.0
    assert float(first(inside)[0]) == pytest.approx(math.exp(-inside), rel=1e-5)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_dense_output_stays_when_the_caller_writes_into_its_values(library):
    xp = load(library)
    found = solve_ivp(lambda t, y: -y, (0, 1), xp.ones(2), steps=2, method="kutta3", dense=True)
    for t in (0.0, 0.5, 1.0):
        value = found(t)
        before = value[0] + 0
        value += 7
        assert found(t)[0] == before


def test_gradients_pass_from_dense_output_to_the_state():
    torch = pytest.importorskip("torch")
    y = torch.ones(1, dtype=torch.float64, requires_grad=True)
    found = solve_ivp(lambda t, y: -y, (0, 1), y, dense=True)
    times = np.linspace(0, 1, 41)
    for k, t in enumerate(times):
        for value in (found(t), found(times)[k]):
            (gradient,) = torch.autograd.grad(value, y, torch.ones_like(y), retain_graph=True)
            assert float(gradient) == pytest.approx(math.exp(-t), rel=1e-5)
