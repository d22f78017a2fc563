"""The tools for testing estimators: right claims pass, wrong ones of a given size are found."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from odecore.sketching import (
    CountSketch,
    Draw,
    GaussianSketch,
    HadamardSketch,
    ImportanceRows,
    Masked,
    PoissonRows,
    UniformRows,
    sketched_product,
    variance,
)
from odecore.testing import (
    assert_sketch,
    assert_unbiased,
    assert_variance,
    every_outcome,
)

LEFT = np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])
RIGHT = np.array([[2.0, 1.0, 0.0], [1.0, -1.0, 3.0], [0.0, 1.0, 1.0], [2.0, 2.0, -1.0]])


@dataclass(frozen=True)
class Own:
    """Rows with replacement, and whatever is wrong with them."""

    size: int = 2
    weight: float = 1.0
    factor: float = 1.0

    def draw(self, X, Y, rng, /):
        rows = rng.integers(0, len(X), size=self.size)
        return Draw(lambda X: X[rows], np.full(self.size, self.weight * len(X) / self.size))

    def variance(self, X, Y, /):
        return self.factor * UniformRows(self.size, replacement=True).variance(X, Y)


@pytest.mark.parametrize(
    "sketch",
    [UniformRows(2), UniformRows(4), CountSketch(2), HadamardSketch(2), ImportanceRows(2), PoissonRows(2.0), Own()],
    ids=lambda sketch: type(sketch).__name__,
)  # fmt: skip
def test_sketches_are_held_to_all_their_outcomes(sketch, rng):
    for report in assert_sketch(sketch, LEFT, RIGHT, rng):
        assert report.exact
        assert report.difference < 1e-12
    assert_sketch(sketch, LEFT.astype("float32"), RIGHT.astype("float32"), rng)


def test_tensors_with_gradients_are_numbers(rng):
    torch = pytest.importorskip("torch")
    X, Y = (torch.tensor(A, requires_grad=True) for A in (LEFT, RIGHT))
    assert all(report.exact for report in assert_sketch(UniformRows(2), X, Y, rng))


def test_what_is_not_listed_is_drawn(rng):
    for sketch in (GaussianSketch(3), Own(2)):
        for report in assert_sketch(sketch, LEFT, RIGHT, rng, outcomes=0):
            assert not report.exact
            assert report.resolved <= 0.2
            assert "draws" in str(report)


@pytest.mark.parametrize("outcomes", [5000, 0])
@pytest.mark.parametrize(
    ("sketch", "message"),
    [(Own(weight=1.2), "the mean"), (Own(factor=2), "the variance"), (Own(factor=0.5), "the variance")],
)  # fmt: skip
def test_wrong_sketches_are_refuted(sketch, message, outcomes, rng):
    with pytest.raises(AssertionError, match=f"^{message}.*is claimed"):
        assert_sketch(sketch, LEFT, RIGHT, rng, outcomes=outcomes)


def test_a_factor_is_found_along_the_claim(rng):
    # 5 % of each of 400 entries is far below their noise.
    mean = np.ones(400)
    with pytest.raises(AssertionError, match="along the claim"):
        assert_unbiased(lambda rng: 1.05 * mean + rng.standard_normal(400), mean, rng)
    assert_unbiased(lambda rng: mean + rng.standard_normal(400), mean, rng)


def test_sketches_with_a_mean_of_their_own(rng):
    keep = np.array([True, False, True, True])
    sketch = Masked(UniformRows(2), keep)
    assert_sketch(sketch, LEFT, RIGHT, rng, mean=LEFT[keep].T @ RIGHT[keep])
    with pytest.raises(AssertionError, match="the mean"):
        assert_sketch(sketch, LEFT, RIGHT, rng)


def test_malformed_sketches_are_named(rng):
    def check(error, match, **methods):
        sketch = type("Wrong", (Own,), methods)()
        with pytest.raises(error, match=match):
            assert_sketch(sketch, LEFT, RIGHT, rng)

    for false_alarm in (1, 1.5):  # as given, not halved for the two claims
        with pytest.raises(ValueError, match=f"false_alarm={false_alarm}"):
            assert_sketch(Own(), LEFT, RIGHT, rng, false_alarm=false_alarm)
    check(TypeError, "no `draw`", draw=None)
    check(TypeError, "must return a Draw", draw=lambda self, X, Y, rng: X)
    check(
        ValueError,
        "one weight for each row",
        draw=lambda self, X, Y, rng: Draw(lambda X: X[:2], np.ones(3)),
    )
    check(ValueError, "must not be negative, got -3", variance=lambda self, X, Y: -3.0)
    check(ValueError, "one number", variance=lambda self, X, Y: np.ones(3))
    with pytest.raises(ValueError, match="must not be negative"):
        variance(Own(factor=-1), LEFT, RIGHT)


def skewed(rng):
    return rng.exponential(size=3)


def test_a_bias_of_the_given_size_is_found_and_none_is_not(rng):
    report = assert_unbiased(skewed, np.ones(3), rng, bias=0.1)
    assert report.resolved <= 0.1
    for _ in range(2):
        with pytest.raises(AssertionError, match="the mean"):
            assert_unbiased(skewed, np.array([1, 1.1, 1]), rng, bias=0.1)
        assert_unbiased(skewed, np.array([1, 1.001, 1]), rng, bias=0.1)


@pytest.mark.parametrize(
    ("bias", "runs", "rare"),
    [pytest.param(0.3, 700, True, marks=pytest.mark.long), (0.1, 100, False)],
)
def test_a_bias_on_the_side_of_the_long_tail_is_found_as_often_as_is_said(bias, runs, rare):
    rng, spread = np.random.default_rng(0), np.sqrt(np.exp(1.28) - np.exp(0.64))
    claim, missed = np.exp(0.32) + bias * spread, 0
    options = {"bias": 0.3, "false_alarm": 0.05, "outcomes": 0}
    for _ in range(runs):
        try:
            assert_unbiased(lambda rng: np.exp(0.8 * rng.standard_normal()), claim, rng, **options)
            missed += 1
        except AssertionError:
            pass
    assert (missed <= 3) == rare  # 0.7 are expected of 700


def test_false_alarms_are_as_rare_as_is_said(rng):
    def alarms(claim, runs=200):
        found = 0
        for _ in range(runs):
            try:
                assert_unbiased(
                    lambda rng: rng.exponential(), claim, rng, bias=0.5, false_alarm=0.05
                )
            except AssertionError:
                found += 1
        return found / runs

    assert alarms(1.0) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert alarms(1.5) > 0.98


def test_variances_of_estimators(rng):
    def draw(rng):
        return 5 + rng.choice([1.0, 2.0, 6.0], size=2)

    exact = np.var([1, 2, 6])
    for mean in (None, np.full(2, 8.0)):
        assert assert_variance(draw, 2 * exact, rng, mean=mean).exact
        assert_variance(draw, [exact, exact], rng, mean=mean)
        assert_variance(draw, 2 * exact, rng, mean=mean, outcomes=0)
        for wrong in (exact, 2.2 * exact, 4 * exact):
            with pytest.raises(AssertionError, match="the variance"):
                assert_variance(draw, wrong, rng, mean=mean)
        with pytest.raises(AssertionError, match="the variance"):
            assert_variance(draw, 4 * exact, rng, mean=mean, outcomes=0)


def test_constant_estimators_are_compared_to_rounding(rng):
    third = np.array([1 / 3, 0.1 * 3])
    for outcomes in (5000, 0):
        assert_unbiased(lambda rng: third, third + 1e-15, rng, outcomes=outcomes)
        assert_variance(lambda rng: third + 1e-15, 0.0, rng, mean=third, outcomes=outcomes)
        with pytest.raises(AssertionError, match="the mean"):
            assert_unbiased(lambda rng: third, third + 1e-9, rng, outcomes=outcomes)


def test_what_can_not_be_decided_or_judged_is_said(rng):
    def other(_):
        return np.random.default_rng().normal()

    with pytest.raises(ValueError, match="another source of randomness"):
        assert_unbiased(other, 0.0, rng)
    with pytest.raises(ValueError, match="raise `draws` or `bias`"):
        assert_unbiased(skewed, np.ones(3), rng, bias=1e-3, draws=1000)
    with pytest.raises(ValueError, match=r"so skewed"):
        assert_unbiased(lambda rng: rng.exponential(), 1.0, rng, draws=1640)
    with pytest.raises(ValueError, match="shape"):
        assert_unbiased(skewed, 1.0, rng)
    with pytest.raises(TypeError, match="real numbers"):
        assert_unbiased(lambda rng: 1j, 1.0, rng)
    with pytest.raises(TypeError, match="Generator"):
        assert_unbiased(skewed, np.ones(3), 0)
    with pytest.raises(ValueError, match="`bias` > 0"):
        assert_unbiased(skewed, np.ones(3), rng, bias=0)
    with pytest.raises(ValueError, match="not be negative"):
        assert_variance(skewed, -3.0, rng)
    for nothing in (np.nan, np.zeros(0)):
        with pytest.raises(ValueError, match="must be finite, and not empty"):
            assert_unbiased(skewed, nothing, rng)
    with pytest.raises(AssertionError, match="does not exist"):
        assert_unbiased(lambda rng: np.nan, 0.0, rng)


@pytest.mark.parametrize(
    "program",
    [
        lambda rng: rng.integers(3),
        lambda rng: rng.integers(1, 3, size=(2,), endpoint=True).tolist(),
        lambda rng: rng.permutation(3).tolist(),
        lambda rng: rng.choice(4, 2, replace=False).tolist(),
        lambda rng: float(rng.choice([1.5, 2.0], p=[0.25, 0.75])),
        lambda rng: rng.binomial(2, 0.3),
        lambda rng: rng.binomial(1, [0.5, 0.25]).tolist(),
    ],
)
def test_listed_outcomes_are_those_of_numpy(program, rng):
    listed = {}
    for probability, result in every_outcome(program):
        listed[str(result)] = listed.get(str(result), 0) + probability
    assert sum(listed.values()) == Fraction(1)
    drawn = [str(program(rng)) for _ in range(2000)]
    assert set(drawn) == set(listed)
    for result, probability in listed.items():
        p = float(probability)
        assert abs(drawn.count(result) / 2000 - p) < 5 * np.sqrt(p * (1 - p) / 2000) + 1e-12


@pytest.mark.parametrize("name", ["random", "normal", "standard_normal", "uniform", "permuted", "spawn"])  # fmt: skip
def test_what_is_not_listed_is_refused(name):
    with pytest.raises(ValueError, match=name):
        list(every_outcome(lambda rng: getattr(rng, name)(2)))


def test_a_sketched_product_is_an_estimator_like_any_other(rng):
    draw = lambda rng: sketched_product(CountSketch(2), LEFT, RIGHT, rng)  # noqa: E731
    assert assert_unbiased(draw, LEFT.T @ RIGHT, rng).exact
    assert_variance(draw, variance(CountSketch(2), LEFT, RIGHT), rng, mean=LEFT.T @ RIGHT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_may_share_their_memory(dtype, rng):
    kept = np.zeros(2, dtype)

    def draw(rng):
        kept[:] = rng.standard_normal(2)
        return kept

    assert 0.01 < assert_unbiased(draw, np.zeros(2), rng).resolved <= 0.2
    assert_variance(draw, np.ones(2), rng, mean=np.zeros(2))
    with pytest.raises(AssertionError, match=r"entry \(0,\)"):
        assert_unbiased(draw, np.array([0.4, 0]), rng)
