"""Exact numbers, polynomials and their real roots."""

import copy
import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odecore.exact import (
    Polynomial,
    QuadraticNumber,
    SquareRoot,
    count_roots,
    isolate_roots,
    parse_number,
    refine_root,
    sign_on_interval,
    sturm_sequence,
)

F = Fraction
X = Polynomial((0, 1))
rationals = st.fractions(-20, 20, max_denominator=60)
radicands = st.sampled_from([2, 3, 5, 6, 7, 15, 21])


@st.composite
def quadratics(draw, radicand=None):
    return QuadraticNumber(draw(rationals), draw(rationals), radicand or draw(radicands))


same_field = radicands.flatmap(lambda d: st.tuples(*[quadratics(d)] * 3))


@given(same_field)
def test_quadratic_numbers_form_a_field(numbers):
    x, y, z = numbers
    assert x + y == y + x
    assert x * y == y * x
    assert (x + y) * z == x * z + y * z
    assert x - x == 0
    assert (x * y).norm == x.norm * y.norm
    if y:
        assert x / y * y == x
        assert y**-2 * y * y == 1
    assert x**3 == x * x * x
    assert 2 - x == -(x - 2)
    assert 2 / (x if x else y + 1 if y + 1 else z + 30) is not None


@given(same_field)
def test_quadratic_order_agrees_with_80_digits(numbers):
    from decimal import Decimal, localcontext

    x, y, _ = numbers
    with localcontext() as context:
        context.prec = 80

        def value(q):
            a, b = (
                Decimal(p.numerator) / Decimal(p.denominator) for p in (q.rational, q.irrational)
            )
            return a + b * Decimal(q.radicand).sqrt()

        difference = value(x) - value(y)
        sign = 0 if abs(difference) < Decimal("1e-60") else (1 if difference > 0 else -1)
        assert (x - y).sign() == sign
        assert (x < y) == (sign < 0)
        assert (x >= y) == (sign >= 0)
        assert float(x) == float(value(x))  # correctly rounded
    assert abs(x) >= 0


@given(quadratics())
def test_quadratic_numbers_travel(x):
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), parse_number(str(x))):  # noqa: S301
        assert other == x
        assert hash(other) == hash(x)
    assert QuadraticNumber(x.rational, 0, 7) == x.rational
    assert hash(QuadraticNumber(x.rational, 0, 7)) == hash(x.rational)


def test_bad_quadratic_numbers_are_refused():
    with pytest.raises(ValueError, match="squarefree"):
        QuadraticNumber(1, 1, 12)
    with pytest.raises(ValueError, match="from 2 to 10"):
        QuadraticNumber(1, 1, 10**40 + 1)
    with pytest.raises(TypeError, match="int or Fraction"):
        QuadraticNumber(0.5, 1, 2)
    with pytest.raises(ValueError, match=r"cannot mix sqrt\(2\) and sqrt\(3\)"):
        QuadraticNumber.sqrt(2) + QuadraticNumber.sqrt(3)
    with pytest.raises(ZeroDivisionError):
        1 / QuadraticNumber(0, 0, 2)
    with pytest.raises(AttributeError, match="immutable"):
        QuadraticNumber.sqrt(2).rational = 1


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1/0", "2sqrt(3)", "sqrt(4)", "1+", "nan", "inf", "1//2", "0x1", "1_0_", "1+2",
     "__import__('os')", "1e99999999", "sqrt(-2)", "1/2*sqrt(3)/0"],
)  # fmt: skip
def test_malformed_numbers_are_refused(text):
    with pytest.raises(ValueError):
        parse_number(text)


def test_numbers_are_read_from_text_only():
    with pytest.raises(TypeError, match="write it as a string"):
        parse_number(0.5)


@given(rationals)
def test_square_roots(q):
    root = SquareRoot(q * q)
    assert root == abs(q)
    assert float(root) == float(abs(q))
    assert str(root) == str(abs(q))
    positive = abs(q) + F(1, 3)
    exact = SquareRoot(positive)
    assert float(exact) == pytest.approx(math.sqrt(positive), rel=1e-15)
    assert (exact < 2) == (positive < 4)
    tiny = SquareRoot(positive / 10**400)
    assert float(SquareRoot(tiny.square * 10**400)) == float(exact)
    with pytest.raises(ValueError, match="not negative"):
        SquareRoot(-positive)


def test_the_square_root_of_a_quadratic_number():
    assert float(SquareRoot(QuadraticNumber(3, 2, 2))) == pytest.approx(1 + math.sqrt(2), rel=1e-15)


@st.composite
def with_roots(draw):
    """A polynomial with known real roots, repeated ones and complex pairs included."""
    roots = draw(st.lists(rationals, max_size=5))
    polynomial = Polynomial((draw(st.sampled_from([1, -3, F(1, 7)])),))
    for root in roots:
        polynomial *= X - root
    if draw(st.booleans()):
        polynomial *= X * X + draw(st.integers(1, 3))
    return polynomial, roots


bounds = st.none() | rationals


@given(with_roots(), bounds, bounds)
def test_sturm_counts_and_isolates(case, low, high):
    polynomial, roots = case
    assume(low is None or high is None or low < high)
    inside = sorted({r for r in roots if (low is None or r > low) and (high is None or r <= high)})
    assert count_roots(polynomial, low, high) == len(inside)
    brackets = isolate_roots(polynomial, low, high)
    assert len(brackets) == len(inside)
    for bracket, root in zip(brackets, inside, strict=True):
        a, b = refine_root(polynomial, bracket, F(1, 10**12))
        assert a <= root <= b <= a + F(1, 10**12)


@given(with_roots(), bounds, bounds)
def test_signs_on_intervals(case, low, high):
    polynomial, roots = case
    assume(low is None or high is None or low < high)
    cuts = sorted({r for r in roots if (low is None or r > low) and (high is None or r < high)})
    start = low if low is not None else (min([*cuts, high or F(0)]) - 1)
    ends = [start, *cuts, high if high is not None else max([*cuts, start]) + 1]
    signs = {
        (v > 0) - (v < 0)
        for v in (polynomial((a + b) / 2) for a, b in zip(ends, ends[1:], strict=False) if a < b)
    }
    expected = signs.pop() if len(signs) == 1 else None
    assert sign_on_interval(polynomial, low, high) == expected


def test_roots_over_a_quadratic_field():
    root = QuadraticNumber.sqrt(2)
    polynomial = (X - root) * (X + root) * (X - 1)
    found = [refine_root(polynomial, b, F(1, 10**9)) for b in isolate_roots(polynomial)]
    assert [round(float(a), 6) for a, _ in found] == [-1.414214, 1.0, 1.414214]


@given(with_roots(), with_roots())
def test_polynomial_arithmetic(case, other):
    p, q = case[0], other[0] + 1
    assume(bool(q))
    quotient, rest = divmod(p, q)
    assert quotient * q + rest == p
    assert rest.degree < max(q.degree, 1)
    assert (p * q)(F(2, 3)) == p(F(2, 3)) * q(F(2, 3))
    assert (p * q).derivative() == p.derivative() * q + p * q.derivative()
    assert divmod(p * q, (p * q).gcd(q))[1] == Polynomial(())


def test_the_zero_polynomial_has_no_sturm_sequence():
    with pytest.raises(ValueError, match="every number as a root"):
        sturm_sequence(Polynomial(()))
    with pytest.raises(ZeroDivisionError):
        divmod(X, Polynomial((0,)))
    assert sign_on_interval(Polynomial(())) == 0
    assert str(Polynomial(())) == "0"
    assert str(X * X - X / 2) == "x^2 - 1/2*x"
