"""Sketched products on every array library, at real sizes, and at the edges."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.sketching import (
    Alignment,
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
    alignment,
    leverage_scores,
    minibatch_variance,
    moments,
    row_products,
    sketched_product,
    squared_rows,
    unsketched_moments,
    variance,
)
from odecore.sketching._bucketing import bucket_sums
from odecore.sketching._importance import _capped
from odecore.sketching._trigonometric import _cosine_sums, _walsh_hadamard
from tests.helpers.statistics import mean_agrees

ROWS = 24
KEEP = np.arange(ROWS) % 5 != 3
# Each makes a sketch of size p for 24 rows.
KINDS = {
    "gaussian": GaussianSketch,
    "rademacher": RademacherSketch,
    "count": CountSketch,
    "balanced": BalancedCountSketch,
    "sparse": lambda p: SparseSignSketch(p, min(p, 3)),
    "hadamard": HadamardSketch,
    "hadamard-replaced": lambda p: HadamardSketch(p, replacement=True),
    "cosine": CosineSketch,
    "cosine-replaced": lambda p: CosineSketch(p, replacement=True),
    "uniform": UniformRows,
    "uniform-replaced": lambda p: UniformRows(p, replacement=True),
    "optimal": ImportanceRows,
    "length-squared": lambda p: ImportanceRows(p, squared_rows),
    "leverage": lambda p: ImportanceRows(p, leverage_scores),
    "given": lambda p: ImportanceRows(p, np.arange(1, ROWS + 1)),
    "poisson": PoissonRows,
    "winners": WinnerTakeAllRows,
    "centred": lambda p: Centred(BalancedCountSketch(p)),
    "segments": lambda p: Centred(UniformRows(p), np.arange(ROWS) % 3),
    "masked": lambda p: Masked(UniformRows(min(p, 19)), KEEP),
    "weighted": lambda p: Weighted(CountSketch(p), np.arange(ROWS) / 7),
}
EXACT_AT_ALL_ROWS = ("balanced", "cosine", "uniform", "poisson", "winners", "centred", "segments")
every_kind = pytest.mark.parametrize("kind", KINDS)


def data(rng, array=np.asarray):
    X = rng.standard_normal((ROWS, 5)) * np.geomspace(1, 4, ROWS)[:, None] + 0.5
    Y = rng.standard_normal((ROWS, 3)) + 0.3
    return array(X), array(Y)


def target(kind, X, Y):
    X, Y = (np.asarray(A, dtype=np.float64) for A in (X, Y))
    weights = {"masked": KEEP, "weighted": np.arange(ROWS) / 7}.get(kind, np.ones(ROWS))
    return X.T @ (weights[:, None] * Y)


def squared_errors(sketch, X, Y, exact, rng):
    def sample(n):
        draws = (np.asarray(sketched_product(sketch, X, Y, rng)) for _ in range(n))
        return [np.sum((draw - exact) ** 2) for draw in draws]

    return sample


@pytest.mark.sampled(3)
@every_kind
def test_estimates_are_unbiased(kind, rng):
    X, Y = data(rng)
    exact = target(kind, X, Y)
    direction = exact / np.linalg.norm(exact)

    def sample(n):
        return [np.sum(sketched_product(KINDS[kind](7), X, Y, rng) * direction) for _ in range(n)]

    assert mean_agrees(sample, np.sum(exact * direction), start=300)
    assert not mean_agrees(sample, 1.3 * np.sum(exact * direction), start=300)


@pytest.mark.sampled(3)
@every_kind
def test_measured_variance_is_the_claimed_one(kind, rng):
    X, Y = data(rng)
    claimed = float(variance(KINDS[kind](7), X, Y))
    sample = squared_errors(KINDS[kind](7), X, Y, target(kind, X, Y), rng)
    assert mean_agrees(sample, claimed, rounds=4)
    assert not mean_agrees(sample, 0.5 * claimed)
    assert not mean_agrees(sample, 2 * claimed)


@pytest.mark.parametrize("kind", ["hadamard", "cosine", "uniform"])
def test_replacement_is_seen_in_the_measured_variance(kind, rng):
    X, Y = data(rng)
    for actual, other in ((kind, f"{kind}-replaced"), (f"{kind}-replaced", kind)):
        sample = squared_errors(KINDS[actual](12), X, Y, X.T @ Y, rng)
        assert mean_agrees(sample, float(variance(KINDS[actual](12), X, Y)), rounds=3)
        assert not mean_agrees(sample, float(variance(KINDS[other](12), X, Y)))


def agree_with_numpy(kinds, array, eps, rng):
    X, Y = data(rng)
    for kind in kinds:
        sketch = KINDS[kind](6)
        here = sketched_product(sketch, array(X), array(Y), np.random.default_rng(5))
        there = sketched_product(sketch, X, Y, np.random.default_rng(5))
        found = variance(sketch, array(X), array(Y))
        assert found.shape == ()
        assert found.dtype == here.dtype == array(X).dtype
        np.testing.assert_allclose(
            np.asarray(here), there, rtol=0, atol=100 * eps * np.abs(there).max(), err_msg=kind
        )
        assert float(found) == pytest.approx(float(variance(sketch, X, Y)), rel=500 * eps)


def test_the_same_draw_and_variance_on_every_array_library(xp, dtype, array, eps, rng):
    # jax compiles each operation for each shape: there one sketch stands for each operation.
    few = {"float32": ("hadamard",), "float64": ("count", "cosine")}[dtype]
    agree_with_numpy(few if xp.__name__ == "jax.numpy" else KINDS, array, eps, rng)


@pytest.mark.long
@pytest.mark.parametrize("xp", ["jax"], indirect=True)
def test_every_sketch_on_jax(array, eps, rng):
    agree_with_numpy(KINDS, array, eps, rng)


@pytest.mark.long_on_jax
def test_numbers_of_a_batch_on_every_array_library(array, eps, rng):
    X, Y = data(rng)
    found, wanted = moments(array(X), array(Y)), moments(X, Y)
    for name in ("x", "y", "product", "rowwise"):
        assert float(getattr(found, name)) == pytest.approx(
            float(getattr(wanted, name)), rel=50 * eps
        )
    for units in (None, np.arange(ROWS) // 4):
        assert float(minibatch_variance(array(X), array(Y), units=units)) == pytest.approx(
            float(minibatch_variance(X, Y, units=units)), rel=500 * eps
        )
    assert alignment(array(X), array(Y)).tau == pytest.approx(alignment(X, Y).tau, rel=100 * eps)


@pytest.mark.parametrize("kind", EXACT_AT_ALL_ROWS)
def test_all_rows_are_exact(kind, rng):
    X, Y = data(rng)
    found = sketched_product(KINDS[kind](ROWS), X, Y, rng)
    np.testing.assert_allclose(found, X.T @ Y, rtol=1e-11)
    assert float(variance(KINDS[kind](ROWS), X, Y)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"given", "segments", "masked", "weighted"}))
def test_one_row_and_size_one(kind, rng):
    X, Y = rng.standard_normal((1, 3)), rng.standard_normal((1, 2))
    found = sketched_product(KINDS[kind](1), X, Y, rng)
    if kind == "gaussian":
        assert float(variance(GaussianSketch(1), X, Y)) == pytest.approx(2 * np.sum((X.T @ Y) ** 2))
    else:  # a square of a sign is 1
        np.testing.assert_allclose(found, X.T @ Y, rtol=1e-12)
        assert float(variance(KINDS[kind](1), X, Y)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("library", ["numpy", "array_api_compat.torch"])
@every_kind
def test_zero_and_empty_matrices(kind, library, rng):
    xp = pytest.importorskip(library)
    X, Y = (xp.asarray(A.tolist(), dtype=xp.float32) for A in data(rng))
    sketch = KINDS[kind](5)
    assert np.all(np.asarray(sketched_product(sketch, 0 * X, Y, rng)) == 0)
    assert float(variance(sketch, 0 * X, Y)) == 0
    for n, m in ((0, 3), (5, 0), (0, 0)):
        assert tuple(sketched_product(sketch, X[:, :n], Y[:, :m], rng).shape) == (n, m)
        assert float(variance(sketch, X[:, :n], Y[:, :m])) == 0


@every_kind
def test_scales_that_overflow_fourth_powers(kind, rng):
    X, Y = data(rng)
    sketch = KINDS[kind](6)
    wanted = float(variance(sketch, X, Y))
    for scale in (1e15, 1e-15, 1e30):
        X_, Y_ = (scale * X).astype(np.float32), (Y / scale).astype(np.float32)
        assert float(variance(sketch, X_, Y_)) == pytest.approx(wanted, rel=1e-3)
        estimates = [
            sketched_product(sketch, *A, np.random.default_rng(1)) for A in ((X_, Y_), (X, Y))
        ]
        np.testing.assert_allclose(*estimates, rtol=0, atol=1e-4 * np.abs(estimates[1]).max())


@pytest.mark.parametrize("xp", ["numpy", "torch"], indirect=True)
def test_nothing_but_the_result_overflows(xp, array, dtype):
    sketch, size = CountSketch(4), {"float32": 1e10, "float64": 1e80}[dtype]
    equal = array(np.full((4, 2), size))
    assert float(variance(UniformRows(2), equal, equal)) == 0
    assert float(minibatch_variance(equal, equal)) == 0
    x, y = array(np.eye(4) * size**2), array(np.eye(4) / size**2)
    assert float(variance(sketch, x, y)) == float(variance(sketch, np.eye(4), np.eye(4)))
    x, y = (array(np.asarray(A)[:, None]) for A in ([size, 1, 0, 0], [0, 1, size, 0]))
    assert float(minibatch_variance(x, y)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("library", ["numpy", "array_api_compat.torch", "array_api_strict"])
@pytest.mark.filterwarnings("ignore:overflow")
@every_kind
def test_no_term_is_lost_beside_a_larger_one(kind, library, rng):
    xp = pytest.importorskip(library)
    X, Y = (A.astype(np.float32).astype(float) for A in data(rng))
    X[1:], Y[0] = 2.0**-90 * X[1:], 0  # the products of rows are 2^-180 ||X||^2 ||Y||^2
    single = (xp.asarray(A.tolist(), dtype=xp.float32) for A in (X, 2.0**90 * Y))
    found, wanted = (variance(KINDS[kind](6), *A) for A in (single, (X, 2.0**90 * Y)))
    assert found.dtype == xp.float32
    assert np.float32(found) == pytest.approx(np.float32(wanted), rel=1e-6)


@pytest.mark.parametrize("weight", [1e-300, 1e-24, 1e-22, 1e25, 1e200])
def test_weights_of_any_scale(weight, rng):
    X, Y = data(rng)
    sketch, weights = UniformRows(6), np.where(np.arange(ROWS) % 2, weight, weight / 3)
    wanted = pytest.approx(float(variance(Weighted(sketch, weights / weight), X, Y)), rel=1e-4)
    assert float(variance(Weighted(sketch, weights), X / weight, Y)) == wanted
    half = X.astype(np.float32), Y.astype(np.float32)
    if 1e-30 < weight < 1e30:
        x = (X / weight).astype(np.float32)
        assert float(variance(Weighted(sketch, weights), x, half[1])) == wanted
    inverse = Masked(Weighted(sketch, np.full(ROWS, 1 / weight)), np.ones(ROWS, dtype=bool))
    assert float(variance(Weighted(inverse, weights), *half)) == wanted


def half_precision(values):
    """The same numbers in half precision of each library that has one."""
    values = np.asarray(values, dtype=np.float16)
    torch = pytest.importorskip("torch")
    yield values
    for kind in (torch.float16, torch.bfloat16):
        yield torch.from_numpy(values).to(kind)


def doubled(array):
    return np.asarray(array.astype("float64") if hasattr(array, "astype") else array.double())


def test_half_precision_is_summed_in_single():
    X = np.full((1000, 20), 0.01)
    Y = X * np.where(np.arange(1000) % 2, 1, -1)[:, None]
    for x, y in zip(half_precision(X), half_precision(Y), strict=True):
        wide = doubled(x), doubled(y)
        for sketch in (GaussianSketch(10), CosineSketch(10), ImportanceRows(10)):
            found = variance(sketch, x, y)
            assert str(found.dtype).endswith("float32")
            assert float(found) == pytest.approx(float(variance(sketch, *wide)), rel=1e-4)
        for units in (None, np.arange(1000) // 2):
            found = float(minibatch_variance(x, y, units=units))
            assert found == pytest.approx(float(minibatch_variance(*wide, units=units)), abs=1e-5)
        assert alignment(x, y).tau == pytest.approx(alignment(*wide).tau, rel=1e-4)
        assert float(moments(x, y).rowwise) == pytest.approx(float(moments(*wide).rowwise))


@pytest.mark.long
def test_half_precision_of_jax(rng):
    jnp = pytest.importorskip("jax.numpy")
    X = jnp.full((1000, 2), 0.01, dtype=jnp.bfloat16)
    wide = np.full((1000, 2), float(X[0, 0]))
    wanted = float(variance(GaussianSketch(10), wide, wide))
    assert float(variance(GaussianSketch(10), X, X)) == pytest.approx(wanted, rel=1e-4)
    assert leverage_scores(X).sum() == pytest.approx(1, rel=1e-4)
    found = sketched_product(CosineSketch(10), X, X, np.random.default_rng(1))
    assert found.dtype == X.dtype
    wanted = sketched_product(CosineSketch(10), wide, wide, np.random.default_rng(1))
    np.testing.assert_allclose(np.asarray(found, dtype=np.float64), wanted, rtol=0.05)


def test_scores_of_rows_in_half_precision(rng):
    values = rng.standard_normal((60, 4))
    for x in half_precision(values):
        for scores in (leverage_scores, squared_rows):
            np.testing.assert_allclose(scores(x), scores(doubled(x)), rtol=1e-4)
        assert leverage_scores(x).sum() == pytest.approx(4)


@pytest.mark.parametrize("kind", ["cosine", "hadamard", "centred"])
def test_half_precision_comes_back_in_half_precision(kind, rng):
    X, Y = data(rng)
    for x, y in zip(half_precision(X + 50), half_precision(Y), strict=True):
        found = sketched_product(KINDS[kind](7), x, y, np.random.default_rng(3))
        wide = sketched_product(KINDS[kind](7), doubled(x), doubled(y), np.random.default_rng(3))
        assert found.dtype == x.dtype
        eps = 2.0**-8 if "bfloat16" in str(x.dtype) else 2.0**-11
        size = np.linalg.norm(doubled(x)) * np.linalg.norm(doubled(y))
        np.testing.assert_allclose(doubled(found), wide, rtol=0, atol=8 * eps * size)


def test_means_of_half_precision_do_not_overflow(rng):
    X, Y = np.full((1000, 2), 100.0), np.full((1000, 1), 1e-3)
    for x, y in zip(half_precision(X), half_precision(Y), strict=True):
        found = sketched_product(Centred(UniformRows(10)), x, y, rng)
        np.testing.assert_allclose(doubled(found), doubled(x).T @ doubled(y), rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_entries_next_to_the_largest_number(xp, dtype):
    if not hasattr(xp, dtype):
        pytest.skip(f"{xp.__name__} has no {dtype}")
    largest = float(np.finfo(dtype).max)
    for X in ([[largest], [0.9 * largest]], [[(1 - 2**-9) * largest], [-largest]]):
        Y = [[64 / largest], [128 / largest]]
        x, y = (xp.asarray(A, dtype=getattr(xp, dtype)) for A in (X, Y))
        wide = np.asarray(X) / largest, np.asarray([[64.0], [128.0]])
        found = float(variance(UniformRows(1), x, y))
        rtol = 1e-2 if dtype == "float16" else 1e-5
        assert found == pytest.approx(float(variance(UniformRows(1), *wide)), rel=rtol)


def test_scale_free_numbers_at_any_scale(array, rng):
    X, Y = data(rng)
    for scale in (1e15, 1e-15):
        found, wanted = alignment(array(scale * X), array(scale * Y)), alignment(X, Y)
        assert (found.alpha, found.tau) == pytest.approx((wanted.alpha, wanted.tau), rel=1e-4)


def test_a_mask_takes_padding_out(rng):
    X, Y = data(rng)
    inside = X[KEEP], Y[KEEP]
    for sketch in (UniformRows(6), CosineSketch(6), ImportanceRows(6), Centred(CountSketch(6))):
        assert float(variance(Masked(sketch, KEEP), X, Y)) == float(variance(sketch, *inside))
    with pytest.raises(ValueError, match="size 20 for 19 rows"):
        sketched_product(Masked(UniformRows(20), KEEP), X, Y, rng)
    nothing = Masked(ImportanceRows(3), ROWS * [False])
    assert np.all(sketched_product(nothing, X, Y, rng) == 0)


def test_masks_and_ids_of_every_array_library(xp, rng):
    X, Y = data(rng)
    segments = np.arange(ROWS) % 3
    keep, ids = (xp.asarray(found.tolist()) for found in (KEEP, segments))
    np.testing.assert_array_equal(Masked(UniformRows(2), keep).keep, KEEP)
    np.testing.assert_array_equal(Centred(UniformRows(2), ids).segments, segments)
    wanted = float(minibatch_variance(X, Y, units=segments))
    assert float(minibatch_variance(X, Y, units=ids)) == wanted


def test_centring_takes_equal_rows_exactly(rng):
    X, Y = np.full((ROWS, 2), 3.0), rng.standard_normal((ROWS, 2))
    np.testing.assert_allclose(sketched_product(Centred(CountSketch(1)), X, Y, rng), X.T @ Y)
    draw = Centred(UniformRows(4)).draw(X, None, rng)
    np.testing.assert_allclose(ROWS * draw.compress(Y)[-1], Y.sum(axis=0))  # the bias gradient


def test_a_draw_serves_both_passes(rng):
    X, Y = data(rng)
    for kind in set(KINDS) - {"optimal", "poisson", "winners"}:
        draw = KINDS[kind](ROWS).draw(X, None, rng)
        kept = draw.compress(X)
        if kind in EXACT_AT_ALL_ROWS:
            np.testing.assert_allclose(draw.product(kept, draw.compress(Y)), X.T @ Y, rtol=1e-11)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_bucket_sums(rows, count, seed):
    rng = np.random.default_rng(seed)
    X, buckets = rng.integers(-9, 9, (rows, 2)).astype(float), rng.integers(0, count, rows)
    for signs in (None, 2 * rng.integers(0, 2, rows) - 1):
        wanted = np.zeros((count, 2))
        np.add.at(wanted, buckets, X if signs is None else signs[:, None] * X)
        assert np.all(bucket_sums(X, buckets, count, signs) == wanted)


def test_several_signs_a_row_need_no_several_copies(rng):
    X = np.ones((4096, 64))
    draw = SparseSignSketch(64, 16).draw(X, None, rng)
    tracemalloc.start()
    draw.compress(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * X.nbytes


@given(st.integers(1, 40))
def test_fast_transforms_are_the_matrices(rows):
    i = np.arange(rows)
    cosines = np.cos(np.pi * i[:, None] * (2 * i + 1) / (2 * rows))
    np.testing.assert_allclose(_cosine_sums(np.eye(rows), i), cosines, atol=1e-12)
    n = 1 << (rows - 1).bit_length()
    bits = np.bitwise_count(np.arange(n)[:, None] & np.arange(n)) % 2
    assert np.all(_walsh_hadamard(np.eye(n)) == 1 - 2.0 * bits)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.floats(0.1, 8))
def test_capped_probabilities(scores, size):
    scores = np.array(scores, dtype=float)
    found, positive = _capped(scores, size), np.count_nonzero(scores)
    assert np.all((found >= 0) & (found <= 1))
    assert found.sum() == pytest.approx(min(size, positive), rel=1e-12)
    free = (found < 1 - 1e-12) & (scores > 0)  # in proportion, below what is capped
    ratios = found[free] / scores[free]
    assert np.ptp(ratios) <= 1e-12 if free.any() else True
    if free.any() and (found == 1).any():
        assert np.all(scores[found == 1] * ratios.max() >= 1 - 1e-12)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.data())
def test_shapes_and_values(rows, n, m, size, found):
    entries = st.floats(-1e3, 1e3)
    X, Y = (
        np.array(found.draw(st.lists(entries, min_size=rows * k, max_size=rows * k))).reshape(
            rows, k
        )
        for k in (n, m)
    )
    for make in (GaussianSketch, CountSketch, lambda p: SparseSignSketch(p, p), ImportanceRows):
        product = sketched_product(make(size), X, Y, np.random.default_rng(0))
        assert product.shape == (n, m)
        assert np.all(np.isfinite(product))
        assert 0 <= float(variance(make(size), X, Y)) < np.inf


ONES = np.ones((4, 1))


def run(sketch, X=ONES, Y=ONES):
    return sketched_product(sketch, X, Y, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        *(
            (lambda make=make: make(0), ValueError, "positive int, got 0")
            for make in (GaussianSketch, RademacherSketch, CountSketch, HadamardSketch, UniformRows)
        ),
        (lambda: UniformRows(2.0), ValueError, "positive int, got 2.0"),
        (lambda: CosineSketch(True), ValueError, "positive int, got True"),
        (lambda: SparseSignSketch(3, 0), ValueError, "`nonzeros` must be a positive int"),
        (lambda: SparseSignSketch(3, 4), ValueError, "4 for size 3.*RademacherSketch"),
        (lambda: PoissonRows(0), ValueError, "finite number > 0"),
        (lambda: PoissonRows(float("nan")), ValueError, "finite number > 0"),
        (lambda: run(PoissonRows(5)), ValueError, "at most once"),
        *(
            (lambda make=make, use=use: use(make(5)), ValueError, "size 5 for 4 rows; ")
            for make in (UniformRows, CosineSketch, HadamardSketch, BalancedCountSketch, WinnerTakeAllRows)
            for use in (run, lambda sketch: variance(sketch, ONES, ONES))
        ),
        (lambda: ImportanceRows(2, [1, -1]), ValueError, "`scores` must be .* >= 0"),
        (lambda: ImportanceRows(2, [1, np.nan]), ValueError, "`scores` must be one finite"),
        (lambda: run(ImportanceRows(2, [1, 1])), ValueError, "each of the 4 rows"),
        (lambda: run(ImportanceRows(2, [1, 0, 1, 0])), ValueError, "row 1 and 1 more.*biased"),
        (lambda: run(PoissonRows(2, [1, 0, 1, 0])), ValueError, "biased"),
        (lambda: variance(ImportanceRows(2, [1, 0, 1, 1]), ONES, ONES), ValueError, "biased"),
        (lambda: ImportanceRows(2).draw(ONES, None, np.random.default_rng(0)), ValueError, "need Y"),
        (lambda: Masked(UniformRows(1), [1, 0, 1, 1]), ValueError, "one bool for each row"),
        (lambda: run(Masked(UniformRows(1), [True])), ValueError, "each of the 4 rows, got 1"),
        (lambda: Weighted(UniformRows(1), [1, -2]), ValueError, "`weights` must be"),
        (lambda: run(Weighted(UniformRows(1), [1.0])), ValueError, "each of the 4 rows, got 1"),
        (lambda: variance(Weighted(GaussianSketch(1), []), ONES, ONES), ValueError, "rows, got 0"),
        (lambda: Centred(UniformRows(1), [0.5]), ValueError, "one integer or text id"),
        (lambda: run(Centred(UniformRows(1), [1])), ValueError, "each of the 4 rows, got 1"),
        (lambda: Centred(Masked(UniformRows(1), [True])), TypeError, r"Masked\(Centred"),
        (lambda: Centred(Weighted(UniformRows(1), [1])), TypeError, "can not be centred"),
        (lambda: moments(np.ones((3, 1)), ONES), ValueError, r"\(3, 1\) and \(4, 1\)"),
        (lambda: moments(np.ones(3), np.ones((3, 1))), ValueError, "must be matrices"),
        (lambda: moments(np.ones((0, 1)), np.ones((0, 1))), ValueError, "positive number of rows"),
        (lambda: moments(np.ones((4, 1), dtype=int), ONES), TypeError, "floating-point"),
        (lambda: run(UniformRows(1), ONES * np.nan), ValueError, "`X` must be finite"),
        (lambda: variance(UniformRows(1), ONES, ONES / 0.0), ValueError, "`Y` must be finite"),
        (lambda: minibatch_variance(ONES[:1], ONES[:1]), ValueError, "at least 2 rows"),
        (lambda: minibatch_variance(ONES, ONES, units=[1] * 4), ValueError, "at least 2 units"),
        (lambda: minibatch_variance(ONES, ONES, units=[1]), ValueError, "each of the 4 rows, got 1"),
        *(
            (lambda make=make, sketch=sketch: make(sketch), TypeError, "must be an object with .*, got")
            for sketch in ("uniform", None, UniformRows)
            for make in (
                run, Centred, lambda sketch: variance(sketch, ONES, ONES),
                lambda sketch: Masked(sketch, [True]), lambda sketch: Weighted(sketch, [1.0]),
            )
        ),
        (
            lambda: unsketched_moments(CosineSketch(2), moments(ONES, ONES)),
            TypeError, r"function of the moments, got CosineSketch\(size=2",
        ),
        (lambda: unsketched_moments(UniformRows(2), ONES), TypeError, "must be Moments, got array"),
        (lambda: leverage_scores(ONES * np.nan), ValueError, "leverage scores need finite `X`"),
        (
            lambda: leverage_scores(pytest.importorskip("torch").empty(3, 2, device="meta")),
            ValueError, "`X` must have values",
        ),
        (lambda: alignment(ONES, 0 * ONES), ValueError, "zero matrix"),
        *(
            (lambda a=arguments: Alignment(*a), error, message)
            for arguments, error, message in (
                ((None, 0.5, 1.0, 0.7), TypeError, "`rows` must be a real number, got None"),
                ((4, "a", 1.0, 0.7), TypeError, "`alpha` must be a real number"),
                ((4, 0.5, np.ones(2), 0.7), TypeError, "`tau` must be a real number"),
                ((4, 0.5, 10**400, 0.7), ValueError, "alpha <= tau <= B"),
            )
        ),
        (lambda: unsketched_moments(UniformRows(2), None), TypeError, "`moments` must be Moments"),
        (lambda: Centred(UniformRows(1), [[1], [1, 2]]), ValueError, "one integer or text id"),
        (
            lambda: sketched_product(GaussianSketch(2), ONES, ONES, 7),
            TypeError, "numpy.random.Generator",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_a_sketch_say_what_does_not_fit(kind, rng):
    sketch, X, Y = KINDS[kind](4), np.ones((ROWS, 2)), np.ones((ROWS, 3))
    for wrong in (0, None, np.random.RandomState(0)):
        with pytest.raises(TypeError, match="`rng` must be a numpy"):
            sketch.draw(X, Y, wrong)
    for wrong in (None, "X", X.tolist()):
        with pytest.raises(TypeError, match="`X` must be a matrix, an array of a row for each"):
            sketch.draw(wrong, Y, rng)
    for wrong in (None, "X", X.astype(int)):
        with pytest.raises(TypeError, match="`X` must"):
            sketch.variance(wrong, Y)
        with pytest.raises(TypeError, match="`Y` must"):
            sketch.variance(X, wrong)
    for wrong in (X[0], X[None], X[:0]):
        with pytest.raises(ValueError, match="`X` must be a matrix of at least one row, got shape"):
            sketch.draw(wrong, Y, rng)
        with pytest.raises(ValueError, match="X and Y must be matrices with the same positive num"):
            sketch.variance(wrong, Y)
    with pytest.raises(ValueError, match="X and Y must be matrices with the same positive number"):
        sketch.variance(X, Y[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_can_be_sent_and_belongs_to_its_rows(kind, rng):
    X, Y = data(rng)
    draw = KINDS[kind](4).draw(X, Y, rng)
    for sent in (pickle.loads(pickle.dumps(draw)), copy.deepcopy(draw)):  # noqa: S301
        np.testing.assert_array_equal(sent.compress(Y), draw.compress(Y))
        np.testing.assert_array_equal(sent.weights, draw.weights)
        for other in (X[1:], np.concatenate([X, X])):
            with pytest.raises(ValueError, match=f"{ROWS} rows|each of the"):
                sent.compress(other)


def test_complex_matrices_are_refused():
    for call in (moments, minibatch_variance, alignment, lambda a, b: run(UniformRows(2), a, b)):
        with pytest.raises(TypeError, match="real"):
            call(ONES * 1j, ONES)


def test_what_a_sketch_holds_does_not_change():
    scores, keep = np.ones(4), np.array([True, False, True, True])
    held = ImportanceRows(2, scores), Masked(UniformRows(1), keep)
    scores[0], keep[0] = 0, False
    assert held[0].scores[0] == 1
    assert held[1].keep[0]
    with pytest.raises(ValueError, match="read-only"):
        held[0].scores[0] = 2
    assert row_products(ONES, ONES).shape == (4,)


def test_a_derivative_of_the_variance_is_right_or_refused(rng):
    torch = pytest.importorskip("torch")
    X, Y = (torch.from_numpy(A) for A in data(rng))
    for kind, make in KINDS.items():
        sketch = make(6)
        x = X.clone().requires_grad_()
        found = variance(sketch, x, Y)
        looks = {"optimal", "length-squared", "leverage", "given", "poisson", "winners"}
        assert found.requires_grad == (kind not in looks)
        if found.requires_grad:
            found.backward()
            direction = Y[:, :1] * X.flip(0)  # centring forgets equal shifts
            up, down = (variance(sketch, X + h * direction, Y) for h in (1e-5, -1e-5))
            assert float((x.grad * direction).sum()) == pytest.approx(
                float(up - down) / 2e-5, rel=1e-5
            )
    assert alignment(x, Y) == alignment(X, Y)


@pytest.mark.long
def test_a_compiler_may_trace_what_does_not_look_at_the_data(rng):
    jax = pytest.importorskip("jax")
    X, Y = (jax.numpy.asarray(A, dtype="float32") for A in data(rng))
    draw = CountSketch(6).draw(X, None, rng)
    traced = jax.jit(lambda X, Y: draw.product(draw.compress(X), draw.compress(Y)))(X, Y)
    wanted = draw.product(draw.compress(X), draw.compress(Y))
    np.testing.assert_allclose(np.asarray(traced), np.asarray(wanted), rtol=1e-4, atol=1e-4)
    found = jax.jit(lambda X, Y: variance(CountSketch(6), X, Y))(X, Y)
    assert float(found) == pytest.approx(float(variance(CountSketch(6), X, Y)), rel=1e-4)


@pytest.mark.parametrize("scores", [leverage_scores, squared_rows, row_products])
def test_scores_are_of_matrices(scores):
    X = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(scores(X.tolist(), X.tolist()), scores(X, X))
    for wrong in (X[:, 0], X[None], 1.0):
        with pytest.raises(ValueError, match="scores need matrices with a row for each score"):
            scores(wrong, wrong)
    for wrong, message in ((X.astype(int), "floating-point"), (X + 0j, "real"), (None, "NoneType")):
        with pytest.raises(TypeError, match=message):
            scores(wrong, X)


def test_scores_of_products_need_as_many_rows():
    X = np.ones((6, 2))
    for rows in (1, 5):  # one row would be broadcast
        with pytest.raises(ValueError, match=f"same number of rows, got 6 and {rows}"):
            row_products(X, X[:rows])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-5])
@pytest.mark.parametrize(
    "sketch", [UniformRows(12), ImportanceRows(12), CountSketch(12)], ids=lambda s: type(s).__name__
)
def test_without_double_precision_a_variance_is_right_to_rounding_of_the_whole(sketch, spread, rng):
    jax = pytest.importorskip("jax")
    X, Y = (
        (1 + spread * rng.standard_normal((64, k))).astype(np.float32) for k in (6, 3)
    )  # rows that are nearly the same
    exact = float(variance(sketch, X.astype(np.float64), Y.astype(np.float64)))
    whole = 2**-23 * float((X.astype(np.float64) ** 2).sum() * (Y.astype(np.float64) ** 2).sum())
    with jax.enable_x64(False):
        found = float(variance(sketch, jax.numpy.asarray(X), jax.numpy.asarray(Y)))
    assert abs(found - exact) <= 5 * whole
    assert float(variance(sketch, X, Y)) == pytest.approx(exact, rel=1e-6)
    if spread == 1e-5 and not isinstance(sketch, CountSketch):  # below that, no digit is right
        assert exact < 1e-3 * whole
        assert abs(found - exact) > exact / 2
