"""Atlas and optimum: known minima, known surfaces, refused input."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from odecore.families import COLLOCATION2, RK2, RK3, RK3_PAIR, RK3A, RK3S4, RK4, RK4B, SDIRK2
from odecore.order import principal_error
from odecore.stability import atlas, contractivity_radius, optimize, ssp_coefficient
from odecore.tableaux import tableau_at

F = Fraction


def test_the_exact_optima():
    two = optimize(RK2, (0.1, 1))
    assert str(two.polynomials["u"]) == "3*x - 2"
    assert two.value == pytest.approx(1 / 6, rel=1e-14)
    three = optimize(RK3, (0.1, 0.95), (0.1, 1.0))
    assert str(three.polynomials["u"]) == "9*x^3 - 18*x^2 + 47*x - 20"
    assert three.parameters["v"] == pytest.approx(0.751747477616598, abs=1e-14)
    assert three.value == pytest.approx(0.0418090763831609, rel=1e-13)
    middle = optimize(RK4B, (0.1, 2))
    assert middle.parameters["w"] == pytest.approx(5 / 6, rel=1e-14)
    assert middle.value == pytest.approx(7 * math.sqrt(29) / 2880, rel=1e-13)


def test_the_numerical_optimum_of_rk4():
    found = optimize(RK4, (0.1, 0.49), (0.51, 0.9))
    assert found.value == pytest.approx(0.0119774505, abs=5e-11)
    assert found.parameters["u"] == pytest.approx(0.35773939, abs=1e-7)
    assert found.parameters["v"] == pytest.approx(0.59148955, abs=1e-7)
    assert max(map(abs, found.gradient)) < 1e-9
    assert found.polynomials == {}


def test_an_optimum_on_the_boundary_is_not_called_critical():
    found = optimize(RK2, (0.7, 1))
    assert found.parameters["u"] == 0.7
    assert found.polynomials == {}


@pytest.mark.parametrize(
    ("family", "box", "expected"),
    [
        (RK4, ((0.1, 0.3), (0.7, 0.9)), {"u": 0.284026944, "v": 0.7}),
        (SDIRK2, ((0.1, 0.9), (1, 2)), {"gamma": 0.232504133, "c": 1}),
        # The way to this face leads through a region where the error is not convex.
        (SDIRK2, ((0.5268542267590214, 0.8946561075570387), (0.8678143096882123, 1.121868639605385)),
         {"gamma": 0.7216716, "c": 0.8678143096882123}),
    ],
)  # fmt: skip
def test_an_optimum_on_a_face_is_the_best_of_the_face(family, box, expected):
    found = optimize(family, *box)
    assert found.parameters == pytest.approx(expected, abs=2e-7)
    (free, x), (fixed, end) = found.parameters.items()
    assert abs(found.gradient[0]) < 1e-9
    assert abs(found.gradient[1]) > 1e-6
    for moved in (x - 1e-3, x + 1e-3):
        member = tableau_at(family, **{free: F(moved), fixed: F(end)})
        assert float(principal_error(member)) > found.value


@pytest.mark.long
def test_other_objectives_and_constraints():
    # SSP coefficient of RK2: min(2 - 1/u, 1/u), largest at Heun's u = 1.
    ssp = optimize(RK2, (0.6, 1.5), objective="SSP coefficient")
    assert ssp.parameters["u"] == pytest.approx(1, abs=1e-5)
    assert ssp.value == pytest.approx(1, abs=1e-5)
    # The least error of RK2 with an SSP coefficient of 3/4 at least is at 2 - 1/u = 3/4.
    best = optimize(RK2, (0.5, 1.5), constraints={"SSP coefficient": (0.75, math.inf)})
    assert best.parameters["u"] == pytest.approx(0.8, abs=1e-5)
    with pytest.raises(ValueError, match="relax the constraints"):
        optimize(RK2, (0.5, 1), constraints={"SSP coefficient": (2, 3)})
    with pytest.raises(ValueError, match="unknown quantities"):
        optimize(RK2, (0.5, 1), objective="beauty")


def test_an_atlas_agrees_with_its_members():
    found = atlas(RK3, (F(1, 4), F(1)), (F(1, 4), F(1)), points=7)
    assert {"heun3", "ssp33", "ralston3"} <= set(found.members)
    assert all(v.shape == (7, 7) for v in found.values.values())
    assert np.isnan(found.values["principal error"][2, 2])  # u = v
    u, v = (F(1, 4) + F(3, 4) * F(k, 6) for k in (1, 4))
    member = tableau_at(RK3, u=u, v=v)
    assert found.values["principal error"][1, 4] == pytest.approx(float(principal_error(member)))
    assert found.values["SSP coefficient"][1, 4] == float(ssp_coefficient(member))
    assert found.values["contractivity radius"][1, 4] == contractivity_radius(member)
    assert found.values["SSP coefficient"][6, 2] == 1 == np.nanmax(found.values["SSP coefficient"])


@pytest.mark.parametrize("family", [RK2, RK3])
def test_an_atlas_is_drawn(family):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    ranges = [(0.3, 1.1)] * len(family.parameters)
    quantities = ["principal error", "internal amplification", "largest coefficient"]
    figure = atlas(family, *ranges, points=5, quantities=quantities).plot()
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [
        f"{family.name}: {q}" for q in quantities
    ]
    plt.close(figure)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one range for each"):
        atlas(RK3, (0, 1))
    with pytest.raises(ValueError, match="one or two parameters"):
        atlas(RK3S4, (0, 1), (0, 1), (0, 1))
    with pytest.raises(ValueError, match="low < high"):
        atlas(RK2, (1, 0))
    with pytest.raises(ValueError, match="unknown quantities"):
        atlas(RK2, (0, 1), quantities=["beauty"])
    with pytest.raises(ValueError, match="needs one range"):
        optimize(RK3, (0, 1))


# Found by attack.


@pytest.mark.long
def test_a_narrow_box_is_not_left():
    found = optimize(RK2, (0.6, 0.6001))  # the error falls towards u = 2/3
    assert found.parameters["u"] == 0.6001
    assert found.value == pytest.approx(float(principal_error(tableau_at(RK2, u=F(6001, 10**4)))))
    ssp = optimize(RK2, (0.6, 0.6 + 1e-9), objective="SSP coefficient")
    assert 0.6 <= ssp.parameters["u"] <= 0.6 + 1e-9
    assert ssp.value == pytest.approx(2 - 1 / 0.6, abs=1e-8)


@pytest.mark.parametrize(
    ("family", "box"),
    [
        (SDIRK2, ((0.2, 0.4), (0.5, 1))),
        (SDIRK2, ((0.1, 0.9), (0, 1))),
        (COLLOCATION2, ((0, 0.5), (0.6, 1))),
    ],
)
def test_an_error_of_zero_is_an_optimum(family, box):
    found = optimize(family, *box)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert max(map(abs, found.gradient)) < 1e-12
    if family is SDIRK2:  # order 3, Crouzeix
        assert found.parameters["gamma"] == pytest.approx((3 - math.sqrt(3)) / 6, rel=1e-14)
        assert str(found.polynomials["gamma"]) == "6*x^2 - 6*x + 1"
    else:  # order 3 iff 1/3 - (c1 + c2)/2 + c1 c2 = 0
        c1, c2 = found.parameters.values()
        assert 1 / 3 - (c1 + c2) / 2 + c1 * c2 == pytest.approx(0, abs=1e-12)


def test_a_narrow_atlas_has_its_own_points():
    found = atlas(RK2, (0.50001, 0.50002), points=3, quantities=["SSP coefficient"])
    np.testing.assert_allclose(found.axes[0], [0.50001, 0.500015, 0.50002], rtol=1e-15)
    expected = [2 - 1 / u for u in found.axes[0]]
    np.testing.assert_allclose(found.values["SSP coefficient"], expected, rtol=1e-9)
    for wrong in ((0.5, math.inf), (1, 10**400), (0.5, "1"), 0.5, (0.5, 0.7, 1)):
        with pytest.raises(ValueError, match="finite"):
            atlas(RK2, wrong)
        with pytest.raises(ValueError, match="needs one range"):
            optimize(RK2, wrong)
    with pytest.raises(ValueError, match="`points` of an axis must be a whole number from 2"):
        atlas(RK2, (0.5, 1), points=2.5)
    with pytest.raises(ValueError, match="from 2 to 10000, got 1000000000"):
        atlas(RK2, (0.5, 1), points=10**9)


def test_a_critical_point_that_is_worse_than_the_boundary_is_no_optimum():
    # In this box the eliminants meet at (1/2, 1/2) only, where the error is larger than at a corner.
    found = optimize(SDIRK2, (0.3, 0.6), (0.4, 0.7))
    assert found.value <= float(principal_error(tableau_at(SDIRK2, gamma=F(3, 10), c=F(7, 10))))
    assert found.polynomials == {}


def test_an_error_that_no_parameter_changes_has_no_isolated_optimum():
    found = optimize(RK3A, (0.1, 1))
    one = tableau_at(RK3A, w=F(1, 2))
    assert found.value == pytest.approx(float(principal_error(one)))
    assert found.polynomials == {}


@pytest.mark.parametrize(
    "box", [((0.1, 0.9),) * 2, pytest.param(((-2, 2),) * 2, marks=pytest.mark.long)]
)
def test_a_box_has_a_member_as_good_as_those_of_its_parts(box):
    name = "largest coefficient"
    part = optimize(RK4, (0.1, 0.6), (0.1, 0.5), objective=name)
    assert optimize(RK4, *box, objective=name).value < 1.02 * part.value < 0.7056


@pytest.mark.long
def test_small_sets_of_admissible_members_are_found():
    family = replace(RK3, members=())  # ssp33 among them
    found = optimize(family, (-10, 10), (-10, 10), objective="SSP coefficient")
    assert found.value == pytest.approx(1, abs=1e-4)
    bound = {"SSP coefficient": (0.97, 2)}
    best = optimize(family, (0.3, 1.1), (0.3, 1.1), constraints=bound)
    assert best.value < 0.0664


@pytest.mark.long
def test_a_valley_beside_the_nearest_one_is_found():
    found = optimize(RK3S4, *[(0.1, 0.9)] * 3, objective="largest coefficient")
    assert found.value < 0.893  # the best points of the box lead to 1.055


@pytest.mark.parametrize("width", [pytest.param(3, marks=pytest.mark.long), 1000])
def test_wide_boxes_hold_the_optima_of_narrow_ones(width):
    for family, best in ((RK3, 0.04180907638), (RK4, 0.01197745054)):
        found = optimize(family, (-width, width), (-width, width))
        assert found.value == pytest.approx(best, rel=1e-6)


def test_parameters_that_the_error_does_not_depend_on_cost_nothing(monkeypatch):
    from odecore.stability import _optimum

    counted, made = [], _optimum._squared_error

    def counting(family):
        square, *slopes = made(family)
        return [lambda *point: counted.append(point) or square(*point), *slopes]

    monkeypatch.setattr(_optimum, "_squared_error", counting)
    found = optimize(RK3_PAIR, *[(0.1, 0.9)] * 4)
    assert found.value == pytest.approx(optimize(RK3, (0.1, 0.9), (0.1, 0.9)).value, rel=1e-8)
    assert len(counted) < 10_000  # a grid in all four has 600,000


def test_ranges_that_are_none_are_refused_by_name():
    for end in (math.inf, math.nan, 1001):
        with pytest.raises(ValueError, match="between -1000 and 1000"):
            optimize(RK2, (0.1, end))
    for ends in (0.5, (1, 0), ("a", "b")):
        with pytest.raises(ValueError, match=r"\(low, high\)"):
            optimize(RK2, (0.1, 1), constraints={"SSP coefficient": ends})
    assert list(atlas(RK2, (0, 1), points=2, quantities="SSP coefficient").values) == [
        "SSP coefficient"
    ]


def test_quantities_and_constraints_of_another_kind_are_refused_by_name():
    for ask in (
        lambda: optimize(RK2, (0.1, 1), objective=["x"]),
        lambda: atlas(RK2, (0.1, 1), quantities=[["x"]]),
    ):
        with pytest.raises(ValueError, match=r"unknown quantities \[\['x'\]\]; known are"):
            ask()
    for wrong in ("SSP coefficient", [("SSP coefficient", (0, 1))]):
        with pytest.raises(TypeError, match="`constraints` must map quantities to ranges"):
            optimize(RK2, (0.1, 1), constraints=wrong)
