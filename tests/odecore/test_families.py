"""Families: proofs, excluded sets, members."""

import copy
import dataclasses
import pickle
from decimal import Decimal
from fractions import Fraction
from functools import reduce

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sympy import nan

from odecore import families
from odecore.errors import SingularParameterError
from odecore.families import (
    RK2,
    RK3,
    RK4,
    Family,
    charts,
    order_is_proved,
    prove_order,
    rkc1,
    rkc2,
)
from odecore.order import order_of_accuracy, principal_error
from odecore.tableaux import coefficients_at, tableau, tableau_at

FAMILIES = (RK2, RK3, RK4)
F = Fraction
fractions = st.fractions(-3, 3, max_denominator=40)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_wrong_claims_are_not_proved(family):
    assert not order_is_proved(dataclasses.replace(family, order=family.order + 1))
    assert not order_is_proved(dataclasses.replace(family, order=family.order - 1))

    def wrong(*values):  # the twin: the last coefficient of A is twice what it should be
        rows, b = family.formula(*values)
        return (*rows[:-1], (*rows[-1][:-1], 2 * rows[-1][-1])), b

    assert not order_is_proved(dataclasses.replace(family, formula=wrong))


def test_proofs_say_what_they_found():
    assert str(prove_order(RK2)) == (
        "RK2(u) has order 2 where none of u is zero; no higher, for the residual of [••] is "
        "(3*u - 2)/6"
    )
    claimed = prove_order(dataclasses.replace(RK2, order=3, factors=lambda u: ()))
    first, *gaps = str(claimed).splitlines()
    assert first == "order 3 of RK2(u) is not proved:"
    assert gaps[:3] == [
        "2*u is not excluded",
        "the residual of [[•]] is -1/6, not zero",
        "the residual of [••] is (3*u - 2)/6, not zero",
    ]
    assert list(claimed.verify().failures) == gaps


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_excluded_set_is_that_of_the_denominators(family):
    from sympy import factor_list

    def irreducible(expression):
        return {
            f if f.as_coefficients_dict()[f] >= 0 else -f for f, _ in factor_list(expression)[1]
        }

    entries = [a for row in family.A for a in row if a != 0] + list(family.b)
    found = {f for entry in entries for f in irreducible(entry.denom.as_expr())}
    declared = [f.as_expr() for f in family.factors(*family.generators)]
    same_up_to_scale = lambda f, g: (f / g).simplify().is_number  # noqa: E731
    for f in found:
        assert any(same_up_to_scale(f, g) for g in declared), f
    for g in declared:
        assert any(same_up_to_scale(f, g) for f in found), g


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_factors_are_affine_in_each_parameter(family):
    for factor in family.factors(*family.generators):
        assert all(max(degrees) <= 1 for degrees in factor.numer.itermonoms())


@given(fractions)
def test_rk2_members_have_order_2(u):
    assume(u != 0)
    assert order_of_accuracy(tableau_at(RK2, u=u)) == 2


@given(fractions, fractions)
def test_rk3_members_have_order_3(u, v):
    assume(all(RK3.factors(u, v)))
    assert order_of_accuracy(tableau_at(RK3, u=u, v=v)) == 3


@given(fractions, fractions)
def test_rk4_members_have_order_4(u, v):
    assume(all(RK4.factors(u, v)))
    method = tableau_at(RK4, u=u, v=v)
    assert order_of_accuracy(method) == 4
    assert method.c == (0, u, v, 1)


def test_ralston_3_has_the_known_principal_error():
    member = tableau_at(RK3, u=F(1, 2), v=F(3, 4))
    assert principal_error(member).square == F(145, 288**2)
    assert member.b == tableau("bosh3").b[:3]


def test_rk4_principal_error_minimum():
    # Known numerically: 0.0119774505 at (0.35773939, 0.59148955); a grid around it is no lower.
    u, v = F(35773939, 10**8), F(59148955, 10**8)
    best = principal_error(tableau_at(RK4, u=u, v=v))
    assert float(best) == pytest.approx(0.0119774505, abs=5e-11)
    h = F(1, 1000)
    around = [(u + i * h, v + j * h) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    assert all(principal_error(tableau_at(RK4, u=a, v=b)) > best for a, b in around)


@pytest.mark.parametrize(
    ("family", "values", "factor"),
    [
        (RK2, {"u": 0}, "u = 0"),
        (RK3, {"u": F(2, 3), "v": F(1, 3)}, "3*u - 2 = 0"),
        (RK3, {"u": F(1, 3), "v": F(1, 3)}, "u - v = 0"),
        (RK4, {"u": F(1, 2), "v": F(1, 3)}, "2*u - 1 = 0"),
        (RK4, {"u": F(1, 3), "v": 1}, "v - 1 = 0"),
        (RK4, {"u": F(0), "v": F(3, 4)}, "6*u*v - 4*u - 4*v + 3 = 0"),
        (RK4, {"u": F(1, 4), "v": F(4, 5)}, "6*u*v - 4*u - 4*v + 3 = 0"),
    ],
)
def test_singular_parameters_name_the_factor(family, values, factor):
    with pytest.raises(SingularParameterError) as caught:
        tableau_at(family, **values)
    assert factor in str(caught.value)


def _two_stages(factors, **options):
    return Family(
        "own", ("u",), 2, lambda u: (((), (u,)), (1 - 1 / (2 * u), 1 / (2 * u))), factors, **options
    )


@pytest.mark.parametrize(("at", "value"), [(tableau_at, F(0)), (coefficients_at, 0.0)])
def test_a_denominator_that_no_factor_declares(at, value):
    with pytest.raises(SingularParameterError, match="none of its `factors` vanishes"):
        at(_two_stages(lambda u: ()), u=value)
    embedded = _two_stages(lambda u: (u,), estimator=lambda u: (1 / (u - 1), 1 - 1 / (u - 1)))
    with pytest.raises(SingularParameterError, match="divides by zero at u = 1"):
        at(embedded, u=value + 1)


def test_a_factor_that_is_zero_everywhere():
    with pytest.raises(ValueError, match="is zero for all parameters; leave it out"):
        prove_order(_two_stages(lambda u: (u, u - u)))


@pytest.mark.parametrize("parameters", ["u", (), ("u", "u"), ("u", 1)])
def test_parameters_of_a_family_are_different_names(parameters):
    with pytest.raises(ValueError, match="a tuple of different names"):
        dataclasses.replace(RK3, parameters=parameters, members=())


@pytest.mark.parametrize("values", [{}, {"u": F(1, 3)}, {"u": F(1, 3), "w": F(1, 2)}])
def test_missing_and_unknown_parameters(values):
    with pytest.raises(TypeError, match="has the parameters u, v"):
        tableau_at(RK4, **values)


@pytest.mark.parametrize("value", [0.5, "1/2", None, 1j])
def test_inexact_parameters_are_refused(value):
    with pytest.raises(TypeError, match="must be exact"):
        tableau_at(RK2, u=value)


@given(fractions, fractions, st.fractions(F(1, 100), F(1, 2), max_denominator=100))
def test_a_box_that_passes_holds_no_singular_point(u, v, radius):
    low, high = (u - radius, v - radius), (u + radius, v + radius)
    try:
        RK4.require_box(low, high)
    except SingularParameterError:
        # Then a factor vanishes at a corner or changes sign between corners.
        corners = [(a, b) for a in (low[0], high[0]) for b in (low[1], high[1])]
        columns = zip(*(RK4.factors(*corner) for corner in corners), strict=True)
        assert any(min(column) <= 0 <= max(column) for column in columns)
        return
    steps = [F(k, 7) for k in range(8)]
    for s in steps:
        for r in steps:
            point = (low[0] + s * 2 * radius, low[1] + r * 2 * radius)
            assert reduce(lambda a, b: a * b, RK4.factors(*point)) != 0


def test_families_are_copied_and_pickled():
    named = [f for f in vars(families).values() if isinstance(f, Family)]
    made = [*charts(RK3), *charts(RK4), rkc1(5), rkc2(5)]
    assert len(named) > 12
    for family in (*named, *made):
        assert family.b  # fills what is computed lazily
        for other in (copy.deepcopy(family), pickle.loads(pickle.dumps(family))):  # noqa: S301
            assert other == family
            assert hash(other) == hash(family)
            assert (other.A, other.b, other.excluded) == (family.A, family.b, family.excluded)
    assert len({*named, *made}) == len(named) + len(made)


def test_a_closed_box_may_not_touch_the_excluded_set():
    for u, v in [(F(2, 5), F(7, 10)), (F(1, 10), F(3, 5))]:  # an edge on 2u = 1, a corner at u = 0
        with pytest.raises(SingularParameterError, match="vanishes in the box"):
            RK4.require_box((u - F(1, 10), v), (u + F(1, 10), v))


# Found by attack.


@pytest.mark.parametrize("value", [Decimal(0), Decimal("0.5"), 0j, "0.5", None, [0.5], nan])
def test_what_is_no_real_number_is_refused(value):
    with pytest.raises(TypeError, match="`u` must be a real number or an array, got"):
        coefficients_at(RK2, u=value)


def test_floats_are_decided_up_to_rounding():
    for u in (2 / 3, 2 / 3 + 1e-15, 2 / 3 - 1e-15):
        with pytest.raises(SingularParameterError, match=r"3\*u - 2 = 0"):
            coefficients_at(RK3, u=u, v=0.3)
    assert coefficients_at(RK3, u=2 / 3 + 1e-3, v=0.3).order == 3


def family_with_factor(factor):
    return dataclasses.replace(RK2, factors=lambda u: (factor(u),))


def test_a_box_is_bisected_where_a_factor_is_not_affine():
    # (u - 1/2)^2 + c: the middle Bernstein coefficient over [0, 1] is c - 1/4.
    for c in (F(1, 5), F(1, 10**3)):
        family_with_factor(lambda u, c=c: (u - F(1, 2)) ** 2 + c).require_box((0,), (1,))
    for c in (F(0), F(-1, 10**6), F(1, 10**12)):  # a double root, two roots, one too close
        with pytest.raises(SingularParameterError, match="vanishes in the box"):
            family_with_factor(lambda u, c=c: (u - F(1, 3)) ** 2 + c).require_box((0,), (1,))


def test_what_is_known_of_a_family_needs_no_symbols():
    def fields(*values):
        assert all(isinstance(value, float | F) for value in values)
        return rkc2(20).formula(*values)

    family = dataclasses.replace(rkc2(20), formula=fields)
    assert (family.is_explicit, family.last_stage_is_first, family.stages) == (True, False, 20)
    assert family.shared_abscissae == (0, *[None] * 19)
    found = coefficients_at(family, epsilon=2 / 13)
    exact = tableau_at(rkc2(20), epsilon=F(2, 13)).coefficients
    assert found.b == pytest.approx(exact.b, rel=1e-12)


@pytest.mark.parametrize("family", [f for f in vars(families).values() if isinstance(f, Family)],
                         ids=lambda f: f.name)  # fmt: skip
def test_kinds_of_families_are_those_of_their_symbols(family):
    explicit = all(a == 0 for i, row in enumerate(family.A) for a in row[i:])
    assert family.is_explicit == explicit
    assert family.stages == len(family.b)
    assert family.last_stage_is_first == (family.stages > 1 and family.A[-1] == family.b)
    for own, shared in zip(family.c, family.shared_abscissae, strict=True):
        constant = not hasattr(own, "diff") or own.as_expr().is_number
        assert shared == (F(str(own)) if constant else None)


def test_kinds_of_families_are_decided_where_one_member_cannot_tell():
    def full_rows(u):
        rows, b = RK2.formula(u)
        return tuple((*row, *(0 * u,) * (2 - len(row))) for row in rows), b

    def touched(u):  # explicit at all points that are tried first
        points = [F(k, 2 * k + 2) for k in range(1, 9)]
        gap = reduce(lambda product, point: product * (u - point), points, 1)
        return ((gap, 0), (u, 0)), RK2.formula(u)[1]

    def singular(u):  # at these points
        gap = touched(u)[0][0][0]
        return ((gap / gap - 1, 0), (u, 0)), RK2.formula(u)[1]

    assert dataclasses.replace(RK2, formula=full_rows).is_explicit
    assert not dataclasses.replace(RK2, formula=touched).is_explicit
    assert dataclasses.replace(RK2, formula=touched).shared_abscissae == (None, None)
    assert dataclasses.replace(RK2, formula=singular).is_explicit
    assert dataclasses.replace(RK2, formula=singular).shared_abscissae == (0, None)
