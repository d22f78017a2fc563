"""Hermite pieces, Lebesgue constants, derivatives and integrals of interpolants."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial, chebyshev
from scipy.interpolate import BarycentricInterpolator, BPoly, CubicHermiteSpline
from scipy.special import binom, iv

from odecore.interpolation import (
    PiecewiseHermite,
    barycentric_weights,
    chebyshev_points,
    clenshaw_curtis_weights,
    differentiation_matrix,
    integration_matrix,
    lagrange_rows,
    lebesgue_constant,
)

# --- Hermite pieces

seeds = st.integers(0, 2**32 - 1)


@st.composite
def hermite_data(draw, count=None):
    """Nodes of either direction and `count` arrays of one shape, and numbers between the nodes."""
    rng = np.random.default_rng(draw(seeds))
    n, trailing = draw(st.integers(2, 7)), draw(st.sampled_from([(), (1,), (3,), (2, 0), (2, 3)]))
    t = rng.uniform(-5, 5) + np.cumsum(rng.uniform(0.1, 2, n))
    t = t if draw(st.booleans()) else t[::-1].copy()
    data = rng.standard_normal((count or draw(st.integers(1, 4)), n, *trailing))
    return t, data, rng.uniform(t.min(), t.max(), 9)


def increasing(t, *data):
    return (t, *data) if t[0] < t[-1] else (t[::-1], *(d[::-1] for d in data))


@given(hermite_data(count=2))
def test_cubics_are_scipys(data):
    t, (y, slope), x = data
    found, theirs = PiecewiseHermite(t, y, slope), CubicHermiteSpline(*increasing(t, y, slope))
    np.testing.assert_allclose(found(x), theirs(x), atol=1e-12)
    np.testing.assert_allclose(found.derivative(x), theirs(x, 1), atol=1e-11)


@given(hermite_data())
def test_pieces_of_every_degree_are_scipys(data):
    t, arrays, x = data
    found = PiecewiseHermite(t, *arrays)
    nodes, *flipped = increasing(t, *arrays)
    theirs = BPoly.from_derivatives(nodes, np.stack(flipped, axis=1))
    np.testing.assert_allclose(found(x), theirs(x), atol=1e-11)
    np.testing.assert_allclose(found.derivative(x), theirs(x, 1), atol=1e-10)


@given(hermite_data(), st.integers(0, 8))
def test_one_number_gives_what_many_give(data, k):
    t, arrays, x = data
    found = PiecewiseHermite(t, *arrays)
    assert found(x[k]).shape == arrays.shape[2:]
    np.testing.assert_allclose(found(x)[k], found(x[k]), atol=1e-13)
    np.testing.assert_allclose(found.derivative(x)[k], found.derivative(x[k]), atol=1e-12)


@given(hermite_data())
def test_data_at_nodes_are_returned_to_the_bit(data):
    t, arrays, _ = data
    found = PiecewiseHermite(t, *arrays)
    np.testing.assert_array_equal(found(t), arrays[0])
    if len(arrays) > 1:
        np.testing.assert_array_equal(found.derivative(t), arrays[1])
    for k, node in enumerate(t):
        np.testing.assert_array_equal(found(node), arrays[0, k])


@given(hermite_data(), st.lists(st.floats(-1, 1), min_size=8, max_size=8))
def test_pieces_reproduce_polynomials_of_their_degree(data, coefficients):
    t, arrays, x = data
    count = len(arrays)
    exact = Polynomial(coefficients[: 2 * count], domain=[t.min(), t.max()])
    found = PiecewiseHermite(t, *(exact.deriv(k)(t) for k in range(count)))
    scale = 1 / min(1, np.abs(np.diff(t)).min())
    np.testing.assert_allclose(found(x), exact(x), atol=1e-11 * scale)
    np.testing.assert_allclose(found.derivative(x), exact.deriv()(x), atol=1e-10 * scale)
    if count < 4 and abs(coefficients[2 * count]) > 0.1:  # the twin: one degree more is missed
        exact = Polynomial(coefficients[: 2 * count + 1], domain=[t.min(), t.max()])
        found = PiecewiseHermite(t, *(exact.deriv(k)(t) for k in range(count)))
        between = (t[1:] + t[:-1]) / 2
        assert np.abs(found(between) - exact(between)).max() > 1e-9


def errors_of_pieces(n, count, slope=1.0):
    t, x = np.linspace(0, 2, n), np.linspace(0, 2, 997)
    data = [np.sin(3 * t + k * np.pi / 2) * 3**k for k in range(count)]
    found = PiecewiseHermite(t, data[0], *(slope * d for d in data[1:]))
    return (
        np.abs(found(x) - np.sin(3 * x)).max(),
        np.abs(found.derivative(x) - 3 * np.cos(3 * x)).max(),
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_order_is_twice_the_number_of_data(count):
    coarse, fine = errors_of_pieces(33, count), errors_of_pieces(65, count)
    orders = np.log2(coarse) - np.log2(fine)
    np.testing.assert_allclose(orders, [2 * count, 2 * count - 1], atol=0.1)


def test_wrong_slopes_lose_the_order():
    # The twin: slopes of another unit of time still return the values at nodes.
    coarse, fine = errors_of_pieces(33, 2, slope=0.5), errors_of_pieces(65, 2, slope=0.5)
    assert np.log2(coarse[0] / fine[0]) < 1.2


def test_pieces_in_every_array_library_and_precision(array, dtype, eps, xp):
    t = np.linspace(2, 0.5, 12)
    data = [
        array(np.stack([np.sin(t + k * np.pi / 2), (-1) ** k * np.exp(-t)], 1)) for k in (0, 1, 2)
    ]
    found = PiecewiseHermite(t, *data)
    x = np.array([2.0, 1.7])
    values, slopes = found(x), found.derivative(x)
    assert values.dtype == slopes.dtype == data[0].dtype
    assert values.shape == (2, 2)
    assert bool(xp.all(found(t) == data[0]))
    assert found(1.7).dtype == data[0].dtype
    tol = 8 * eps + 1e-9
    for k, at in enumerate(x):
        for rows in (values[k, ...], found(at)):
            assert float(rows[0]) == pytest.approx(np.sin(at), abs=tol)
            assert float(rows[1]) == pytest.approx(np.exp(-at), abs=tol)
        for rows in (slopes[k, ...], found.derivative(at)):
            assert float(rows[0]) == pytest.approx(np.cos(at), abs=20 * tol)
            assert float(rows[1]) == pytest.approx(-np.exp(-at), abs=20 * tol)


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"must be arrays of one library, got .'ndarray', 'Tensor'"):
        PiecewiseHermite([0, 1], np.ones(2), torch.ones(2))


def test_complex_values():
    t = np.linspace(0, 1, 30)
    found = PiecewiseHermite(t, np.exp(2j * t), 2j * np.exp(2j * t), -4 * np.exp(2j * t))
    for x in (0.517, np.array([0.0, 0.517])):
        np.testing.assert_allclose(found(x), np.exp(2j * x), atol=1e-11)
        np.testing.assert_allclose(found.derivative(x), 2j * np.exp(2j * x), atol=1e-9)


def test_pieces_are_differentiable_in_torch():
    import torch

    torch.manual_seed(0)
    data = [torch.randn(4, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    t = [1.0, 0.5, 0.1, -2.0]
    for x in (0.3, np.array([0.1, 0.3, -1.0])):
        assert torch.autograd.gradcheck(lambda *d, x=x: PiecewiseHermite(t, *d)(x), data)
        assert torch.autograd.gradcheck(lambda *d, x=x: PiecewiseHermite(t, *d).derivative(x), data)


def test_pieces_may_be_traced_by_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    t, y = np.array([0.0, 1.0, 3.0]), jax.numpy.asarray([1.0, 2.0, 4.0])
    for x in (0.5, np.array([0.5, 2.0])):
        found = jax.jit(lambda y, slope, x=x: PiecewiseHermite(t, y, slope)(x))(y, y)
        np.testing.assert_allclose(found, PiecewiseHermite(t, y, y)(x))


@pytest.mark.parametrize("x", [0.4, [0.4, 0.5]])
def test_pieces_need_no_data_on_the_host(x):
    import torch

    values = torch.ones(3, 5, device="meta")
    assert PiecewiseHermite([0, 1, 2], values, values)(x).shape == (*np.shape(x), 5)


@pytest.mark.parametrize("direction", [1, -1])
def test_pieces_may_be_left_by_rounding_only(direction):
    t = direction * np.array([0.0, 1.0])
    found = PiecewiseHermite(t, [1.0, 2.0], [1.0, 1.0])
    assert (found(direction * -2.8e-17), found(direction * (1 + 4.4e-16))) == (1, 2)
    for outside in (-1e-11, 1 + 1e-11, np.nan):
        with pytest.raises(ValueError, match="must lie in the interval"):
            found(direction * outside)


# --- Lebesgue constants


def cotangents(n):
    return (1 / np.tan((2 * np.arange(1, n + 1) - 1) * np.pi / (4 * n))).sum() / n


def chebyshev_constant(n, kind):
    return lebesgue_constant(chebyshev_points(n, kind=kind), barycentric_weights(n, kind=kind))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10, 33, 100, 1000])
def test_constant_of_the_first_kind_is_the_sum_of_cotangents(n):
    assert chebyshev_constant(n, 1) == pytest.approx(cotangents(n), rel=1e-8)


@pytest.mark.parametrize("n", [2, 4, 8, 34, 400])
def test_constant_of_an_even_number_of_extrema_is_that_of_one_root_less(n):
    # Ehlich, Zeller (1966): equal where the degree n - 1 is odd, and less where it is even.
    assert chebyshev_constant(n, 2) == pytest.approx(cotangents(n - 1), rel=1e-8)
    assert chebyshev_constant(n + 1, 2) < cotangents(n)


@pytest.mark.parametrize("kind", [1, 2])
def test_chebyshev_constants_grow_as_the_logarithm(kind):
    constant = 2 / np.pi * (np.euler_gamma + np.log(8 / np.pi))
    assert constant == pytest.approx(0.9625, abs=1e-4)
    for n in (40, 41, 200, 201):
        expected = 2 / np.pi * np.log(n + 1 - kind) + constant
        assert chebyshev_constant(n, kind) == pytest.approx(expected, abs=1.1 / n**2)


def equispaced(n):
    k = np.arange(n + 1)
    return np.linspace(-1, 1, n + 1), (-1.0) ** k * binom(n, k)


@pytest.mark.parametrize("n", [50, 200, 900])
def test_constants_of_equispaced_nodes_grow_exponentially(n):
    # 2^(n+1) / (e n (log n + gamma)); in floats the quotient form would end at 1e16.
    rule = 2.0 ** (n + 1) / (np.e * n * (np.log(n) + np.euler_gamma))
    assert lebesgue_constant(*equispaced(n)) == pytest.approx(rule, rel=0.03)


def test_known_small_constants():
    assert lebesgue_constant(*equispaced(2)) == pytest.approx(1.25, rel=1e-8)
    assert lebesgue_constant(*equispaced(3)) == pytest.approx(1.6311303, abs=1e-7)


@given(st.integers(1, 12), seeds)
def test_constant_is_not_less_than_any_sample_and_nearly_attained(n, seed):
    rng = np.random.default_rng(seed)
    nodes = rng.permutation(np.cumsum(rng.uniform(0.2, 1, n)))
    weights = [3e5 / np.prod(nodes[k] - np.delete(nodes, k)) for k in range(n)]
    interval = (nodes.max() + 0.3, nodes.min() - 0.1)
    x = np.linspace(*interval, 4001)
    sampled = np.abs(lagrange_rows(x, nodes, np.array(weights))).sum(axis=1).max()
    found = lebesgue_constant(nodes, weights, interval=interval)
    assert sampled * (1 - 1e-7) <= found <= sampled * 1.01


def test_constants_of_many_nodes_take_little_memory():
    nodes, weights = chebyshev_points(900), barycentric_weights(900)
    tracemalloc.start()
    lebesgue_constant(nodes, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_matrices_of_many_nodes_are_not_kept():
    assert differentiation_matrix(33) is differentiation_matrix(33)
    tracemalloc.start()
    for m in (700, 701):
        differentiation_matrix(m)
        integration_matrix(m)
        clenshaw_curtis_weights(m)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2**20


def test_nodes_beyond_the_ends_are_refused_and_the_interval_is_an_argument():
    nodes, weights = chebyshev_points(9, interval=(3, 1)), barycentric_weights(9)
    with pytest.raises(ValueError, match="pass the interval"):
        lebesgue_constant(nodes, weights)
    found = lebesgue_constant(nodes, weights, interval=(3, 1))
    assert found == pytest.approx(chebyshev_constant(9, 2), rel=1e-8)


# --- Derivatives and integrals

sizes = pytest.mark.parametrize("m", [2, 3, 4, 9, 17, 32])


@sizes
def test_polynomials_are_differentiated_and_integrated_exactly(m, rng):
    x = chebyshev_points(m)
    exact = chebyshev.Chebyshev(rng.standard_normal(m))
    values = exact(x)
    integral = exact.integ(lbnd=-1)(x)
    np.testing.assert_allclose(
        differentiation_matrix(m) @ values, exact.deriv()(x), atol=2e-13 * m**2
    )
    np.testing.assert_allclose(integration_matrix(m) @ values, integral, atol=1e-14 * m)
    np.testing.assert_allclose(
        integration_matrix(m, "last") @ values, integral[-1] - integral, atol=1e-14 * m
    )


@sizes
def test_derivatives_of_random_values_are_scipys(m, rng):
    values = rng.standard_normal((m, 3))
    x = chebyshev_points(m)
    theirs = BarycentricInterpolator(x, values).derivative(x)
    np.testing.assert_allclose(differentiation_matrix(m) @ values, theirs, atol=1e-12 * m**2)


@pytest.mark.parametrize("m", [2, 3, 6, 33, 129])
def test_ends_of_the_integral(m):
    first, last = integration_matrix(m), integration_matrix(m, from_end="last")
    weights = clenshaw_curtis_weights(m)
    np.testing.assert_array_equal(first[0], 0)
    np.testing.assert_array_equal(last[-1], 0)
    np.testing.assert_allclose(first[-1], weights, atol=4e-16)
    np.testing.assert_allclose(last[0], weights, atol=4e-16)
    np.testing.assert_allclose(first + last, np.broadcast_to(weights, (m, m)), atol=5e-16)


@pytest.mark.parametrize("m", [2, 5, 40, 129])
def test_derivative_of_the_integral_and_reflection(m, rng):
    D, S = differentiation_matrix(m), integration_matrix(m)
    np.testing.assert_array_equal(D, -D[::-1, ::-1])
    np.testing.assert_allclose(D @ np.ones(m), 0, atol=1e-15 * m**2)
    # The integral of the derivative is the polynomial again, less its value at the start.
    values = rng.standard_normal(m)
    np.testing.assert_allclose(S @ (D @ values), values - values[0], atol=1e-14 * m)


def calculus_errors(function, derivative, integral, m, D=None):
    x = chebyshev_points(m)
    D = differentiation_matrix(m) if D is None else D
    return (
        np.abs(D @ function(x) - derivative(x)).max(),
        np.abs(integration_matrix(m) @ function(x) - (integral(x) - integral(-1.0))).max(),
    )


@pytest.mark.parametrize("m", [4, 6, 8, 10])
def test_errors_for_the_exponential_are_those_of_the_first_lost_coefficients(m):
    # With a_j = 2 I_j(1), coefficients j = m - 1 + i are mistaken for those of m - 1 - i.
    x = chebyshev_points(m)
    lost = np.zeros(m + 3)
    for i in (1, 2, 3):
        lost[m - 1 + i] += 2 * iv(m - 1 + i, 1)
        lost[m - 1 - i] -= 2 * iv(m - 1 + i, 1)
    expected = (
        np.abs(chebyshev.chebval(x, chebyshev.chebder(lost))).max(),
        np.abs(chebyshev.chebval(x, chebyshev.chebint(lost, lbnd=-1))).max(),
    )
    np.testing.assert_allclose(calculus_errors(np.exp, np.exp, np.exp, m), expected, rtol=5e-3)


@pytest.mark.parametrize(("c", "sizes"), [(5.0, (60, 100)), (2.0, (26, 46)), (1.0, (14, 26))])
def test_the_rate_is_that_of_the_bernstein_ellipse(c, sizes):
    # 1 / (1 + c^2 x^2) has poles at i/c, on the ellipse of parameter rho.
    rho = (1 + np.hypot(1, c)) / c
    first, last = (
        calculus_errors(
            lambda x: 1 / (1 + (c * x) ** 2),
            lambda x: -2 * c**2 * x / (1 + (c * x) ** 2) ** 2,
            lambda x: np.arctan(c * x) / c,
            m,
        )
        for m in sizes
    )
    assert min(last) > 1e-13  # not yet rounding
    rates = (np.log(first) - np.log(last)) / (sizes[1] - sizes[0])
    # A derivative costs a power of m, an integral gains one.
    power = np.log(sizes[1] / sizes[0]) / (sizes[1] - sizes[0])
    np.testing.assert_allclose(rates + [power, -power], np.log(rho), rtol=0.01)


def test_weights_of_the_other_kind_lose_convergence_of_the_derivative():
    # The twin: right for constants, wrong by a power of m only.
    for m in (8, 16, 32):
        x, w = chebyshev_points(m), barycentric_weights(m, kind=1)
        with np.errstate(divide="ignore"):
            D = w / w[:, None] / (x[:, None] - x)
        np.fill_diagonal(D, 0)
        np.fill_diagonal(D, -D.sum(axis=1))
        np.testing.assert_allclose(D @ np.ones(m), 0, atol=1e-10)
        assert calculus_errors(np.exp, np.exp, np.exp, m, D)[0] > 1e-3


def textbook_matrix(m):
    """Differences of rounded nodes, and the formula for the diagonal."""
    x, w = chebyshev_points(m), barycentric_weights(m)
    with np.errstate(divide="ignore"):
        D = w / w[:, None] / (x[:, None] - x)
    diagonal = np.zeros(m)
    diagonal[1:-1] = -x[1:-1] / (2 * (1 - x[1:-1] ** 2))
    diagonal[[0, -1]] = np.array([-1, 1]) * (2 * (m - 1) ** 2 + 1) / 6
    np.fill_diagonal(D, diagonal)
    return D


def test_without_the_negative_sum_derivatives_lose_digits():
    np.testing.assert_allclose(differentiation_matrix(9), textbook_matrix(9), atol=1e-13)
    ours = calculus_errors(np.exp, np.exp, np.exp, 129)[0]
    theirs = calculus_errors(np.exp, np.exp, np.exp, 129, textbook_matrix(129))[0]
    assert ours < 1e-11
    assert theirs > 10 * ours


def test_integrals_are_accurate_to_rounding():
    for m in (33, 65, 129):
        assert calculus_errors(np.exp, np.exp, np.exp, m)[1] < 3e-15


@pytest.mark.parametrize("matrix", [differentiation_matrix, integration_matrix])
def test_matrices_are_made_once_and_can_not_be_overwritten(matrix):
    assert matrix(7) is matrix(7)
    with pytest.raises(ValueError, match="read-only"):
        matrix(7)[0, 0] = 1


def test_nodes_of_pieces_can_not_be_overwritten():
    t = np.array([0.0, 1.0])
    found = PiecewiseHermite(t, [0.0, 1.0])
    t[0] = 5
    assert found(0.5) == 0.5
    with pytest.raises(ValueError, match="read-only"):
        found.t[0] = 5


two = np.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: differentiation_matrix(1), ValueError, "at least 2"),
        (lambda: differentiation_matrix(3.0), ValueError, "got n = 3.0"),
        (lambda: differentiation_matrix([3]), ValueError, r"got n = \[3\]"),
        (lambda: integration_matrix(1), ValueError, "at least 2"),
        (lambda: integration_matrix(3, "left"), ValueError, "got 'left'"),
        (lambda: integration_matrix(3, ["first"]), ValueError, r"got \['first'\]"),
        (lambda: integration_matrix(3, np.zeros(2)), ValueError, r"got array"),
        (lambda: clenshaw_curtis_weights([3]), ValueError, r"got n = \[3\]"),
        (lambda: PiecewiseHermite([0, 0], two), ValueError, "strictly increasing"),
        (lambda: PiecewiseHermite([0, 1, 0], np.ones(3)), ValueError, "strictly increasing"),
        (lambda: PiecewiseHermite([0, np.inf], two), ValueError, "finite"),
        (lambda: PiecewiseHermite([0, np.nan], two), ValueError, "finite"),
        (lambda: PiecewiseHermite([1.0], np.ones(1)), ValueError, "at least 2"),
        (lambda: PiecewiseHermite(0.0, two), ValueError, "one-dimensional"),
        (lambda: PiecewiseHermite([0, 1j], two), TypeError, "`t` must be a real number"),
        (lambda: PiecewiseHermite(["0", "1"], two), TypeError, "`t` must be a real number"),
        (lambda: PiecewiseHermite([0, 1], 1.0), ValueError, r"shape \(2, ...\)"),
        (lambda: PiecewiseHermite([0, 1], np.ones(3)), ValueError, r"shapes \[\(3,\)\]"),
        (lambda: PiecewiseHermite([0, 1], two, np.ones((2, 1))), ValueError, "one shape"),
        (lambda: PiecewiseHermite([0, 1], two.astype(int)), TypeError, "`values` must hold"),
        (lambda: PiecewiseHermite([0, 1], two, two.astype(int)), TypeError, r"`derivatives\[0\]`"),
        (lambda: PiecewiseHermite([0, 1], two, two * 1j), TypeError, "one dtype"),
        (lambda: PiecewiseHermite([0, 1], two)(np.ones((1, 1))), ValueError, r"got shape \(1, 1\)"),
        (lambda: PiecewiseHermite([0, 1], two).derivative(2), ValueError, "must lie in"),
        (lambda: lebesgue_constant([], []), ValueError, "not empty"),
        (lambda: lebesgue_constant([0, 1], [1, 1, 1]), ValueError, "of one length"),
        (lambda: lebesgue_constant(0.0, 1.0), ValueError, "one-dimensional"),
        (lambda: lebesgue_constant([0, np.nan], [1, -1]), ValueError, "finite"),
        (lambda: lebesgue_constant([0, 1], [1, 0]), ValueError, "not zero"),
        (lambda: lebesgue_constant([0, 1], [1, 1]), ValueError, "must be the barycentric weights"),
        (lambda: lebesgue_constant([0, 0], [1, -1]), ValueError, "distinct"),
        (lambda: lebesgue_constant([0, 1], [1, np.inf]), ValueError, "finite"),
        (lambda: lebesgue_constant([0], [1], interval=(0, 0)), ValueError, "in the interval"),
        (
            lambda: lebesgue_constant(chebyshev_points(5), barycentric_weights(5, kind=1)),
            ValueError,
            "of the same kind",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("width", [1e-290, 1e-299, 1e-305, 1e300, 1.5e308])
def test_lebesgue_constants_do_not_depend_on_the_interval(width):
    weights = barycentric_weights(5)
    for interval in ((0, width), (-width, width)):
        nodes = chebyshev_points(5, interval=interval)
        found = lebesgue_constant(nodes, weights, interval=interval)
        assert found == pytest.approx(1.7987618033220105, rel=1e-8)


@pytest.mark.parametrize("t", [[0.0, 5e-324], [1e-310, 0.0], [0.0, 1e-200], [0.0, 1e150]])
@pytest.mark.parametrize("q", [0, 1, 2])
def test_pieces_of_any_length_have_the_values_of_their_nodes(t, q):
    found = PiecewiseHermite(t, np.array([1.0, 2.0]), *np.ones((q, 2)))
    np.testing.assert_array_equal(found(t), [1, 2])
    np.testing.assert_array_equal([found(x) for x in t], [1, 2])


def test_what_overflows_in_pieces_is_refused_by_name():
    with pytest.raises(ValueError, match=r"apart"):
        PiecewiseHermite([-1.7e308, 1.7e308], two)
    with pytest.raises(ValueError, match=r"apart"):
        PiecewiseHermite([0, 1e200], two, two, two)
    with pytest.raises(ValueError, match=r"apart"):
        PiecewiseHermite([0, 1e-310], two, two).derivative(0)
