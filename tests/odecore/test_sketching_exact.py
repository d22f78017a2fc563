"""Mean and variance of each sketch by complete enumeration, in rational numbers."""

from dataclasses import replace
from fractions import Fraction
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odecore.sketching import (
    BalancedCountSketch,
    Centred,
    CosineSketch,
    CountSketch,
    GaussianSketch,
    HadamardSketch,
    ImportanceRows,
    Masked,
    PoissonRows,
    RademacherSketch,
    SparseSignSketch,
    UniformRows,
    Weighted,
    WinnerTakeAllRows,
    leverage_scores,
    minibatch_variance,
    moments,
    sketched_product,
    squared_rows,
    unsketched_moments,
    variance,
)
from tests.helpers.enumeration import (
    distribution,
    every_outcome,
    first_two_moments,
    variance_by_definition,
)

F = Fraction
KEEP = (True, False, True, True)
LEFT = np.array([[1.0, 2.0], [-3.0, 1.0], [2.0, 2.0], [0.0, 1.0]])
RIGHT = np.array([[2.0, 1.0, 0.0], [1.0, -1.0, 3.0], [0.0, 1.0, 1.0], [2.0, 2.0, -1.0]])


def from_moments(formula):
    """A variance formula of the moments, as a function of X and Y."""
    return lambda X, Y: formula(moments(X, Y))


def of(sketch):
    return partial(variance, sketch)


def half_T(p):  # the term 2 T taken once
    return from_moments(lambda m: (m.x * m.y + m.product - m.rowwise) / p)


# A sketch whose draw does not depend on the data, rows, and a wrong variance.
CASES = {
    "gaussian-1": (GaussianSketch(1), 4, from_moments(lambda m: m.x * m.y - m.product)),
    "gaussian-2": (GaussianSketch(2), 3, from_moments(lambda m: (m.x * m.y - m.product) / 2)),
    "rademacher-1": (RademacherSketch(1), 4, of(GaussianSketch(1))),
    "rademacher-2": (RademacherSketch(2), 4, half_T(2)),
    "count-1": (CountSketch(1), 4, half_T(1)),
    "count-2": (CountSketch(2), 4, of(BalancedCountSketch(2))),
    "count-3": (CountSketch(3), 4, half_T(3)),
    "balanced-1": (BalancedCountSketch(1), 4, half_T(1)),
    "balanced-2": (BalancedCountSketch(2), 4, of(CountSketch(2))),
    "balanced-3": (BalancedCountSketch(3), 4, of(CountSketch(3))),
    "balanced-4": (BalancedCountSketch(4), 4, of(CountSketch(4))),
    "sparse-2-of-2": (SparseSignSketch(2, 2), 3, half_T(2)),
    "sparse-1-of-2": (SparseSignSketch(2, 1), 4, half_T(2)),
    "sparse-2-of-3": (SparseSignSketch(3, 2), 2, of(GaussianSketch(3))),
    "hadamard-1": (HadamardSketch(1), 4, half_T(1)),
    "hadamard-3": (HadamardSketch(3), 4, of(HadamardSketch(3, replacement=True))),
    "hadamard-4": (HadamardSketch(4), 4, of(HadamardSketch(4, replacement=True))),
    "hadamard-padded": (HadamardSketch(2), 3, half_T(2)),
    "hadamard-replaced": (HadamardSketch(2, replacement=True), 4, of(HadamardSketch(2))),
    "cosine-1": (CosineSketch(1), 4, of(HadamardSketch(1))),
    "cosine-2": (CosineSketch(2), 4, of(CosineSketch(2, replacement=True))),
    "cosine-odd": (CosineSketch(2), 3, of(HadamardSketch(2))),
    "cosine-4": (CosineSketch(4), 4, of(CosineSketch(4, replacement=True))),
    "cosine-replaced": (CosineSketch(2, replacement=True), 4, of(HadamardSketch(2, True))),
    "cosine-replaced-odd": (CosineSketch(2, replacement=True), 3, of(CosineSketch(2))),
    "uniform-1": (UniformRows(1), 4, from_moments(lambda m: m.rows * m.rowwise)),
    "uniform-3": (UniformRows(3), 4, of(UniformRows(3, replacement=True))),
    "uniform-4": (UniformRows(4), 4, of(UniformRows(4, replacement=True))),
    "uniform-replaced": (UniformRows(2, replacement=True), 4, of(UniformRows(2))),
    "given": (ImportanceRows(2, [1, 2, 3, 4]), 4, of(UniformRows(2, replacement=True))),
    "poisson-given": (
        PoissonRows(2.5, [1, 0.5, 0.25, 0.75]),
        4,
        of(ImportanceRows(2, [1, 0.5, 0.25, 0.75])),
    ),
    "poisson-capped": (PoissonRows(3, [9, 1, 1, 1]), 4, of(PoissonRows(3, [3, 1, 1, 1.5]))),
    "centred": (Centred(UniformRows(2)), 4, of(UniformRows(2))),
    "centred-count": (Centred(CountSketch(2)), 4, of(CountSketch(2))),
    "centred-given": (Centred(ImportanceRows(2, [1, 2, 3, 4])), 4, of(Centred(UniformRows(2)))),
    "segments": (
        Centred(RademacherSketch(1), ["b", "a", "b", "b"]),
        4,
        of(Centred(CountSketch(1))),
    ),
    "centred-hadamard": (Centred(HadamardSketch(2)), 3, of(HadamardSketch(2))),
}
# These estimate a sum in which the rows have weights other than 1.
REWEIGHTED = {
    "masked": (Masked(UniformRows(2), KEEP), KEEP, of(UniformRows(2))),
    "masked-balanced": (
        Masked(BalancedCountSketch(2), KEEP),
        KEEP,
        of(Masked(CountSketch(2), KEEP)),
    ),
    "masked-centred": (
        Masked(Centred(CountSketch(2), [1, 1, 2]), KEEP),
        KEEP,
        of(Masked(CountSketch(2), KEEP)),
    ),
    "masked-out": (Masked(UniformRows(2), 4 * [False]), 4 * [0], of(UniformRows(2))),
    "weighted": (Weighted(UniformRows(2), [4, 0, 1, 0.25]), [4, 0, 1, 0.25], of(UniformRows(2))),
    "weighted-signs": (
        Weighted(RademacherSketch(1), [4, 0, 1, 0.25]),
        [4, 0, 1, 0.25],
        of(Weighted(GaussianSketch(1), [4, 0, 1, 0.25])),
    ),
    "weighted-masked": (
        Weighted(Masked(CountSketch(2), KEEP), [4, 9, 1, 0.25]),
        [4, 0, 1, 0.25],
        of(Masked(CountSketch(2), KEEP)),
    ),
    "weighted-centred": (
        Weighted(Centred(UniformRows(3)), [4, 0, 1, 0.25]),
        [4, 0, 1, 0.25],
        of(Weighted(UniformRows(3), [4, 0, 1, 0.25])),
    ),
}
ALL = {**CASES, **{k: (s, 4, wrong) for k, (s, _, wrong) in REWEIGHTED.items()}}


@cache
def enumerated(name):
    # The entries of a cosine transform are irrational: there the numbers are floats.
    sketch, rows, _ = ALL[name]
    irrational = "cosine" in name
    found = distribution(sketch, LEFT[:rows], RIGHT[:rows], 15 if irrational else 12)
    return first_two_moments(found, rows, *([float] if irrational else []))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ALL)
def test_the_mean_is_exact(name):
    mean, _ = enumerated(name)
    rows = len(mean)
    weights = REWEIGHTED[name][1] if name in REWEIGHTED else rows * [1]
    wanted = np.diag([F(w) for w in weights])
    if "cosine" in name:
        np.testing.assert_allclose(mean.astype(float), wanted.astype(float), atol=1e-14)
    else:
        assert np.all(mean == wanted)


def integers(rows, columns):
    numbers = st.lists(st.integers(-3, 3), min_size=rows * columns, max_size=rows * columns)
    return numbers.map(lambda found: np.array(found, dtype=float).reshape(rows, columns))


@pytest.mark.parametrize("name", ALL)
def test_the_variance_is_exact(name):
    sketch, rows, _ = ALL[name]
    _, spread = enumerated(name)

    @settings(max_examples=6)
    @given(integers(rows, 2), integers(rows, 3))
    def check(X, Y):
        wanted = float(variance_by_definition(spread, X, Y))
        # Rounding is relative to ||X||^2 ||Y||^2, for the formulas are differences.
        size = np.sum(X * X) * np.sum(Y * Y)
        assert float(variance(sketch, X, Y)) == pytest.approx(wanted, rel=1e-12, abs=1e-12 * size)

    check()


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_variance_is_seen(name):
    _, rows, wrong = ALL[name]
    X, Y = LEFT[:rows], RIGHT[:rows]
    exact = float(variance_by_definition(enumerated(name)[1], X, Y))
    assert float(wrong(X, Y)) != pytest.approx(exact, rel=1e-3, abs=1e-3)


def pool(rows):
    """Rows of integer length, so that the optimal probabilities are rational."""
    return st.lists(
        st.sampled_from([(3, 4), (5, 12), (0, 2), (8, -6), (-4, 3), (0, 0), (1, 0)]),
        min_size=rows,
        max_size=rows,
    ).map(lambda found: np.array(found, dtype=float))


# Sketches that look at the data, and a wrong variance for each.
LOOKING = {
    "optimal": (ImportanceRows(2), of(ImportanceRows(2, squared_rows))),
    "length-squared": (ImportanceRows(2, squared_rows), of(GaussianSketch(2))),
    "leverage": (ImportanceRows(2, leverage_scores), of(ImportanceRows(2, squared_rows))),
    "poisson-1": (PoissonRows(1), of(ImportanceRows(1))),
    "poisson": (PoissonRows(2, squared_rows), of(PoissonRows(2))),
    "winners-1": (WinnerTakeAllRows(1), of(UniformRows(1))),
    "winners-2": (WinnerTakeAllRows(2), of(ImportanceRows(2))),
    "winners-3": (WinnerTakeAllRows(3), of(ImportanceRows(3))),
    "winners-4": (WinnerTakeAllRows(4), of(ImportanceRows(4))),
}


def exactly(sketch, X, Y):
    """X^T E[W] Y and the variance, from all outcomes of the draw for these matrices."""
    mean, spread = first_two_moments(distribution(sketch, X, Y), len(X))
    X_T, Y_ = X.T.astype(int).astype(object), Y.astype(int).astype(object)
    return X_T @ mean @ Y_, variance_by_definition(spread, X, Y)


@pytest.mark.parametrize("name", LOOKING)
def test_sketches_that_look_at_the_data(name):
    sketch = LOOKING[name][0]

    # Leverage scores are rational anyway; small entries keep their denominators small.
    left = integers(4, 2) if name == "leverage" else pool(4)

    @settings(max_examples=5)
    @given(left, pool(4))
    def check(X, Y):
        mean, wanted = exactly(sketch, X, Y)
        assert np.all(mean == (X.T @ Y).astype(int))
        size = np.sum(X * X) * np.sum(Y * Y)
        assert float(variance(sketch, X, Y)) == pytest.approx(
            float(wanted), rel=1e-12, abs=1e-12 * size
        )

    check()


@pytest.mark.parametrize("name", LOOKING)
def test_their_wrong_variances_are_seen(name):
    sketch, wrong = LOOKING[name]
    X = np.array([[3.0, 4.0], [0.0, 2.0], [-4.0, 3.0], [24.0, 10.0]])
    Y = np.array([[8.0, -6.0], [5.0, 12.0], [0.0, 1.0], [4.0, 3.0]])
    X = LEFT if name == "leverage" else X
    assert float(wrong(X, Y)) != pytest.approx(float(exactly(sketch, X, Y)[1]), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", [*ALL, *LOOKING])
def test_the_estimator_is_what_was_enumerated(name):
    # sketched_product itself, run for some outcomes, is X^T W Y with the W of the same outcome.
    sketch, rows = ALL[name][:2] if name in ALL else (LOOKING[name][0], 4)
    X, Y = LEFT[:rows], RIGHT[:rows]
    for seed in range(5):
        draw = sketch.draw(X, Y, np.random.default_rng(seed))
        R = draw.compress(np.eye(rows))
        wanted = X.T @ R.T @ np.diag(draw.weights) @ R @ Y
        found = sketched_product(sketch, X, Y, np.random.default_rng(seed))
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_winner_is_kept_for_certain_and_the_criterion_is_the_smallest():
    rng = np.random.default_rng(3)
    for _ in range(20):
        X, Y = rng.standard_cauchy((9, 3)), rng.standard_normal((9, 2))
        sizes = np.sort(np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1))[::-1]
        criteria = [sizes[c:].sum() ** 2 / (5 - c) for c in range(5)]
        draw = WinnerTakeAllRows(5).draw(X, Y, rng)
        assert np.count_nonzero(draw.weights == 1) == np.argmin(criteria)


@given(integers(4, 2), integers(4, 3))
def test_leverage_scores_are_the_projector(X, Y):
    found = leverage_scores(X)
    assert found.sum() == pytest.approx(np.linalg.matrix_rank(X), abs=1e-10)
    np.testing.assert_allclose(found, np.diag(X @ np.linalg.pinv(X)), atol=1e-10)


@pytest.mark.parametrize("units", [None, (0, 0, 1)])
def test_minibatch_variance_is_unbiased(units):
    # Batches drawn with replacement from a population of 3 units: all of them, as Fractions.
    X = np.array([[[1.0, 2.0], [0.0, -1.0]], [[3.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [2.0, -1.0]]])
    Y = np.array([[[1.0], [2.0]], [[-1.0], [1.0]], [[2.0], [0.0]]])
    if units is None:
        X, Y = X[:, :1], Y[:, :1]
    length = X.shape[1]
    true = {}
    for _, batch in every_outcome(lambda rng: rng.integers(0, 3, size=3)):
        true[tuple(batch)] = np.sum(np.einsum("sli,slj->sij", X[batch], Y[batch]), axis=0)
    sums = np.array(list(true.values()))
    wanted = np.sum((sums - sums.mean(axis=0)) ** 2) / len(sums)
    estimates = {}
    for name, ids in (("right", np.repeat(np.arange(3), length)), ("rows", None)):
        estimates[name] = np.mean(
            [
                minibatch_variance(
                    X[list(b)].reshape(3 * length, 2), Y[list(b)].reshape(3 * length, 1), units=ids
                )
                for b in true
            ]
        )
    assert estimates["right"] == pytest.approx(wanted, rel=1e-12)
    if units is not None:  # tokens taken for independent units
        assert estimates["rows"] != pytest.approx(wanted, rel=0.01)


def test_the_three_point_rule_has_the_moments_of_the_normal_distribution():
    outcomes = list(every_outcome(lambda rng: rng.standard_normal((1,))[0]))
    for power, moment in enumerate((1, 0, 1, 0, 3, 0)):
        assert sum(float(p) * z**power for p, z in outcomes) == pytest.approx(moment, abs=1e-14)


# What stays of a product under a sketch: its squared norm, over all outcomes.
TELLING = [
    name
    for name, (sketch, rows, _) in CASES.items()
    if hasattr(sketch, "variance_of") and not (name == "uniform-1" and rows > 1)
]


def mean_of_told(sketch, X, Y, tell):
    rows = len(X)
    m = moments(X, Y)
    found = 0.0
    for W, probability in distribution(sketch, X, Y).items():
        square = np.sum((X.T @ np.reshape(W, (rows, rows)) @ Y) ** 2)
        found += float(probability) * tell(replace(m, product=square))
    return found, m.product


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", TELLING)
def test_the_square_of_a_product_is_told_without_bias(name):
    sketch, rows, _ = CASES[name]
    X, Y = LEFT[:rows], RIGHT[:rows]
    found, wanted = mean_of_told(sketch, X, Y, lambda m: unsketched_moments(sketch, m).product)
    assert found == pytest.approx(wanted, rel=1e-10)
    if float(variance(sketch, X, Y)) > 1e-9:  # the square itself is too large
        found, _ = mean_of_told(sketch, X, Y, lambda m: m.product)
        assert found != pytest.approx(wanted, rel=1e-3)


def test_one_row_tells_nothing_of_a_product():
    with pytest.raises(ValueError, match="take a larger size"):
        unsketched_moments(UniformRows(1), moments(LEFT, RIGHT))
