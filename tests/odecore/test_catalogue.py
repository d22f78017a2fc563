"""Every entry of the catalogue, decided both ways: orders hold and the next fails; misprints show."""

import dataclasses
import random
from fractions import Fraction

import pytest

from odecore.order import failing_trees, order_condition_residuals, order_of_accuracy
from odecore.tableaux import catalogue, tableau, tableau_from_json, tableau_to_json

F = Fraction
NAMES = list(catalogue())


def test_the_catalogue_is_large():
    assert len(NAMES) >= 60
    methods = catalogue().values()
    assert {m.order for m in methods if m.is_explicit} >= set(range(1, 9))
    assert sum(m.b_hat is not None for m in methods) >= 20
    assert sum(not m.is_explicit for m in methods) >= 20


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_declared_orders_hold_and_the_next_fail(name):
    method = tableau(name)
    assert order_of_accuracy(method) == method.order
    if method.b_hat is None:
        assert method.embedded_order is None
    else:
        assert order_of_accuracy(method, weights=method.b_hat) == method.embedded_order


@pytest.mark.parametrize("name", [n for n in NAMES if tableau(n).uncertainty > 0])
def test_decimals_hold_the_conditions_as_well_as_double_precision_shows(name):
    # Otherwise errors of solves would end at a plateau that nobody was told of.
    method = tableau(name)
    residuals = order_condition_residuals(method, min(method.order, 6)).values()
    assert max(map(abs, residuals)) < 1e-12


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_a_misprint_of_one_digit_costs_the_order(name):
    """The twin: a coefficient off by far less than a printed digit must be caught."""
    method = tableau(name)
    generator = random.Random(name)  # noqa: S311
    shift = max(F(1, 10**9), 10**6 * method.uncertainty)
    places = [(i, j) for i, row in enumerate(method.A) for j, a in enumerate(row) if a != 0]
    acting = {i for i in range(method.stages) if method.b[i]}
    for _ in range(method.stages):  # and the stages that those read
        acting |= {j for i, j in places if i in acting}
    used = [(i, j) for i, j in places if i in acting]
    for i, j in generator.sample(used, min(3 if method.order < 7 else 1, len(used))):
        A = [list(row) for row in method.A]
        A[i][j] += shift
        wrong = dataclasses.replace(method, A=A, b_hat=None, embedded_order=None)
        # A method of order 2 does not determine its A: then the misprint is another method.
        if method.stages > 2 and method.order > 2:
            assert failing_trees(wrong, method.order), (i, j)
    b = list(method.b)
    used = [j for j in range(method.stages) if b[j] and method.c[j]] or [0]
    b[generator.choice(used)] += shift
    wrong = type("Wrong", (), {"A": method.A, "b": b, "uncertainty": method.uncertainty})
    assert failing_trees(wrong, method.order)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NAMES)
def test_entries_travel_as_json(name):
    method = tableau(name)
    assert method.source
    assert method.name
    assert tableau_from_json(tableau_to_json(method)) == method
    assert tableau_from_json(tableau_to_json(method, indent=2)) == method
    assert str(method).count("\n") >= method.stages + 1
    assert method.latex().count("\\\\") == method.stages + 1 + (method.b_hat is not None)


def test_a_table_is_printed_exactly():
    assert str(tableau("classic")).splitlines() == [
        tableau("classic").name,
        "  0  |",
        "1/2  |  1/2",
        "1/2  |    0  1/2",
        "  1  |    0    0    1",
        "-----+--------------------",
        "     |  1/6  1/3  1/3  1/6",
    ]
    assert r"\frac{1}{4}-\frac{\sqrt{3}}{6}" in tableau("gauss2").latex()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", ValueError, "not JSON.*line 1, column 2"),
        ("[]", TypeError, "a tableau is a JSON object, got list"),
        ('{"A": [[]]}', ValueError, "needs the field 'b'"),
        ('{"A": [[]], "b": [1], "odrer": 1}', ValueError, "unknown field 'odrer'.*'order'"),
        ('{"A": [[]], "b": [1.0]}', TypeError, "1.0 is a float"),
        ('{"A": [[]], "b": [NaN]}', TypeError, "NaN is a float"),
        ('{"A": [[]], "b": [true]}', TypeError, r"b\[0\]: an exact number is read from text"),
        ('{"A": [[]], "b": ["1/0"]}', ValueError, r"b\[0\]: '1/0' divides by zero"),
        ('{"A": [[]], "b": ["__import__(\'os\')"]}', ValueError, "not an exact number"),
        ('{"A": "x", "b": [1]}', TypeError, "'A' must be a list of rows"),
        ('{"A": [1], "b": [1]}', TypeError, r"'A\[0\]' must be a list"),
        ('{"A": [[], ["1/2", 1]], "b": [0, 1]}', ValueError, "rows of lengths"),
        (
            '{"A": [[], ["1/2"]], "b": [0, 1], "c": [0, "1/3"]}',
            ValueError,
            r"c\[1\] is 1/3, but row 1",
        ),
        ('{"A": [[], ["1/2"]], "b": [0, 1], "c": [0]}', ValueError, "'c' must have 2 entries"),
        ('{"A": [[], ["1/2"]], "b": [1, 1]}', ValueError, "must sum to 1, got 2.*locate_typo"),
        ('{"A": [[]], "b": [1], "order": "1"}', ValueError, "`order` must be a positive integer"),
        ('{"A": [[]], "b": [1], "name": 3}', TypeError, "`name` must be a string"),
        (
            '{"A": [[], ["sqrt(2)"]], "b": ["sqrt(3)", "1-sqrt(3)"]}',
            ValueError,
            "one quadratic field",
        ),
        ('{"A": [[]], "b": [1], "embedded_order": 2}', ValueError, "needs `b_hat`"),
        ('{"A": [[]], "b": [1], "uncertainty": "-1"}', ValueError, "not negative"),
        ("[" * 100000, ValueError, "nested too deeply"),
    ],
)
def test_malformed_json_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        tableau_from_json(text)


# Found by attack. ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"A": [[]], "b": [1], "b": [1]}', ValueError, "'b' is given twice"),
        (
            '{"A": [[]], "b": [1], "order": 0}',
            ValueError,
            "must be a positive integer, or None; got 0",
        ),
        ('{"A": [[]], "b": [1], "order": true}', ValueError, "must be a positive integer"),
        ('{"A": [[]], "b": [1], "uncertainty": false}', TypeError, "uncertainty: .* got False"),
        ('{"A": [[]], "b": [1], "uncertainty": ""}', ValueError, "uncertainty: '' is not"),
        ('{"A": [[]], "b": [1], "uncertainty": []}', TypeError, "uncertainty: "),
        ('{"A": [[]], "b": [1], "uncertainty": {}}', TypeError, "uncertainty: "),
        ('{"A": [[]], "b": [1], "uncertainty": "sqrt(2)"}', TypeError, "`uncertainty` must be"),
    ],
)
def test_fields_of_another_kind_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        tableau_from_json(text)


def test_abscissae_agree_as_far_as_the_coefficients_are_known():
    text = '{"A": [[], ["0.5"]], "b": [0, 1], "c": [0, "%s"], "uncertainty": "%s"}'
    assert tableau_from_json(text % ("0.5000000003", "1e-10")).uncertainty == F(1, 10**10)
    for c, uncertainty in (("0.5000000001", "1e-12"), ("0.5000000004", "1e-10"), ("0.51", "0")):
        with pytest.raises(ValueError, match=r"c\[1\] is"):
            tableau_from_json(text % (c, uncertainty))


def test_numbers_too_large_to_be_written_back_are_refused():
    with pytest.raises(ValueError, match=r"A\[1\]\[0\]: '1e9999' has an integer of more than"):
        tableau_from_json('{"A": [[], ["1e9999"]], "b": [0, 1]}')
    text = '{"A": [[], ["1e3999"]], "b": [0, 1]}'
    assert tableau_from_json(tableau_to_json(tableau_from_json(text))) == tableau_from_json(text)
