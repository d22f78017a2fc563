"""The tools for testing steppers: right code passes, wrong code is caught and named."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from odecore.order import elementary_weights, order_of_accuracy
from odecore.solve import explicit_step
from odecore.tableaux import ButcherTableau, catalogue, tableau
from odecore.testing import (
    PROBLEMS,
    assert_order,
    deduce_tableau,
    family_members,
    initial_value_problems,
    measure_order,
    tableaux,
    tree_problem,
    tree_residuals,
)

EXPLICIT = ["euler", "heun", "kutta3", "classic", "gill", "dopri5", "tsit5", "butcher6", "dverk", "fehlberg78", "cooper_verner8"]  # fmt: skip


def stepper(method):
    coefficients = method.coefficients
    return lambda f, t, y, h: explicit_step(f, t, y, h, coefficients).y


@pytest.mark.parametrize("name", EXPLICIT)
def test_right_claims_pass_and_wrong_ones_fail(name):
    step, order = stepper(tableau(name)), tableau(name).order
    reports = assert_order(step, order)
    assert all(r.interval[0] <= r.order <= r.interval[1] for r in reports)
    with pytest.raises(
        AssertionError, match=f"order {order + 1} is claimed.*conditions of these trees fail"
    ):
        assert_order(step, order + 1)
    if order > 1:
        with pytest.raises(AssertionError, match=f"all conditions of order {order} hold too"):
            assert_order(step, order - 1)
        assert_order(step, order - 1, exactly=False)


@pytest.mark.parametrize("name", ["heun", "kutta3", "classic", "dopri5"])
def test_slopes_alone_catch_wrong_claims(name):
    step, order = stepper(tableau(name)), tableau(name).order
    assert_order(step, order, runge_kutta=False)
    for wrong in (order + 1, order - 1):
        if wrong:
            with pytest.raises(AssertionError, match="show"):
                assert_order(step, wrong, runge_kutta=False)


def test_a_failed_test_names_the_tree():
    def wrong(f, t, y, h):  # Kutta's method with one coefficient of the last stage misprinted
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        k4 = f(t + h, y + h * (0.9 * k3 + 0.1 * k2))
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    with pytest.raises(AssertionError, match=r"trees fail: \[\[\[•\]\]\] \(residual"):
        assert_order(wrong, 4)


def test_a_wrong_time_is_caught():
    def wrong(f, t, y, h):  # the second stage is evaluated at the beginning of the step
        return y + h * f(t, y + h / 2 * f(t, y))

    assert {str(t) for t, r in tree_residuals(wrong, 2).items() if abs(r) > 1e-12}
    with pytest.raises(AssertionError, match="order 2 is claimed"):
        assert_order(wrong, 2)
    with pytest.raises(
        ValueError, match=r"stage 2 is evaluated at time c = 0.0, but its row .* 0.5"
    ):
        deduce_tableau(wrong)


@pytest.mark.parametrize("name", ["classic", "dopri5", "fehlberg78"])
def test_one_step_shows_all_elementary_weights(name):
    method = tableau(name)
    trees, _ = tree_problem(6)
    exact = elementary_weights(trees, method.A, method.b)
    for tree, residual in tree_residuals(stepper(method), 6).items():
        assert residual == pytest.approx(float(exact[tree]) - 1 / tree.density, abs=1e-12)


def test_reports_are_tables():
    text = str(measure_order(stepper(tableau("classic"))))
    assert "observed order" in text
    assert "slope" in text
    assert len(text.splitlines()) > 6


def test_rounding_is_detected():
    report = measure_order(stepper(tableau("dopri5")), levels=16)
    assert report.used[1] < len(report.steps)
    assert report.order == pytest.approx(5, abs=0.5)

    def single(f, t, y, h):
        return stepper(tableau("classic"))(f, t, y, h).astype(np.float32).astype(np.float64)

    report = measure_order(single)  # rounding of single precision ends the slope: a plateau
    assert report.used[1] < len(report.steps)
    assert report.order == pytest.approx(4, abs=1)


def test_runs_that_show_nothing_are_refused():
    with pytest.raises(ValueError, match="change `coarsest`"):
        measure_order(lambda f, t, y, h: y * math.nan)
    with pytest.raises(ValueError, match="`levels` >= 3"):
        measure_order(stepper(tableau("euler")), levels=2)
    with pytest.raises(ValueError, match="`order` must be at least 1"):
        assert_order(stepper(tableau("euler")), 0)
    with pytest.raises(ValueError, match="must return a state of the shape"):
        tree_residuals(lambda f, t, y, h: 0.0, 2)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_exact_solutions_solve_their_problems(problem):
    for t in np.linspace(*problem.t_span, 7):
        h = 1e-6
        slope = (problem.exact(t + h) - problem.exact(t - h)) / (2 * h)
        np.testing.assert_allclose(problem.f(t, problem.exact(t)), slope, rtol=1e-8, atol=1e-8)


# Deduction ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLICIT)
def test_tableaux_are_read_off_running_code(name):
    method = tableau(name)
    found = deduce_tableau(stepper(method))
    for row, expected in zip((*found.A, found.b), (*method.A, method.b), strict=True):
        assert [float(a) for a in row] == pytest.approx([float(a) for a in expected], abs=1e-12)
    assert order_of_accuracy(found) == method.order
    if name in {"classic", "kutta3", "dopri5", "fehlberg78"}:
        assert (found.A, found.b) == (method.A, method.b)  # fractions, exactly


def test_steps_that_are_no_runge_kutta_method_are_refused():
    with pytest.raises(ValueError, match="never called f"):
        deduce_tableau(lambda f, t, y, h: y)
    with pytest.raises(ValueError, match="no explicit Runge-Kutta method"):
        deduce_tableau(lambda f, t, y, h: y + h * f(t, y) + h**2 * y * 0.1)

    def iterated(f, t, y, h):
        k = f(t, y)
        while np.abs(k).max() > 0.5:
            k = 0.4 * f(t, y + h * k)
        return y + h * k

    with pytest.raises(ValueError, match=r"depend on the values of f|no explicit"):
        deduce_tableau(iterated)


# Strategies -----------------------------------------------------------------------------------


@given(family_members())
def test_members_of_all_charts_have_their_order(member):
    assert isinstance(member, ButcherTableau)
    assert order_of_accuracy(member) >= member.order == member.stages


def test_members_shrink_to_named_methods():
    from hypothesis import find

    smallest = find(family_members(), lambda m: m.order == 4, settings=settings(database=None))
    assert smallest.b == tableau("three_eighths").b


@given(tableaux(explicit=True, max_stages=4), initial_value_problems())
@settings(max_examples=30)
def test_methods_converge_on_manufactured_problems(method, problem):
    t0, t1 = problem.t_span
    errors = []
    for n in (20, 40):
        y = problem.y0
        for k in range(n):
            y = stepper(method)(problem.f, t0 + k * (t1 - t0) / n, y, (t1 - t0) / n)
        errors.append(np.abs(y - problem.exact(t1)).max())
    assert errors[1] < 0.75 * errors[0] or errors[1] < 1e-6


def test_strategies_without_methods_are_refused():
    with pytest.raises(ValueError, match="relax explicit"):
        tableaux(max_stages=0)
    assert len(catalogue()) > 100
