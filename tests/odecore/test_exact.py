"""Exact numbers, polynomials and their real roots."""

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odecore.exact import (
    Polynomial,
    QuadraticNumber,
    SquareRoot,
    count_roots,
    exact_number,
    isolate_roots,
    parse_number,
    refine_root,
    sign_on_interval,
    sturm_sequence,
)
from odecore.exact._roots import _sign_at

F = Fraction
X = Polynomial((0, 1))
rationals = st.fractions(-20, 20, max_denominator=60)
radicands = st.sampled_from([2, 3, 5, 6, 7, 15, 21])


@st.composite
def quadratics(draw, radicand=None):
    return QuadraticNumber(draw(rationals), draw(rationals), radicand or draw(radicands))


@given(st.lists(st.integers(-50, 50) | rationals), rationals | quadratics(3) | st.integers(-9, 9))
def test_signs_found_in_integers_are_those_of_the_values(coefficients, x):
    first = Polynomial(coefficients)
    for p in (first, first.primitive(), first * first, first - first(x)):
        assert _sign_at(p, x) == (p(x) > 0) - (p(x) < 0)


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
    from decimal import localcontext

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
    ["", " ", "x", "1/0", "2sqrt(3)", "sqrt(4", "sqrt(1000000007)", "1+", "nan", "inf", "1//2", "0x1", "1_0_", "1+2",
     "__import__('os')", "1e99999999", "sqrt(-2)", "1/2*sqrt(3)/0",
     "(1+sqrt(2))/0", "(1+sqrt(2))", "((1))/2", "()/2", "(1)/2/3", "2*(1+sqrt(2))/3"],
)  # fmt: skip
def test_malformed_numbers_are_refused(text):
    with pytest.raises(ValueError):
        parse_number(text)


def test_roots_may_hold_squares_and_sums_a_denominator():
    assert parse_number("(1 - sqrt(6))/10") == QuadraticNumber(F(1, 10), F(-1, 10), 6)
    assert parse_number("1 + 3/2*sqrt(72)/4") == QuadraticNumber(1, F(9, 4), 2)
    assert parse_number("1-2*sqrt(9)") == -5
    assert parse_number("sqrt(0)") == 0


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


def test_products_of_integers_are_integers_and_those_of_fractions_are_fractions():
    whole, halves = Polynomial((1, 2)), Polynomial((F(1, 2), F(4)))
    assert {type(a) for a in (whole * whole).coefficients} == {int}
    assert (whole * halves).coefficients == (F(1, 2), F(5), F(8))
    assert {type(a) for a in (whole * halves).coefficients} == {F}


def test_roots_where_intervals_are_halved_and_at_their_ends():
    polynomial = X * (X - 1) * (2 * X - 1) * (4 * X - 1) ** 2 * (X * X + F(1, 10**9))
    assert isolate_roots(polynomial, 0, 1) == ((F(1, 4),) * 2, (F(1, 2),) * 2, (F(1),) * 2)
    assert isolate_roots(polynomial, F(1, 4), F(1, 2)) == ((F(1, 2),) * 2,)
    assert isolate_roots(polynomial, 1, 2) == isolate_roots(polynomial, 1, 1) == ()


def test_roots_that_are_closer_than_any_recursion_is_deep():
    gap = F(1, 2**3000)
    first, second = isolate_roots((3 * X - 1) * (3 * X - 1 - gap))
    assert first[0] < F(1, 3) <= first[1] <= second[0] < F(1, 3) + gap / 3 <= second[1]


@given(with_roots(), with_roots())
def test_common_factors_are_those_of_common_roots(one, other):
    (p, roots), (q, others) = one, other
    common = p.squarefree().gcd(q.squarefree())
    for root in {*roots, *others}:
        assert (common(root) == 0) == (root in roots and root in others)
    big = Polynomial((2**61 - 1, 2**61))  # a prime that divides a coefficient decides nothing
    assert (p * big).gcd(q * big).degree == p.gcd(q).degree + 1
    assert (p * (2**61 - 1) * X).gcd(X * X).degree == 1 + (p(0) == 0)


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


def test_numbers_of_sympy_are_exact_where_they_are_of_a_quadratic_field():
    import sympy as sp

    root = sp.sqrt(5)
    values = [sp.Integer(3), sp.Rational(2, 7), root, 1 - root / 12, (root - 1) * (root + 2) / 3]
    values += [(root - 1) * (root + 1)]
    for value in (*values, sp.sqrt(sp.Rational(3, 7)), sp.cos(sp.pi / 6), sp.sqrt(12)):
        assert sp.sympify(str(exact_number(value))) == sp.expand(value)
    others = [root + sp.sqrt(2), sp.root(5, 3), sp.sqrt(-5), sp.pi, sp.Symbol("x"), sp.nan, sp.oo]
    others += [sp.Pow(sp.Rational(5, 2), sp.Rational(1, 2), evaluate=False)]  # not sqrt(2)
    for value in (*others, sp.Float(0.5), 0.5 * root, sp.sqrt(root), sp.Integer, sp.Symbol):
        with pytest.raises(TypeError, match="an exact number is"):
            exact_number(value)
    with pytest.raises(ValueError, match="squarefree, from 2 to"):
        exact_number(sp.sqrt(10**12 + 39))


def test_the_zero_polynomial_has_no_sturm_sequence():
    for function in (sturm_sequence, count_roots, isolate_roots):
        with pytest.raises(ValueError, match="every number as a root"):
            function(Polynomial(()))
    with pytest.raises(ZeroDivisionError):
        divmod(X, Polynomial((0,)))
    assert sign_on_interval(Polynomial(())) == 0
    assert str(Polynomial(())) == "0"
    assert str(X * X - X / 2) == "x^2 - 1/2*x"


# Found by attack. ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["1e1+1e99999999*sqrt(2)", "1e-99999999", "1e9999", "1e4000", "1e-4000", "9" * 4001,
     f"1/{'9' * 4001}", f"1+{'9' * 4001}*sqrt(2)", f"1e3000*sqrt(2)/{'9' * 4001}",
     f"sqrt({'9' * 4001})", f"1e-3000*sqrt(2)/1{'0' * 3000}"],
)  # fmt: skip
def test_numbers_too_long_to_be_written_back_are_refused(text):
    with pytest.raises(ValueError, match="more than 4000 digits"):
        parse_number(text)


@pytest.mark.parametrize("text", ["1e3999", "-1e-3999+2.5e3000*sqrt(2)", "9" * 4000])
def test_numbers_of_4000_digits_are_written_back(text):
    assert parse_number(str(parse_number(text))) == parse_number(text)


@pytest.mark.parametrize(
    "text", ["1 1/2", "1\n2", "1 e5", "1. 5", "s qrt(2)", "\u0661/\u0662", "\uff11", "1" + " " * 10**6 + "2"]
)  # fmt: skip
def test_blanks_inside_numbers_and_other_digits_are_refused(text):
    with pytest.raises(ValueError, match="is not an exact number"):
        parse_number(text)


def test_blanks_around_signs_are_ignored():
    assert parse_number(" - 1 / 4 +\t1 / 6 * sqrt( 3 ) ") == QuadraticNumber(F(-1, 4), F(1, 6), 3)


def test_integers_of_fixed_width_do_not_overflow():
    big = np.int64(10**10)
    assert QuadraticNumber(big, big, 2) ** 2 == QuadraticNumber(3 * 10**20, 2 * 10**20, 2)
    root = QuadraticNumber.sqrt(2)
    for found in (
        (root * big) * big,
        (root + big) * big - 10**20,
        root / (1 / root / big) * big / 2,
    ):
        assert isinstance(found, QuadraticNumber)
        for part in (found.rational, found.irrational):
            assert type(part.numerator) is type(part.denominator) is int
    assert (root * big * big).irrational == 10**20
    assert type(exact_number(F(big)).numerator) is int
    assert exact_number(F(big)) ** 2 == 10**20
    assert SquareRoot(big).square ** 2 == 10**20
    with pytest.raises(TypeError, match=r"got 0\.5 of type float; write it as a Fraction"):
        exact_number(0.5)


def test_a_rational_number_mixes_with_any_field_from_either_side():
    root, three = QuadraticNumber.sqrt(2), QuadraticNumber(1, 0, 3)
    assert three + root == root + three == QuadraticNumber(1, 1, 2)
    assert three - root == -(root - three) == QuadraticNumber(1, -1, 2)
    assert three * root == root * three == root
    assert three / root == 1 / root
    assert root / three == root
    assert three < root
    assert root > three
    for operation in ("__add__", "__mul__", "__sub__", "__truediv__"):
        with pytest.raises(ValueError, match="cannot mix"):
            getattr(root, operation)(QuadraticNumber.sqrt(3))


@pytest.mark.parametrize("other", ["1/2", 0.5, 1j, None])
def test_what_is_not_exact_does_not_divide(other):
    root = QuadraticNumber.sqrt(2)
    for operation in (lambda: other / root, lambda: root / other, lambda: root + other):
        with pytest.raises(TypeError, match="unsupported operand"):
            operation()


def test_a_small_difference_of_large_numbers_is_correctly_rounded():
    from decimal import localcontext

    with localcontext() as context:
        context.prec = 60
        wanted = float(Decimal(665857) - Decimal(470832) * Decimal(2).sqrt())
    assert float(QuadraticNumber(665857, -470832, 2)) == wanted


def test_square_roots_against_other_numbers():
    root = SquareRoot(2)
    for other in (None, "x", 1j, math.nan, math.inf, [2]):
        assert root != other
        assert not root == other  # noqa: SIM201
    with pytest.raises(TypeError, match="not supported"):
        assert root < "x"
    assert SquareRoot(11) != math.sqrt(11)  # an irrational number is no float
    assert SquareRoot(F(1, 4)) == 0.5
    assert SquareRoot(F(1, 4)) == np.float32(0.5)
    assert SquareRoot(11) < math.sqrt(11) + 1e-15
    assert SquareRoot(4) != -2
    assert SquareRoot(4) > -2
    assert not SquareRoot(4) < -3
    assert SquareRoot(0) == 0
    assert not SquareRoot(0) < 0
    assert not root < SquareRoot(2)
    assert root <= SquareRoot(2)
    assert root < SquareRoot(3)
    assert root == QuadraticNumber.sqrt(2)
    assert root != -QuadraticNumber.sqrt(2)
    assert root > QuadraticNumber(-1, 1, 2)


@given(quadratics())
def test_equal_numbers_have_one_hash(x):
    root = SquareRoot(x * x)
    assert root == abs(x)
    assert hash(root) == hash(abs(x)) == hash(SquareRoot(x * x + 0))
    assert hash(SquareRoot(x.rational**2)) == hash(abs(x.rational))
    assert hash(SquareRoot(QuadraticNumber(4, 0, 3))) == hash(2)


@given(st.fractions(F(1, 10**6), 10**6), st.sampled_from([0, -600, 590]))
def test_square_roots_are_correctly_rounded(q, power):
    from decimal import localcontext

    square = q * F(10) ** power
    with localcontext() as context:
        context.prec = 80
        wanted = float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())
    assert float(SquareRoot(square)) == wanted
    mixed = QuadraticNumber(square, square / 7, 3)
    with localcontext() as context:
        context.prec = 80
        value = Decimal(square.numerator) / Decimal(square.denominator)
        wanted = float((value + value / 7 * Decimal(3).sqrt()).sqrt())
    assert float(SquareRoot(mixed)) == wanted


def test_a_root_halfway_between_two_floats_is_rounded_to_even():
    for step in (1, 3, -1):
        halfway = 1 + F(step, 2**53)
        assert float(SquareRoot(halfway**2)) == float(halfway)


def test_powers_intervals_and_widths_out_of_range_are_refused():
    with pytest.raises(ValueError, match="power -1 of a polynomial"):
        X**-1
    assert Polynomial((1,)) == X**0
    for decide in (count_roots, isolate_roots, sign_on_interval):
        with pytest.raises(ValueError, match="got 5 > -5; exchange them"):
            decide(X * X - 2, 5, -5)
    assert count_roots(X, 0, 0) == 0
    bracket = isolate_roots(X * X - 2)[0]
    for width in (F(0), F(-1)):
        with pytest.raises(ValueError, match="`width` must be positive"):
            refine_root(X * X - 2, bracket, width)


def test_powers_that_would_never_end_are_refused():
    huge = 10**400
    for power in (lambda n: (X + 1) ** n, lambda n: X**n, lambda n: Polynomial((2,)) ** n):
        with pytest.raises(ValueError, match=r"at most the degree 4000.*1329 bits"):
            power(huge)
    assert (X**4000).degree == 4000
    with pytest.raises(ValueError, match="at most the degree 4000"):
        (X**2) ** 2001
    root = QuadraticNumber.sqrt(2)
    for number in (root, 1 + root, root / 3, F(1, 2) + root / 4):
        for exponent in (huge, -huge):
            with pytest.raises(ValueError, match=r"at most 1048576 bits.*1329 bits"):
                number**exponent
    assert root**200_000 == 2**100_000
    assert QuadraticNumber(1, 0, 2) ** huge == 1
    assert QuadraticNumber(-1, 0, 2) ** huge == 1
    assert QuadraticNumber(0, 0, 2) ** huge == 0


def test_a_root_at_an_end_leaves_the_sign_of_the_open_interval():
    assert sign_on_interval(X - 1, 0, 1) == -1
    assert sign_on_interval(X, 0, 1) == 1


def test_sturm_counts_with_a_negative_irrational_leading_coefficient():
    root = QuadraticNumber.sqrt(2)
    for factor in (-root, root, 1 - root):
        polynomial = factor * (X - 1) * (X + root) * (X * X + 1)
        assert count_roots(polynomial) == 2
        assert count_roots(polynomial, 0) == 1
        assert count_roots(polynomial, -1, 1) == 1
        assert count_roots(polynomial, -2, -1) == 1
        assert len(isolate_roots(polynomial)) == 2


@pytest.mark.parametrize("infinity", [math.inf, np.float64(math.inf), Decimal("Infinity")])
def test_infinite_ends_are_no_ends(infinity):
    p = X**2 - 2
    assert count_roots(p, -infinity, infinity) == 2
    assert isolate_roots(p, 0, infinity) == isolate_roots(p, 0)
    assert sign_on_interval(X**2 + 1, 0, infinity) == 1
    assert sign_on_interval(p, -infinity, -2) == 1
    for low, high in ((infinity, None), (None, -infinity), (math.nan, 1), (0, Decimal("nan"))):
        for function in (count_roots, isolate_roots, sign_on_interval):
            with pytest.raises(ValueError, match=r"-inf \(below\) and inf \(above\), got"):
                function(p, low, high)
    with pytest.raises(ValueError, match="`bracket` must be finite"):
        refine_root(p, (0, infinity), F(1, 8))


def test_floats_are_ends_of_intervals():
    assert count_roots(X**2 - 2, 0.5, np.float64(1.5)) == 1
    assert isolate_roots(10 * X - 1, 0.1) == ()  # the float is larger than 1/10
    assert sign_on_interval(QuadraticNumber.sqrt(2) * X - 1, 1.0, 2.0) == 1


def test_roots_of_inexact_polynomials_are_refused():
    square = X * 0.1 - 0.3
    p = square * square + 1e-20  # has no real root
    for function in (count_roots, isolate_roots, sign_on_interval, sturm_sequence):
        with pytest.raises(TypeError, match=r"an exact number is an int, Fraction.*as a Fraction"):
            function(p)
        with pytest.raises(TypeError, match=r"must be a Polynomial, got \(1, 2, 3\)"):
            function((1, 2, 3))
    with pytest.raises(TypeError, match="an exact number is an int"):
        refine_root(p, (0, 1), F(1, 8))
    assert count_roots(Polynomial(map(F, p.coefficients))) == 0
    large = Polynomial([np.int64(3 * 10**9), np.int64(4 * 10**9), np.int64(10**9)])  # squares do
    assert count_roots(large) == 2  # not fit into 64 bits


def test_coefficients_are_numbers():
    for wrong in (("a", "b"), "12", (None,), ([1],)):
        with pytest.raises(TypeError, match="coefficients of a polynomial are numbers"):
            Polynomial(wrong)
    with pytest.raises(TypeError, match="must be a sequence, lowest degree first, got 3"):
        Polynomial(3)
    with pytest.raises(TypeError, match="are numbers, got 'a'"):
        X + "a"
    assert Polynomial((Decimal("0.1"), 1)) == X + F(1, 10)
    assert divmod(X, 2) == (X / 2, Polynomial(()))


@pytest.mark.parametrize("bracket", [(3, 4), (-2, 2), (1, 1), (F(1), 2)])
def test_brackets_without_a_root_are_not_refined(bracket):
    p = (X**2 - 2) * (X - 1)
    with pytest.raises(ValueError, match=r"must hold one root.*isolate_roots gives brackets"):
        refine_root(p if bracket == (1, 2) else X**2 - 2, bracket, F(1, 8))
    assert refine_root(p, (1, 1), F(1, 8)) == (1, 1)


@pytest.mark.parametrize("kind", [np.int8, np.int64])
def test_brackets_take_bits_of_numpy(kind):
    number = QuadraticNumber(1, 2, 5)
    assert number.bracket(kind(40)) == number.bracket(40)


def test_brackets_of_no_end_are_refused():
    with pytest.raises(ValueError, match="`bits` must be a whole number from 0 to 262144, got 100"):
        QuadraticNumber.sqrt(2).bracket(10**400)
