"""Names, families and tableaux given in each other's place: told what is wrong, and what to do."""

from fractions import Fraction

import pytest

from odecore.exact import Polynomial
from odecore.families import RK2, RK3, RK4, chart, charts, cubic_dense_output, prove_order
from odecore.order import dense_output_order, dense_output_residuals
from odecore.stability import atlas, optimize, parametric_stability, plot_region, stability_function
from odecore.tableaux import coefficients_at, continuous_extension, tableau, tableau_at
from odecore.testing import family_members

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
    with pytest.raises(TypeError, match="`quantities` must be names, got 3"):
        atlas(RK2, (F(1, 4), 1), quantities=3)
