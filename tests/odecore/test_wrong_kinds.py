"""Names, families and tableaux given in each other's place: told what is wrong, and what to do."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.adjoint import (
    backsolve,
    collocated,
    discrete,
    record_panels,
    record_steps,
    restored,
)
from odecore.exact import Polynomial
from odecore.families import RK2, RK3, RK4, chart, charts, cubic_dense_output, prove_order
from odecore.order import dense_output_order, dense_output_residuals
from odecore.sketching import CosineSketch, HadamardSketch, UniformRows
from odecore.solve import Adams, given_run, given_steps, solve_ivp, solve_per_sample
from odecore.stability import atlas, optimize, parametric_stability, plot_region, stability_function
from odecore.tableaux import (
    Coefficients,
    coefficients_at,
    continuous_extension,
    tableau,
    tableau_at,
    tableau_to_json,
)
from odecore.testing import assert_order, family_members, tableaux

F = Fraction


@pytest.mark.parametrize("wrong", ["RK2", tableau("heun"), None], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize(
    "function",
    [
        lambda family: tableau_at(family, u=1),
        lambda family: coefficients_at(family, u=1.0),
        lambda family: atlas(family, (0.5, 1)),
        lambda family: optimize(family, (0.5, 1)),
        lambda family: chart(family, F(1, 2), F(1, 2)),
        charts,
        prove_order,
        parametric_stability,
        lambda family: family_members([family]),
    ],
)
def test_a_family_is_asked_for(function, wrong):
    name = type(wrong).__name__
    with pytest.raises(TypeError, match=rf"must be a Family, got {name}; .*odecore\.families\.RK4"):
        function(wrong)


def test_families_to_draw_from_are_checked_at_once():
    with pytest.raises(TypeError, match="must be a Family, got str"):
        family_members("RK4")
    family_members(RK4).validate()


def test_a_method_is_asked_for():
    with pytest.raises(TypeError, match=r"coefficients `A`, got str; look a name up"):
        cubic_dense_output("rk4")
    for wrong in ("classic", RK3):
        with pytest.raises(TypeError, match="must be a ButcherTableau, got"):
            plot_region(wrong)
    with pytest.raises(
        TypeError, match=r"take that of a member, which odecore.tableaux.tableau_at"
    ):
        stability_function(RK3)(1.0)


@pytest.mark.parametrize("wrong", ["dopri5", tableau("dopri5"), RK2])
def test_a_continuous_extension_is_of_coefficients(wrong):
    # Of a tableau's Fractions it took more evaluations than of the same numbers as floats.
    with pytest.raises(TypeError, match=r"must be Coefficients, got \w+; take the `coefficients`"):
        continuous_extension(wrong)


def test_weights_of_dense_output_are_polynomials():
    method = tableau("classic")
    for function in (dense_output_order, lambda m, weights: dense_output_residuals(m, weights, 2)):
        with pytest.raises(
            TypeError, match=r"`weights` must be .*Polynomials in theta.*got 1; b th"
        ):
            function(method, [1, 2, 3, 4])
    assert dense_output_order(method, [Polynomial((0, b)) for b in method.b]) == 1


def test_members_have_a_value_for_each_parameter():
    for wrong in ((), (1,), (1, 2, 3)):
        with pytest.raises(
            ValueError, match=f"RK4 has the parameters u, v; got {len(wrong)} values"
        ):
            RK4.require_member(wrong)


def test_boxes_have_the_dimension_of_the_family():
    RK2.require_box((F(1, 4),), (F(1, 3),))
    for low, high in (((F(1, 4),), (F(1, 3),)), ((1, 2), (2,)), ((F(1, 2), 1), (F(1, 4), 1))):
        with pytest.raises(
            ValueError, match=r"corners of a box of u, v, with 2 coord.*low <= high"
        ):
            RK4.require_box(low, high)


@pytest.mark.parametrize("wrong", [("a",), (None,), 0, (float("inf"),), (float("nan"),), (1j,)])
def test_corners_of_boxes_are_numbers(wrong):
    for low, high in ((wrong, (1,)), ((1,), wrong)):
        with pytest.raises(TypeError, match="`low` and `high` must be sequences of numbers"):
            RK2.require_box(low, high)
    RK2.require_box((0.25,), [10**400])


@pytest.mark.parametrize("wrong", [int, Fraction, np.array(["a"]), np.array([1j])])
def test_values_of_parameters_are_real(wrong):
    with pytest.raises(TypeError, match="`u` must be a real number or an array, got"):
        coefficients_at(RK4, u=wrong, v=0.3)


@pytest.mark.parametrize("wrong", [2.5, [], 1j])
def test_an_indentation_is_a_number_or_text(wrong):
    with pytest.raises(TypeError, match="`indent` must be an int, a str or None, got"):
        tableau_to_json(tableau("heun"), indent=wrong)


@pytest.mark.parametrize("wrong", [None, 0.0, [0.0, 1.0], np.ones((2, 2)), np.ones(())])
def test_times_of_many_steps_are_an_array(wrong):
    method, y = coefficients_at(RK2, u=0.5), np.ones(2)
    with pytest.raises(TypeError, match=r"`times` must be an array of shape \(n \+ 1,\), got"):
        given_steps(lambda t, y: -y, method, wrong, y, None)
    with pytest.raises(TypeError, match=r"`times` must be an array of shape \(n \+ 1,\), got"):
        given_run(None, lambda t, y: -y, method, wrong, np.ones(1, int), y, None, np)
    for function in (
        lambda m: given_steps(lambda t, y: -y, m, np.arange(2.0), y, None),
        lambda m: given_run(None, lambda t, y: -y, m, np.arange(2.0), np.ones(1), y, None, np),
    ):
        with pytest.raises(TypeError, match="Coefficients"):
            function("heun")


def test_a_chart_is_the_same_at_floats():
    # A chart at floats first must not name the one at fractions.
    wanted = "RK4 chart at (1/2, 0)"
    assert chart(RK4, 0.5, 0.0).name == chart(RK4, F(1, 2), F(0)).name == wanted
    assert chart(RK4, 0.5, 0.0) is chart(RK4, F(1, 2), 0)


@pytest.mark.parametrize("function", [atlas, optimize])
@pytest.mark.parametrize("wrong", [None, "a", 5, (1,), ((F(1, 4), 1),), ("a", "b"), (1j, 2)])
def test_ranges_are_pairs_of_numbers(function, wrong):
    with pytest.raises(ValueError, match=r"range.*low < high"):
        function(RK2, wrong)


def test_an_atlas_has_points_and_quantities():
    with pytest.raises(ValueError, match="`quantities` must name one at least"):
        atlas(RK2, (F(1, 4), 1), quantities=[])
    with pytest.raises(TypeError, match="`quantities` must be names, got 3"):
        atlas(RK2, (F(1, 4), 1), quantities=3)


def adjoint_of(solve, **options):
    def linearize(t, y):
        return -y, lambda a, parameters: (-a, ())

    y0, a = np.ones(2), [np.ones(2)] * 2
    if solve is backsolve:
        return solve(linearize, (0, 1), [y0, y0], a, **options)
    if solve is discrete:
        return solve(linearize, record_steps(lambda t, y: -y, (0, 1), y0)[1], a, **options)
    return solve(linearize, record_panels(lambda t, y: -y, (0, 1), y0)[1], a, **options)


def one_step(f, t, y, h):
    return y + h * f(t, y)


@pytest.mark.parametrize("wrong", [np.ones(3), "no", 1, None])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: solve_ivp(lambda t, y: -y, (0, 1), np.ones(2), throw=x), "throw"),
        (lambda x: solve_per_sample(lambda t, y: -y, (0, 1), np.ones(2), throw=x), "throw"),
        (lambda x: solve_per_sample(lambda t, y: -y, (0, 1), np.ones(2), shrink=x), "shrink"),
        (lambda x: Adams(implicit=x), "implicit"),
        (lambda x: Adams(across_jumps=x), "across_jumps"),
        (lambda x: record_panels(lambda t, y: -y, (0, 1), np.ones(2), inside=x), "inside"),
        (lambda x: adjoint_of(backsolve, seminorm=x), "seminorm"),
        (lambda x: adjoint_of(discrete, parameters=x), "parameters"),
        (lambda x: adjoint_of(restored, parameters=x), "parameters"),
        (lambda x: adjoint_of(collocated, parameters=x), "parameters"),
        (lambda x: Coefficients(((),), (1.0,), last_stage_is_first=x), "last_stage_is_first"),
        (lambda x: UniformRows(3, x), "replacement"),
        (lambda x: HadamardSketch(3, x), "replacement"),
        (lambda x: CosineSketch(3, x), "replacement"),
        (lambda x: plot_region(tableau("heun"), order_star=x), "order_star"),
        (lambda x: assert_order(one_step, 1, exactly=x), "exactly"),
        (lambda x: assert_order(one_step, 1, runge_kutta=x), "runge_kutta"),
    ],
)
def test_flags_are_bools(make, name, wrong):
    with pytest.raises(TypeError, match=f"`{name}` must be a bool, got"):
        make(wrong)


@pytest.mark.parametrize("wrong", [np.ones(3), "no", 1])
def test_flags_that_may_be_left_open_are_bools(wrong):
    with pytest.raises(TypeError, match="`check_finite` must be a bool, got"):
        solve_ivp(lambda t, y: -y, (0, 1), np.ones(2), steps=2, check_finite=wrong)
    for name in ("explicit", "embedded"):
        with pytest.raises(TypeError, match=f"`{name}` must be a bool, got"):
            tableaux(**{name: wrong})
