"""Tableaux, coefficients and the catalogue."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import assume, given
from hypothesis import strategies as st

from odecore.errors import SingularParameterError
from odecore.exact import QuadraticNumber
from odecore.families import COLLOCATION2, RK3, RK3_PAIR, RK4, RK4_PAIR, THETA, Family
from odecore.solve import solve_ivp
from odecore.tableaux import (
    ButcherTableau,
    Coefficients,
    catalogue,
    coefficients_at,
    tableau,
    tableau_at,
    tableau_from_json,
    tableau_to_json,
)

F = Fraction
HALF = F(1, 2)


def test_a_tableau_is_valid_once_built():
    method = ButcherTableau(((0, 0), (HALF, 0)), (0, 1))
    assert method == ButcherTableau(((), (HALF,)), (0, 1))
    assert method.c == (0, HALF)
    assert method.is_explicit
    assert all(isinstance(x, Fraction) for x in (*method.A[1], *method.b, *method.c))


@pytest.mark.parametrize(
    ("A", "b", "error", "message"),
    [
        (((0.5,),), (1,), TypeError, "must be exact"),
        ((("1/2",),), (1,), TypeError, "must be exact.*parse_number"),
        (((sympy.root(3, 3),),), (1,), TypeError, r"QuadraticNumber.sqrt\(3\)"),
        (((Decimal("nan"),),), (1,), TypeError, "must be exact"),
        (((0, 0),), (1,), ValueError, "rows of length 1"),
        (((), (HALF,)), (0, HALF, HALF), ValueError, "must have 3 rows"),
        (((), (HALF,)), (HALF, 1), ValueError, "must sum to 1, got 3/2"),
        ((), (), ValueError, "must sum to 1"),
    ],
)
def test_invalid_tableaux_are_refused(A, b, error, message):
    with pytest.raises(error, match=message):
        ButcherTableau(A, b)


def test_square_roots_of_sympy_are_exact():
    root, ours = sympy.sqrt(3), tableau("gauss2")
    A = ((F(1, 4), (3 - 2 * root) / 12), ((3 + 2 * root) / 12, sympy.Rational(1, 4)))
    assert ButcherTableau(A, (HALF, HALF)).A == ours.A
    with pytest.raises(ValueError, match="must lie in one quadratic field"):
        ButcherTableau(((root, 0), (sympy.sqrt(2), 0)), (HALF, HALF))


def test_decimals_are_the_fractions_that_they_spell():
    method = ButcherTableau(((), (Decimal("0.1"),)), (Decimal("0.25"), Decimal("0.75")))
    assert method == ButcherTableau(((), (Fraction(1, 10),)), (Fraction(1, 4), Fraction(3, 4)))


def test_invalid_embedded_rows_are_refused():
    with pytest.raises(ValueError, match="2 weights like `b`, got 1"):
        ButcherTableau(((), (1,)), (HALF, HALF), b_hat=(1,))
    with pytest.raises(ValueError, match="`b_hat` must sum to 1"):
        ButcherTableau(((), (1,)), (HALF, HALF), b_hat=(1, 1))


def test_coefficients_of_implicit_tableaux_keep_what_is_needed():
    midpoint = ButcherTableau(((HALF,),), (1,)).coefficients
    assert (midpoint.A, midpoint.is_diagonally_implicit) == (((0.5,),), True)
    esdirk = tableau("trapezoidal").coefficients
    assert esdirk.A == ((0.0,), (0.5, 0.5))
    gauss = tableau("gauss2").coefficients
    assert [len(row) for row in gauss.A] == [2, 2]
    assert not gauss.is_explicit
    assert not gauss.is_diagonally_implicit


@pytest.mark.parametrize("name", [n for n, m in catalogue().items() if m.is_explicit])
def test_coefficients_are_correctly_rounded(name):
    method = tableau(name)
    found = method.coefficients
    assert found.b == tuple(map(float, method.b))
    assert [list(row) for row in found.A] == [
        [float(a) for a in row[:i]] for i, row in enumerate(method.A)
    ]
    assert found.c == tuple(map(float, method.c))
    assert found.last_stage_is_first == (method.stages > 1 and method.A[-1] == method.b)


def test_first_same_as_last_is_known():
    found = {name for name in ("euler", "classic", "bosh3", "cash_karp", "dopri5", "tsit5")
             if tableau(name).coefficients.last_stage_is_first}  # fmt: skip
    assert found == {"bosh3", "dopri5", "tsit5"}


@pytest.mark.parametrize(
    ("family", "values"),
    [
        (RK3_PAIR, {"u": F(1, 2), "v": F(3, 4), "g": F(1, 6), "h": F(1, 8)}),
        (RK4_PAIR, {"u": F(2, 5), "v": F(3, 5), "h": F(1, 20)}),
        (THETA, {"theta": F(2, 3)}),
        (COLLOCATION2, {"c1": F(1, 3), "c2": 1}),  # for this member, not for the family
        (COLLOCATION2, {"c1": F(1, 4), "c2": F(3, 4)}),
        (RK4, {"u": F(2, 5), "v": F(3, 5)}),
    ],
)
def test_a_member_in_floats_takes_as_many_evaluations_as_the_exact_one(family, values):
    exact = tableau_at(family, **values)
    rounded = coefficients_at(family, **{name: float(x) for name, x in values.items()})
    assert rounded.last_stage_is_first == exact.coefficients.last_stage_is_first
    found, expected = (
        solve_ivp(lambda t, y: -y, (0, 1), np.ones(1), method=method, steps=10)
        for method in (rounded, exact)
    )
    assert found.statistics == expected.statistics
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-14)
    if exact.is_explicit:
        arrays = coefficients_at(
            family, **{name: np.asarray(float(x)) for name, x in values.items()}
        )
        assert arrays.last_stage_is_first == rounded.last_stage_is_first


def test_the_catalogue_is_read_only_and_sourced():
    assert {"euler", "midpoint", "heun", "ralston", "classic", "three_eighths"} <= set(catalogue())
    assert all(method.source for method in catalogue().values())
    with pytest.raises(TypeError):
        catalogue()["mine"] = tableau("euler")


def test_unknown_methods_list_near_matches():
    with pytest.raises(ValueError, match="did you mean 'dopri5'"):
        tableau("dorpi5")


@pytest.mark.parametrize(
    ("A", "b"), [((), ()), (((), (0.5,)), (1.0,)), (((), (0.5, 0.5)), (0.5, 0.5))]
)
def test_malformed_coefficients_are_refused(A, b):
    with pytest.raises(ValueError, match="row i of `A` must have i entries"):
        Coefficients(A=A, b=b)
    with pytest.raises(ValueError, match="`error` must have 1 entries"):
        Coefficients(A=((),), b=(1.0,), error=(0.0, 0.0))


grid = st.integers(1, 19).map(lambda k: F(k, 20))


@given(grid, grid)
def test_floats_agree_with_exact_values(u, v):
    assume(all(abs(x) > F(1, 50) for x in RK4.factors(u, v)))
    exact = tableau_at(RK4, u=u, v=v).coefficients
    found = coefficients_at(RK4, u=float(u), v=float(v))
    assert found.order == 4
    scale = max(1, *map(abs, (*exact.b, *(a for row in exact.A for a in row))))
    np.testing.assert_allclose(found.b, exact.b, atol=1e-11 * scale)
    for row, wanted in zip(found.A, exact.A, strict=True):
        np.testing.assert_allclose(row, wanted, atol=1e-11 * scale)


def test_array_parameters_give_arrays_of_coefficients(array, eps):
    u, v = array([0.3, 0.25]), array([0.6, 0.7])
    found = coefficients_at(RK4, u=u, v=v)
    for k, (uk, vk) in enumerate([(0.3, 0.6), (0.25, 0.7)]):
        wanted = coefficients_at(RK4, u=uk, v=vk)
        for x, y in zip(found.b, wanted.b, strict=True):
            assert float(x[k]) == pytest.approx(y, abs=200 * eps)
        assert float(found.A[3][2][k]) == pytest.approx(wanted.A[3][2], abs=2000 * eps)


def test_gradients_match_exact_difference_quotients():
    import torch

    u = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    v = torch.tensor(0.65, dtype=torch.float64, requires_grad=True)
    found = coefficients_at(RK3, u=u, v=v)
    h = F(1, 10**9)
    for value, pick in [
        (found.A[2][1], lambda m: m.A[2][1]),
        (found.A[2][0], lambda m: m.A[2][0]),
        (found.b[0], lambda m: m.b[0]),
        (found.b[2], lambda m: m.b[2]),
    ]:
        gradients = torch.autograd.grad(value, (u, v), retain_graph=True)
        for gradient, (du, dv) in zip(gradients, [(h, 0), (0, h)], strict=True):
            plus = pick(tableau_at(RK3, u=F(3, 10) + du, v=F(65, 100) + dv))
            minus = pick(tableau_at(RK3, u=F(3, 10) - du, v=F(65, 100) - dv))
            assert float(gradient) == pytest.approx(float((plus - minus) / (2 * h)), rel=1e-10)


def test_jax_differentiates_coefficients():
    import jax

    slope = jax.grad(lambda u: coefficients_at(RK3, u=u, v=0.75).b[1])(0.5)
    h = F(1, 10**9)
    plus, minus = (tableau_at(RK3, u=HALF + d, v=F(3, 4)).b[1] for d in (h, -h))
    assert float(slope) == pytest.approx(float((plus - minus) / (2 * h)), rel=1e-5)


def test_singular_floats_are_refused():
    with pytest.raises(SingularParameterError, match=r"2\*u - 1 = 0"):
        coefficients_at(RK4, u=0.5, v=0.25)
    with pytest.raises(TypeError, match="has the parameters u, v"):
        coefficients_at(RK4, u=0.5)


def test_partly_given_and_odd_numbers_are_checked_too():
    import torch

    with pytest.raises(SingularParameterError, match=r"2\*u - 1 = 0"):
        coefficients_at(RK4, u=0.5, v=torch.tensor(0.7))
    with pytest.raises(SingularParameterError, match="u = 0"):
        coefficients_at(RK3, u=np.float32(0), v=0.5)
    with pytest.raises(ValueError, match="must be finite"):
        coefficients_at(RK3, u=float("nan"), v=0.5)


def test_an_embedded_row_equal_to_the_weights_estimates_nothing():
    with pytest.raises(ValueError, match="equal to `b`"):
        ButcherTableau(((), (1,)), (HALF, HALF), b_hat=(HALF, HALF))


@pytest.mark.parametrize(("u", "v"), [(0.7, -1.0), (0.6, 1.5)])
def test_floats_on_the_excluded_curve_are_refused_up_to_rounding(u, v):
    with pytest.raises(SingularParameterError, match=r"6\*u\*v - 4\*u - 4\*v \+ 3 = 0"):
        coefficients_at(RK4, u=u, v=v)


# Found by attack. ------------------------------------------------------------------------------


def test_integers_of_fixed_width_do_not_overflow():
    method = ButcherTableau(np.array([[0, 0], [10**10, 0]]), np.array([0, 1]))
    assert method.c[1] ** 2 == 10**20
    member = tableau_at(RK4, u=F(1, 3), v=np.int64(3))
    for x in (*method.A[1], *method.b, *member.A[3], *member.b):
        assert type(x.numerator) is type(x.denominator) is int


def test_rows_and_weights_are_read_once():
    with pytest.raises(ValueError, match=r"rows of lengths \[0\]"):
        ButcherTableau((r for r in [()]), (1, 0))
    for A in ((r for r in [()]), [iter(())], iter([iter((0,))])):
        assert ButcherTableau(A, iter((1,))).A == ((0,),)
    found = ButcherTableau((iter(r) for r in [(), (1,)]), iter((HALF, HALF)), b_hat=iter((1, 0)))
    assert found == ButcherTableau(((), (1,)), (HALF, HALF), b_hat=(1, 0))


@pytest.mark.parametrize("uncertainty", [QuadraticNumber.sqrt(2), 1e-9, "1/10", None])
def test_an_uncertainty_is_rational(uncertainty):
    with pytest.raises(TypeError, match="`uncertainty` must be"):
        ButcherTableau(((),), (1,), uncertainty=uncertainty)


def test_all_rows_lie_in_one_field():
    two, three = QuadraticNumber.sqrt(2), QuadraticNumber.sqrt(3)
    with pytest.raises(ValueError, match="one quadratic field"):
        ButcherTableau(((), (two,)), (0, 1), b_hat=(three, 1 - three))


@pytest.mark.parametrize("name", [n for n, m in catalogue().items() if m.is_explicit and m.b_hat])
def test_error_weights_are_rounded_once(name):
    method = tableau(name)
    wanted = tuple(float(b - e) for b, e in zip(method.b, method.b_hat, strict=True))
    assert method.coefficients.error == wanted


def test_entries_beyond_the_range_of_floats_are_printed():
    big, small = F(10) ** 400 / 3, F(1, 7 * 10**400)
    irrational = QuadraticNumber(665857, -470832, 2) / 10**30
    text = str(ButcherTableau(((), (big,), (small, 0), (irrational, 0, 0)), (1, 0, 0, 0)))
    assert "~3.33333333333333e+399" in text
    assert "~1.42857142857143e-401" in text
    assert f"~{float(irrational):.15g}" in text


@pytest.mark.parametrize("name", ["DOPRI5", "Dopri5"])
def test_names_in_capitals_have_near_matches(name):
    with pytest.raises(ValueError, match="did you mean 'dopri5'"):
        tableau(name)


@pytest.mark.parametrize("label", ["order", "embedded_order"])
def test_declared_orders_are_positive_integers(label):
    A, b, b_hat = ((), (1,)), (F(1, 2), F(1, 2)), (1, 0)
    for wrong in (0, -4, 1.5, True, "4"):
        with pytest.raises(ValueError, match=f"`{label}` must be a positive integer, or None; got"):
            ButcherTableau(A, b, b_hat=b_hat, **{label: wrong})
    method = ButcherTableau(A, b, b_hat=b_hat, **{label: np.int64(1)})
    assert type(getattr(method, label)) is int
    assert tableau_from_json(tableau_to_json(method)) == method


@pytest.mark.parametrize("label", ["name", "source", "note"])
def test_words_about_a_tableau_are_strings(label):
    with pytest.raises(TypeError, match=f"`{label}` must be a string, got 3"):
        ButcherTableau(((),), (1,), **{label: 3})


def test_coefficients_of_thousands_of_digits_are_rounded_in_text_and_not_written():
    large = 10**4500
    method = ButcherTableau(((), (large,)), (1 - F(1, large), F(1, large)))
    assert "~1e+4500" in str(method)
    assert "~1e-4500" in str(method)
    for write in (tableau_to_json, ButcherTableau.latex):
        with pytest.raises(ValueError, match="more than 4000 digits, which is not written; round"):
            write(method)
    with pytest.raises(ValueError, match="an integer of more than 4000 digits"):
        tableau_from_json('{"A": [[]], "b": [1], "order": 1' + "0" * 5000 + "}")


def test_coefficients_may_be_rows_of_arrays():
    def end(method):
        return solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], method=method, steps=4).y[-1, 0]

    found = Coefficients(A=((), np.array([0.5])), b=np.array([0.0, 1.0]), order=2)
    assert end(found) == pytest.approx(end("midpoint"))
    assert found == Coefficients(A=((), (0.5,)), b=(0.0, 1.0), order=2)


def test_numbers_of_any_kind_become_floats_in_implicit_coefficients_too():
    def formula(g):  # trapezoidal at 1/2, with constants that are int and Fraction
        return ((0, 0), (1 - g, g)), (F(1, 2), F(1, 2))

    family = Family("implicit", ("g",), 1, formula, lambda g: ())
    wanted = Coefficients(A=((0.0,), (0.5, 0.5)), b=(0.5, 0.5), order=1, last_stage_is_first=True)
    for found in (
        coefficients_at(family, g=0.5),
        Coefficients(((0,), (F(1, 2), F(1, 2))), [F(1, 2), np.float32(0.5)], None, 1, True),
    ):
        assert found == wanted
        assert all(type(a) is float for row in (*found.A, found.b) for a in row)
        solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], method=found, steps=1)
