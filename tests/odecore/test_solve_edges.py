"""Where solvers go wrong in silence: jumps, resting events, stiff outputs, reused buffers."""

import math

import array_api_strict
import numpy as np
import pytest

from odecore.adjoint import record_panels, restored
from odecore.errors import NewtonFailedError, NonfiniteRHSError, StepUnderflowError
from odecore.solve import Adams, Event, Newton, Status, solve_ivp, solve_per_sample
from odecore.tableaux import catalogue, tableau


def stiff(t, y):
    """Prothero and Robinson's problem, with the solution cos(t)."""
    return -1e6 * (y - np.cos(t)) - np.sin(t)


@pytest.mark.parametrize("method", ["kvaerno32", "kvaerno43", "kvaerno54", "sdirk21"])
def test_outputs_of_stiff_problems_are_as_good_as_steps(method):
    options = {"method": method, "rtol": 1e-6, "atol": 1e-9}
    found = solve_ivp(stiff, (0, 2), [1.0], t_eval=np.linspace(0, 2, 41), **options)
    np.testing.assert_allclose(found.y[:, 0], np.cos(found.t), atol=1e-6)
    event = Event(lambda t, y: y[0] - 0.5, terminal=True)
    found = solve_ivp(stiff, (0, 2), [1.0], events=event, dense=True, **options)
    assert abs(found.events[0].t[0] - math.acos(0.5)) < 1e-6
    times = np.linspace(0, 1, 23)
    np.testing.assert_allclose(found(times)[:, 0], np.cos(times), atol=1e-6)
    # The twin: cubic interpolation does not have this property.
    cubic = solve_ivp(
        stiff, (0, 2), [1.0], t_eval=np.linspace(0, 2, 41), interpolation="hermite", **options
    )
    assert np.abs(cubic.y[:, 0] - np.cos(cubic.t)).max() > 1e-4


@pytest.mark.parametrize("method", ["radau_iia5", "gauss3", "lobatto_iiic4", "crouzeix3"])
def test_outputs_in_given_steps_of_stiff_problems(method):
    grid, times = np.linspace(0, 2, 21), np.linspace(0, 2, 41)
    at_steps = solve_ivp(stiff, (0, 2), [1.0], method=method, grid=grid)
    between = solve_ivp(stiff, (0, 2), [1.0], method=method, grid=grid, t_eval=times)
    worst = np.abs(at_steps.y[:, 0] - np.cos(at_steps.t)).max()
    assert np.abs(between.y[:, 0] - np.cos(times)).max() < 2 * worst + 1e-12


def test_evaluations_of_repeated_steps_are_counted():
    calls = 0

    def fun(t, y):
        nonlocal calls
        calls += 1
        return stiff(t, y)

    for method in ("kvaerno43", "radau_iia3", Adams(4, implicit=True, max_iterations=30)):
        calls = 0
        rhs = fun if isinstance(method, str) else (lambda t, y: 1e-6 * fun(t, y))
        found = solve_ivp(
            rhs, (0, 1), [1.0], method=method, grid=np.linspace(0, 1, 9), t_eval=[0.3, 0.31, 1.0]
        )
        assert found.statistics.evaluations == calls


def test_a_step_inside_that_fails_is_a_status():
    def fun(t, y):  # solvable to the ends of steps only: a switch has no state to rest in
        return -y if t in (0.0, 1.0) else np.where(y < 1, 1.0, -1.0)

    found = solve_ivp(
        fun, (0, 1), [1.0], method="implicit_euler", grid=[0, 1], t_eval=[0.4, 1], throw=False
    )
    assert found.status is Status.NEWTON_FAILED
    dense = solve_ivp(fun, (0, 1), [1.0], method="implicit_euler", grid=[0, 1], dense=True)
    with pytest.raises(NewtonFailedError, match="no step of the method"):
        dense(0.4)


def test_outputs_of_multistep_methods_have_their_order():
    def fun(t, y):
        return np.array([y[1] * np.cos(t), -y[0] * np.cos(t)])

    worst = {}
    for n in (100, 200):
        method = Adams(8, implicit=True, rtol=1e-13, atol=1e-14, max_iterations=20)
        times = np.linspace(0, 2, 58)
        found = solve_ivp(
            fun, (0, 2), [1.0, 0.0], method=method, grid=np.linspace(0, 2, n + 1), t_eval=times
        )
        worst[n] = np.abs(found.y[:, 0] - np.cos(np.sin(times))).max()
    assert math.log2(worst[100] / worst[200]) > 4.7  # the start has order 4, with local order 5


@pytest.mark.parametrize("implicit", [False, True])
def test_multistep_methods_forget_what_was_before_a_jump(implicit):
    def fun(t, y):
        return np.where(t < 1, 1.0, -3.0) * np.cos(3 * t) * np.ones(1)

    exact = math.sin(3) / 3 - (math.sin(6) - math.sin(3))
    found = solve_ivp(fun, (0, 2), [0.0], method=Adams(6, implicit), steps=160, jump_at=[1.0])
    assert abs(found.y[-1, 0] - exact) < 1e-6


@pytest.mark.sampled(3)
@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("name", catalogue())
def test_every_stage_stays_on_its_side_of_a_jump(name, later):
    method = tableau(name).coefficients
    assert method.c is not None

    def fun(t, y):
        assert 0 <= t <= 2
        first = t < 1 if later else t <= 1
        return np.full(1, 1.0 if first else -5.0)

    options = {"method": method, "steps": 4, "jump_at": [1.0]}
    if not all(-1e-9 < c < 1 + 1e-9 for c in method.c):
        with pytest.raises(ValueError, match="outside its steps"):
            solve_ivp(fun, (0, 2), [0.0], **options)
        return
    found = solve_ivp(fun, (0, 2), [0.0], **options)  # exact for piecewise constants
    np.testing.assert_allclose(found.y[-1], -4.0, rtol=1e-6)  # some have few published digits


@pytest.mark.parametrize("options", [{}, {"steps": 4}, {"step_size": 3.0}])
def test_panels_take_jumps_in_units_of_time(options):
    def fun(t, y):
        return np.full(1, 1.0 if t < 5 else -3.0)

    times = [0.0, 10.0] if "step_size" not in options else [0.0, 5.0, 10.0]
    found, panels = record_panels(fun, times, np.zeros(1), nodes=9, jump_at=[5.0], **options)
    np.testing.assert_allclose(found.y[-1], -10.0, rtol=1e-9)
    assert [(panel.end, len(panel.values)) for panel in panels] == [(5.0, 9), (10.0, 9)]
    with pytest.raises(ValueError, match="events can not be given"):
        record_panels(fun, times, np.zeros(1), events=Event(lambda t, y: t - 3), **options)


@pytest.mark.parametrize("start", [0.0, 1000.0, -1e6])
@pytest.mark.parametrize("options", [{}, {"steps": 4}])
def test_backward_solves_stay_on_their_side_of_a_jump(start, options):
    def rate(t):
        return 0.3 if t < start + 1 else 50.0

    _, panels = record_panels(
        lambda t, y: rate(t) * y, [start, start + 1], np.ones(1), nodes=9, jump_at=[start + 1]
    )
    found = restored(
        lambda t, y: (rate(t) * y, lambda a, _: (rate(t) * a, ())), panels,
        [np.zeros(1), np.ones(1)], jump_at=[start + 1],
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(found.y0, math.exp(0.3), rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"method": "classic", "steps": 100}])
def test_buffers_that_are_reused(options):
    torch = pytest.importorskip("torch")
    strict = array_api_strict.empty(2)

    def in_strict(t, y):
        strict[0], strict[1] = y[1], -y[0]
        return strict

    start = array_api_strict.asarray([1.0, 0.0])
    found = solve_ivp(in_strict, (0, 1), start, **options).y[-1, ...]
    np.testing.assert_allclose(np.asarray(found), [math.cos(1), -math.sin(1)], rtol=1e-5)
    for view in (False, True):
        buffer = torch.empty(2, dtype=torch.float64)

        def in_torch(t, y, buffer=buffer, view=view):
            buffer[0], buffer[1] = y[1], -y[0]
            return buffer[:] if view else buffer

        y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
        with pytest.raises(ValueError, match="overwritten"):
            solve_ivp(in_torch, (0, 1), y0, **options)
        with torch.inference_mode():  # where changes are not counted
            buffer = torch.empty(2, dtype=torch.float64)
            found = solve_ivp(lambda t, y: in_torch(t, y, buffer), (0, 1), y0, **options).y[-1]  # noqa: B023
        assert abs(float(found[0]) - math.cos(1)) < 1e-5


def test_rejected_samples_do_not_reach_the_gradient():
    torch = pytest.importorskip("torch")
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([1.0, 100.0], dtype=torch.float64, requires_grad=True)
    found = solve_per_sample(
        lambda t, y: -scale * torch.sqrt(y), (0, 1.9), y0, first_step=3.8
    )  # the first attempt of the first sample leaves the domain of the square root
    assert found.samples.rejected[0] > 0
    found.y[-1].sum().backward()
    exact = 1 - 1.9 / 2 / y0.detach().sqrt()
    torch.testing.assert_close(y0.grad, exact, rtol=1e-4, atol=0)
    exact = -1.9 * (y0.detach().sqrt() - 1.9 / 2).sum()
    torch.testing.assert_close(scale.grad, exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e20), (np.float64, 1e160)])
def test_large_samples_are_finite(dtype, large):
    y0 = np.full((2, 1), large, dtype=dtype)
    found = solve_per_sample(lambda t, y: -y, (0, 1), y0)
    np.testing.assert_allclose(found.y[-1], large * math.exp(-1), rtol=1e-5)
    assert np.isfinite(solve_per_sample(lambda t, y: 0 * y + dtype(large), (0, 1), 0 * y0).y).all()


def test_samples_whose_step_is_below_rounding_underflow():
    found = solve_per_sample(
        lambda t, y: -y, (1, 2), np.ones((2, 1)), first_step=1e-300, throw=False
    )
    assert found.status is Status.STEP_UNDERFLOW
    assert solve_per_sample(lambda t, y: -y, (0, 1), np.zeros((0, 2))).y.shape[1:] == (0, 2)


@pytest.mark.parametrize("options", [{"grid": [0, 5, 10]}, {"first_step": 5.0}])
def test_an_event_that_is_zero_at_the_start_of_its_step(options):
    ball = Event(lambda t, y: y[0], terminal=True)
    found = solve_ivp(
        lambda t, y: np.array([y[1], -9.81]), (0, 10), [0.0, 10.0], events=ball, **options
    )
    assert found.status is Status.EVENT
    np.testing.assert_allclose(found.events[0].t, [2 * 10 / 9.81], rtol=1e-9)


@pytest.mark.parametrize("span", [(0, 3), (3, 0)])
@pytest.mark.parametrize(
    ("rate", "start", "event", "time"),
    [
        (1, 0.1, lambda t, y: float(y[0] > 0.5), math.log(5)),
        (-1, 1.0, lambda t, y: float(y[0] > 0.5), math.log(2)),
        (-1, 1.0, lambda t, y: max(y[0] - 0.5, 0.0), math.log(2)),
        (1, 0.1, lambda t, y: max(y[0] - 0.5, 0.0), math.log(5)),
        (1, -1.0, lambda t, y: min(y[0] + 2.0, 0.0), math.log(2)),
    ],
)
def test_events_that_rest_at_zero(span, rate, start, event, time):
    sign = 1 if span[1] > span[0] else -1
    found = solve_ivp(
        lambda t, y: sign * rate * y, span, [start], events=event, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(found.events[0].t, [span[0] + sign * time], rtol=1e-7)
    direction = -1 if event(0, [start]) > 0 or start < 0 else 1
    for wanted in (-1, 1):
        chosen = Event(event, direction=wanted)
        found = solve_ivp(lambda t, y: sign * rate * y, span, [start], events=chosen)
        assert len(found.events[0].t) == (wanted == direction)


def test_the_attributes_of_scipys_events_are_kept():
    def event(t, y):
        return y[0] - 0.5

    event.terminal, event.direction = 3, 0.5
    found = solve_ivp(lambda t, y: np.array([y[1], -y[0]]), (0, 20), [1.0, 0.0], events=event)
    assert found.status is Status.EVENT
    times = np.arccos(-0.5) - np.pi / 3 + np.pi * (5 / 3 - 1 / 3) + 2 * np.pi * np.arange(3)
    np.testing.assert_allclose(found.events[0].t, times, rtol=1e-3)
    with pytest.raises(ValueError, match="`terminal` must be"):
        Event(event, terminal=-1)


def test_values_of_another_dtype_are_refused_wherever_they_come():
    def complex_later(t, y):
        return y if np.max(t) < 0.5 else 1j * y

    for options in ({}, {"method": "kvaerno43"}, {"method": Adams(6), "steps": 20}):
        with pytest.raises(TypeError, match="dtype of the state"):
            solve_ivp(complex_later, (0, 1), [1.0], **options)
    with pytest.raises(TypeError, match="dtype of the state"):
        solve_per_sample(complex_later, (0, 1), np.ones((1, 1)))
    with pytest.raises(TypeError, match="got NoneType"):
        solve_ivp(lambda t, y: y if t < 0.5 else None, (0, 1), [1.0])


def test_tolerances_below_the_smallest_number_count_as_zero():
    y0 = np.array([0, 1], dtype=np.float32)
    assert solve_ivp(lambda t, y: -y, (0, 1), y0, rtol=1e-3, atol=1e-46).success


def test_a_singular_matrix_is_no_fault_of_the_right_hand_side():
    found = solve_ivp(
        lambda t, y: y + 1, (0, 1), [1.0], method="implicit_euler", steps=1,
        newton=Newton(jacobian=lambda t, y: np.eye(1)), throw=False,
    )  # fmt: skip
    assert found.status is Status.NEWTON_FAILED


def test_what_comes_after_the_last_output_must_be_finite_too():
    def fun(t, y):
        return y * (np.nan if t > 0.7 else 1.0)

    for options in ({}, {"method": "classic", "step_size": 0.05}):
        with pytest.raises(NonfiniteRHSError):
            solve_ivp(fun, (0, 1), [1.0], t_eval=[0, 0.5], **options)


def test_complex_numbers_make_complex_states():
    found = solve_ivp(lambda t, y: 1j * y, (0, 1), [1j])
    np.testing.assert_allclose(found.y[-1], 1j * np.exp(1j), rtol=1e-6)


def test_constants_and_mixed_times_under_jit():
    jax = pytest.importorskip("jax")
    y0 = jax.numpy.ones(1)

    def end(u, T=1.0):
        found = solve_ivp(lambda t, y: -u * y, (0.0, T), y0, steps=10, method="classic")
        return found.y[-1, 0]

    assert abs(float(jax.jit(end)(1.0)) - math.exp(-1)) < 1e-6
    assert abs(float(jax.jit(end)(1.0, 2.0)) - math.exp(-2)) < 1e-5
    many = jax.vmap(end)(jax.numpy.array([1.0, 2.0]))
    np.testing.assert_allclose(many, np.exp([-1.0, -2.0]), rtol=1e-4)


def test_tolerances_for_each_array_of_complex_and_torch_states():
    y0 = np.array([1 + 0j]), np.array([1 + 0j])
    assert solve_ivp(lambda t, y: (1j * y[0], -y[1]), (0, 1), y0, atol=(1e-6, 1e-9)).success
    torch = pytest.importorskip("torch")
    y0 = torch.ones(2), torch.ones(3)
    for atol in ((np.array([1e-6, 1e-8]), 1e-5), (np.float64(1e-6), 1e-5)):
        assert solve_ivp(lambda t, y: (-y[0], -y[1]), (0, 1), y0, atol=atol).success
    y0 = array_api_strict.ones(2)
    assert solve_ivp(lambda t, y: -y, (0, 1), y0, atol=array_api_strict.asarray([1, 1])).success


@pytest.mark.parametrize("start", [0.0, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_jumps_far_from_zero_stay_inside_their_steps(start, dtype):
    times = []

    def fun(t, y):
        times.append(t)
        return np.full_like(y, math.cos(t - start) + 3 * (t > start + 0.5))

    options = {"rtol": 1e-5, "atol": 1e-6, "jump_at": [start, start + 0.5]}
    found = solve_ivp(fun, (start, start + 1), np.zeros(1, dtype), **options)
    assert abs(found.y[-1, 0] - (math.sin(1) + 1.5)) < 1e-5
    assert start <= min(times) < max(times) <= start + 1
    assert start + 0.5 not in times


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_event_leaves_no_output_that_was_not_asked_for(steps):
    event = Event(lambda t, y: y[0] - 1.3, terminal=True)
    options = {"steps": steps, "events": event}
    found = solve_ivp(lambda t, y: np.ones_like(y), (0, 2), [0.0], t_eval=[0, 1, 2], **options)
    assert found.t.tolist() == [0, 1]
    every = solve_ivp(lambda t, y: np.ones_like(y), (0, 2), [0.0], **options)
    assert every.t[-1] == pytest.approx(1.3)


def test_an_output_that_was_asked_for_at_an_event_stays():
    event = Event(lambda t, y: y[0] - 1.25, terminal=True)  # without rounding, as all steps
    options = {"steps": 2, "events": event, "method": "midpoint", "t_eval": [0, 1.25]}
    found = solve_ivp(lambda t, y: np.ones_like(y), (0, 1.25), [0.0], **options)
    assert found.t.tolist() == [0, 1.25]


def test_adams_keeps_its_slopes_across_jumps_only_where_it_is_told():
    def error(**options):
        method = Adams(6, **options)
        grid = np.linspace(0, 2, 41)
        found = solve_ivp(lambda t, y: -y * np.cos(t), (0, 2), [1.0], method=method, grid=grid, jump_at=grid)  # fmt: skip
        return abs(found.y[-1, 0] - math.exp(-math.sin(2)))

    plain = solve_ivp(lambda t, y: -y * np.cos(t), (0, 2), [1.0], method=Adams(6), steps=40)
    wanted = abs(plain.y[-1, 0] - math.exp(-math.sin(2)))
    assert error(across_jumps=True) == pytest.approx(wanted, rel=1e-3)
    runge_kutta = solve_ivp(lambda t, y: -y * np.cos(t), (0, 2), [1.0], method="three_eighths", steps=40)  # fmt: skip
    assert error() == pytest.approx(abs(runge_kutta.y[-1, 0] - math.exp(-math.sin(2))), rel=1e-3)


def test_complex_events_have_no_sign():
    with pytest.raises(ValueError, match="one real number"):
        solve_ivp(lambda t, y: 1j * y, (0, 5), [1 + 0j], events=lambda t, y: y[0])


@pytest.mark.parametrize("place", ["first", "second", "third"])
def test_nan_in_any_array_of_a_structure_rejects_the_step(place):
    # log(u) is NaN where a step goes below 0.
    def field(t, y):
        return {
            key: -np.log(part) * (50.0 if t > 5 else 0.0) if key == place else -0.01 * part
            for key, part in y.items()
        }

    y0 = {key: np.full(1, 0.02 if key == place else 1.0) for key in ("first", "second", "third")}
    with np.errstate(invalid="ignore"):
        found = solve_ivp(field, (0, 10), y0)
    assert found.statistics.rejected > 0
    for key, part in found.y.items():
        wanted = 1.0 if key == place else math.exp(-0.1)
        assert part[-1, 0] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(
    "options",
    [{"steps": 2}, {"rtol": 1e-3}, {"steps": 2, "newton": Newton(linear_solver="krylov")}],
    ids=["steps", "adaptive", "krylov"],
)
def test_empty_states_of_implicit_methods(shape, dtype, options):
    y0 = np.zeros(shape, dtype)
    found = solve_ivp(lambda t, y: -y, (0, 1), y0, method="kvaerno43", dense=True, **options)
    assert found.y.shape[1:] == shape
    assert found.y.dtype == dtype
    assert found(0.3).shape == shape
    both = solve_ivp(lambda t, y: (-y[0], -y[1]), (0, 1), (y0, y0), method="kvaerno43", **options)
    assert [part.shape[1:] for part in both.y] == [shape, shape]


def test_no_samples_are_solved_in_adaptive_steps():
    options = {"method": "kvaerno43", "newton": Newton(samples=True)}
    assert solve_ivp(lambda t, y: -y, (0, 1), np.zeros((0, 3)), **options).y.shape[1:] == (0, 3)


@pytest.mark.parametrize(
    ("dtype", "size", "count"),
    [("float16", 300, 3), ("float16", 1, 70000), ("float32", 1e25, 3), ("float64", 1e200, 3),
     ("complex64", 1e25, 3), ("complex128", 1e200, 3)],
)  # fmt: skip
@pytest.mark.parametrize("steps", [{"steps": 4}, {"rtol": 1e-3, "atol": 1e-3}])
def test_states_whose_squares_overflow_are_sound(dtype, size, count, steps):
    y0 = np.full(count, size, dtype)
    found = solve_ivp(lambda t, y: -y, (0, 1), y0, method="bosh3", **steps)  # a warning is an error
    np.testing.assert_allclose(found.y[-1] / size, np.exp(-1), rtol=0.02)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_one_entry_that_is_not_finite_is_found_beside_large_ones(dtype, value):
    def field(t, y):
        slope = -y
        slope[1] = value if t > 0.3 else slope[1]
        return slope

    y0 = np.full(3, np.finfo(dtype).max / 4, dtype)
    found = solve_ivp(field, (0, 1), y0, method="euler", steps=4, throw=False)
    assert found.status is Status.NONFINITE_RHS


@pytest.mark.parametrize("shape", [(2,), (2, 3), ()])
def test_no_records_have_their_shape_in_the_strict_standard(shape):
    def fun(t, y):
        return -y

    y0 = array_api_strict.ones(shape, dtype=array_api_strict.float64)
    never = Event(lambda t, y: float(array_api_strict.sum(y)) + 1)
    for options in ({}, {"steps": 4}):
        found = solve_ivp(fun, (0, 1), y0, events=never, dense=True, **options)
        assert found.events[0].y.shape == (0, *shape)
        assert found([]).shape == (0, *shape)
        failed = solve_ivp(fun, (0, 1), y0 * float("nan"), throw=False, **options)
        assert failed.status is Status.NONFINITE_INPUT
        assert failed.y.shape == (0, *shape)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("terminal", x) for x in (0.5, 1.9, math.nan, math.inf, -1.0, "x", [1])],
        *[("direction", x) for x in (None, "x", math.nan, [1], np.array([1, 2]))],
    ],
)
def test_attributes_of_events_are_not_rounded(name, value):
    def event(t, y):
        return y[0] - 0.5

    setattr(event, name, value)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], events=event)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Event(event, **{name: value})


def test_attributes_of_events_mean_what_they_do_in_scipy():
    def ended(terminal, direction):
        def event(t, y):
            return y[0] - 0.5

        event.terminal, event.direction = terminal, direction
        return solve_ivp(lambda t, y: -y, (0, 1), [1.0], events=event).status is Status.EVENT

    assert not ended(None, 0)
    assert not ended(2.0, 0)
    for terminal in (True, 1, 1.0, np.True_, np.int64(1), np.float32(1)):
        assert ended(terminal, 0)
        assert ended(terminal, -2.5)
        assert not ended(terminal, np.float64(0.5))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_failed_solve_says_where_it_gave_up_between_outputs(sign):
    arguments = lambda t, y: sign * y**2, (0.0, 2 * sign), [1.0]
    times = [0.0, 0.5 * sign, 2 * sign]
    with pytest.raises(StepUnderflowError, match=r"is at t = -?0\.5, and .* gave up at t = -?1\."):
        solve_ivp(*arguments, t_eval=times)
    failed = solve_ivp(*arguments, t_eval=times, throw=False)
    assert failed.reached == pytest.approx(sign, abs=1e-6)
    stopped = solve_ivp(*arguments, t_eval=times, max_steps=5, throw=False)
    assert stopped.status is Status.MAX_STEPS
    assert stopped.reached == solve_ivp(*arguments, max_steps=5, throw=False).t[-1]
    assert solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0]).reached is None
