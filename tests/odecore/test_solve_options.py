"""Structured and complex states, tolerances, controllers, jumps, progress, injected faults."""

import math
import time
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from odecore import errors
from odecore.solve import Adams, Event, Status, StepControl, solve_ivp, solve_per_sample
from odecore.solve._controllers import CONTROLS, AdaptiveSteps, Control
from odecore.solve._error_norm import root_mean_square
from odecore.tableaux import ButcherTableau
from tests.helpers.problems import PAIR
from tests.odecore.test_solve import attempt_of


class Particle(NamedTuple):
    position: np.ndarray
    velocity: np.ndarray


def kepler(t, y):
    r = np.sqrt((y["q"] ** 2).sum())
    return {"p": -y["q"] / r**3, "q": y["p"]}


@pytest.mark.long_on_jax
def test_structures_are_solved_like_the_vector(xp, array):
    def field(t, y):
        q, (p,) = y
        return [p, (-q,)]

    y0 = [array([1.0, 2.0]), (array([0.5, -1.0]),)]
    found = solve_ivp(field, (0, 3), y0, rtol=1e-8, dense=True)
    q, (p,) = found.y
    assert isinstance(found.y, list)
    assert q.shape == p.shape == (len(found.t), 2)
    vector = solve_ivp(
        lambda t, y: xp.concat([y[2:], -y[:2]]), (0, 3), array([1.0, 2.0, 0.5, -1.0]), rtol=1e-8,
        norm=lambda e: max(root_mean_square(part) for part in (e[:2], e[2:])),
    )  # fmt: skip
    assert float(xp.max(xp.abs(vector.y[-1, :2] - q[-1, ...]))) == 0
    assert found.statistics == vector.statistics
    inside = found(1.0)
    assert float(inside[0][0]) == pytest.approx(math.cos(1) + 0.5 * math.sin(1), abs=1e-5)
    assert found([0.5, 1.0])[1][0].shape == (2, 2)


def test_dicts_named_tuples_and_events_on_them():
    y0 = {"q": np.array([1.0, 0.0]), "p": np.array([0.0, 1.0])}
    found = solve_ivp(
        kepler, (0, 2 * np.pi), y0, rtol=1e-10, atol=1e-10, events=lambda t, y: y["q"][0]
    )
    np.testing.assert_allclose(found.y["q"][-1], [1, 0], atol=1e-8)
    np.testing.assert_allclose(found.events[0].t, [np.pi / 2, 3 * np.pi / 2], atol=1e-8)
    assert set(found.events[0].y) == {"q", "p"}
    state = solve_ivp(
        lambda t, y: Particle(y.velocity, -y.position), (0, 1), Particle(np.ones(2), np.zeros(2))
    )
    assert isinstance(state.y, Particle)
    np.testing.assert_allclose(state.y.position[-1], math.cos(1), rtol=1e-5)


def test_tolerances_for_each_array():
    y0 = {"small": np.array([1e-6]), "large": np.array([1e6])}
    field = lambda t, y: {"small": -y["small"], "large": -y["large"]}  # noqa: E731
    loose = solve_ivp(field, (0, 5), y0, rtol=1e-12, atol={"large": 1e5, "small": 1e-2})
    tight = solve_ivp(field, (0, 5), y0, rtol=1e-12, atol={"large": 1e5, "small": 1e-16})
    assert tight.statistics.accepted > 3 * loose.statistics.accepted
    with pytest.raises(ValueError, match="one for each of the 2 arrays"):
        solve_ivp(field, (0, 5), y0, atol=[1, 2, 3])
    with pytest.raises(ValueError, match="keys"):
        solve_ivp(field, (0, 5), y0, atol={"large": 1.0})


@pytest.mark.parametrize(
    ("y0", "field", "error", "message"),
    [
        ((np.ones(2), np.ones(2, np.float32)), lambda t, y: y, TypeError, "one dtype"),
        ((np.ones(2), np.ones(1)), lambda t, y: (y[0],), ValueError, "2 arrays like the state"),
        ((np.ones(2), np.ones(1)), lambda t, y: y[0], ValueError, "2 arrays like the state"),
        ({"a": np.ones(2)}, lambda t, y: {"b": y["a"]}, ValueError, "the keys"),
        ({"a": np.ones(2)}, lambda t, y: {"a": y["a"][:1]}, ValueError, "shapes of the state"),
        ({}, lambda t, y: y, TypeError, "at least one array"),
        ({"a": np.ones(2)}, 3, TypeError, "must be callable"),
    ],
)
def test_structures_that_do_not_fit_are_refused(y0, field, error, message):
    with pytest.raises(error, match=message):
        solve_ivp(field, (0, 1), y0)


@pytest.mark.long_on_jax
def test_complex_states(array, xp):
    real = array([1.0, 0.0])
    y0 = xp.astype(real, xp.complex64 if real.dtype == xp.float32 else xp.complex128)
    found = solve_ivp(lambda t, y: 1j * y, (0, 2), y0, rtol=1e-6, atol=1e-7, dense=True)
    assert found.y.dtype == y0.dtype
    for t, y in [(2.0, found.y[-1, ...]), (0.7, found(0.7))]:
        assert complex(y[0]) == pytest.approx(np.exp(1j * t), abs=1e-4)
        assert complex(y[1]) == 0
    assert solve_ivp(lambda t, y: 1j * y, (0, 2), y0, rtol=1e-3, atol=[1e-3, 1e-4]).success


# Controllers.


@pytest.mark.parametrize("name", CONTROLS)
def test_controllers_follow_their_law(name):
    law = CONTROLS[name]
    steps = AdaptiveSteps(0.0, 1.0, 5, law)
    ratios, history = (0.5, 0.3, 0.8), [1.0, 1.0]
    control = Control(0.1)
    for ratio in ratios:
        good, new = steps.judge(attempt_of(ratio), np.ones(1), 0.0, control.h, control)
        g1, g2, g3 = law.gains
        factor = 0.9 * ratio ** (-g1 / 5) * history[-1] ** (-g2 / 5) * history[-2] ** (-g3 / 5)
        assert good
        assert new.h == pytest.approx(control.h * min(10, max(0.2, factor)), rel=1e-12)
        history.append(ratio)
        control = new


@pytest.mark.parametrize("controller", [*CONTROLS, StepControl((0.6, -0.2, 0.0), 0.8, 0.3, 4.0)])
def test_every_controller_keeps_the_tolerance(controller):
    for tolerance in (1e-4, 1e-8):
        found = solve_ivp(PAIR.field(np), (0, 2), PAIR.exact(0), rtol=tolerance, atol=tolerance, controller=controller)  # fmt: skip
        assert np.abs(found.y[-1] - PAIR.exact(2.0)).max() < 50 * tolerance


def test_pi_is_smoother_where_stability_limits_the_step():
    field = lambda t, y: -500 * (y - np.cos(t))  # noqa: E731
    rejected = {
        name: solve_ivp(field, (0, 2), [1.0], rtol=1e-4, controller=name).statistics.rejected
        for name in ("I", "PI")
    }
    assert rejected["PI"] < rejected["I"] / 3


def test_bounds_of_steps():
    field = lambda t, y: -y  # noqa: E731
    found = solve_ivp(field, (0, 3), [1.0], max_step=0.01)
    assert np.diff(found.t).max() <= 0.01 + 1e-12
    stiff = lambda t, y: -1000 * (y - np.cos(t))  # noqa: E731
    forced = solve_ivp(stiff, (0, 0.1), [0.0], rtol=1e-10, atol=1e-10, min_step=1e-3, throw=False)
    assert forced.statistics.forced > 0
    assert np.diff(forced.t)[:-2].min() >= 1e-3 * (1 - 1e-9)
    free = solve_ivp(stiff, (0, 0.1), [0.0], rtol=1e-10, atol=1e-10)
    assert free.statistics.forced == 0


BAD = {
    "controller": ({"controller": "PD"}, ValueError, "I, PI, PID"),
    "controller type": ({"controller": 3}, TypeError, "a name or a StepControl"),
    "min above max": ({"min_step": 1.0, "max_step": 0.1}, ValueError, "min_step <= max_step"),
    "infinite min": ({"min_step": math.inf}, ValueError, "min_step <= max_step"),
    "negative max": ({"max_step": -1}, ValueError, "`max_step` must be a positive"),
    "NaN step_at": ({"step_at": [math.nan]}, ValueError, "`step_at` must hold finite"),
    "progress": ({"progress": 3}, TypeError, "bool or callable"),
    "grid": ({"grid": [0, 0.5]}, ValueError, "begin and end as `t_span`"),
    "grid order": ({"grid": [0, 0.7, 0.5, 1]}, ValueError, "strictly increasing"),
    "grid and steps": ({"grid": [0, 1], "steps": 3}, ValueError, "steps and grid"),
    "long grid": ({"grid": [0, 0.5, 1], "max_steps": 1}, ValueError, "`max_steps` = 1"),
    "unused controller": ({"steps": 3, "controller": "PI"}, ValueError, "no effect"),
    "unused norm": ({"steps": 3, "norm": max}, ValueError, "no effect"),
    "unused step_at": ({"steps": 3, "step_at": [0.5]}, ValueError, "no effect"),
    "jump off the steps": ({"steps": 3, "jump_at": [0.5]}, ValueError, "ends of steps"),
    "gains": ({"controller": (0, 0, 0)}, TypeError, "StepControl"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_refused(case):
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], **options)


@pytest.mark.parametrize(
    "options",
    [{"gains": (0, 0, 0)}, {"gains": (1, 0)}, {"safety": 2}, {"shrink": 1.5}, {"grow": 1}],
)
def test_laws_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        StepControl(**options)


# Times at which steps end, and jumps.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"rtol": 1e-5, "atol": 1e-6}, {"grid": [0, 0.2, 0.5, 0.9, 1]}])
def test_a_jump_is_seen_from_both_sides(dtype, options):
    # y' = 1 before 1/2 and -2 from there on: with the jump known, every method is exact.
    times = []

    def field(t, y):
        times.append(t)
        return np.full_like(y, 1 if dtype(t) < dtype(0.5) else -2)

    found = solve_ivp(field, (0, 1), np.zeros(1, dtype), jump_at=[0.5], dense=True, **options)
    assert found.y[-1, 0] == pytest.approx(-0.5, abs=1e-6)
    assert found.statistics.rejected == 0
    assert 0.5 in found.t
    assert 0.5 not in times
    assert found(0.25)[0] == pytest.approx(0.25, abs=1e-6)
    assert found.statistics.evaluations == len(times)


@pytest.mark.parametrize(
    "jump_at",
    [(0, 0.5), iter([0.0, 0.5]), {0.5, 0.0}, np.array([0.5, 0.0], np.float32)],
    ids=["ints", "iterator", "set", "array"],
)
def test_a_jump_at_the_start_is_seen_however_it_is_given(jump_at):
    field = lambda t, y: np.full_like(y, 1.0 if t > 0 else 5.0)  # noqa: E731
    found = solve_ivp(field, (0, 1), [0.0], method="classic", steps=2, jump_at=jump_at)
    assert found.y[-1, 0] == pytest.approx(1.0, rel=1e-12)


def test_without_the_jump_steps_are_rejected():
    field = lambda t, y: np.full_like(y, 1 if t < 0.5123 else -2)  # noqa: E731
    known = solve_ivp(field, (0, 1), [0.0], jump_at=[0.5123, 7.0], rtol=1e-8)
    unknown = solve_ivp(field, (0, 1), [0.0], rtol=1e-8)
    assert known.statistics.evaluations < unknown.statistics.evaluations / 3


def test_steps_end_where_they_must():
    found = solve_ivp(lambda t, y: -y, (1, 0), [1.0], step_at=[0.25, 0.75, 5.0])
    assert {0.25, 0.75} <= set(found.t)
    grid = [0, 0.1, 0.35, 1.0]
    np.testing.assert_array_equal(solve_ivp(lambda t, y: -y, (0, 1), [1.0], grid=grid).t, grid)


def test_progress_and_observation():
    fractions, seen = [], []
    found = solve_ivp(
        lambda t, y: -50 * y, (2, 0), [1.0], rtol=1e-6, progress=fractions.append,
        observe=lambda what, t, y, h: seen.append((what, t, h)),
    )  # fmt: skip
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    counts = found.statistics
    kinds = [what for what, _, _ in seen]
    assert kinds.count("accept") == counts.accepted
    assert kinds.count("reject") == counts.rejected
    assert kinds.count("step") == counts.accepted + counts.rejected
    assert all(h < 0 for _, _, h in seen)
    pytest.importorskip("tqdm")
    assert solve_ivp(lambda t, y: -y, (0, 1), [1.0], progress=True).success


# Injected faults: each ends in its documented status, in time, and nothing is lost.


def nan_from(time):
    return lambda t, y: np.where(t >= time, np.nan, -y)


FAULTS = {
    "NaN in y0": (lambda t, y: -y, (0, 1), [np.nan], {}, Status.NONFINITE_INPUT),
    "infinity in y0": (lambda t, y: -y, (0, 1), [np.inf], {}, Status.NONFINITE_INPUT),
    "NaN in one row": (lambda t, y: -y, (0, 1), [[1.0], [np.nan]], {}, Status.NONFINITE_INPUT),
    "NaN at the start": (nan_from(0), (0, 1), [1.0], {}, Status.NONFINITE_RHS),
    "NaN midway": (nan_from(0.5), (0, 1), [1.0], {}, Status.NONFINITE_RHS),
    "NaN in one row midway": (
        lambda t, y: np.where((t > 0.5) & (np.arange(3) == 1), np.nan, -y), (0, 1), np.ones(3), {}, Status.NONFINITE_RHS,
    ),
    "infinity midway": (lambda t, y: np.where(t > 0.5, np.inf, -y), (0, 1), [1.0], {}, Status.NONFINITE_RHS),
    "blow-up": (lambda t, y: y**2, (0, 2), [1.0], {}, (Status.STEP_UNDERFLOW, Status.NONFINITE_RHS)),
    "fast blow-up": (lambda t, y: y**9, (0, 2), [1.0], {}, (Status.STEP_UNDERFLOW, Status.NONFINITE_RHS)),
    "discontinuity": (lambda t, y: np.sign(np.sin(40 * t)) + 0 * y, (0, 1), [0.0], {}, Status.SUCCESS),
    "reversed": (lambda t, y: -y, (1, 0), [1.0], {}, Status.SUCCESS),
    "huge first step": (lambda t, y: -y, (0, 1), [1.0], {"first_step": 1e300}, Status.SUCCESS),
    "denormal first step": (lambda t, y: -y, (0, 1), [1.0], {"first_step": 5e-324}, (Status.SUCCESS, Status.STEP_UNDERFLOW)),
    "denormal first step later": (lambda t, y: -y, (1, 2), [1.0], {"first_step": 5e-324}, (Status.SUCCESS, Status.STEP_UNDERFLOW)),
    "few steps": (lambda t, y: -y, (0, 1), [1.0], {"max_steps": 2}, Status.MAX_STEPS),
    "chattering": (lambda t, y: -np.sign(y), (0, 2), [1.0], {"max_steps": 300}, (Status.SUCCESS, Status.MAX_STEPS, Status.STEP_UNDERFLOW, Status.MAX_REJECTS)),
    "tight tolerance": (lambda t, y: -y, (0, 1), [1.0], {"rtol": 1e-16, "atol": 1e-16, "max_steps": 300}, (Status.SUCCESS, Status.MAX_STEPS, Status.STEP_UNDERFLOW, Status.MAX_REJECTS)),
}  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dop853", "kvaerno43"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_end_in_their_status(fault, method):
    field, span, y0, options, wanted = FAULTS[fault]
    start = time.process_time()
    found = solve_ivp(field, span, y0, method=method, throw=False, **options)
    assert time.process_time() - start < 20  # 2 s on an idle machine
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    if method == "kvaerno43":
        wanted = (*wanted, Status.NEWTON_FAILED)
    assert found.status in wanted
    assert np.all(np.isfinite(found.y))
    assert len(found.t) == len(found.y)
    if not found.success:
        with pytest.raises(errors.SolveError) as caught:
            found.raise_for_status()
        assert found.status.name in str(caught.value)


@pytest.mark.parametrize("method", ["dopri5", "kvaerno43"])
def test_a_state_at_rest_is_solved_at_any_time(method):
    # The step that is guessed for it once did not move a clock in milliseconds.
    found = solve_ivp(lambda t, y: 0 * y, (1.7e12, 1.7e12 + 1e6), np.ones(1), method=method)
    assert found.y[-1, 0] == 1
    late = solve_ivp(
        lambda t, y: np.maximum(t - 1e11 - 500, 0) * np.ones(1), (1e11, 1e11 + 1e3), np.zeros(1),
        method=method, rtol=1e-4,
    )  # fmt: skip
    assert late.y[-1, 0] == pytest.approx(500**2 / 2, rel=1e-3)


def test_arrays_of_another_dtype_in_a_structure_are_refused():
    ones = np.ones(2)
    fields = {
        r"float32 at y\[0\]\['a'\]": lambda t, y: ({"a": -y[0]["a"].astype(np.float32)}, -y[1]),
        r"complex128 at y\[1\]": lambda t, y: ({"a": -y[0]["a"]}, 1j * y[1]),
    }
    for message, field in fields.items():
        with pytest.raises(TypeError, match=message):
            solve_ivp(field, (0, 1), ({"a": ones}, ones))


def test_tolerances_are_nested_like_the_state():
    ones = np.ones(3)

    def field(t, y):
        return ((y[0][1], -y[0][0]), -y[1])

    def end(y0=((ones, ones), ones), **options):
        found = solve_ivp(field, (0, 1), y0, **options)
        return np.concatenate([found.y[0][0][-1], found.y[0][1][-1], found.y[1][-1]])

    loose, tight = end(atol=1e-3), end(atol=1e-9)
    nested = end(atol=((1e-9, 1e-9), 1e-3))
    np.testing.assert_array_equal(nested, end(atol=[1e-9, 1e-9, 1e-3]))  # as a flat list
    np.testing.assert_array_equal(nested, end(atol=(1e-9, 1e-3)))  # a number for a part
    np.testing.assert_array_equal(nested, end(atol=((np.full(3, 1e-9), 1e-9), [1e-3] * 3)))
    np.testing.assert_array_equal(tight, end(atol=(1e-9, 1e-9)))
    assert not np.array_equal(loose, tight)
    found = solve_ivp(
        lambda t, y: {"a": (y["a"][1], -y["a"][0])}, (0, 1), {"a": (ones, ones)}, atol={"a": 1e-9}
    )
    assert found.success
    for wrong in ((1e-9,), [1e-9] * 4, {"a": 1e-9}, ((1e-9, 1e-9, 1e-9), 1e-3)):
        with pytest.raises(ValueError, match="one for each of the 3 arrays of the state"):
            end(atol=wrong)


def test_twenty_repeats_are_identical():
    runs = [
        solve_ivp(
            PAIR.field(np), (0, 2), PAIR.exact(0), events=Event(lambda t, y: y[1]), dense=True
        )
        for _ in range(20)
    ]
    assert len({run.y.tobytes() + run(0.3).tobytes() for run in runs}) == 1


def test_a_list_of_numpy_scalars_is_a_vector():
    for y0 in ([np.cos(0.0), 0.0], list(np.array([1.0, 0.0])), (np.float64(1.0), 0)):
        assert solve_ivp(lambda t, y: -y, (0, 1), y0).y.shape[1:] == (2,)


@pytest.mark.parametrize("span", [(0.0, math.inf), (math.nan, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("t_eval", [None, [1.0]])
def test_an_interval_has_two_different_finite_ends(span, t_eval):
    with pytest.raises(ValueError, match="times must be"):
        solve_ivp(lambda t, y: -y, span, [1.0], t_eval=t_eval)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"args": (2.0,)}, "lambda t, y: fun"),
        ({"jac": lambda t, y: -1}, r"newton=Newton\(jacobian="),
        ({"dense_output": True}, "dense=True"),
        ({"vectorized": True}, "leave it out"),
        ({"max_stepp": 0.1}, "did you mean 'max_step'"),
        ({"zzz": 1}, "the options are method, "),
    ],
)
def test_options_that_are_scipys_or_nobodys_say_what_is_meant(option, hint):
    with pytest.raises(TypeError, match=rf"unexpected keyword argument.*{hint}"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], **option)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("RK45", "dopri5"), ("rk45", "dopri5"), ("radau", "kvaerno54"), ("Dop853", "dop853"), ("RK23", "bosh3"), ("DOP853", "dop853"), ("Radau", "kvaerno54"), ("BDF", "kvaerno54"), ("LSODA", "kvaerno54")],
)  # fmt: skip
def test_scipys_methods_name_the_nearest_here(name, ours):
    with pytest.raises(ValueError, match=f"SciPy's is '{ours}'"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=name)
    assert solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=ours).status.name == "SUCCESS"


F = Fraction
OWN = ButcherTableau(
    ((), (F(1, 2),), (0, F(3, 4)), (F(2, 9), F(1, 3), F(4, 9))),
    (F(2, 9), F(1, 3), F(4, 9), 0),
    b_hat=(F(7, 24), F(1, 4), F(1, 3), F(1, 8)),
)


def test_the_order_of_a_pair_of_ones_own_is_decided():
    assert OWN.coefficients.order == 3
    found = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=OWN)
    same = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method="bosh3")
    np.testing.assert_array_equal(found.y, same.y)
    modest = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=replace(OWN, order=2))
    assert modest.status.name == "SUCCESS"


def test_a_declared_order_that_does_not_hold_is_refused():
    with pytest.raises(ValueError, match=r"order=5 is declared, .* up to order 3 only"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=replace(OWN, order=5))


def test_what_adaptive_steps_lack_is_named():
    with pytest.raises(ValueError, match=r"replace\(method, order="):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=replace(OWN.coefficients, order=None))
    with pytest.raises(ValueError, match=r"embedded error estimate.*`b_hat`"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=replace(OWN, b_hat=None))


@pytest.mark.parametrize(
    "y0",
    [
        np.ma.array([1.0, 2.0], mask=[False, True]),
        np.zeros((1, 2)).view(np.matrix),
        np.rec.array([(1.0, 2.0)], dtype=[("a", float), ("b", float)]),
        {"a": np.ma.array([1.0])},
    ],
    ids=["masked", "matrix", "record", "nested"],
)
def test_states_with_an_arithmetic_of_their_own_are_refused(y0):
    # The masked entry stayed where it was, and the solve succeeded.
    with pytest.raises(TypeError, match="`y0` must be a plain array, got"):
        solve_ivp(lambda t, y: y, (0, 1), y0)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("solve", [solve_ivp, solve_per_sample])
def test_entries_that_start_at_zero_ask_nothing_of_the_first_step(solve, library):
    xp = pytest.importorskip(library)
    y0 = xp.asarray([[0.0, 1.0]], dtype=xp.float64)

    def fun(t, y):
        return xp.stack([y[:, 1], -y[:, 0]], axis=-1)

    found = solve(fun, (0, 10), y0, rtol=1e-6, atol=0)
    end = np.asarray(found.y)[-1, 0]
    np.testing.assert_allclose(end, [math.sin(10), math.cos(10)], atol=1e-5)
    assert found.statistics.accepted < 70


def test_norms_of_huge_errors_do_not_overflow():
    for library in (np, pytest.importorskip("torch")):
        for dtype, huge in ((library.float64, 1e300), (library.float32, 1e30)):
            x = library.asarray([3 * huge, 4 * huge], dtype=dtype)
            assert root_mean_square(x) == pytest.approx(5 * huge / math.sqrt(2), rel=1e-6)
    assert root_mean_square(np.array([1.0, np.inf])) == np.inf
    assert np.isnan(root_mean_square(np.array([np.nan, np.inf])))


@pytest.mark.parametrize("method", ["classic", Adams()])
@pytest.mark.parametrize("steps", [{"steps": 100}, {"step_size": 100.0}, {"steps": [100]}])
@pytest.mark.parametrize("more", [{}, {"dense": True}])
def test_given_steps_below_the_spacing_of_times_are_refused(method, steps, more):
    start, end = 1.7e18, 1.7e18 + 1e4
    for span in ((start, end), (end, start), (-start, -end)):
        with pytest.raises(ValueError, match=r"times there are spaced by 2.6e\+02"):
            solve_ivp(lambda t, y: -1e-9 * y, span, np.ones(2), method=method, **steps, **more)
    # As many steps as there are times between the ends are made.
    found = solve_ivp(
        lambda t, y: -1e-9 * y, (start, start + 2560), np.ones(2), method=method, steps=10, **more
    )
    assert np.all(np.diff(found.t) == 256)
    np.testing.assert_allclose(found.y[-1], np.exp(-2560e-9), rtol=1e-12)
