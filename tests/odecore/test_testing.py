"""The tools for testing steppers: right code passes, wrong code is caught and named."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from odecore.families import RK3, RK4, charts
from odecore.order import elementary_weights, order_of_accuracy
from odecore.solve import explicit_step
from odecore.tableaux import ButcherTableau, catalogue, tableau, tableau_at
from odecore.testing import (
    PROBLEMS,
    InitialValueProblem,
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


def test_problems_cross_processes():
    for problem in PROBLEMS:
        for again in (pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem)):  # noqa: S301
            assert again == problem


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", EXPLICIT)
def test_right_claims_pass_and_wrong_ones_fail(name):
    step, order = stepper(tableau(name)), tableau(name).order
    reports = assert_order(step, order, levels=14)
    assert all(r.interval[0] <= r.order <= r.interval[1] for r in reports if r.resolved)
    with pytest.raises(
        AssertionError, match=f"order {order + 1} is claimed.*conditions of these trees fail"
    ):
        assert_order(step, order + 1, levels=5)
    if order > 1:
        with pytest.raises(AssertionError, match=f"all conditions of order {order} hold too"):
            assert_order(step, order - 1, levels=5)
        assert_order(step, order - 1, exactly=False, levels=10)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "name",
    ["heun", "kutta3", *(pytest.param(n, marks=pytest.mark.long) for n in ("classic", "dopri5"))],
)
def test_slopes_alone_catch_wrong_claims(name):
    step, order = stepper(tableau(name)), tableau(name).order
    assert_order(step, order, runge_kutta=False)
    for wrong in (order + 1, order - 1):
        if wrong:
            with pytest.raises(AssertionError, match="show"):
                assert_order(step, wrong, runge_kutta=False, levels=18)


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
    report = measure_order(stepper(tableau("dopri5")))
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
    with pytest.raises(ValueError, match="`levels` must be a whole number from 3"):
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


# Found by attack. ------------------------------------------------------------------------------


def heun(f, t, y, h):
    k = f(t, y)
    return y + h / 2 * (k + f(t + h, y + h * k))


def kutta(f, t, y, h):
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(t + h, y + h * k3))


def test_each_tree_is_tested_through_the_state_and_through_the_time():
    def through_state(f, t, y, h):
        return y + h * f(t + h / 2, y + h * 0.4999 * f(t, y))

    def through_time(f, t, y, h):
        return y + h * f(t + h * 0.4999, y + h * 0.5 * f(t, y))

    x, y3 = (1.25 + (5 / 48) ** 0.5) / 2, (1.25 - (5 / 48) ** 0.5) / 2

    def through_both(f, t, y, h):  # sum b a a = sum b c c = 1/3, but sum b a c is not
        k1 = f(t, y)
        k2 = f(t + x * h, y + y3 * h * k1)
        return y + h * (0.2 * k1 + 0.4 * k2 + 0.4 * f(t + y3 * h, y + x * h * k1))

    for wrong in (through_state, through_time):
        assert abs(next(r for t, r in tree_residuals(wrong, 2).items() if t.order == 2)) > 5e-5
        with pytest.raises(AssertionError, match=r"trees fail: \[•\] \(residual -0.0001\)"):
            assert_order(wrong, 2, levels=5)
    trees, _ = tree_problem(3)
    assert tree_residuals(through_both, 3)[trees[-1]] == pytest.approx(0.8 * x * y3 - 1 / 3)
    assert sorted(map(str, trees)) == sorted(["•"] + ["[•]"] * 2 + ["[[•]]"] * 2 + ["[••]"] * 3)


@pytest.mark.parametrize(
    "name", ["fehlberg23", "huta6b", "verner65", "tanaka_muramatsu_yamashita7"]
)
def test_slopes_before_the_limit_refute_nothing(name):
    method = tableau(name)
    assert_order(stepper(method), method.order, levels=18)


@pytest.mark.parametrize("name", ["bosh5", "higham_hall_s"])
def test_slopes_that_mislead_before_the_limit_are_refined(name):
    step = stepper(tableau(name))
    misled = measure_order(step, PROBLEMS[2], levels=14)
    assert misled.resolved
    assert misled.interval[1] < 4.75
    reports = assert_order(step, 5, levels=14)
    assert reports[2].interval[1] > 4.75
    with pytest.raises(AssertionError, match="order 4 is claimed, but all conditions of order 5"):
        assert_order(step, 4, levels=14)


def test_slopes_refute_what_the_trees_do_not_see():
    def step(f, t, y, h):  # the problem that shows the trees begins at zero
        return (kutta if np.abs(y).max() < 0.1 else heun)(f, t, y, h)

    assert max(map(abs, tree_residuals(step, 4).values())) < 1e-14
    with pytest.raises(AssertionError, match=r"order 4 is claimed, but riccati shows [12]\.\d\d"):
        assert_order(step, 4, levels=14)


def test_what_double_precision_does_not_resolve_is_not_decided():
    step = stepper(tableau("verner98"))
    for order in (8, 9, 10):
        with pytest.raises(
            ValueError, match=f"order {order} is not decided.*not resolved.*runge_k"
        ):
            assert_order(step, order, runge_kutta=False)
    report = assert_order(step, 9)[0]
    assert report.used[1] < len(report.steps)


@pytest.mark.parametrize("name", ["huta6b", "gill"])
def test_slopes_decide_where_they_are_resolved(name):
    step, order = stepper(tableau(name)), tableau(name).order
    reports = assert_order(step, order, runge_kutta=False)
    assert sum(report.resolved for report in reports) >= 2


def test_rounding_is_measured():
    report = measure_order(stepper(tableau("dop853")), PROBLEMS[2], levels=30)
    end = report.used[1]
    assert report.steps[end - 1] < report.steps[-1]  # finer runs exist and are not used
    assert report.errors[end - 1] > 1e-14 > report.errors[-1]
    assert report.order == pytest.approx(8, abs=0.3)
    single = measure_order(lambda f, t, y, h: kutta(f, t, y.astype(np.float32), h))
    assert single.errors[single.used[1] - 1] > 1e-6
    assert single.used[1] < len(single.steps)


def test_single_precision_is_decided_to_its_rounding():
    def step(f, t, y, h):
        return kutta(f, np.float32(t), y.astype(np.float32), np.float32(h)).astype(np.float32)

    assert_order(step, 4, levels=14)
    with pytest.raises(AssertionError, match="trees fail"):
        assert_order(step, 5, levels=5)
    with pytest.raises(ValueError, match="order 4 is not decided: the slopes are not resolved"):
        assert_order(step, 4, runge_kutta=False)

    def second(f, t, y, h):
        return heun(f, np.float32(t), y.astype(np.float32), np.float32(h))

    assert_order(second, 2, runge_kutta=False)
    assert_order(lambda f, t, y, h: kutta(f, t, y.astype("float32"), h), 4, levels=14)
    for wrong in (1, 3):
        with pytest.raises(AssertionError, match="show"):
            assert_order(second, wrong, runge_kutta=False)

    with pytest.raises(ValueError, match=r"conditions of order 4 hold to rounding.*exactly=False"):
        assert_order(step, 3, levels=5)
    assert_order(step, 3, levels=5, exactly=False)


def test_a_step_undefined_at_zero_is_not_decided_by_trees():
    def hidden(f, t, y, h):  # order 1: the second stage is wrong
        size = np.linalg.norm(y)
        k = f(t, y)
        return y + h / 2 * (k + f(t + h, y / size * size + 0.9 * h * k))

    with pytest.raises(
        AssertionError, match=r"shows 1\.\d\d.*undefined at y = 0.*runge_kutta=False"
    ):
        assert_order(hidden, 2, exactly=False)

    def right(f, t, y, h):
        return heun(f, t, y / np.linalg.norm(y) * np.linalg.norm(y), h)

    with pytest.raises(ValueError, match=r"residual of • is nan: the step is undefined at y = 0"):
        assert_order(right, 2, levels=8)
    assert_order(right, 2, runge_kutta=False, levels=18)


def test_trees_are_named_even_if_no_slope_can_be_measured():
    with pytest.raises(AssertionError, match=r"trees fail: • \(residual -2\)"):
        assert_order(lambda f, t, y, h: y - h * f(t, y), 1)
    with pytest.raises(ValueError, match=r"not decided: no problem comes below 10 % error: raise"):
        assert_order(heun, 2, levels=3, problems=PROBLEMS[2:])


def test_a_step_that_is_no_runge_kutta_step_is_told_so():
    def local_time(f, t, y, h):  # every step starts at time 0
        return heun(f, 0.0, y, h)

    with pytest.raises(AssertionError, match=r"riccati does not converge: .*change by .*no Runge"):
        assert_order(local_time, 2)


def test_every_problem_is_measured():
    def wrong_in_pairs(f, t, y, h):
        return heun(f, t, y, h) if len(y) != 2 else y + h * f(t, y)

    with pytest.raises(AssertionError, match=r"but coupled shows 1\.00; rotation shows 1\.\d\d\n"):
        assert_order(wrong_in_pairs, 2)
    assert len(assert_order(heun, 2, levels=8)) == 3


def test_one_problem_that_is_solved_too_well_is_no_complaint():
    def better_on_one(f, t, y, h):
        return kutta(f, t, y, h) if len(y) == 1 else heun(f, t, y, h)

    reports = assert_order(better_on_one, 2, runge_kutta=False)
    assert round(reports[0].order) == 4


def test_states_may_be_lists_and_are_not_overwritten():
    assert_order(lambda f, t, y, h: list(heun(f, t, y, h)), 2, levels=8)
    start = np.array([1.0])
    problem = InitialValueProblem("decay", lambda t, y: -y, lambda t: start * np.exp(-t), (0, 1))
    held = InitialValueProblem(
        "held", problem.f, lambda t: start if t == 0 else start / np.e, (0, 1)
    )

    def in_place(f, t, y, h):
        y += h * f(t + h / 2, y + h / 2 * f(t, y))
        return y

    assert measure_order(in_place, held).order == pytest.approx(2, abs=0.1)
    assert start == 1
    for wrong in (lambda f, t, y, h: (heun(f, t, y, h), 0.1), lambda f, t, y, h: None):
        with pytest.raises(
            ValueError, match=r"return a state of the shape of y.*step\(f, t, y, h\)\[0"
        ):
            measure_order(wrong)
        with pytest.raises(ValueError, match="return a state of the shape of y"):
            assert_order(wrong, 2)
    with pytest.raises(ValueError, match="nothing is asserted"):
        assert_order(heun, 2, problems=[], runge_kutta=False)
    assert assert_order(heun, 2, problems=[]) == ()


def test_solutions_may_end_at_zero():
    problem = InitialValueProblem(
        "zero",
        lambda t, y: 2 * (t - 1) + y - (t - 1) ** 2,
        lambda t: np.array([(t - 1) ** 2]),
        (0.0, 1.0),
    )
    assert measure_order(heun, problem).order == pytest.approx(2, abs=0.1)


def test_coefficients_need_their_digits():
    def rounded(f, t, y, h):
        k = f(t, y)
        return y + h * (0.25 * k + 0.75 * f(t + 0.6666667 * h, y + 0.6666667 * h * k))

    with pytest.raises(AssertionError, match=r"\[•\] \(residual 2.5e-08\); so small, .*few digits"):
        assert_order(rounded, 2, levels=5)


def steps_at(A, b):
    def step(f, t, y, h):
        stages = []
        for row in A:
            at = y + h * sum((a * k for a, k in zip(row, stages, strict=True)), 0 * y)
            stages.append(f(t + sum(row) * h, at))
        return y + h * sum(w * k for w, k in zip(b, stages, strict=True))

    return step


def test_coefficients_that_are_no_fractions_stay_decimals(rng):
    for _ in range(60):
        u = rng.uniform(0.1, 0.9)
        A, b = RK4.formula(u, u + rng.uniform(0.003, 0.006))
        found = deduce_tableau(steps_at(A, b))
        largest = max(abs(a) for row in (*A, b) for a in row)
        for exact, value in zip((*found.A, found.b), (*A, b), strict=True):
            assert [float(a) for a in exact][: len(value)] == pytest.approx(
                value, abs=1e-13 * largest
            )
        assert 0.99e-14 * largest < found.uncertainty < 1e-12 * largest


def test_methods_that_amplify_errors_are_read_off_too(rng):
    # Of 16 stages with coefficients up to 3 or up to 50, none of which is a good method.
    for largest in (3, 50):
        rows = [rng.integers(-largest, largest + 1, i) for i in range(17)]
        A = [[Fraction(int(a)) for a in row] for row in rows[:16]]
        b = [Fraction(int(w)) for w in rows[16]]
        b[0] += 1 - sum(b)
        step = steps_at(*([list(map(float, row)) for row in A], list(map(float, b))))
        found = deduce_tableau(step)
        assert ([row[:i] for i, row in enumerate(found.A)], found.b) == (
            list(map(tuple, A)),
            tuple(b),
        )
        with pytest.raises(ValueError, match="no explicit Runge-Kutta"):
            deduce_tableau(lambda f, t, y, h, step=step: step(f, t, y, h) + 1e-5 * h * (1 - h) * y)


def test_large_fractions_are_found():
    A, b = RK4.formula(Fraction(3, 10), Fraction(301, 1000))
    floats = [[float(a) for a in row] for row in (*A, b)]
    found = deduce_tableau(steps_at(floats[:-1], floats[-1]))
    assert found.b == tuple(b)
    assert found.uncertainty == 0


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda f, t, y, h: y + h * f(t + h / 1000, y), r"time c = 0.001, but its row of A sums to 0.0"),
        (lambda f, t, y, h: heun(f, t, y, h) + 1e-6 * h * (1 - h) * y, "no explicit Runge-Kutta"),
        (lambda f, t, y, h: heun(f, 0.0, y, h), "no explicit Runge-Kutta"),
        (lambda f, t, y, h: heun(f, t, y, h).astype(np.float32), "returns float32.*keep the prec"),
        (lambda f, t, y, h: (heun(f, t, y, h), 0.1), r"must return a state.*step\(f, t, y, h\)\[0\]"),
        (lambda f, t, y, h: heun(f, t, y, h) * np.nan, "no finite number.*undefined at y = 0"),
        (lambda f, t, y, h: y + 0.5 * h * f(t, y), "sum to 0.5, not to 1"),
        (lambda f, t, y, h: y + h * float(np.float32(0.9)) * f(t, y), "numbers of single precision"),
    ],
)  # fmt: skip
def test_what_has_no_tableau_is_told_why(step, message):
    with pytest.raises(ValueError, match=message):
        deduce_tableau(step)


@pytest.mark.parametrize("wrong", [tableau("classic"), "rk4", None])
def test_steps_are_functions(wrong):
    for ask in (
        deduce_tableau,
        measure_order,
        lambda step: assert_order(step, 4),
        lambda step: tree_residuals(step, 4),
    ):
        with pytest.raises(TypeError, match=rf"got {type(wrong).__name__}; the order of a tableau"):
            ask(wrong)


def test_a_step_that_remembers_is_told_so():
    class Cached:
        last = None

        def __call__(self, f, t, y, h):
            k = f(t, y) if self.last is None else self.last
            self.last = f(t + h, y + h * k)
            return y + h / 2 * (k + self.last)

    with pytest.raises(ValueError, match=r"or on earlier steps.*made anew for each call"):
        deduce_tableau(Cached())


@given(family_members([RK4], max_coefficient=3))
@settings(max_examples=20)
def test_large_coefficients_are_not_drawn(member):
    assert max(abs(a) for row in (*member.A, member.b) for a in row) <= 3


def test_charts_are_drawn_too():
    from hypothesis import find

    quick = settings(database=None, max_examples=300)
    for b in (tableau("classic").b, tableau("nystrom3").b):
        assert find(family_members(), lambda m, b=b: m.b == b, settings=quick).b == b


def test_named_members_of_charts_are_the_catalogue_methods():
    for family in (*charts(RK3), *charts(RK4)):
        assert family.members
        for name, point in family.members:
            member = tableau_at(family, **dict(zip(family.parameters, point, strict=True)))
            assert (member.A, member.b) == (tableau(name).A, tableau(name).b)
    assert {"classic", "gill"} <= {name for family in charts(RK4) for name, _ in family.members}


def test_a_step_that_chooses_its_own_steps_is_told_so():
    from scipy.integrate import solve_ivp

    def adaptive(f, t, y, h):
        return solve_ivp(f, (t, t + h), y, rtol=1e-6, atol=1e-8).y[:, -1]

    for runge_kutta in (True, False):
        with pytest.raises(ValueError, match=r"chooses steps of its own.*h is not what refines"):
            assert_order(adaptive, 5, runge_kutta=runge_kutta)

    def single(f, t, y, h):
        return solve_ivp(f, (t, t + h), y, rtol=1e9, atol=1e9, first_step=t + h - t).y[:, -1]

    assert_order(single, 5, levels=8)

    def iterated(f, t, y, h):  # the implicit midpoint rule: calls that depend on h, at one time
        k = f(t, y)
        for _ in range(200):
            k, old = f(t + h / 2, y + h / 2 * k), k
            if np.abs(k - old).max() < 1e-14:
                break
        return y + h * k

    assert_order(iterated, 2, runge_kutta=False, coarsest=8, levels=16)


def test_arguments_of_an_order_are_named():
    assert len(assert_order(heun, np.int64(2), problems=PROBLEMS[0], levels=8)) == 1
    assert len(assert_order(heun, 2, problems=iter(PROBLEMS), levels=8)) == 3
    for order in (2.0, "2", None):
        with pytest.raises(TypeError, match="`order` must be an integer, got"):
            assert_order(heun, order)
    for problems in (3, ["riccati"]):
        with pytest.raises(TypeError, match="`problems` must be InitialValueProblem objects"):
            assert_order(heun, 2, problems=problems)


def test_orders_of_too_many_conditions_are_refused():
    for order in (14, 15, 40):
        with pytest.raises(ValueError, match="`order` must be at most 13 where conditions are re"):
            assert_order(heun, order)
    with pytest.raises(ValueError, match="`order` must be at most 14 where"):
        assert_order(heun, 15, exactly=False)
    for function in (tree_residuals, lambda step, order: tree_problem(order)):
        with pytest.raises(ValueError, match=r"at most 14 where .*times as many.*, got 15"):
            function(heun, 15)
        for order in (0, -1):
            with pytest.raises(ValueError, match=f"`order` must be at least 1, got {order}"):
                function(heun, order)
        with pytest.raises(TypeError, match=r"`order` must be an integer, got 2\.0"):
            function(heun, 2.0)
    with pytest.raises(AssertionError, match=r"order 15 is claimed, but riccati shows 1\.99"):
        assert_order(heun, 15, runge_kutta=False, levels=12)


def test_slack_and_problem_are_named():
    for slack in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match="`slack` must be finite and not negative"):
            assert_order(heun, 2, slack=slack)
    with pytest.raises(TypeError, match="must be one InitialValueProblem, got list; for several"):
        measure_order(heun, [PROBLEMS[0]])


def test_many_failures_are_counted_not_listed():
    with pytest.raises(
        AssertionError, match=r"fail: \[\[\[•\]\]\] \(res.*, and \d+ more up to order 9\n"
    ) as error:
        assert_order(stepper(tableau("kutta3")), 9, levels=5)
    assert len(str(error.value).splitlines()[0]) < 300
