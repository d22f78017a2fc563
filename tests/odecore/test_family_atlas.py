"""Every family: proof, certificate, charts, pairs, dense output, Chebyshev methods."""

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odecore.errors import NearSingularWarning, SingularParameterError
from odecore.exact import Polynomial, QuadraticNumber
from odecore.families import (
    COLLOCATION2,
    RK1S2,
    RK2,
    RK2S3,
    RK3,
    RK3_PAIR,
    RK3A,
    RK3B,
    RK3S4,
    RK4,
    RK4_PAIR,
    RK4A,
    RK4B,
    RK4B_PAIR,
    RK4C,
    SDIRK2,
    THETA,
    OrderCertificate,
    chart,
    charts,
    cubic_dense_output,
    order_is_proved,
    prove_order,
    rkc1,
    rkc2,
)
from odecore.order import dense_output_order, order_of_accuracy, simplifying_assumptions
from odecore.stability import stability_function
from odecore.tableaux import coefficients_at, tableau, tableau_at

F = Fraction
FAMILIES = (
    RK1S2, RK2, RK2S3, RK3, RK3A, RK3B, RK3S4, RK4, RK4A, RK4B, RK4C, RK3_PAIR, RK4_PAIR, RK4B_PAIR,
    SDIRK2, COLLOCATION2, THETA, rkc1(2), rkc1(5), rkc2(2), rkc2(4), *charts(RK3), *charts(RK4),
)  # fmt: skip
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
fractions = st.fractions(-3, 3, max_denominator=12)


@each_family
def test_simplifying_assumptions_are_those_of_its_members(family):
    found = simplifying_assumptions(family, limit=6)
    point = {name: F(k + 2, 5 * k + 7) for k, name in enumerate(family.parameters)}
    member = simplifying_assumptions(tableau_at(family, **point), limit=6)
    assert (found.B, found.C, found.D) == (member.B, member.C, member.D)


@pytest.mark.sampled(2)
@each_family
def test_order_is_proved_and_verified_independently(family):
    certificate = prove_order(family)
    assert certificate
    assert not certificate.undeclared
    check = certificate.verify()
    assert check.holds
    assert check.log2_error < -100
    again = OrderCertificate.from_json(certificate.to_json())
    assert again == certificate
    assert again.verify(seed=1).holds
    if family.estimator is not None:
        assert order_of_accuracy(family, weights=family.b_hat) == family.embedded_order


@pytest.mark.sampled(3)
@each_family
def test_wrong_families_are_neither_proved_nor_verified(family):
    def wrong(*values):  # the twin: the last weight is twice what it should be
        rows, b = family.formula(*values)
        return rows, (*b[:-2], 2 * b[-2], b[-1])

    for other in (
        dataclasses.replace(family, formula=wrong),
        dataclasses.replace(family, order=family.order + 1),
        dataclasses.replace(family, order=family.order - 1),
    ):
        if other.order == 0:
            continue
        certificate = prove_order(other)
        assert not certificate
        assert not certificate.verify().holds
    if family.order > 1 or family.stages > 1:
        complete = dataclasses.replace(
            prove_order(family),
            b=prove_order(dataclasses.replace(family, formula=wrong)).b,
        )
        assert complete
        assert any("modulo" in failure for failure in complete.verify().failures)
    if family.excluded and any("/" in str(entry) for entry in family.b):
        hidden = prove_order(dataclasses.replace(family, factors=lambda *values: ()))
        assert hidden.undeclared
        assert not hidden


def test_only_families_are_proved():
    with pytest.raises(TypeError, match="must be a Family, got ButcherTableau"):
        prove_order(tableau("classic"))


def test_what_is_no_certificate():
    for text in ("{", "[]", '{"format": "x"}', '{"format": "odecore order certificate 2"}'):
        with pytest.raises(ValueError, match="not an order certificate"):
            OrderCertificate.from_json(text)


# Found by attack.


def forged(family, change):
    record = json.loads(prove_order(family).to_json())
    change(record)
    return OrderCertificate.from_json(json.dumps(record))


def test_a_changed_coefficient_is_found_whatever_was_added():
    def add(number):
        def change(record):
            record["b"][0][0][0][1] += number

        return change

    for number in (1, (2**61 - 1) * (2**89 - 1) * (2**107 - 1)):
        certificate = forged(RK4, add(number))
        assert certificate  # it is complete, but not true
        for seed in range(3):
            found = certificate.verify(seed=seed)
            assert not found.holds
            assert "modulo" in found.failures[0]


def test_primes_depend_on_the_certificate_and_cannot_be_chosen():
    import sympy

    one = prove_order(RK4).verify()
    primes = {
        one.primes,
        prove_order(RK4).verify(seed=1).primes,
        prove_order(RK3).verify().primes,
    }
    assert one == prove_order(RK4).verify()
    assert len(primes) == 3
    assert all(2**79 < p < 2**80 and sympy.isprime(p) for ps in primes for p in ps)

    def add_their_product(record):
        record["b"][0][0][0][1] += math.prod(one.primes)

    assert not forged(RK4, add_their_product).verify().holds


def frobenius(record):  # u^p - u vanishes at all integers modulo p
    record["b"][0][0] += [[[2**61 - 1, 0], 1, 1], [[1, 0], -1, 1]]


def hidden_variable(record):
    for term in record["b"][0][0]:
        term[0].append(5)


def shorter_list_of_parameters(record):
    record.update(parameters=["u"], order=2)


def extra_row(record):
    record["A"].append(record["A"][-1])


def extra_column(record):
    record["A"][0].append(record["A"][0][0])


def missing_row(record):
    record["A"].pop()


def string_for_a_number(record):
    record["b"][0][0][0][1] = "1"


def no_denominator(record):
    record["b"][0][1] = []


def zero_denominator(record):
    record["b"][0][0][0][2] = 0


def a_monomial_twice(record):
    record["b"][0][0].append(record["b"][0][0][0])


def a_zero_coefficient(record):
    record["b"][0][0][0][1] = 0


def a_zero_factor(record):
    record["factors"].append([])


def entry(name, *values):
    return [
        pytest.param(lambda record, v=value: record.update({name: v}), id=f"{name}={value}")
        for value in values
    ]


@pytest.mark.parametrize(
    "change",
    [frobenius, hidden_variable, shorter_list_of_parameters, extra_row, extra_column, missing_row,
     string_for_a_number, no_denominator, zero_denominator, a_monomial_twice, a_zero_coefficient,
     a_zero_factor, *entry("order", 4.0, "4", None, -1, 0, 15, True), *entry("A", None, 5, []),
     *entry("b", None, []), *entry("excluded", [], ["u"], "u"), *entry("family", 7, None),
     *entry("parameters", [], ["u"], ["u", "u"], ["u", "v", "w"], "uv", None), *entry("factors", 1),
     *entry("undeclared", "u", [1], None), *entry("witness", "x", [], [[0], "x"]),
     *entry("conditions", None, 3, [[]])],
)  # fmt: skip
def test_what_has_not_the_form_of_a_certificate_is_refused(change):
    with pytest.raises(ValueError, match="not an order certificate"):
        forged(RK4, change)


def bare(residual):
    return [[[[0, 0], residual, 1]] if residual else [], [[[0, 0], 1, 1]]]


@pytest.mark.parametrize(
    "change",
    [
        *entry("order", 1, 3, 5),
        *entry("factors", [], [[[[1, 0], 1, 1]]]),
        *entry("conditions", []),
        *entry("witness", None, [[0, 1, 2], bare(1)], [[0, 1, 1, 1, 1], bare(0)]),
        *entry("undeclared", ["u"]),
        pytest.param(lambda r: r["conditions"].pop(), id="a condition less"),
        pytest.param(lambda r: r["conditions"].append(r["conditions"][0]), id="one twice"),
        pytest.param(lambda r: r["conditions"][0].__setitem__(1, bare(1)), id="a residual"),
    ],
)
def test_an_incomplete_certificate_is_false_and_does_not_verify(change):
    certificate = forged(RK4, change)
    assert not certificate
    found = certificate.verify()
    assert not found.holds
    assert found.points == 0


def test_a_false_witness_does_not_verify():
    def another_residual(record):
        record["witness"][1] = bare(1)

    def of_lower_order(record):  # order 3 with the claim that a condition of order 4 fails
        record["order"] = 3
        record["witness"] = [[0, 1, 1, 1], bare(1)]
        record["conditions"] = [c for c in record["conditions"] if len(c[0]) <= 3]

    for change in (another_residual, of_lower_order):
        certificate = forged(RK4, change)
        assert certificate
        assert not certificate.verify().holds


def test_another_factor_for_a_hidden_one_is_noticed():
    def other(record):  # 6uv - 4u - 4v + 2 for 6uv - 4u - 4v + 3
        record["factors"][-1][-1][1] = 2

    def square(record):  # divides no denominator, vanishes where u does
        record["factors"][0] = [[[2, 0], 3, 7]]

    assert not forged(RK4, other)
    assert forged(RK4, square).verify().holds
    assert str(prove_order(RK4).excluded[-1]) == "6*u*v - 4*u - 4*v + 3"
    assert forged(RK4, other).excluded[-1] == "6*u*v - 4*u - 4*v + 2"
    assert forged(RK4, square).excluded[0] == "3/7*u**2"


def test_the_chance_of_error_is_bounded():
    certificate = prove_order(RK2)
    # Degrees: b and a21 have (1, 1), (0, 1), (1, 0), the factor 1, the residual of the
    # witness, (3u - 2)/6, has (1, 0): 6, times p + 1 = 3, and 1.
    degree = 19
    terms = [2, -1, 2, 1, 2, 1, 1, 1, *[1] * 3, 3, -2, 6]  # numerators of all terms
    digits = 3 * (2 + 2) + 3 * sum(abs(n).bit_length() + 1 for n in terms)
    expected = (degree * (degree + digits)).bit_length() - 73
    assert certificate.verify().log2_error == 4 * expected
    assert certificate.verify(points=1).holds
    none = certificate.verify(points=0)
    assert (none.holds, none.points, none.log2_error) == (False, 0, 0)


@each_family
def test_members_have_the_claimed_order(family):
    for name, values in family.members:
        member = tableau_at(family, **dict(zip(family.parameters, values, strict=True)))
        assert (member.A, member.b, member.b_hat) == (
            tableau(name).A, tableau(name).b, tableau(name).b_hat if member.b_hat else None,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore::odecore.errors.NearSingularWarning")
@given(st.data())
def test_random_members_have_at_least_the_claimed_order(data):
    family = data.draw(st.sampled_from(FAMILIES))
    values = {name: data.draw(fractions) for name in family.parameters}
    assume(all(family.factors(*values.values())))
    member = tableau_at(family, **values)
    assert order_of_accuracy(member) >= family.order
    if member.b_hat:
        assert order_of_accuracy(member, weights=member.b_hat) >= family.embedded_order


# Charts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "point", "target", "w"),
    [
        (RK3, (F(2, 3), F(2, 3)), RK3A, lambda m: 3 / (4 * (1 - m))),
        (RK3, (F(2, 3), F(0)), RK3B, lambda m: 3 / (4 * m)),
        (RK4, (F(1, 2), F(0)), RK4A, lambda m: 1 / (3 * m)),
        (RK4, (F(1, 2), F(1, 2)), RK4B, lambda m: 2 / (3 * (1 - m))),
        (RK4, (F(1), F(1, 2)), RK4C, lambda m: (1 - 2 * m) / 6),
    ],
)
@given(m=fractions)
def test_charts_are_blow_ups(family, point, target, w, m):
    found = chart(family, *point)
    assume(all(found.factors(point[0], m)))
    centre = tableau_at(found, u=point[0], m=m)
    limit = tableau_at(target, w=w(m))
    assert (centre.A, centre.b) == (limit.A, limit.b)
    u = point[0] + F(1, 7)
    v = point[1] + m / 7
    assume(all(found.factors(u, m)) and all(family.factors(u, v)))
    away, plain = tableau_at(found, u=u, m=m), tableau_at(family, u=u, v=v)
    assert (away.A, away.b) == (plain.A, plain.b)


def test_the_classic_method_is_an_interior_point_of_a_chart():
    blown_up = chart(RK4, F(1, 2), F(1, 2))
    classic = tableau_at(blown_up, u=F(1, 2), m=-1)
    assert (classic.A, classic.b) == (tableau("classic").A, tableau("classic").b)
    blown_up.require_box((F(2, 5), F(-11, 10)), (F(3, 5), F(-9, 10)))
    with pytest.raises(SingularParameterError, match="vanishes in the box"):
        blown_up.require_box((F(2, 5), F(0)), (F(3, 5), F(2)))


def test_charts_have_gradients_where_the_family_has_none(rng):
    torch = pytest.importorskip("torch")
    u, m = torch.tensor(0.5, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    u.requires_grad_(), m.requires_grad_()
    b = coefficients_at(chart(RK4, F(1, 2), F(1, 2)), u=u, m=m).b
    gradient = torch.autograd.grad(b[2], (u, m))
    h = F(1, 10**6)
    family = chart(RK4, F(1, 2), F(1, 2))
    for k, slope in enumerate(gradient):
        ends = []
        for sign in (-1, 1):
            at = [F(1, 2), F(-1)]
            at[k] += sign * h
            ends.append(tableau_at(family, u=at[0], m=at[1]).b[2])
        assert float(slope) == pytest.approx(float((ends[1] - ends[0]) / (2 * h)), abs=1e-9)


@pytest.mark.parametrize(
    ("family", "point"),
    [(RK4, (F(1, 2), F(1))), (RK4, (F(0), F(1, 2))), (RK3, (F(0), F(2, 3)))],
)
def test_points_without_a_limit_are_refused(family, point):
    with pytest.raises(SingularParameterError, match="no limit"):
        chart(family, *point)
    with pytest.raises(ValueError, match="only RK3 and RK4 have charts"):
        charts(RK2)


@pytest.mark.parametrize("family", [RK3, RK4])
def test_charts_at_points_that_would_take_for_ever_are_refused(family):
    for huge in (10**400, F(1, 10**400), 1e300):
        with pytest.raises(ValueError, match=r"`u0` must be a quotient .* at most 160 bits"):
            chart(family, huge, 0)
        with pytest.raises(ValueError, match=r"`v0` must be a quotient .* at most 160 bits"):
            chart(family, 0, huge)
    with pytest.raises(SingularParameterError, match="no limit"):
        chart(family, 10**40, 0 if family is RK4 else 10**40)


def test_no_method_of_order_four_has_equal_inner_nodes_but_one_half():
    """Completeness, on samples: the order conditions with c = (0, u, u, 1) have no solution."""
    import sympy as sp

    for u in map(sp.Rational, ("1/3", "2/3", "3/4")):
        b1, b2, b3, b4, a32, a42, a43 = x = sp.symbols("b1 b2 b3 b4 a32 a42 a43")
        A = sp.Matrix(
            [[0, 0, 0, 0], [u, 0, 0, 0], [u - a32, a32, 0, 0], [1 - a42 - a43, a42, a43, 0]]
        )
        c, b = A * sp.ones(4, 1), sp.Matrix([[b1, b2, b3, b4]])
        square = c.multiply_elementwise(c)
        conditions = [
            sum(b) - 1, (b * c)[0] - sp.Rational(1, 2), (b * square)[0] - sp.Rational(1, 3),
            (b * A * c)[0] - sp.Rational(1, 6), (b * square.multiply_elementwise(c))[0] - sp.Rational(1, 4),
            (b * c.multiply_elementwise(A * c))[0] - sp.Rational(1, 8),
            (b * A * square)[0] - sp.Rational(1, 12), (b * A * A * c)[0] - sp.Rational(1, 24),
        ]  # fmt: skip
        assert sp.groebner(conditions, *x).exprs == [1]


# Pairs and dense output -----------------------------------------------------------------------


def test_the_published_estimator_of_rk4():
    u, v, h = F(2, 5), F(3, 7), F(1, 3)
    D = 6 * u * v - 4 * u - 4 * v + 3
    member = tableau_at(RK4_PAIR, u=u, v=v, h=h)
    e = [(2 * u - 1) * (2 * v - 1) / (2 * u * v),
         -(2 * u - 1) * (2 * v - 1) / (2 * u * (u - 1) * (u - v)),
         (2 * u - 1) * (2 * v - 1) / (2 * v * (u - v) * (v - 1)),
         -D / (2 * (u - 1) * (v - 1)), F(1)]  # fmt: skip
    assert [x - y for x, y in zip(member.b_hat, member.b, strict=True)] == [h * x for x in e]


def test_no_order_three_estimator_within_four_stages():
    # The four conditions of order 3 on b_hat - b have full rank, so only zero is left. The
    # determinant, by hand, since the first stage has the row (1, 0, 0, 0):
    u, v = RK4.generators
    t3 = RK4.A[2][1] * u
    t4 = RK4.A[3][1] * u + RK4.A[3][2] * v
    determinant = u * (v * v * t4 - t3) - u * u * (v * t4 - t3)
    assert determinant != 0
    excluded = {f.numer.monic() for f in RK4.factors(u, v)}
    assert {f.monic() for f, _ in determinant.numer.factor_list()[1]} <= excluded  # nowhere zero


def test_the_cubic_dense_output_has_order_three():
    for method in (
        RK4,
        RK3_PAIR,
        tableau("classic"),
        tableau("three_eighths"),
        tableau("bosh3"),
        tableau("gill"),
    ):
        weights = cubic_dense_output(method)
        assert dense_output_order(method, weights) == 3
        assert all(w.degree <= 3 and w(0) == 0 for w in weights)
        assert [w(1) for w in weights] == list(method.b)
    hermite = cubic_dense_output(tableau("bosh3"))  # Hermite data: slopes f0 and f1 at the ends
    theta = Polynomial((0, 1))
    assert hermite[3] == theta**3 - theta**2
    with pytest.raises(ValueError, match="needs 4 stages"):
        cubic_dense_output(tableau("dopri5"))
    with pytest.raises(ValueError, match=r"4 rows of length 4.* of lengths \[0, 1, 2, 3\]"):
        cubic_dense_output(tableau("classic").coefficients)


# Families in which linear stability varies ------------------------------------------------------


@given(fractions, fractions, fractions)
def test_the_coefficient_of_one_more_power_is_d(u, v, d):
    for family, values in ((RK1S2, {"u": u}), (RK2S3, {"u": u, "v": v}), (RK3S4, {"u": u, "v": v})):
        assume(all(family.factors(*values.values(), d)) and d)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NearSingularWarning)
            numerator = stability_function(tableau_at(family, **values, d=d)).numerator
        assert numerator[-1] == d
        assert len(numerator) == family.stages + 1
    assume(all(RK4.factors(u, v)))
    assert RK3S4.formula(u, v, F(1, 24)) == RK4.formula(u, v)


@pytest.mark.parametrize("s", [2, 3, 5, 8])
@pytest.mark.parametrize("epsilon", [F(0), F(1, 20), F(2, 13)])
def test_chebyshev_methods_have_their_polynomials(s, epsilon):
    # Independent: numpy's Chebyshev series.
    T = np.polynomial.Chebyshev.basis(s)
    z = np.linspace(-float(2 * s * s), 0, 60)
    w0 = 1 + float(epsilon) / s**2
    first = stability_function(tableau_at(rkc1(s), epsilon=epsilon))
    w1 = T(w0) / T.deriv()(w0)
    np.testing.assert_allclose(first(z), T(w0 + w1 * z) / T(w0), rtol=0, atol=1e-9)
    second = stability_function(tableau_at(rkc2(s), epsilon=epsilon))
    w1, b = T.deriv()(w0) / T.deriv(2)(w0), T.deriv(2)(w0) / T.deriv()(w0) ** 2
    z = z / 3.1
    np.testing.assert_allclose(second(z), 1 + b * (T(w0 + w1 * z) - T(w0)), rtol=0, atol=1e-9)
    for bad in (0, 1, 51):
        with pytest.raises(ValueError, match="from 2 to 50"):
            rkc1(bad)


# Bad input ------------------------------------------------------------------------------------


def test_members_near_the_excluded_set_are_warned_of():
    with pytest.warns(NearSingularWarning, match="each step amplifies"):
        tableau_at(RK2, u=F(1, 10**5))
    with pytest.warns(NearSingularWarning, match="close to the excluded set"):
        coefficients_at(RK4, u=0.5 + 1e-6, v=0.3)


def test_large_coefficients_are_warned_of_wherever_they_stand():
    with pytest.warns(NearSingularWarning, match="very large, or close"):
        tableau_at(RK2, u=5000)
    with pytest.warns(NearSingularWarning, match=r"coefficient of this member of RK4_PAIR.* is 1"):
        tableau_at(RK4_PAIR, u=F(1, 3), v=F(2, 3), h=10**6)


def test_implicit_families_take_numbers_only():
    assert [len(row) for row in coefficients_at(SDIRK2, gamma=0.3, c=1.0).A] == [1, 2]
    assert [len(row) for row in coefficients_at(COLLOCATION2, c1=0.2, c2=0.7).A] == [2, 2]
    with pytest.raises(TypeError, match="SDIRK2 is implicit"):
        coefficients_at(SDIRK2, gamma=np.asarray(0.3), c=1.0)
    with pytest.raises(SingularParameterError, match="c1 - c2 = 0"):
        tableau_at(COLLOCATION2, c1=F(1, 2), c2=F(1, 2))
    root = QuadraticNumber(1, F(-1, 2), 2)
    with pytest.raises(SingularParameterError, match="c - gamma = 0"):
        tableau_at(SDIRK2, gamma=root, c=root)


def test_order_is_proved_agrees_with_the_certificate():
    assert order_is_proved(RK4B)
    assert not order_is_proved(dataclasses.replace(RK4B, order=3))


# Found by attack.


@pytest.mark.parametrize("make", [rkc1, rkc2])
def test_a_number_of_stages_is_an_integer(make):
    make(2)
    for bad in (2.5, 2.0, "2", None):
        with pytest.raises(TypeError, match="`stages` is a number of stages, an int"):
            make(bad)
    assert make(np.int64(3)) is make(3)
    assert make(3).name.endswith("(3)")


def test_a_pair_without_an_estimate_is_on_the_excluded_set():
    with pytest.raises(SingularParameterError, match=r"g\*\*2 \+ h\*\*2 = 0"):
        tableau_at(RK3_PAIR, u=F(1, 3), v=F(2, 3), g=0, h=0)
    for g, h in ((0, F(1, 8)), (F(1, 8), 0)):
        member = tableau_at(RK3_PAIR, u=F(1, 3), v=F(2, 3), g=g, h=h)
        assert order_of_accuracy(member, weights=member.b_hat) == 2
    with pytest.raises(SingularParameterError, match="h = 0"):
        tableau_at(RK4_PAIR, u=F(1, 3), v=F(2, 3), h=0)
    box = [(F(1, 5), F(1, 4)), (F(3, 4), F(4, 5)), (F(-1), F(1)), (F(1, 10), F(1))]
    RK3_PAIR.require_box(*zip(*box, strict=True))  # not affine: by bisection
    box[3] = (F(-1), F(1))
    with pytest.raises(SingularParameterError, match="vanishes in the box"):
        RK3_PAIR.require_box(*zip(*box, strict=True))
