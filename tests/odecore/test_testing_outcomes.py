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
