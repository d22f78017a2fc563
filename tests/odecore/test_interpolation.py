"""Interpolation at Chebyshev points: exact, stable, geometrically convergent."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.interpolate import BarycentricInterpolator

from odecore.interpolation import (
    Interpolant,
    PiecewiseHermite,
    barycentric_weights,
    chebyshev_coefficients,
    chebyshev_points,
    clenshaw_curtis_weights,
    coefficient_tail,
    decay_ratio,
    lagrange_rows,
    lebesgue_constant,
)

kinds = pytest.mark.parametrize("kind", [1, 2])
ends = st.tuples(st.floats(-10, 10), st.floats(0.1, 10), st.booleans()).map(
    lambda x: (x[0], x[0] + x[1]) if x[2] else (x[0] + x[1], x[0])
)


@kinds
@pytest.mark.parametrize("n", [2, 3, 4, 9, 40])
def test_points_are_those_of_the_definition(n, kind):
    k = np.arange(n)
    angles = (2 * k + 1) * np.pi / (2 * n) if kind == 1 else k * np.pi / (n - 1)
    x = chebyshev_points(n, kind=kind)
    np.testing.assert_allclose(x, -np.cos(angles), atol=1e-15)
    np.testing.assert_array_equal(x, -x[::-1])


@given(ends, st.integers(2, 30))
def test_points_include_both_ends_of_the_interval(interval, n):
    x = chebyshev_points(n, interval=interval)
    assert (x[0], x[-1]) == interval
    assert (np.diff(x) * (interval[1] - interval[0]) > 0).all()


@kinds
@pytest.mark.parametrize("n", [2, 3, 8, 21])
def test_weights_are_those_of_the_general_formula(n, kind):
    x = chebyshev_points(n, kind=kind)
    general = np.array([1 / np.prod(x[k] - np.delete(x, k)) for k in range(n)])
    ratio = barycentric_weights(n, kind=kind) / general
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-11)


@kinds
@given(ends, st.integers(2, 24), st.data())
def test_polynomials_are_reproduced(kind, interval, n, data):
    coefficients = data.draw(st.lists(st.floats(-1, 1), min_size=1, max_size=n))
    low, high = sorted(interval)
    polynomial = chebyshev.Chebyshev(coefficients, domain=[low, high])
    nodes = chebyshev_points(n, kind=kind, interval=interval)
    found = Interpolant(polynomial(nodes), interval, kind)
    x = np.linspace(low, high, 33).clip(low, high)
    np.testing.assert_allclose(found(x), polynomial(x), atol=1e-11 * n)


@kinds
def test_values_at_nodes_are_returned_to_the_bit(kind, rng):
    values = rng.standard_normal((11, 2, 3))
    found = Interpolant(values, (0.3, 2.0), kind)
    for k, x in enumerate(found.nodes):
        np.testing.assert_array_equal(found(x), values[k])
    np.testing.assert_array_equal(found(found.nodes), values)


def test_a_last_stage_may_leave_the_interval_by_rounding():
    # t + c h is -2.8e-17 for a method whose c is not a machine number.
    found = Interpolant(np.ones(5), (0.0, 1.0))
    assert found(-2.8e-17) == pytest.approx(1)
    assert found(1 + 4.4e-16) == pytest.approx(1)
    for outside in (-1e-11, 1 + 1e-11):
        with pytest.raises(ValueError, match="must lie in the interval"):
            found(outside)


def test_agrees_with_scipy_near_nodes_too(rng):
    values = rng.standard_normal(20)
    nodes = chebyshev_points(20)
    x = np.concatenate([np.linspace(-1, 1, 101), (nodes + 1e-14).clip(-1, 1)])
    theirs = BarycentricInterpolator(nodes, values)(x)
    np.testing.assert_allclose(Interpolant(values)(x), theirs, atol=1e-11)


def convergence_error(n, kind, weights_kind):
    nodes = chebyshev_points(n, kind=kind)
    x = np.linspace(-0.999, 0.999, 400)
    rows = lagrange_rows(x, nodes, barycentric_weights(n, kind=weights_kind))
    return np.abs(rows @ np.exp(nodes) - np.exp(x)).max()


@kinds
def test_convergence_is_geometric(kind):
    # exp on 10 nodes: 1e-9 or less; entire functions gain a digit or more each node.
    found = [convergence_error(n, kind, kind) for n in range(3, 11)]
    assert found[-1] < 2e-9
    assert all(b < a / 5 for a, b in zip(found, found[1:], strict=False))


@kinds
def test_weights_of_the_other_kind_lose_convergence(kind):
    # The twin, and the fault of a published implementation: it interpolates, and converges slowly.
    nodes = chebyshev_points(10, kind=kind)
    rows = lagrange_rows(nodes, nodes, barycentric_weights(10, kind=3 - kind))
    np.testing.assert_array_equal(rows, np.eye(10))
    assert convergence_error(10, kind, 3 - kind) > 1e-5


def test_every_array_library_and_precision(array, dtype, eps, xp):
    nodes = chebyshev_points(14, interval=(1.0, 3.0))
    values = array(np.stack([np.sin(nodes), np.exp(-nodes)], axis=1))
    found = Interpolant(values, (1.0, 3.0))
    for x in (1.0, 1.7, float(nodes[3]), 3.0):
        y = found(x)
        assert y.dtype == values.dtype
        assert float(y[0]) == pytest.approx(np.sin(x), abs=30 * eps)
        assert float(y[1]) == pytest.approx(np.exp(-x), abs=30 * eps)
    assert found(np.array([1.1, 2.0])).shape == (2, 2)


def test_on_an_accelerator_values_are_combined_without_a_copy():
    import torch

    values = torch.ones(7, 5, device="meta")
    assert Interpolant(values, (0, 1))(0.37).shape == (5,)


def test_coefficients_are_numpys(rng, array, eps):
    coefficients = rng.standard_normal(9)
    values = chebyshev.chebval(chebyshev_points(9), coefficients)
    found = chebyshev_coefficients(array(values))
    np.testing.assert_allclose(np.asarray(found), coefficients, atol=40 * eps)


def test_tail_tells_enough_nodes_from_too_few():
    tails = [float(coefficient_tail(np.exp(5 * chebyshev_points(m)))) for m in (5, 9, 17, 33)]
    assert tails[0] > 1e-2
    assert tails[-1] < 1e-14
    assert sorted(tails, reverse=True) == tails
    assert float(coefficient_tail(np.zeros(5))) == 0
    # An even function: every other coefficient vanishes, the tail must not be fooled.
    even = float(coefficient_tail(np.cos(9 * chebyshev_points(10))))
    assert even > 1e-3


@given(st.integers(2, 30))
def test_quadrature_is_exact_for_polynomials(m):
    weights = clenshaw_curtis_weights(m)
    nodes = chebyshev_points(m)
    assert (weights > 0).all()
    for degree in range(m):
        exact = 2 / (degree + 1) if degree % 2 == 0 else 0.0
        assert weights @ nodes**degree == pytest.approx(exact, abs=1e-13)


def test_simpson_is_the_three_point_rule():
    np.testing.assert_allclose(clenshaw_curtis_weights(3), [1 / 3, 4 / 3, 1 / 3], rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: chebyshev_points(0, kind=1), ValueError, "at least 1, got n = 0"),
        (lambda: chebyshev_points(1), ValueError, "at least 2, got n = 1"),
        (lambda: chebyshev_points(3, kind=3), ValueError, "`kind` must be 1"),
        (lambda: chebyshev_points(2.5), ValueError, "got n = 2.5"),
        (lambda: chebyshev_points(3, interval=(1, 1)), ValueError, "distinct ends"),
        (lambda: chebyshev_points(3, interval=(0, np.inf)), ValueError, "finite"),
        (lambda: barycentric_weights(1), ValueError, "at least 2"),
        (lambda: clenshaw_curtis_weights(1), ValueError, "at least 2"),
        (lambda: chebyshev_coefficients(np.ones(1)), ValueError, "at least 2"),
        (lambda: chebyshev_coefficients(1.0), ValueError, "at least 2"),
        (lambda: Interpolant(np.ones(())), ValueError, "first axis"),
        (lambda: Interpolant(np.ones(3, dtype=int)), TypeError, "floating-point"),
        (lambda: Interpolant(np.ones(3))(1.5), ValueError, "must lie in the interval"),
        (lambda: Interpolant(np.ones(3))(np.nan), ValueError, "must lie in the interval"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_next_to_a_node_nothing_overflows():
    assert Interpolant(np.ones(3))(1e-310) == 1


def test_the_tail_of_an_exact_interpolant_is_zero():
    assert float(coefficient_tail([2.0, 2.0])) == 0
    assert float(coefficient_tail([1.0, 2.0, 3.0])) < 1e-15
    assert float(coefficient_tail(np.zeros((5, 0)))) == 0
    for shape in ((5, 0), (5, 2)):  # a size is a real number
        assert coefficient_tail(np.zeros(shape, dtype=np.complex64)).dtype == np.float32


def test_nodes_and_weights_must_match():
    with pytest.raises(ValueError, match="of one length"):
        lagrange_rows(0.1, chebyshev_points(4), barycentric_weights(5))
    with pytest.raises(ValueError, match="not empty"):
        lagrange_rows(0.1, np.array([]), np.array([]))
    with pytest.raises(ValueError, match=r"cancel at x = \[0.5\], so `weights` are not those of"):
        lagrange_rows([0.1, 0.5], [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="or nodes coincide"):
        lagrange_rows(0.5, [0.0, 0.0], [1.0, -1.0])
    for nodes, weights, label in (([0, 1j], [1, -1], "nodes"), ([0, 1], ["1", "-1"], "weights")):
        with pytest.raises(TypeError, match=f"`{label}` must be a real number"):
            lagrange_rows(0.5, nodes, weights)


@pytest.mark.parametrize(
    ("m", "start", "width"),
    [
        (5, 0, 1e-300),
        (5, 0, 1e-305),
        (5000, 1e9, 1),
        (1000, 1e12, 1),
        (17, 1e15, 1),
        (5, 0, 5e-324),
    ],
)
@kinds
def test_rows_sum_to_one_where_nodes_are_next_to_each_other_or_coincide(m, start, width, kind):
    constant = Interpolant(np.ones(m), (start, start + width), kind)
    at_nodes = constant.nodes[np.linspace(0, m - 1, 17).astype(int)]
    x = np.concatenate([start + width * np.linspace(0, 1, 7), at_nodes])
    np.testing.assert_allclose(constant(x), 1, rtol=1e-13)
    rows = lagrange_rows(at_nodes, constant.nodes, barycentric_weights(m, kind=kind))
    assert np.all((rows == 1).sum(axis=1) == 1)
    assert np.all((rows == 0).sum(axis=1) == m - 1)
    ends = Interpolant(np.arange(float(m)), (start, start + width))
    assert (float(ends(start)), float(ends(start + width))) == (0, m - 1)


@kinds
@given(st.floats(1e-3, 1e5), st.integers(1, 40), st.integers(3, 30))
def test_beside_a_short_interval_the_value_is_that_of_its_end(kind, start, units, m):
    last = start + units * np.spacing(start)
    found = Interpolant(np.cos(np.arange(m)), (start, last), kind)
    beside = np.nextafter([start, last], [-np.inf, np.inf])
    np.testing.assert_array_equal(found(beside), found([start, last]))


@kinds
@given(st.floats(1e-290, 1e5), st.integers(2, 300), st.integers(3, 40), st.booleans())
def test_rounding_of_values_is_amplified_as_on_long_intervals(kind, start, units, m, negative):
    floats = start + np.arange(units + 1) * np.spacing(abs(start))
    ends = (-floats[-1], -floats[0]) if negative else (floats[0], floats[-1])
    rows = Interpolant(np.eye(m), ends, kind)(-floats if negative else floats)
    weights = barycentric_weights(m, kind=kind)
    most = lebesgue_constant(chebyshev_points(m, kind=kind), weights)
    assert np.abs(rows).sum(axis=1).max() <= (1 + 1e-9) * most


@kinds
@pytest.mark.parametrize("interval", [(100.0, 101.0), (-1e6, -1e6 + 1e-2), (1e9, 1e9 + 8.0)])
def test_far_from_zero_values_belong_to_the_rounded_nodes(kind, interval):
    found = Interpolant(np.zeros(25), interval, kind)
    unit = 2.0 ** -round(np.log2(interval[1] - interval[0]))
    linear = [(x - interval[0]) * unit for x in found.nodes]  # exact
    found = Interpolant(np.array(linear), interval, kind)
    x = np.linspace(*interval, 101)[1:-1]
    np.testing.assert_allclose(found(x), (x - interval[0]) * unit, rtol=0, atol=3e-15)


def test_narrow_intervals_are_interpolated_as_others():
    nodes = chebyshev_points(9)
    x = np.linspace(0, 1, 11)
    found = Interpolant(np.exp(nodes), (0, 1e-305))(1e-305 * x)
    np.testing.assert_allclose(found, Interpolant(np.exp(nodes), (0, 1))(x), rtol=1e-13)


def test_the_node_that_cancels_the_weights_of_the_others_is_hit_without_a_division_by_zero():
    # With warnings as errors: x - x_k = 1 in place of 0 at the last node made the terms sum to 0.
    assert Interpolant(np.array([1.0, 2.0]), (0, 1))(1.0) == 2


@kinds
def test_points_of_the_widest_intervals_are_finite(kind):
    points = chebyshev_points(5, kind=kind, interval=(-1.5e308, 1.5e308))
    np.testing.assert_allclose(points / 1.5e308, chebyshev_points(5, kind=kind), atol=1e-15)


def test_an_interval_longer_than_the_largest_float_is_refused():
    with pytest.raises(ValueError, match="length"):
        Interpolant(np.ones(5), (-1.5e308, 1.5e308))


def test_a_line_through_two_nodes_at_its_ends():
    line = Interpolant(np.array([2.0, 5.0]), (0.0, 1.0))
    np.testing.assert_array_equal(line(np.array([0.0, 0.5, 1.0])), [2.0, 3.5, 5.0])


T = np.linspace(0, 2, 5)
EVALUATED = (
    Interpolant(T, (0, 2)),
    PiecewiseHermite(T, T, np.ones(5)),
    PiecewiseHermite(T, T, np.ones(5)).derivative,
    lambda x: lagrange_rows(x, chebyshev_points(5), barycentric_weights(5)),
)


@pytest.mark.parametrize("x", [0.3 + 1j, np.array([0.3, 0.4 + 1j]), "0.3", ["0.3"], [None]])
def test_evaluation_points_are_real(x):
    for evaluate in EVALUATED:
        with pytest.raises(TypeError, match="`x` must be a real number"):
            evaluate(x)


def test_evaluation_points_are_read():
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    for evaluate in EVALUATED:
        for x in (torch.tensor(0.5, requires_grad=True), torch.zeros(2, device="meta")):
            with pytest.raises(TypeError, match="`x` is read on the host, and gets no gradient"):
                evaluate(x)
        with pytest.raises(TypeError, match="`x` is read, and gets no gradient"):
            evaluate([torch.tensor(0.5, requires_grad=True)])
        with pytest.raises(TypeError, match="`x` is read on the host, and gets no gradient"):
            jax.vmap(evaluate)(jax.numpy.zeros(2))
        half = evaluate(torch.tensor([0.5], dtype=torch.bfloat16))
        np.testing.assert_array_equal(half, evaluate([0.5]))


def test_tolerances_of_a_decay_ratio_are_numbers():
    values = np.exp(chebyshev_points(7))
    wanted = decay_ratio(values, 1 / 64, 1 / 256)
    assert decay_ratio(values, Fraction(1, 64), Fraction(1, 256)) == wanted
    assert decay_ratio(values, np.array(1 / 64), np.float32(1 / 256)) == wanted
    for label, call in (
        ("rtol", lambda x: decay_ratio(values, x, 1e-6)),
        ("atol", lambda x: decay_ratio(values, 1e-6, x)),
    ):
        for wrong in ("1", None, 1j, [None]):
            with pytest.raises(TypeError, match=f"`{label}` must be a real number"):
                call(wrong)
        for wrong in (-1.0, float("nan"), [-1.0]):
            with pytest.raises(ValueError, match=f"`{label}` must not be negative"):
                call(wrong)
        for wrong in ([1e-3], [1e-3, 1e-3], np.ones((2, 1))):
            with pytest.raises(
                ValueError, match=f"`{label}` of shape .* does not broadcast against a value"
            ):
                call(wrong)


def test_nodes_and_weights_are_read():
    torch = pytest.importorskip("torch")
    good = torch.tensor([-1.0, 1.0])
    for bad in (good.clone().requires_grad_(), good.to("meta")):
        for name, call in (
            ("nodes", lambda x: lagrange_rows(0.5, x, [1, -1])),
            ("weights", lambda x: lagrange_rows(0.5, [0, 1], x)),
            ("nodes", lambda x: lebesgue_constant(x, [1, -1])),
            ("weights", lambda x: lebesgue_constant([0, 1], x)),
            ("t", lambda x: PiecewiseHermite(x, np.ones(2))),
        ):
            with pytest.raises(TypeError, match=f"`{name}` is read on the host, and gets no grad"):
                call(bad)
    assert lebesgue_constant(good, -good) == 1.0
    np.testing.assert_array_equal(lagrange_rows(0.0, good, -good), [0.5, 0.5])


def test_intervals_and_kinds_are_numbers():
    values = np.ones(4)
    for interval in ((0,), (0, 1, 2), None, 1.0, "01"):
        for call in (
            lambda interval: Interpolant(values, interval),
            lambda interval: chebyshev_points(4, interval=interval),
            lambda interval: lebesgue_constant([0, 1], [1, -1], interval=interval),
        ):
            with pytest.raises(ValueError, match="`interval` must hold two numbers, its ends, got"):
                call(interval)
    for interval in (("0", "2"), (0, 2j)):
        with pytest.raises(TypeError, match="`interval` must be a real number"):
            Interpolant(values, interval)
        with pytest.raises(TypeError, match="`interval` must be a real number"):
            lebesgue_constant([0, 1], [1, -1], interval=interval)
    for kind in (2.0, True, "2"):
        with pytest.raises(ValueError, match="`kind` must be 1"):
            Interpolant(values, kind=kind)
    assert Interpolant(values, kind=np.int64(2))(0.1) == pytest.approx(1)
    for interval in ((0, np.inf), (-np.inf, 1), (0, np.nan)):
        with pytest.raises(ValueError, match="`interval` must have two finite ends"):
            lebesgue_constant([0, 1], [1, -1], interval=interval)
    with pytest.raises(TypeError, match="`nodes` must be a real number, or an array of them"):
        lebesgue_constant([0, 1 + 1j], [1, -1])


def test_the_size_of_the_last_coefficients_needs_nodes():
    for function in (coefficient_tail, lambda values: decay_ratio(values, 1e-3, 0.0)):
        with pytest.raises(ValueError, match="`values` must have the node as its first axis"):
            function(1.0)
        with pytest.raises(ValueError, match="number at least 2, got n = 1"):
            function([1.0])


@pytest.mark.filterwarnings("error")
def test_a_decay_ratio_in_half_precision_may_be_beyond_its_numbers():
    values = np.exp(-chebyshev_points(5)).astype(np.float16)
    wanted = decay_ratio(values.astype(np.float64), 1e-6, 1e-9)
    assert wanted > 1000
    assert decay_ratio(values, 1e-6, 1e-9) == pytest.approx(wanted, rel=1e-3)
    assert decay_ratio(values, 1e-6, 1e-9, lambda x: np.abs(x).max()) == pytest.approx(wanted, 1e-3)
