"""Outcomes that are listed: their probabilities are those given, and listing too many costs nothing."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.sketching import ImportanceRows
from odecore.testing import assert_sketch, assert_unbiased, every_outcome


@pytest.mark.parametrize("p", [1 / 3 + 5e-12, 1 / 3, 0.9999, 0.9997, 1e-13, 1 - 2**-50])
def test_probabilities_near_simple_fractions_are_what_they_are(p, rng):
    assert assert_unbiased(lambda rng: rng.binomial(1, p) / p, 1.0, rng).exact
    assert assert_unbiased(lambda rng: (1 - rng.binomial(1, p)) / (1 - p), 1.0, rng).exact


@pytest.mark.parametrize("seed", [171, 205])
def test_a_choice_with_some_probability_near_a_simple_fraction_is_judged_right(seed, rng):
    numbers = np.random.default_rng(seed)
    weights = numbers.random(30)
    p, values = weights / weights.sum(), numbers.standard_normal(30)

    def draw(rng):
        i = rng.choice(30, p=p)
        return values[i] / p[i]

    assert assert_unbiased(draw, values.sum(), rng).exact


def test_importance_rows_with_a_score_near_a_simple_fraction_are_judged_right(rng):
    X, Y = np.random.default_rng(46).standard_normal((2, 40, 2))
    assert all(report.exact for report in assert_sketch(ImportanceRows(1), X, Y, rng))


def test_rare_outcomes_are_not_forgotten(rng):
    def rare(rng):
        return rng.choice([0.0, 1e12], p=[1 - 1e-12, 1e-12])

    assert assert_unbiased(rare, 1.0, rng).runs == 2
    with pytest.raises(AssertionError, match="all 2 outcomes is 1, where 0 is claimed"):
        assert_unbiased(rare, 0.0, rng)
    for p in (5e-12, 1 - 2**-52):
        listed = list(every_outcome(lambda rng, p=p: rng.binomial(1, p)))
        assert listed == [(1 - Fraction(p), 0), (Fraction(p), 1)]


@pytest.mark.parametrize("p", [[0.1, 0.9], [1 / 3, 2 / 3], [0.3, 0.7 + 1e-9], [1 - 1e-15, 1e-15]])
def test_probabilities_of_a_choice_add_up_to_one_exactly(p):
    listed = [q for q, _ in every_outcome(lambda rng: rng.choice(2, p=p))]
    assert sum(listed) == 1
    assert listed == pytest.approx(np.array(p) / sum(p), rel=1e-15)


def test_numbers_that_differ_are_printed_so(rng):
    with pytest.raises(AssertionError, match=r"is 1\.00000002, where 1\.00000001 is claimed"):
        assert_unbiased(lambda rng: 1.00000002, 1.00000001, rng)


@pytest.mark.parametrize("outcomes", [5000, 0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_probabilities_in_low_precision_are_taken_as_numpy_takes_them(dtype, outcomes, rng):
    p = np.array([0.1, 0.3, 0.6], dtype)
    exact = p.astype("float64")

    def draw(rng):
        return 1 / exact[rng.choice(3, p=p)]

    assert abs(exact.sum() - 1) > 1e-8
    assert assert_unbiased(draw, 3.0, rng, outcomes=outcomes).exact == (outcomes > 0)
    with pytest.raises(AssertionError, match=r"is claimed"):
        assert_unbiased(draw, 4.0, rng, outcomes=outcomes)
    listed = [q for q, _ in every_outcome(lambda rng: rng.choice(3, p=p))]
    assert listed == pytest.approx(exact / exact.sum(), rel=1e-15)


def test_what_are_no_probabilities_is_told(rng):
    for p, what in (([0.5, 0.5000001], r"got 2 with the sum 1\.0000001"), ([0.5] * 3, "got 3"),
                    ([-0.5, 1.5], "got -0.5"), ([np.nan, 1], "got nan")):  # fmt: skip
        with pytest.raises(ValueError, match=rf"2 probabilities that add up to 1, {what}"):
            list(every_outcome(lambda rng, p=p: rng.choice(2, p=p)))
