"""Analysis beyond the order itself: rough coefficients, norms, stage order, structure, misprints."""

import copy
import dataclasses
import math
import pickle
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.exact import Polynomial, SquareRoot
from odecore.families import RK3, RK4
from odecore.order import (
    RootedTree,
    dense_output_order,
    dense_output_residuals,
    elementary_weights,
    embedded_metrics,
    error_coefficients,
    failing_trees,
    is_symmetric,
    is_symplectic,
    locate_typo,
    order_condition_residuals,
    order_of_accuracy,
    principal_error,
    rooted_trees,
    rounding_bounds,
    simplifying_assumptions,
    stage_order,
    symplectic_residuals,
)
from odecore.tableaux import coefficients_at, tableau, tableau_at

F = Fraction
FLOATS = ["classic", "gill", "dopri5", "tsit5", "gauss2", "gauss3", "radau_iia3", "fehlberg78", "cooper_verner8"]  # fmt: skip


def as_floats(method, dtype=float):
    A = [[dtype(float(a)) for a in row] for row in method.A]
    return SimpleNamespace(A=A, b=[dtype(float(b)) for b in method.b])


def test_trees_are_unique_objects():
    for tree in rooted_trees(7):
        assert RootedTree(reversed(tree.children)) is tree
        assert RootedTree.from_level_sequence(tree.level_sequence) is tree
        assert copy.deepcopy(tree) is tree
        assert pickle.loads(pickle.dumps(tree)) is tree  # noqa: S301
        assert eval(repr(tree)) is tree  # noqa: S307
        assert len(tree.drawing().splitlines()) == 7
        assert tree._repr_svg_().count("<circle") == 7
        assert tree._repr_svg_().count("<path") == 6
    with pytest.raises(AttributeError, match="immutable"):
        RootedTree().order = 3
    with pytest.raises(TypeError, match="children of a tree are trees"):
        RootedTree((1,))


def test_trees_made_before_their_enumeration_are_the_same_objects():
    leaf = RootedTree()
    odd = RootedTree((RootedTree((leaf,) * 4), RootedTree((leaf,) * 4), leaf, leaf))
    assert odd.order == 13
    assert sum(tree is odd for tree in rooted_trees(13)) == 1


def test_level_sequences_are_those_of_beyer_and_hedetniemi():
    # Their canonical sequence is the lexicographically largest of all orderings.
    found = {tree.level_sequence for tree in rooted_trees(4)}
    assert found == {(0, 1, 2, 3), (0, 1, 2, 2), (0, 1, 2, 1), (0, 1, 1, 1)}


def test_number_of_trees_to_order_14():
    counts = [1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766, 12486, 32973]  # OEIS A000081
    assert [len(rooted_trees(n)) for n in range(1, 15)] == counts


@pytest.mark.parametrize("order", [0, 19, 1000])
def test_orders_out_of_reach_are_refused(order):
    with pytest.raises(TypeError, match="an int"):
        rooted_trees(float(order))
    with pytest.raises(ValueError, match="at least 1 and at most"):
        rooted_trees(order)
    with pytest.raises(ValueError, match="at least 1 and at most"):
        order_condition_residuals(tableau("euler"), order)


# Rough coefficients --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", [float, np.float64, np.float32])
def test_rounded_coefficients_keep_their_order(name, dtype):
    method = tableau(name)
    rounded = as_floats(method, dtype)
    assert order_of_accuracy(rounded) == method.order
    bounds = rounding_bounds(rounded, method.order)
    residuals = order_condition_residuals(rounded, method.order)
    assert all(abs(residuals[tree]) <= bounds[tree] for tree in residuals)
    assert not failing_trees(rounded, method.order)


@pytest.mark.parametrize("name", FLOATS)
def test_a_misprint_well_above_rounding_is_seen_in_floats(name):
    method = tableau(name)  # the twin of the test above
    wrong = as_floats(method)
    wrong.b[-1] += 1e-12
    wrong.b[0] -= 1e-12
    assert order_of_accuracy(wrong) < method.order


def test_numpy_arrays_are_methods_too():
    rounded = as_floats(tableau("gauss3"))
    assert order_of_accuracy(SimpleNamespace(A=np.array(rounded.A), b=np.array(rounded.b))) == 6


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_family_members_in_floats(u, v):
    factors = RK4.factors(u, v)
    if min(map(abs, factors)) < 0.02:
        return
    member = coefficients_at(RK4, u=u, v=v)
    A = [list(row) + [0.0] * (4 - len(row)) for row in member.A]
    # Formulas round more often than once: give the radius that this needs, and no more.
    rough = SimpleNamespace(A=A, b=member.b, uncertainty=F(1, 10**11))
    assert order_of_accuracy(rough) == 4


def test_bad_coefficients_are_refused():
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="must be finite"):
            order_of_accuracy(SimpleNamespace(A=[[0]], b=[bad]))
    for bad in ("1/2", 1j):
        with pytest.raises(TypeError, match="real numbers"):
            order_of_accuracy(SimpleNamespace(A=[[0]], b=[bad]))
    with pytest.raises(ValueError, match="rows of length 1"):
        order_of_accuracy(SimpleNamespace(A=[[0, 1]], b=[1]))


# Norms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value"),
    [  # Ralston 1962 for RK2 and RK3; the RK2 value of Heun follows by hand
        ("ralston", F(1, 3)),
        ("ralston3", F(1, 9)),
        ("heun", F(1, 6) + F(1, 6) + F(1, 12) + F(1, 6) + F(1, 12)),
    ],
)
def test_lotkin_norm_reference_values(member, value):
    assert principal_error(tableau(member), norm="lotkin") == value


@given(st.fractions(F(1, 10), F(9, 10), max_denominator=30))
def test_ralston_is_best_in_lotkins_norm(u):
    from odecore.families import RK2

    assert principal_error(tableau_at(RK2, u=u), norm="lotkin") >= F(1, 3)


@pytest.mark.parametrize("name", ["heun", "kutta3", "ralston3"])
def test_lotkin_terms_against_a_scalar_taylor_expansion(name):
    # Independent: expand one step of y' = f(x, y) for polynomials f by automatic series.
    import sympy as sp

    method = tableau(name)
    q = method.order + 1
    x, y, h = sp.symbols("x y h")
    names = {(i, j): sp.Symbol(f"f{i}{j}") for i in range(q) for j in range(q) if i + j < q}
    f = sum(
        s * x**i * y**j / (math.factorial(i) * math.factorial(j)) for (i, j), s in names.items()
    )

    def truncated(expression):
        return sum(sp.expand(expression).coeff(h, k) * h**k for k in range(q + 1))

    stages = []
    for i in range(method.stages):
        Y = sum(
            (sp.Rational(a) * k for a, k in zip(method.A[i], stages, strict=False)), sp.Integer(0)
        )
        stages.append(
            truncated(h * f.subs({x: sp.Rational(method.c[i]) * h, y: Y}, simultaneous=True))
        )
    step = sum(sp.Rational(b) * k for b, k in zip(method.b, stages, strict=True))
    derivative, solution = f, sp.Integer(0)
    for n in range(1, q + 1):
        at_zero = sp.expand(derivative.subs({x: 0, y: 0}))
        solution += at_zero * h**n / math.factorial(n)
        derivative = sp.diff(derivative, x) + sp.diff(derivative, y) * f
    error = sp.Poly(sp.expand(step - solution).coeff(h, q), *names.values())
    expected = sum(abs(F(int(c.p), int(c.q))) for c in error.coeffs())
    assert principal_error(method, norm="lotkin") == expected


@pytest.mark.parametrize(
    ("name", "value", "digits"),
    [
        ("cash_karp", 9.482886e-4, 9),
        ("fehlberg45", 3.355745e-3, 9),
        ("dopri5", math.sqrt(16719) / 324000, 16),
    ],
)
def test_principal_norms_of_pairs(name, value, digits):
    method = tableau(name)
    # Fehlberg propagates the row of order 4; the published value is of the other one.
    weights = method.b_hat if name == "fehlberg45" else None
    assert round(float(principal_error(method, weights=weights)), digits) == round(value, digits)


def test_norms_are_named():
    with pytest.raises(ValueError, match="must be one of '2', 'max', 'lotkin'"):
        principal_error(tableau("classic"), norm="euclid")
    with pytest.raises(TypeError, match="rational functions"):
        principal_error(RK3, norm="max")
    assert isinstance(principal_error(RK3), SquareRoot)
    at = principal_error(RK3).square.as_expr().subs({"u": "1/2", "v": "3/4"})
    assert str(at) == str(F(145, 288**2))
    errors = error_coefficients(tableau("classic"), 5)
    assert principal_error(tableau("classic"), norm="max") == max(map(abs, errors.values()))


def test_embedded_metrics_of_dormand_and_prince():
    found = embedded_metrics(tableau("dopri5"))
    assert (found.order, found.embedded_order) == (5, 4)
    assert found.error == principal_error(tableau("dopri5"))
    assert round(float(found.error), 6) == 0.000399
    # Dormand and Prince 1980 for RK5(4)7M: B = 1.54, C = 1.67, D = 11.6.
    assert round(float(found.efficacy), 2) == 1.54
    assert round(float(found.contrast), 2) == 1.67
    assert round(float(found.largest), 1) == 11.6
    with pytest.raises(ValueError, match="no embedded row"):
        embedded_metrics(tableau("classic"))


# Stage order and structure --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "B", "C", "D"),
    [  # Hairer, Wanner II, table IV.5.13
        ("gauss2", 4, 2, 2), ("gauss3", 6, 3, 3), ("radau_ia2", 3, 1, 2), ("radau_ia3", 5, 2, 3),
        ("radau_iia2", 3, 2, 1), ("radau_iia3", 5, 3, 2), ("lobatto_iiia3", 4, 3, 1),
        ("lobatto_iiib3", 4, 1, 3), ("lobatto_iiic3", 4, 2, 2), ("classic", 4, 1, 1),
    ],
)  # fmt: skip
def test_simplifying_assumptions(name, B, C, D):
    for method in (tableau(name), as_floats(tableau(name))):
        found = simplifying_assumptions(method)
        assert (found.B, found.C, found.D) == (B, C, D)
        assert stage_order(method) == min(B, C)


@pytest.mark.parametrize(
    "name",
    [
        "gauss2",
        "gauss3",
        "implicit_midpoint",
        "qin_zhang",
        "classic",
        "radau_iia2",
        "lobatto_iiia3",
        "lobatto_iiib3",
        "trapezoidal",
    ],
)
def test_structure_against_a_step(name, rng):
    """Symplectic: a quadratic invariant is kept. Symmetric: stepping back returns."""
    method = tableau(name)
    A, b = (
        np.array([[float(a) for a in row] for row in method.A]),
        np.array(list(map(float, method.b))),
    )
    s, n = len(b), 3
    skew = rng.standard_normal((n, n))
    skew -= skew.T

    def step(y, h):  # y' = (1 + y1) skew y is nonlinear and keeps |y|^2
        K = np.zeros((s, n))
        for _ in range(200):
            Y = y + h * A @ K
            K = (1 + Y[:, :1]) * (Y @ skew.T)
        return y + h * b @ K

    y0 = rng.standard_normal(n)
    y1 = step(y0, 0.05)
    keeps = abs(y1 @ y1 - y0 @ y0) < 1e-13 * (y0 @ y0)
    returns = np.linalg.norm(step(y1, -0.05) - y0) < 1e-13 * np.linalg.norm(y0)
    for form in (method, as_floats(method)):
        assert is_symplectic(form) == keeps
        assert is_symmetric(form) == returns


def test_symmetry_does_not_depend_on_the_numbering_of_stages():
    method = tableau("gauss3")
    order = (2, 0, 1)
    shuffled = dataclasses.replace(
        method, A=[[method.A[i][j] for j in order] for i in order], b=[method.b[i] for i in order]
    )
    assert is_symmetric(shuffled)
    assert symplectic_residuals(method) == ((0, 0, 0),) * 3


# Dense output ---------------------------------------------------------------------------------


def test_dense_output_of_dormand_and_prince_has_order_four():
    # Hairer, Norsett, Wanner I, II.6: Shampine's weights, here from Hermite data and one condition.
    theta = Polynomial((0, 1))
    method = tableau("dopri5")
    cubic = theta * theta * (3 - 2 * theta)
    bubble = theta * theta * (theta - 1) * (theta - 1)
    d = [F(-12715105075, 11282082432), F(0), F(87487479700, 32700410799), F(-10690763975, 1880347072),
         F(701980252875, 199316789632), F(-1453857185, 822651844), F(69997945, 29380423)]  # fmt: skip
    weights = [cubic * b + bubble * r for b, r in zip(method.b, d, strict=True)]
    weights[0] += theta * (theta - 1) * (theta - 1)
    weights[6] += theta * theta * (theta - 1)
    assert dense_output_order(method, weights) == 4
    weights[2] += bubble / 10**9
    assert dense_output_order(method, weights) == 0  # the weights do not sum to theta any more
    linear = [theta * b for b in method.b]
    assert dense_output_order(method, linear) == 1
    assert set(map(str, dense_output_residuals(method, linear, 2).values())) == {
        "0",
        "-1/2*x^2 + 1/2*x",
    }


# Misprints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["classic", "dopri5", "cash_karp", "fehlberg45", "butcher6", "radau_iia2", "gauss2"]
)
def test_a_misprinted_coefficient_is_named_and_restored(name, rng):
    method = tableau(name)
    places = [(i, j) for i, row in enumerate(method.A) for j, a in enumerate(row) if a != 0]
    places += [(None, j) for j, b in enumerate(method.b) if b != 0]
    for index in rng.choice(len(places), size=min(6, len(places)), replace=False):
        i, j = places[index]
        A, b = [list(row) for row in method.A], list(method.b)
        row = b if i is None else A[i]
        right = row[j]
        row[j] = right + F(1, 1000) if rng.random() < 0.5 else -right
        wrong = SimpleNamespace(A=A, b=b)
        order = method.order
        if not failing_trees(wrong, order):
            continue
        entry = f"b[{j + 1}]" if i is None else f"a[{i + 1}][{j + 1}]"
        found = locate_typo(wrong, order)
        assert (entry, right) in [(typo.entry, typo.restored) for typo in found]
        assert all(str(typo).startswith(typo.entry) for typo in found)


def test_a_misprinted_decimal_is_restored_to_its_digits():
    method = tableau("tsit5")
    A = [list(row) for row in method.A]
    right = A[4][2]
    A[4][2] += F(1, 10**6)
    found = locate_typo(SimpleNamespace(A=A, b=method.b, uncertainty=method.uncertainty), 5)
    assert [typo.entry for typo in found] == ["a[5][3]"]
    assert abs(found[0].restored - right) < F(1, 10**70)
    assert "decimals" in str(found[0])


def test_two_misprints_are_not_explained_by_one():
    method = tableau("dopri5")
    A = [list(row) for row in method.A]
    A[4][2] += F(1, 10)
    A[5][1] += F(1, 10)
    assert locate_typo(SimpleNamespace(A=A, b=method.b), 5) == ()
    with pytest.raises(ValueError, match="nothing to restore"):
        locate_typo(method, 5)


def test_weights_in_another_ring_than_the_stages():
    x = Polynomial((0, 1))
    for method in (tableau("classic"), tableau("gauss2")):
        s = method.stages
        trees = [tree for n in range(1, 5) for tree in rooted_trees(n)]
        plain = elementary_weights(trees, method.A, method.b)
        mixed_b = elementary_weights(trees, method.A, [x * w for w in method.b])
        A = [[x * a for a in row] for row in method.A]
        mixed_A = elementary_weights(trees, A, method.b)
        for tree in trees:
            assert mixed_b[tree] == x * plain[tree]
            power = x ** (tree.order - 1)
            assert power * plain[tree] == (
                mixed_A[tree] if s and tree.order > 1 else power * mixed_A[tree]
            )
