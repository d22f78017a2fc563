"""Intervals, decisions, phase errors and nonlinear stability, against published values and scans."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.exact import isolate_roots, parse_number
from odecore.families import (
    COLLOCATION2,
    RK1S2,
    RK2,
    RK2S3,
    RK3,
    RK3S4,
    RK4,
    RK4A,
    SDIRK2,
    THETA,
    Family,
    rkc1,
    rkc2,
)
from odecore.stability import (
    _contractivity,
    contractivity_radius,
    dispersion_order,
    dissipation_order,
    imaginary_interval,
    internal_amplification,
    linear_ssp_coefficient,
    linear_stability,
    parametric_stability,
    plot_region,
    real_interval,
    ssp_coefficient,
    stability_function,
)
from odecore.tableaux import ButcherTableau, catalogue, tableau, tableau_at

F = Fraction
SMALL = [n for n, m in catalogue().items() if m.stages <= 7 and not m.uncertainty and m.order > 0]


@pytest.mark.parametrize(
    ("name", "real", "imaginary"),
    [
        ("euler", 2, 0), ("heun", 2, 0), ("kutta3", 2.512745326618329, math.sqrt(3)),
        ("classic", 2.785293563405282, 2 * math.sqrt(2)), ("bosh3", 2.512745326618329, 1.732051),
        ("dopri5", 3.3066, 0.997189), ("ssp43", 5.1494, 2.156180), ("ssp104", 13.917, 4.921453),
        ("trapezoidal", math.inf, math.inf), ("gauss3", math.inf, math.inf),
        ("radau_iia3", math.inf, math.inf),
    ],
)  # fmt: skip
def test_published_intervals(name, real, imaginary):
    digits = {"real": 1e-12 if real in (2, 2.785293563405282, 2.512745326618329) else 5e-4}
    assert real_interval(tableau(name)).length == pytest.approx(real, rel=digits["real"])
    assert imaginary_interval(tableau(name)).length == pytest.approx(imaginary, rel=1e-6, abs=0)


def test_rounded_coefficients_do_not_destroy_the_imaginary_interval():
    # Of tsit5 only decimals are known; R's coefficients to order 5 are 1/k! all the same.
    assert stability_function(tableau("tsit5")).numerator[5] == F(1, 120)
    assert imaginary_interval(tableau("dop853")).length > 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", SMALL)
def test_intervals_against_a_scan(name):
    """|R| <= 1 up to the end of the interval and not just beyond: on a grid, with slack."""
    method = tableau(name)
    R = stability_function(method)
    for axis, found in ((-1, real_interval(method)), (1j, imaginary_interval(method))):
        end = min(found.length, 50.0)
        with np.errstate(all="ignore"):
            assert np.all(np.abs(R(axis * np.linspace(0, end, 2001))) <= 1 + 1e-9)
            if found.length < 50:
                beyond = end + np.geomspace(1e-3, 0.4, 40)
                assert np.any(np.abs(R(axis * beyond)) > 1 + 1e-13)


def test_the_real_interval_needs_roots_of_polynomials_of_degree_s_only(monkeypatch):
    degrees = []

    def isolate(polynomial, *ends):
        degrees.append(polynomial.degree)
        return isolate_roots(polynomial, *ends)

    monkeypatch.setattr("odecore.stability._intervals.isolate_roots", isolate)
    assert real_interval(tableau("dopri5")).length == pytest.approx(3.3065678, rel=1e-6)
    assert degrees == [6, 6]


@pytest.mark.parametrize("s", [2, 5, 12, 24])
def test_damped_chebyshev_methods_end_where_the_argument_of_the_polynomial_does(s):
    w0 = 1 + Fraction(1, 20 * s * s)
    T, D = [Fraction(1), w0], [Fraction(0), Fraction(1)]  # Chebyshev's, and their derivatives
    for _ in range(s - 1):
        T, D = [*T, 2 * w0 * T[-1] - T[-2]], [*D, 2 * T[-1] + 2 * w0 * D[-1] - D[-2]]
    end = 2 * w0 * D[s] / T[s]  # R(z) = T_s(w0 + w1 z) / T_s(w0), w1 = T_s(w0) / T_s'(w0)
    found = real_interval(tableau_at(rkc1(s), epsilon=Fraction(1, 20))).bracket
    assert found[0] <= end <= found[1]


@pytest.mark.parametrize("s", [2, 3, 6, 9])
def test_undamped_chebyshev_methods_touch_one_and_go_on(s):
    assert real_interval(tableau_at(rkc1(s), epsilon=0)).length == 2 * s * s
    damped = real_interval(tableau_at(rkc1(s), epsilon=F(1, 20))).length
    assert 0.96 * 2 * s * s < damped < 2 * s * s
    if s < 6:
        return  # the formula for the second order is an asymptotic one
    second = real_interval(tableau_at(rkc2(s), epsilon=F(2, 13))).length
    assert second == pytest.approx(2 / 3 * (s * s - 1) * (1 - 2 / 15 * 2 / 13), rel=0.05)


# A-stability ------------------------------------------------------------------------------------

A_STABLE = {
    "trapezoidal",
    "implicit_midpoint",
    "gauss2",
    "gauss3",
    "lobatto_iiia3",
    "lobatto_iiib3",
}
L_STABLE = {"implicit_euler", "radau_ia2", "radau_ia3", "radau_iia2", "radau_iia3", "lobatto_iiic3", "alexander2", "hairer_wanner_sdirk4"}  # fmt: skip


@pytest.mark.parametrize("name", sorted(A_STABLE | L_STABLE | {"classic", "euler"}))
def test_published_decisions(name):
    found = linear_stability(tableau(name))
    assert found.A_stable == (name in A_STABLE | L_STABLE)
    assert found.L_stable == (name in L_STABLE)
    assert found.I_stable == found.A_stable
    assert str(found).startswith(
        {True: "L-", False: "A-"}[found.L_stable] if found.A_stable else "not"
    )


def test_borderline_touching_is_decided():
    # E = (x - 1)^2 x^2 >= 0 touches zero at x = 1: built from R with |R(i)| = 1.
    gamma = F(1, 4)
    assert linear_stability(tableau_at(SDIRK2, gamma=gamma, c=F(3, 4))).A_stable
    assert not linear_stability(tableau_at(SDIRK2, gamma=gamma - F(1, 10**12), c=F(3, 4))).A_stable


@given(st.fractions(-1, 2, max_denominator=50), st.fractions(-1, 2, max_denominator=50))
def test_parametric_conditions_agree_with_single_decisions(x, y):
    if x != y:
        found = linear_stability(tableau_at(SDIRK2, gamma=x, c=y))
        assert found.A_stable == (x >= F(1, 4))
        inside = (
            linear_stability(tableau_at(COLLOCATION2, c1=abs(x), c2=abs(y)))
            if abs(x) != abs(y)
            else None
        )
        if inside and max(abs(x), abs(y)) <= 1:
            assert inside.A_stable == (abs(x) + abs(y) >= 1)
            assert inside.L_stable == (
                inside.A_stable and max(abs(x), abs(y)) == 1 and min(abs(x), abs(y)) > 0
            )
    assert linear_stability(tableau_at(THETA, theta=x)).A_stable == (x >= F(1, 2))


def test_parametric_statements():
    assert parametric_stability(SDIRK2).solution == "gamma >= 1/4"
    assert parametric_stability(THETA).solution == "theta >= 1/2"
    assert parametric_stability(SDIRK2).zero_at_infinity == ("2*gamma**2 - 4*gamma + 1",)
    assert "(c1 + c2 - 1)" in str(parametric_stability(COLLOCATION2))
    for family in (RK3S4, RK1S2, RK2, RK3, RK4A, rkc1(2)):
        with pytest.raises(ValueError, match="no member is A-stable; use linear_stability"):
            parametric_stability(family)


# Phase ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["euler", "heun", "classic", "dopri5", "gauss2", "radau_iia2", "alexander2"]
)
def test_phase_orders_against_slopes(name):
    R = stability_function(tableau(name))
    y = np.array([0.2, 0.1])
    value = R(1j * y)
    phase, amplitude = np.abs(y - np.angle(value)), np.abs(1 - np.abs(value))
    assert np.log2(phase[0] / phase[1]) == pytest.approx(
        dispersion_order(tableau(name)) + 1, abs=0.2
    )
    if dissipation_order(tableau(name)) == math.inf:
        assert amplitude.max() < 1e-14
    else:
        slope = np.log2(amplitude[0] / amplitude[1])
        assert slope == pytest.approx(dissipation_order(tableau(name)) + 1, abs=0.2)


# Nonlinear --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("ssp32", 2), ("ssp42", 3), ("ssp33", 1), ("ssp43", 2), ("ssp104", 6), ("heun", 1), ("classic", 0),
     ("midpoint", 0), ("implicit_euler", math.inf), ("trapezoidal", 2)],
)  # fmt: skip
def test_published_ssp_coefficients(name, value):
    assert ssp_coefficient(tableau(name)) == value


@pytest.mark.parametrize("name", ["ssp75", "ssp85", "ssp95"])
def test_negative_coefficients_need_downwinding(name):
    method = tableau(name)
    assert min(a for row in (*method.A, method.b) for a in row) < -10 * method.uncertainty
    assert ssp_coefficient(method) == 0


@given(st.fractions(F(1, 20), 3, max_denominator=20))
def test_ssp_over_the_rk2_family(u):
    assert ssp_coefficient(tableau_at(RK2, u=u)) == pytest.approx(
        float(max(0, min(2 - 1 / u, 1 / u))), abs=1e-14
    )


def test_ssp_over_rk3_and_rk4():
    assert ssp_coefficient(tableau_at(RK3, u=1, v=F(1, 2))) == 1
    for u, v in ((F(9, 10), F(1, 2)), (F(1), F(2, 5)), (F(1, 2), F(3, 4))):
        assert ssp_coefficient(tableau_at(RK3, u=u, v=v)) < 1
        assert ssp_coefficient(tableau_at(RK4, u=u - F(1, 19), v=v)) == 0


def test_linear_ssp_and_contractivity():
    assert linear_ssp_coefficient(tableau("classic")) == 1
    assert linear_ssp_coefficient(tableau("ssp104")) == 6
    assert contractivity_radius(tableau("classic")) == pytest.approx(1)
    assert contractivity_radius(tableau("gauss3")) == math.inf
    assert contractivity_radius(tableau("dopri5")) == 0  # a negative weight
    for function in (linear_ssp_coefficient, internal_amplification):
        with pytest.raises(ValueError, match="explicit methods only"):
            function(tableau("gauss2"))


def test_contractivity_on_a_disc(rng):
    """On the disc no step expands the distance of two solutions of a linear contractive problem."""
    method = tableau_at(RK3, u=F(1, 2), v=F(3, 4))
    r = contractivity_radius(method)
    angle = np.linspace(0, 2 * np.pi, 400)
    R = stability_function(method)
    assert np.abs(R(-r + r * np.exp(1j * angle))).max() <= 1 + 1e-12


def test_internal_amplification_of_euler_and_growth_with_stages():
    assert internal_amplification(tableau("euler")) == pytest.approx(2, rel=1e-3)
    assert 0 < internal_amplification(tableau("ssp104")) < 100
    assert internal_amplification(tableau("fehlberg78")) > internal_amplification(
        tableau("classic")
    )


@pytest.mark.parametrize(
    "function",
    [real_interval, imaginary_interval, linear_stability, ssp_coefficient, linear_ssp_coefficient,
     contractivity_radius, internal_amplification, dispersion_order, dissipation_order],
)  # fmt: skip
def test_what_is_no_tableau_is_refused(function):
    for wrong in ("classic", RK4):
        with pytest.raises(TypeError, match="must be a ButcherTableau, got"):
            function(wrong)
    with pytest.raises(TypeError, match="must be a Family"):
        parametric_stability(tableau("classic"))


@pytest.mark.parametrize("name", ["classic", "ssp104", "radau_iia3", "fehlberg78"])
@pytest.mark.parametrize("order_star", [False, True])
def test_pictures(name, order_star):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    ax = plot_region(tableau(name), order_star=order_star, points=80)
    assert ax.get_title()
    assert ax.collections
    (low, high) = ax.get_xlim()
    assert low < 0 < high
    plt.close(ax.figure)


# Found by attack.


@given(st.fractions(-4, 4, max_denominator=6), st.fractions(-4, 4, max_denominator=6))
def test_parametric_statements_hold_on_their_domain(x, y):
    # Independent of the statement's own strings: |R| <= 1 by the decision for one member.
    if x == y:
        return
    domain = 2 * x * y - x - y + 1
    A = (x + y - 1) * domain >= 0 and x + y >= 0 and x * y >= 0
    found = linear_stability(tableau_at(COLLOCATION2, c1=x, c2=y))
    if domain != 0:
        assert found.A_stable == A
        assert found.L_stable == (A and (x - 1) * (y - 1) == 0)


def test_the_domain_is_part_of_the_statement():
    found = parametric_stability(COLLOCATION2)
    assert found.domain == ("2*c1*c2 - c1 - c2 + 1",)
    assert "where 2*c1*c2 - c1 - c2 + 1 != 0, is A-stable iff" in str(found)
    # Off the domain: at infinity P and Q both lose a degree; a pole at -3 cancels.
    trapezoidal = linear_stability(tableau_at(COLLOCATION2, c1=0, c2=1))
    assert (trapezoidal.A_stable, trapezoidal.L_stable) == (True, False)
    assert linear_stability(tableau_at(COLLOCATION2, c1=-1, c2=F(2, 3))).A_stable
    assert parametric_stability(THETA).domain == ()


def one_stage(a, name="X"):
    """A = (a(t)), b = 1: R = (1 + (1 - a) z)/(1 - a z) is A-stable iff a >= 1/2."""
    return Family(name, ("t",), 1, lambda t: (((a(t),),), (t / t,)), lambda t: (t, t - 1))


@pytest.mark.parametrize(
    ("a", "solution"),
    [
        (lambda t: t * t, "t <= -1/2*sqrt(2) or t >= 1/2*sqrt(2)"),
        (lambda t: t * t - t, "t <= 1/2-1/2*sqrt(3) or t >= 1/2+1/2*sqrt(3)"),
        (lambda t: t * t * t, "t >= the root of 2*x^3 - 1 near 0.793701"),
        (lambda t: 1 / t, "0 <= t <= 2"),  # t = 0 is excluded
        (lambda t: F(1, 2) - t * t, "t = 0"),
        (lambda t: F(1, 4) - t * t, "never"),
        (lambda t: F(1, 2) - (t * t - 2) ** 2, "t = -sqrt(2) or t = sqrt(2)"),
    ],
)
def test_bounds_have_their_exact_names(a, solution):
    assert parametric_stability(one_stage(a)).solution == solution


def test_decisions_do_not_depend_on_how_many_digits_are_written():
    member = tableau_at(SDIRK2, gamma=F("0.3" + "1234567" * 500), c=1)
    assert str(linear_stability(member)).startswith("A-stable: E(x), of degree 2, >= 0 for x")


def test_poles_in_the_left_half_plane():
    found = linear_stability(tableau_at(COLLOCATION2, c1=-3, c2=2))
    assert (found.I_stable, found.A_stable) == (True, False)
    # Q(-z) = 1 + 3/5 z + 3/20 z^2 + 1/60 z^3, by hand.
    assert linear_stability(tableau("radau_iia3")).routh == (F(1, 60), F(3, 20), F(22, 45), 1)
    # det(I - zA) = 1 - z + z^2 - 2z^3 has all signs right and two complex zeros on the left.
    A = ((0, 0, 2), (1, 0, -1), (0, 1, 1))
    found = linear_stability(ButcherTableau(A, (1, 0, 0)))
    assert found.routh == (2, 1, -1)
    assert not found.A_stable
    assert np.roots([-2, 1, -1, 1]).real.min() < 0


def test_decimals_of_an_implicit_method_keep_their_polynomial():
    rough = dataclasses.replace(tableau("radau_iia2"), uncertainty=F(1, 10**16))
    assert stability_function(rough).numerator == (1, F(1, 3))


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "name", [n for n, m in catalogue().items() if m.uncertainty and not m.is_explicit]
)
def test_decimals_of_an_implicit_method_keep_its_properties_on_the_axes(name):
    # All of them were published as A-stable; phase and amplitude err no sooner than the solution.
    method = tableau(name)
    assert dispersion_order(method) >= method.order
    assert dissipation_order(method) >= method.order
    assert real_interval(method).length == imaginary_interval(method).length == math.inf
    found = linear_stability(method)
    assert found.A_stable
    # crouzeix4 is A-stable only; kvaerno43 advances by the weights of order 4, with abs(R(inf)) < 1
    assert found.L_stable == (name not in ("gauss4", "gauss5", "crouzeix4", "kvaerno43"))


@pytest.mark.parametrize(("name", "exact"), [("gauss4", 8), ("gauss5", 10)])
def test_gauss_methods_known_as_decimals_keep_all_amplitudes(name, exact):
    assert dispersion_order(tableau(name)) == exact
    assert dissipation_order(tableau(name)) == math.inf
    assert not linear_stability(tableau(name)).E


def as_decimals(method):
    """The method as it is printed with 15 digits after the point."""
    unit = 10**15
    rows = [[F(round(float(a) * unit), unit) for a in row] for row in (*method.A, method.b)]
    return ButcherTableau(rows[:-1], rows[-1], order=method.order, uncertainty=F(1, unit))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [n for n in SMALL if tableau(n).is_explicit])
def test_decimals_of_an_explicit_method_keep_its_properties_on_the_axes(name):
    exact, rough = tableau(name), as_decimals(tableau(name))
    assert dispersion_order(rough) == dispersion_order(exact)
    assert dissipation_order(rough) == dissipation_order(exact)
    for interval in (real_interval, imaginary_interval):
        assert interval(rough).length == pytest.approx(interval(exact).length, rel=1e-6, abs=0)


def test_what_decimals_that_are_taken_as_exact_lose():
    # |R(iy)| of Merson's method is 1 - y^8/3456: of y^6 only rounding is left.
    exact, rough = tableau("merson"), as_decimals(tableau("merson"))
    wrong = dataclasses.replace(
        rough, uncertainty=F(1, 10**30), b=(*rough.b[:-1], 1 - sum(rough.b[:-1]))
    )
    assert imaginary_interval(exact).length == pytest.approx(math.sqrt(12))
    assert (dissipation_order(exact), dissipation_order(wrong)) == (7, 5)


def test_a_linear_order_beyond_the_order_is_not_lost_to_decimals():
    # z^4 of kcl_32_4_2r is 1/24 to its 26 digits, and R that of the classic method.
    found = stability_function(tableau("kcl_32_4_2r"))
    assert float(found.numerator[4]) == 1 / 24
    assert dissipation_order(tableau("kcl_32_4_2r")) == dissipation_order(tableau("classic")) == 5


def test_what_is_larger_than_rounding_stays():
    # Weights of gauss2 moved by 1e-12: that shows if they are known to 20 places, not to 11.
    exact = tableau("gauss2")
    b = (exact.b[0] + F(1, 10**12), exact.b[1] - F(1, 10**12))
    for uncertainty, order in ((F(1, 10**20), 1), (F(1, 10**11), math.inf)):
        method = ButcherTableau(exact.A, b, uncertainty=uncertainty)
        assert dissipation_order(method) == order


def test_r_is_evaluated_without_cancellation():
    s, epsilon = 30, F(1, 20)
    R = stability_function(tableau_at(rkc1(s), epsilon=epsilon))
    T = np.polynomial.Chebyshev.basis(s)
    w0 = 1 + float(epsilon) / s**2
    z = -np.linspace(0, 1700, 37)
    np.testing.assert_allclose(R(z), T(w0 + T(w0) / T.deriv()(w0) * z) / T(w0), atol=1e-9)
    exact = R.reduced()[0](F(-15552, 10))
    assert R(-1555.2) == pytest.approx(float(exact), abs=1e-11)
    assert R(-1555.2).shape == ()
    many = np.full((3, 5000), 0.5j)
    assert R(many).shape == many.shape
    np.testing.assert_allclose(R(many), R(0.5j), rtol=1e-14)


def test_a_tiny_imaginary_interval_is_as_exact_as_a_long_one():
    # E = x^2 ((2d - 1/4) - d^2 x): the end is at y = sqrt(2d - 1/4)/d.
    for k in (4, 12, 20):
        excess = F(1, 10**k)
        d = F(1, 8) + excess
        found = imaginary_interval(tableau_at(RK2S3, u=F(1, 2), v=F(3, 4), d=d)).length
        assert found == pytest.approx(math.sqrt(2 * excess) / float(d), rel=1e-14)


def test_ssp_coefficients_of_every_size():
    for k in (2, 7, 30):  # 1/(1 - theta)
        member = tableau_at(THETA, theta=1 - F(1, 10**k))
        assert ssp_coefficient(member) == pytest.approx(10**k, rel=1e-14)
    assert ssp_coefficient(tableau_at(THETA, theta=F(99, 100))) == 100
    assert ssp_coefficient(tableau_at(THETA, theta=1)) == math.inf
    for k in (3, 13, 40):  # 2 - 1/u
        excess = F(1, 10**k)
        found = ssp_coefficient(tableau_at(RK2, u=F(1, 2) + excess))
        assert found == pytest.approx(float(2 - 1 / (F(1, 2) + excess)), rel=1e-14)
    member = tableau_at(RK1S2, u=1, d=F(1, 10))  # 1 - r + r^2/10 = 0
    assert linear_ssp_coefficient(member) == pytest.approx(5 - math.sqrt(15), rel=1e-14)
    assert linear_ssp_coefficient(tableau_at(RK1S2, u=1, d=F(-1, 10))) == 0
    assert contractivity_radius(tableau("midpoint")) == 0


def test_ssp_coefficients_of_members_with_long_decimals_are_found_in_few_exact_steps(monkeypatch):
    member = tableau_at(RK3, u=F("0.943396243"), v=F("0.534436277"))
    counted, solve = [], _contractivity._end_of_interval

    def counting(admissible, *estimate):
        return solve(lambda r: counted.append(r) or admissible(r), *estimate)

    monkeypatch.setattr(_contractivity, "_end_of_interval", counting)
    found = ssp_coefficient(member)
    assert len(counted) < 25
    monkeypatch.setattr(_contractivity, "_estimate", lambda K: 0.0)
    assert abs(found / ssp_coefficient(member) - 1) < 2.0**-49


@pytest.mark.parametrize(
    ("method", "value"),
    [
        (tableau("alexander2"), 1 + math.sqrt(2)),
        (tableau("norsett3_small_gamma"), 1 + math.sqrt(3)),  # Ferracina and Spijker 2008: optimal
        (tableau_at(RK2, u=parse_number("1/2*sqrt(3)")), 2 - 2 / math.sqrt(3)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_ssp_coefficients_of_methods_with_roots(method, value):
    assert ssp_coefficient(method) == pytest.approx(value, rel=2**-49)


@pytest.mark.parametrize(
    ("name", "far"),
    [("gauss2", 1), ("implicit_midpoint", -1), ("implicit_euler", 0), ("radau_iia3", 0)],
)
def test_the_stability_function_has_its_limit_far_out(name, far):
    R = stability_function(tableau(name))
    for z in (-1e170, 1e200j, -1e300, -math.inf):
        assert abs(R(z) - far) < 1e-15
    z = np.array([-1 - 1e-9, -1.0, -1 + 1e-9, 0.5j, 2j, -30 + 3j])
    P, Q = (np.polyval([float(a) for a in p[::-1]], z) for p in (R.numerator, R.denominator))
    np.testing.assert_allclose(R(z), P / Q, rtol=1e-14)
    np.testing.assert_array_equal(R(list(z)), R(z))


FAR_METHODS = [
    *(tableau(name) for name in ("euler", "heun", "kutta3", "classic", "dopri5", "verner87")),
    tableau_at(rkc1(20), epsilon=Fraction(1, 20)),
]


def exact_power_sum(coefficients, x, y):
    """Real and imaginary part of a polynomial at x + iy, in fractions."""
    real, imaginary = Fraction(0), Fraction(0)
    for c in reversed(coefficients):
        real, imaginary = real * x - imaginary * y + Fraction(c), real * y + imaginary * x
    return real, imaginary


def rounded(x, largest):
    return (math.inf if x > 0 else -math.inf) if abs(x) > largest else float(x)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", FAR_METHODS, ids=lambda method: method.name or "rkc1(20)")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_stability_function_of_explicit_methods_has_the_right_sign_far_out(method, dtype):
    R = stability_function(method)
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    size = 10 ** rng.uniform(0, math.log10(info.max), (2, 120))
    parts = (size * rng.choice([-1, 0, 1], size.shape)).astype(dtype)
    for x in (parts[0], -info.max * np.ones(1, dtype)):
        found, wanted = R(x), [exact_power_sum(R.numerator, Fraction(float(v)), 0) for v in x]
        far = np.abs(x) > 10 * len(method.b) ** 2
        assert found.dtype == dtype
        wanted = np.array([rounded(w, float(info.max)) for w, _ in wanted], dtype)
        np.testing.assert_allclose(found[far], wanted[far], rtol=200 * info.eps)
    found = R(parts[0] + 1j * parts[1])
    for z, value in zip(parts.T, found, strict=True):
        wanted = exact_power_sum(R.numerator, *(Fraction(float(v)) for v in z))
        largest = max(map(abs, wanted))
        if largest > info.max:
            assert np.isinf(value)
            assert not np.isnan(value.real)
            assert not np.isnan(value.imag)
            for part, exact in zip((value.real, value.imag), wanted, strict=True):
                assert abs(exact) < largest / 10**5 or np.sign(part) == np.sign(exact)


def test_the_stability_function_of_explicit_methods_at_infinity():
    for name, below in (("euler", -math.inf), ("heun", math.inf), ("classic", math.inf)):
        R = stability_function(tableau(name))
        assert (R(-math.inf), R(math.inf)) == (below, math.inf)
        assert R(complex(-math.inf, 0)) == complex(below, 0)
        assert math.isnan(R(math.nan))


def test_the_stability_function_is_infinite_at_its_poles():
    R = stability_function(tableau("implicit_euler"))
    assert R(1.0) == math.inf
    assert R(1) == math.inf
    np.testing.assert_array_equal(R(np.array([1, 0], dtype=complex)), [math.inf, 1])


def test_an_amplification_over_no_points_is_refused():
    for points in (0, 1, -3, 2.5, "9", None):
        for function in (internal_amplification, plot_region):
            with pytest.raises(
                ValueError, match="`points` of an axis must be a whole number from 2"
            ):
                function(tableau("classic"), points=points)
