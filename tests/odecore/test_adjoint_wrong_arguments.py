"""What adjoints are given is looked at, and kept from being overwritten."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from odecore.adjoint import (
    backsolve,
    certify,
    collocated,
    discrete,
    node_by_node,
    record_panels,
    record_steps,
    restored,
)
from odecore.solve import Event
from tests.odecore.test_adjoint import TIMES, Y0, A, W, linear
from tests.odecore.test_solve_kernels import kernels_of

N = 7  # more numbers than are solved for directly
MATRIX = np.random.default_rng(3).standard_normal((N, N)) / 2
START = np.linspace(-1, 1, N)
ENDS = [np.zeros(N), np.ones(N)]


def field(t, y):
    return MATRIX @ np.tanh(y)


def linearized(t, y):
    z = np.tanh(y)
    return MATRIX @ z, lambda a, p: ((1 - z * z) * (MATRIX.T @ a), (np.outer(a, z),) if p else ())


def along_panels(adjoint, times=(0.0, 1.0), fun=field, y0=START, **options):
    _, panels = record_panels(fun, times, y0)
    return lambda linearize, w: adjoint(linearize, panels, w, **options)


def along_steps(times=(0.0, 1.0), fun=field, y0=START, **options):
    _, record = record_steps(fun, times, y0, **options)
    return lambda linearize, w: discrete(linearize, record, w)


def back(times=(0.0, 1.0), fun=field, y0=START, theta=MATRIX):
    trajectory, _ = record_steps(fun, times, y0)
    return lambda linearize, w: backsolve(linearize, times, trajectory.y, w, parameters=(theta,))


def at_nodes(linearize, panels, w, **options):
    return collocated(node_by_node(linearize), panels, w, **options)


def of_nodes(linearize, panels, w, **options):
    """The linearization is that at all nodes."""
    return collocated(linearize, panels, w, **options)


def nodes(t, y):
    z = np.tanh(y)
    terms = lambda a, p: (np.einsum("mi,mj->ij", a, z),) if p else ()  # noqa: E731
    return z @ MATRIX.T, lambda a, p: ((1 - z * z) * (a @ MATRIX), terms(a, p))


def reusing(linearize):
    """The same with one buffer for all values of a kind and shape, as NumPy code may have."""
    buffers = {}

    def into(kind, value):
        buffer = buffers.setdefault((kind, value.shape), np.empty_like(value))
        buffer[...] = value
        return buffer

    def reused(t, y):
        value, pull = linearize(t, y)

        def pulled(a, parameters):
            state, terms = pull(a, parameters)
            return into("state", state), tuple(into("theta", term) for term in terms)

        return into("value", value), pulled

    return reused


def overwriting(linearize):
    """The same, which leaves other numbers in the arrays that it gets."""

    def spoilt(t, y):
        value, pull = linearize(t, y.copy())
        y *= 2

        def pulled(a, parameters):
            found = pull(a.copy(), parameters)
            a *= 2
            return found

        return value, pulled

    return spoilt


ALONG = pytest.mark.parametrize(
    ("solve", "linearize"),
    [
        (along_panels(at_nodes), linearized),
        (along_panels(of_nodes), nodes),
        (along_panels(restored), linearized),
        (along_steps(), linearized),
        (along_steps(method="radau_iia2", steps=3), linearized),
        (back(), linearized),
    ],
    ids=["node by node", "nodes", "restored", "discrete", "implicit", "backsolve"],
)


@ALONG
@pytest.mark.parametrize("spoilt", [reusing, overwriting])
def test_buffers_may_be_used_again(solve, linearize, spoilt):
    found, wanted = solve(spoilt(linearize), ENDS), solve(linearize, ENDS)
    np.testing.assert_array_equal(found.y0, wanted.y0)
    np.testing.assert_array_equal(found.parameters[0], wanted.parameters[0])
    np.testing.assert_array_equal(found.times, wanted.times)


@pytest.mark.parametrize("what", ["linearize", "pull"])
@pytest.mark.parametrize("implicit", [False, True])
def test_changed_tensors_are_refused(what, implicit):
    matrix = torch.tensor(MATRIX)
    options = {"method": "radau_iia2", "steps": 3} if implicit else {}

    def spoilt(t, y):
        value = matrix @ y
        pull = lambda a, p: ((matrix.T @ a if what == "linearize" else matrix.T @ a.mul_(2)), ())  # noqa: E731
        if what == "linearize":
            y.mul_(2)
        return value, pull

    solve = along_steps(fun=lambda t, y: matrix @ y, y0=torch.tensor(START), **options)
    with pytest.raises(ValueError, match=rf"`{what}\(.*must not change the array that it gets"):
        solve(spoilt, list(map(torch.tensor, ENDS)))


@pytest.mark.parametrize("record", [record_panels, record_steps])
@pytest.mark.parametrize(
    "state", [{"x": START}, (START, START), [START, START[:2]], (torch.ones(2),) * 2]
)
def test_states_of_several_arrays_are_refused(record, state):
    with pytest.raises(TypeError, match=r"`y0` must be one array.*got (dict|tuple|list).*concat"):
        record(lambda t, y: y, TIMES, state)


LINEAR = {"times": TIMES, "fun": linear(np, A)[0], "y0": Y0}
EVERY = pytest.mark.parametrize(
    "solve",
    [
        along_panels(at_nodes, **LINEAR),
        along_panels(restored, **LINEAR),
        along_steps(**LINEAR),
        along_steps(method="radau_iia2", steps=3, **LINEAR),
        back(theta=A, **LINEAR),
    ],
    ids=["collocated", "restored", "discrete", "implicit", "backsolve"],
)


@EVERY
@pytest.mark.parametrize(
    ("linearize", "error", "message"),
    [
        (lambda t, y: A @ y, TypeError, r"linearize\(t, y\)` must return f\(t, y\) and `pull`"),
        (lambda t, y: (y[:1], lambda a, p: (a, ())), ValueError, r"y\)\[0\]` must be .* of \(1,\)"),
        (lambda t, y: (A @ y, lambda a, p: A.T @ a), TypeError, "tuple of .*two things, got nda"),
        (lambda t, y: (A @ y, lambda a, p: (a[:1], ())), ValueError, "pull.*of shape"),
        (lambda t, y: (A @ y, lambda a, p: ([0.0] * 3, ())), TypeError, "pull.*state, got list"),
        (lambda t, y: (A @ y, lambda a, p: (A.T @ a, np.outer(a, y))), TypeError, r"\(array,\)"),
        (lambda t, y: (A @ y, lambda a, p: (A.T @ a, None)), TypeError, "tuple .*got None"),
        (lambda t, y: (A @ y, lambda a, p: (A.T @ a, (1.0,))), TypeError, r"tuple .*got \(1.0,\)"),
    ],
)
def test_what_a_linearization_returns_is_looked_at(solve, linearize, error, message):
    with pytest.raises(error, match=message):
        solve(linearize, W)


@EVERY
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            np.ones(1),
            ValueError,
            r"`cotangents\[1\]` must be float64 of shape \(3,\), got .*\(1,\)",
        ),
        (np.ones((3, 1)), ValueError, r"cotangents\[1\]"),
        (np.ones(3, dtype=np.float32), TypeError, r"cotangents\[1\].*got float32"),
        (np.ones(3, dtype=np.int64), TypeError, r"cotangents\[1\].*got int64"),
        (np.ones(3) + 0j, TypeError, r"cotangents\[1\].*got complex128"),
        ([1.0, 1.0, 1.0], TypeError, r"cotangents\[1\].*got list"),
        (1.0, TypeError, r"cotangents\[1\].*got float"),
        (None, TypeError, r"cotangents\[1\].*got NoneType"),
    ],
    ids=repr,
)
def test_cotangents_are_like_the_state(solve, wrong, error, message):
    with pytest.raises(error, match=message):
        solve(linear(np, A)[1], [W[0], wrong, W[2]])
    with pytest.raises(error, match=message.replace("1", "2", 1)):
        solve(linear(np, A)[1], [*W[:2], wrong])


@EVERY
def test_there_is_a_cotangent_for_each_output_time(solve):
    for wrong in (W[1:], []):
        with pytest.raises(ValueError, match=f"each of the 3 output times, got {len(wrong)}"):
            solve(linear(np, A)[1], wrong)


def test_what_a_recording_returns_is_taken_apart_by_the_caller():
    fun, linearize = linear(np, A)
    for adjoint in (at_nodes, restored):
        with pytest.raises(TypeError, match="second of the two things that `record_panels` ret"):
            adjoint(linearize, record_panels(fun, TIMES, Y0), W)
    with pytest.raises(TypeError, match="second of the two things that `record_steps` returns"):
        discrete(linearize, record_steps(fun, TIMES, Y0), W)


BACKWARD = pytest.mark.parametrize(
    "solve",
    [
        lambda **options: along_panels(at_nodes, **LINEAR, **options)(linear(np, A)[1], W),
        lambda **options: along_panels(restored, **LINEAR, **options)(linear(np, A)[1], W),
        lambda **options: backsolve(
            linear(np, A)[1], TIMES, record_steps(LINEAR["fun"], TIMES, Y0)[0].y, W, **options
        ),
        lambda **options: along_panels(certified, **LINEAR, **options)(linear(np, A)[1], W),
    ],
    ids=["collocated", "restored", "backsolve", "certify"],
)


def certified(linearize, panels, w, **options):
    nodes = node_by_node(linearize)
    return certify(collocated(nodes, panels, w), nodes, panels, w, **options)


@BACKWARD
@pytest.mark.parametrize(
    "option",
    [
        {"throw": False, "max_steps": 1},  # ended at once, and its state was the gradient
        {"events": Event(lambda t, y: t - 0.2, terminal=True)},
        {"t_eval": [0.0]},
        {"dense": True},
    ],
    ids=lambda x: next(iter(x)),
)
def test_a_backward_solve_is_a_whole_one(solve, option):
    with pytest.raises(ValueError, match=f"`{next(iter(option))}` can not be given to a backward"):
        solve(**option)


@BACKWARD
def test_misspelt_options_are_told_also_where_no_step_is_made(solve):
    with pytest.raises(TypeError, match="unexpected option 'rtoll'; a backward solve takes method"):
        solve(rtoll=1e-3)


@BACKWARD
@pytest.mark.parametrize("label", ["rtol", "atol"])
def test_tolerances_are_looked_at_at_once(solve, label):
    with pytest.raises(ValueError, match=f"`{label}` must be finite and not negative, got -1"):
        solve(**{label: -1.0})
    with pytest.raises(TypeError, match=f"`{label}` must be a real number"):
        solve(**{label: "tight"})


@pytest.mark.parametrize("batch", [0, -1, 2.5, True, "all"])
def test_a_batch_is_a_number_of_nodes(batch):
    with pytest.raises(ValueError, match="`batch` must be a positive int, got"):
        along_panels(restored, batch=batch, **LINEAR)(linear(np, A)[1], W)


@pytest.mark.parametrize("steps", [{"steps": 10**12}, {"step_size": 1e-12}, {"step_size": 1e-320}])
def test_too_many_steps_are_refused_before_they_are_listed(steps):
    fun, linearize = linear(np, A)
    (name,) = steps
    message = f"`{name}` asks for more than `max_steps` = 100000"
    _, panels = record_panels(fun, TIMES, Y0)
    _, parts = record_panels(fun, [0.0, 100.0], Y0)
    assert len(parts) > 1  # of one interval, whose steps are divided among them
    calls = [
        lambda: record_panels(fun, TIMES, Y0, **steps),
        lambda: record_panels(fun, TIMES, Y0, nodes=5, **steps),
        lambda: record_steps(fun, TIMES, Y0, **steps),
        lambda: restored(linearize, panels, W, **steps),
        lambda: restored(linearize, parts, W[:2], **steps),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="`steps` asks for more than `max_steps` = 7"):
        record_panels(fun, TIMES, Y0, steps=8, max_steps=7)


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ("012", TypeError, "`grid` must be a sequence of times"),
        ([TIMES[0], np.nan, TIMES[-1]], ValueError, "must (be|hold) finite"),
    ],
)
def test_grids_are_finite_times(grid, error, message):
    fun, linearize = linear(np, A)
    _, panels = record_panels(fun, TIMES, Y0)
    for call in (
        lambda: restored(linearize, panels, W, grid=grid),
        lambda: backsolve(linearize, TIMES, [Y0] * len(TIMES), W, grid=grid),
        lambda: record_steps(fun, TIMES, Y0, grid=grid),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("passes", [0, -3, 2.5, True, "a"])
def test_passes_are_a_positive_int(passes):
    fun, linearize = linear(np, A)
    _, panels = record_panels(fun, TIMES, Y0)
    with pytest.raises(ValueError, match="`passes` must be a positive int, got"):
        collocated(node_by_node(linearize), panels, W, passes=passes)


@pytest.mark.parametrize("more", [{"steps": 3}, {"step_size": 0.1}])
def test_steps_are_given_in_one_way(more):
    fun, linearize = linear(np, A)
    _, panels = record_panels(fun, TIMES, Y0)
    message = f"give one of `steps`, `step_size` and `grid`, got {next(iter(more))} and grid"
    with pytest.raises(ValueError, match=message):
        record_panels(fun, TIMES, Y0, grid=TIMES, **more)
    with pytest.raises(ValueError, match=message):
        restored(linearize, panels, W, grid=TIMES, **more)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        ("012", TypeError, "`times` must be a sequence of times, got '012'"),
        (None, TypeError, "`times` must be a sequence of times, got None"),
        ([0.0, 1j, 2.0], TypeError, "`times` must be a sequence of times"),
        (np.zeros((3, 1)), ValueError, "one-dimensional"),
        ([0.0, 2.0, 1.0], ValueError, "strictly increasing or strictly decreasing"),
        ([0.0, np.nan, 1.0], ValueError, "finite"),
        ([], ValueError, "at least 2 times"),
    ],
    ids=repr,
)
def test_times_are_times_in_one_direction(times, error, message):
    fun, linearize = linear(np, A)
    states = [Y0] * (0 if times is None else len(times))
    for call in (
        lambda: record_panels(fun, times, Y0),
        lambda: record_steps(fun, times, Y0),
        lambda: backsolve(linearize, times, states, W),
    ):
        with pytest.raises(error, match=message):
            call()


def test_what_is_no_linearization_panel_or_cotangent_is_told():
    steps = record_steps(field, (0.0, 1.0), START, steps=4)[1]
    _, panels = record_panels(field, (0.0, 1.0), START)
    calls = [
        lambda f, w, p=panels: restored(f, p, w),
        lambda f, w, p=panels: collocated(f, p, w),
        lambda f, w, p=steps: discrete(f, p, w),
        lambda f, w, p=ENDS: backsolve(f, (0.0, 1.0), p, w),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"callable as linearize\(t, y\), .* got None"):
            call(None, ENDS)
        for wrong in (None, 1.0):
            with pytest.raises(TypeError, match="`cotangents` must be a sequence of arrays"):
                call(linearized, wrong)
    for call in calls[:2]:
        for wrong in (None, 3):
            with pytest.raises(TypeError, match="`panels` must be the list of panels"):
                call(linearized, ENDS, wrong)
    for wrong in (None, 1.0, np.float64(1.0)):
        with pytest.raises(TypeError, match=r"`states` must be an array \(n, ...\) or a sequence"):
            calls[3](linearized, ENDS, wrong)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("first_step", "1"),
        ("min_step", [1.0]),
        ("max_step", "1"),
        ("step_at", 0.5),
        ("jump_at", "1"),
        ("observe", 1),
    ],
)
def test_options_that_are_read_before_a_backward_solve_are_told(name, wrong):
    nodes = node_by_node(linearized)
    found = along_panels(restored)(linearized, ENDS)
    calls = [
        lambda **o: along_panels(restored, **o)(linearized, ENDS),
        lambda **o: along_panels(collocated, **o)(nodes, ENDS),
        lambda **o: along_panels(lambda f, p, w: certify(found, f, p, w, **o))(nodes, ENDS),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"`{name}` must be"):
            call(**{name: wrong})


def test_jumps_may_be_an_array_or_a_set():
    times, w = (0.0, 0.5, 1.0), [np.zeros(N), *ENDS]
    nodes = node_by_node(linearized)
    wanted = along_panels(collocated, times, jump_at=[0.5])(nodes, w)
    for jumps in (np.array([0.5]), {0.5}, torch.tensor([0.5]), (t for t in (0.5,))):
        found = along_panels(collocated, times, jump_at=jumps)(nodes, w)
        np.testing.assert_array_equal(found.y0, wanted.y0)
    wanted = along_panels(restored, times, jump_at=[0.3])(linearized, w)
    for jumps in (np.array([0.3]), {0.3}, iter([0.3])):
        found = along_panels(restored, times, jump_at=jumps)(linearized, w)
        assert found.statistics.evaluations == wanted.statistics.evaluations
        np.testing.assert_array_equal(found.y0, wanted.y0)
    solve = lambda record, jumps: record(field, (0.0, 1.0), START, jump_at=jumps)[0]  # noqa: E731
    for record in (record_panels, record_steps):
        wanted = solve(record, [0.3]).statistics
        for jumps in (np.array([0.3]), {0.3}, iter([0.3])):
            assert solve(record, jumps).statistics == wanted
    with pytest.raises(TypeError, match="`jump_at` must be a sequence of times, got"):
        solve(record_panels, "0.3")
    several = {"jump_at": np.array([0.3, 0.6]), "kernels": kernels_of("dopri5", START)}
    _, panels = record_panels(field, (0.0, 1.0), START, **several)
    assert {0.3, 0.6} <= {panel.end for panel in panels}


def test_certificates_look_at_what_they_get():
    found = along_panels(restored)(linearized, ENDS)
    nodes = node_by_node(linearized)
    _, panels = record_panels(field, (0.0, 1.0), START)
    with pytest.raises(TypeError, match="`found` must be Gradients of an adjoint, got ndarray"):
        certify(found.y0, nodes, panels, ENDS)
    for wrong in (None, 1):
        with pytest.raises(TypeError, match="`cotangents` must be a sequence of arrays"):
            certify(found, nodes, panels, wrong)
    for wrong in (None, "1", -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="`rounding` must be a number with 0 <= rounding < 1"):
            certify(found, nodes, panels, ENDS, rounding=wrong)
    for wrong in (3, "all"):
        with pytest.raises(TypeError, match="`asked` must be a sequence of bool, got"):
            certify(found, nodes, panels, ENDS, asked=wrong)
        with pytest.raises(TypeError, match="`parameters` must be a sequence of arrays, got"):
            certify(found, nodes, panels, ENDS, parameters=wrong)
    with pytest.raises(TypeError, match="a linearization must be callable"):
        certify(found, None, panels, ENDS)
    with pytest.raises(TypeError, match=r"`cotangents\[0\]` must be an array like the state"):
        certify(found, nodes, panels, [1, 2])


@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances_of_each_entry_may_be_a_list(name):
    at = {"rtol": 1e-7, "atol": 1e-10}[name]
    nodes = node_by_node(linearized)
    found = along_panels(restored)(linearized, ENDS)
    calls = [
        lambda **o: record_panels(field, (0.0, 1.0), START, **o)[0].y[-1],
        lambda **o: along_panels(restored, **o)(linearized, ENDS).y0,
        lambda **o: along_panels(collocated, **o)(nodes, ENDS).y0,
        lambda **o: along_panels(lambda f, p, w: certify(found, f, p, w, **o))(nodes, ENDS).error,
    ]
    for call in calls:
        wanted = call(**{name: np.full(N, at)})
        np.testing.assert_array_equal(call(**{name: [at] * N}), wanted)
        for wrong in ([at] * (N + 1), [], np.full((N, N), at)):
            with pytest.raises(ValueError, match=f"`{name}` of shape .* does not broadcast"):
                call(**{name: wrong})


def test_kernels_are_functions():
    with pytest.raises(TypeError, match=r"`kernel` must be callable as kernel\(.*\), got 3"):
        along_panels(collocated, kernel=3)(node_by_node(linearized), ENDS)
    with pytest.raises(TypeError, match=r"`kernel` must be callable as kernel\(method.*, got 3"):
        discrete(linearized, record_steps(field, (0.0, 1.0), START)[1], ENDS, kernel=3)


@pytest.mark.parametrize("name", ["first_step", "min_step"])
def test_steps_above_all_floats_are_told(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*finite"):
        along_panels(restored, **{name: 10**400})(linearized, ENDS)
    wanted = along_panels(restored)(linearized, ENDS)
    found = along_panels(restored, max_step=10**400)(linearized, ENDS)
    np.testing.assert_array_equal(found.y0, wanted.y0)


@pytest.mark.parametrize("make", [Fraction, np.array, torch.tensor])
def test_tolerances_of_all_kinds_choose_nodes(make):
    rtol, atol = 1 / 1024, 1 / 65536
    wanted = record_panels(field, (0.0, 1.0), START, rtol=rtol, atol=atol)[1]
    found = record_panels(field, (0.0, 1.0), START, rtol=make(rtol), atol=make(atol))[1]
    assert [p.tail for p in found] == pytest.approx([p.tail for p in wanted], rel=1e-6)


def test_what_is_none_is_not_given():
    tight = {"rtol": 1e-11, "atol": 1e-12}
    wanted = record_panels(field, (0.0, 1.0), START, **tight)
    found = record_panels(field, (0.0, 1.0), START, grid=None, **tight)
    assert found[0].statistics == wanted[0].statistics
    assert [p.tail for p in found[1]] == [p.tail for p in wanted[1]]

    def oscillating(t, y):  # in time alone, so that nodes are doubled for the quadrature
        return 0 * y, lambda a, p: (0 * a, (np.sum(np.cos(50 * t) * a),) if p else ())

    _, panels = record_panels(lambda t, y: 0 * y, [0.0, 1.0], np.ones(1))
    w = [np.zeros(1), np.ones(1)]
    wanted, found = restored(oscillating, panels, w), restored(oscillating, panels, w, rtol=None)
    np.testing.assert_array_equal(found.parameters[0], wanted.parameters[0])


@pytest.mark.parametrize("most", [None, "7", 0])
def test_a_budget_of_steps_is_a_count(most):
    fun, linearize = linear(np, A)
    _, panels = record_panels(fun, TIMES, Y0)
    for call in (
        lambda **o: record_panels(fun, TIMES, Y0, steps=2, **o),
        lambda **o: restored(linearize, panels, W, steps=2, **o),
        lambda **o: restored(linearize, panels, W, steps=[2, 3], **o),
        lambda **o: backsolve(linearize, TIMES, [Y0] * 3, W, steps=[2, 3], **o),
    ):
        with pytest.raises(ValueError, match="`max_steps` must be a positive int"):
            call(max_steps=most)


def test_two_norms_are_refused():
    _, linearize = linear(np, A)
    with pytest.raises(ValueError, match="one for each of the 2 arrays of the state"):
        backsolve(linearize, TIMES, [Y0] * 3, W, rtol=[])
    with pytest.raises(ValueError, match="`seminorm` is a norm: give it or `norm`"):
        backsolve(linearize, TIMES, [Y0] * 3, W, seminorm=True, norm=lambda parts: 0.5)
