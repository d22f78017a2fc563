"""Methods, counts and functions of a kind that a solve can not use: told before it begins."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from odecore.adjoint import record_panels
from odecore.families import RK4
from odecore.solve import (
    Accepted,
    Adams,
    Event,
    Newton,
    StepControl,
    adaptive_leap,
    explicit_step,
    given_steps,
    implicit_step,
    solve_ivp,
    solve_per_sample,
)
from odecore.tableaux import tableau

Y = np.ones(2)


def fun(t, y):
    return -y


def explicit(method):
    return explicit_step(fun, 0.0, Y, 0.1, method)


def implicit(method, **options):
    return implicit_step(fun, 0.0, Y, 0.1, method, **options)


def given(method):
    return given_steps(fun, method, np.array([0.0, 0.1]), Y, None)


def leap(method):
    numbers = np.array([0.0, 0.1, 1, 1, 0, 1, 1, 1, 0, np.inf, 100])
    return adaptive_leap(None, fun, method, StepControl(), None, Y, Y, numbers, (0.1, 0.1), np)


@pytest.mark.parametrize("step", [explicit, implicit, given, leap])
@pytest.mark.parametrize("wrong", ["classic", tableau("classic"), RK4, None])
def test_single_steps_ask_for_coefficients(step, wrong):
    with pytest.raises(TypeError, match=r"`method` must be Coefficients, got \w+; take the"):
        step(wrong)


@pytest.mark.parametrize("name", ["implicit_midpoint", "kvaerno43", "radau_iia3"])
def test_explicit_steps_of_implicit_methods_are_none(name):
    # That of the implicit midpoint rule was Euler's, without a word.
    for step in (explicit, given, leap):
        with pytest.raises(ValueError, match="must be an explicit method; implicit_step makes"):
            step(tableau(name).coefficients)
    np.testing.assert_allclose(implicit(tableau(name).coefficients).y, np.exp(-0.1), atol=1e-4)


@pytest.mark.parametrize(
    ("step", "method"), [(explicit_step, "dopri5"), (implicit_step, "radau_iia3")]
)
def test_single_steps_say_what_does_not_fit(step, method):
    method = tableau(method).coefficients
    np.testing.assert_array_equal(
        step(fun, 0.0, [1, 1], 0.1, method).y, step(fun, 0.0, Y, 0.1, method).y
    )
    for wrong in (None, "y", np.ones(2, int)):
        with pytest.raises(TypeError, match="`y` must"):
            step(fun, 0.0, wrong, 0.1, method)
    with pytest.raises(TypeError, match=r"`fun` must be callable as fun\(t, y\), got None"):
        step(None, 0.0, Y, 0.1, method)
    for wrong in (None, "h", [0.1], 1j):
        for label, arguments in (
            ("t", (wrong, Y, 0.1, method)),
            ("h", (0.0, Y, wrong, method)),
        ):
            with pytest.raises(TypeError, match=f"`{label}` must be one real number, got"):
                step(fun, *arguments)
    with pytest.raises(TypeError, match="`t_new` must be one real number, got 'a'"):
        step(fun, 0.0, Y, 0.1, method, t_new="a")
    # A float was taken for the stage, without a word.
    for wrong in (3.0, np.ones(3), np.ones(1), np.ones(2, np.float32)):
        with pytest.raises(
            ValueError, match=r"`first_stage` must be fun\(t, y\), float64 of shape"
        ):
            step(fun, 0.0, Y, 0.1, method, first_stage=wrong)


def test_many_adaptive_steps_need_an_estimate_and_an_order():
    with pytest.raises(ValueError, match="embedded error estimate"):
        leap(tableau("classic").coefficients)
    with pytest.raises(ValueError, match="need the order of the method"):
        leap(replace(tableau("dopri5").coefficients, order=None))


def test_implicit_steps_of_explicit_methods_are_none():
    with pytest.raises(ValueError, match="must be an implicit method; explicit_step makes steps"):
        implicit(tableau("classic").coefficients)
    with pytest.raises(TypeError, match="`newton` must be a Newton"):
        implicit(tableau("kvaerno43").coefficients, newton=3)


def test_counts_of_numpy_are_counts():
    wanted = solve_ivp(fun, (0, 1), Y, method=Adams(max_order=3), steps=8).y
    found = solve_ivp(fun, (0, 1), Y, method=Adams(max_order=np.int64(3)), steps=np.int64(8)).y
    np.testing.assert_array_equal(found, wanted)
    for wrong in (b"1", "1", [None]):
        with pytest.raises(ValueError, match="`steps` must be positive ints"):
            solve_ivp(fun, (0, 1), Y, steps=wrong)


def test_one_correction_shows_no_convergence():
    # With one iteration no step converged: adaptive solves went on to MAX_STEPS.
    with pytest.raises(ValueError, match="`max_iterations` at least 2"):
        Newton(max_iterations=1)
    newton = Newton(max_iterations=2)
    assert solve_ivp(fun, (0, 1), Y, method="kvaerno43", newton=newton).success


def test_functions_that_take_other_arguments_are_told():
    with pytest.raises(TypeError, match=r"an event must be callable as event\(t, y\), got"):
        Event(lambda y: y[0])
    with pytest.raises(TypeError, match=r"an event must be callable as event\(t, y\), got"):
        solve_ivp(fun, (0, 1), Y, events=lambda y: y[0])
    with pytest.raises(TypeError, match=r"`observe` must be callable as observe\(what, t, y, h\)"):
        solve_ivp(fun, (0, 1), Y, observe=lambda t, y: None)
    with pytest.raises(TypeError, match=r"`take` must be callable as take\(t, y, h, stages\)"):
        Accepted(lambda t, y, h: None)
    with pytest.raises(TypeError, match=r"`observe` must be callable as observe\(what, t, y, h\)"):
        Accepted(None, 3)
    with pytest.raises(TypeError, match=r"`norm` must be callable as norm\(error\)"):
        solve_ivp(fun, (0, 1), Y, norm=lambda: 1.0)
    with pytest.raises(TypeError, match=r"`jacobian` must be callable as jacobian\(t, y\)"):
        Newton(jacobian=lambda y: y)
    for taken in (lambda *a: a[1][0], lambda t, y, more=1: y[0], np.hypot):
        Event(taken)
    solve_ivp(fun, (0, 1), Y, norm=np.linalg.norm, observe=lambda *a, **k: None)


@pytest.mark.parametrize("make", [np.array, torch.tensor, np.float32, Fraction])
def test_sizes_of_steps_may_be_numbers_of_any_library(make):
    half, tenth = make(0.5), make(0.0625)
    wanted = solve_ivp(fun, (0, 1), Y, first_step=0.0625, min_step=0.0625, max_step=0.5)
    found = solve_ivp(fun, (0, 1), Y, first_step=tenth, min_step=tenth, max_step=half)
    np.testing.assert_array_equal(found.t, wanted.t)
    for method in ("classic", "kvaerno43"):
        assert len(solve_ivp(fun, (0, 1), Y, method=method, step_size=half).t) == 3
    batch = np.ones((2, 3))
    wanted = solve_per_sample(fun, (0, 1), batch, first_step=0.0625)
    found = solve_per_sample(fun, (0, 1), batch, first_step=tenth)
    np.testing.assert_array_equal(found.samples.accepted, wanted.samples.accepted)
    panels = record_panels(fun, (0, 1), Y, method="classic", step_size=half)[1]
    assert len(panels) == 1


@pytest.mark.parametrize("wrong", [np.array([0.5]), torch.tensor(1j), np.array("1")])
def test_other_arrays_are_no_sizes(wrong):
    for name in ("first_step", "max_step", "min_step"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            solve_ivp(fun, (0, 1), Y, **{name: wrong})
    with pytest.raises(ValueError, match="`step_size` must be"):
        solve_ivp(fun, (0, 1), Y, method="classic", step_size=wrong)
