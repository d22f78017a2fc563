"""Outcomes that are listed: their probabilities are those given, and listing too many costs nothing."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.sketching import ImportanceRows
from odecore.testing import assert_sketch, assert_unbiased, assert_variance, every_outcome


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


@pytest.mark.parametrize("p", [0.3, 1 / np.pi, 0.0, 1.0])
def test_binomials_of_many_trials_are_listed(p, rng):
    report = assert_unbiased(lambda rng: rng.binomial(1000, p), 1000 * p, rng)
    assert report.exact
    assert report.runs == (1001 if 0 < p < 1 else 1)
    assert_variance(lambda rng: rng.binomial(30, p), 30 * p * (1 - p), rng, mean=30 * p)


def test_binomials_of_more_trials_are_drawn(rng):
    assert not assert_unbiased(lambda rng: rng.binomial(1001, 0.3), 300.3, rng).exact
    with pytest.raises(ValueError, match=r"a binomial of 1001 trials are not listed"):
        list(every_outcome(lambda rng: rng.binomial(1001, 0.3)))


@pytest.mark.parametrize("outcomes", [5000, 0])
@pytest.mark.parametrize(
    "choose",
    [
        lambda rng: rng.permutation(5000),
        lambda rng: rng.choice(6000, 2, replace=False),
        lambda rng: rng.integers(2, size=1000),
        lambda rng: rng.binomial(1, np.full(1000, 0.5)),
        lambda rng: rng.integers(2) and rng.permutation(5000),
    ],
)
def test_listing_stops_at_the_choice_that_is_too_much(choose, outcomes, rng):
    done = []

    def draw(rng):
        choose(rng)
        done.append(type(rng))
        return 0.0

    assert not assert_unbiased(draw, 0.0, rng, outcomes=outcomes).exact
    assert sum(kind is not np.random.Generator for kind in done) <= 1


def test_many_outcomes_of_uneven_paths_are_listed(rng):
    def until_heads(rng):
        throws = 1
        while throws < 30 and rng.integers(2):
            throws += 1
        return throws

    report = assert_unbiased(until_heads, 2 - 2.0**-29, rng, outcomes=30)
    assert report.exact
    assert report.runs == 30
    assert not assert_unbiased(until_heads, 2 - 2.0**-29, rng, outcomes=29).exact


REFUSED = {
    "a dtype of floats": lambda rng: rng.integers(2, dtype=float),
    "a dtype that is too small": lambda rng: rng.integers(300, dtype=np.uint8),
    "no integers": lambda rng: rng.integers(0),
    "a negative size": lambda rng: rng.integers(2, size=-1),
    "a size that is no integer": lambda rng: rng.integers(2, size=2.0),
    "a choice of a float": lambda rng: rng.choice(3.0),
    "a choice of a set": lambda rng: rng.choice({1, 2}),
    "a choice of nothing": lambda rng: rng.choice(0),
    "a choice of negative size": lambda rng: rng.choice(3, size=-1, replace=False),
    "a table of probabilities": lambda rng: rng.choice(3, p=[[0.5, 0.25, 0.25]]),
    "a permutation of a float": lambda rng: rng.permutation(3.0),
    "a shuffled scalar": lambda rng: rng.shuffle(np.array(3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_not_listed(name, rng):
    with pytest.raises((TypeError, ValueError)):
        REFUSED[name](rng)
    with pytest.raises((TypeError, ValueError)) as caught:
        list(every_outcome(REFUSED[name]))
    assert "not listed" not in str(caught.value)  # as if draws could decide it


def test_empty_draws_and_scalars_in_arrays_are_listed_as_numpy_draws_them(rng):
    for draw in (
        lambda rng: rng.integers(0, size=0),
        lambda rng: rng.choice(0, size=(2, 0)),
        lambda rng: rng.choice([], size=0, replace=False),
    ):
        ((probability, found),) = every_outcome(draw)
        assert probability == 1
        np.testing.assert_array_equal(found, draw(rng))
    assert [found for _, found in every_outcome(lambda rng: rng.choice(np.array(3)))] == [0, 1, 2]
