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
from odecore.families import RK3, RK4, RK4_PAIR
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
    with pytest.raises(TypeError, match="no float value; take that of a member"):
        float(principal_error(RK3))
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


# Found by attack. ------------------------------------------------------------------------------


def test_integers_of_fixed_width_do_not_overflow():
    big = 10**10
    wide = SimpleNamespace(A=np.array([[big]]), b=np.array([1]))
    plain = SimpleNamespace(A=[[big]], b=[1])
    assert order_condition_residuals(wide, 3) == order_condition_residuals(plain, 3)
    trees = [tree for n in range(1, 4) for tree in rooted_trees(n)]
    assert elementary_weights(trees, wide.A, wide.b) == elementary_weights(trees, plain.A, plain.b)
    one, large = np.int64(1), np.int64(2**40 + 1)  # a Fraction keeps them as they are
    wide = SimpleNamespace(A=[[F(one, large)]], b=[F(one, large - 2)])
    plain = SimpleNamespace(A=[[F(1, 2**40 + 1)]], b=[F(1, 2**40 - 1)])
    assert order_condition_residuals(wide, 3) == order_condition_residuals(plain, 3)
    assert elementary_weights(trees, wide.A, wide.b) == elementary_weights(trees, plain.A, plain.b)


def test_scalars_that_are_no_ring_elements_are_refused():
    import decimal

    import ml_dtypes
    import mpmath
    import sympy
    import torch

    entries = [np.array(0.5), ml_dtypes.bfloat16(0.5), torch.tensor(0.5), decimal.Decimal("0.5")]
    entries += [mpmath.mpf(1) / 2, sympy.Float(0.5), sympy.sqrt(3), sympy.Symbol("u"), sympy.nan]
    for entry in (*entries, sympy.I, None):
        for bad in (SimpleNamespace(A=[[entry]], b=[1]), SimpleNamespace(A=[[0]], b=[entry])):
            with pytest.raises(TypeError, match=f"of type {type(entry).__name__}; convert it"):
                order_of_accuracy(bad)


def test_ring_elements_have_no_radius():
    from odecore.families import RK2

    for uncertainty, weight in ((F(1, 10), F(1)), (0, 0.5)):
        mixed = SimpleNamespace(A=RK2.A, b=(RK2.b[0], weight), uncertainty=uncertainty)
        with pytest.raises(TypeError, match="do not mix with ring elements"):
            order_of_accuracy(mixed)


def test_structure_of_families_is_decided_exactly():
    from odecore.families import COLLOCATION2, RK2, SDIRK2, THETA

    for family in (RK2, RK3, RK4, SDIRK2, THETA, COLLOCATION2):
        zero = all(entry == 0 for row in symplectic_residuals(family) for entry in row)
        assert is_symplectic(family) == zero
        assert not is_symmetric(family)
    u = RK2.generators[0]
    two = SimpleNamespace(A=((u / 2, 0), (u, (1 - u) / 2)), b=(u, 1 - u))  # midpoint steps
    assert is_symplectic(two)
    assert not is_symmetric(two)
    turned = SimpleNamespace(A=((u, u), (F(1, 2) - u, F(1, 2) - u)), b=(F(1, 2), F(1, 2)))
    assert is_symmetric(turned)


@pytest.mark.parametrize("name", ["dopri5", "tsit5"])
def test_dense_output_in_floats_keeps_its_order(name):
    method = tableau(name)
    rounded = as_floats(method)
    theta = Polynomial((0, 1))
    assert dense_output_order(method, [theta * b for b in method.b]) == 1
    assert dense_output_order(rounded, [Polynomial((0, b)) for b in rounded.b]) == 1
    wrong = [Polynomial((0, b)) for b in rounded.b]
    wrong[0] += theta / 10**12
    assert dense_output_order(rounded, wrong) == 0
    residuals = dense_output_residuals(rounded, [Polynomial((0, b)) for b in rounded.b], 1)
    assert residuals[RootedTree()].coefficients == (0, sum(map(F, rounded.b)) - 1) or (
        residuals[RootedTree()] == Polynomial(())
    )


def test_orders_of_dense_output_out_of_range_are_refused():
    method, weights = tableau("euler"), [Polynomial((0, 1))]
    for order in (0, -3, 15):
        with pytest.raises(ValueError, match="at least 1 and at most 14"):
            dense_output_residuals(method, weights, order)
        with pytest.raises(ValueError, match="at least 1 and at most 14"):
            dense_output_order(method, weights, max_order=order)
    for wrong in ([], weights * 2):
        with pytest.raises(ValueError, match="one for each stage"):
            dense_output_residuals(method, wrong, 1)


def test_dense_weights_that_fail_at_the_bushy_tree_only():
    # Order 2 at every theta; of order 3 the path holds, the bush b1 c^2 = theta^3/3 does not.
    theta = Polynomial((0, 1))
    A = ((0, 0, 0), (1, 0, 0), (2, 0, 0))
    free = theta * theta * (1 - theta)
    b2, b3 = theta * theta / 2 - 2 * free, free
    weights = [theta - b2 - b3, b2, b3]
    method = SimpleNamespace(A=A, b=[w(1) for w in weights])
    assert dense_output_order(method, weights) == 2
    # With a stage that makes the path exact, only the bush is left.
    A = ((0, 0, 0), (F(1, 2), 0, 0), (F(-1), 2, 0))
    b3 = theta * theta * theta / 6
    b2 = theta * theta - 2 * b3
    weights = [theta - b2 - b3, b2, b3]
    method = SimpleNamespace(A=A, b=[w(1) for w in weights])
    failing = [str(t) for t, r in dense_output_residuals(method, weights, 3).items() if r]
    assert failing == ["[••]"]
    assert dense_output_order(method, weights) == 2


def nearly_equal_stages(s):
    A = [[F(1, 2 * s)] * s for _ in range(s)]
    return A, [F(1, s)] * s


def test_equal_stages_do_not_multiply_the_work():
    A, b = nearly_equal_stages(14)
    assert is_symmetric(SimpleNamespace(A=A, b=b))
    A[13][12] += F(1, 9)
    A[13][13] -= F(1, 9)
    assert not is_symmetric(SimpleNamespace(A=A, b=b))
    assert not is_symmetric(as_floats(SimpleNamespace(A=A, b=b)))
    A, b = nearly_equal_stages(14)  # one more up than down: a renumbering would map seven to six
    for j in range(13):
        A[13][j] += F(1, 9) if j < 7 else -F(1, 9)
    assert not is_symmetric(SimpleNamespace(A=A, b=b))


@given(st.integers(2, 5), st.randoms(use_true_random=False), st.booleans())
def test_symmetry_against_all_renumberings(s, random, symmetric):
    from itertools import permutations

    b = [F(random.randint(1, 2)) for _ in range(s)]
    A = [[F(random.randint(0, 2), 2) for _ in range(s)] for _ in range(s)]
    if symmetric:  # the mean of a method and a renumbered adjoint
        sigma = list(range(s))[::-1]
        b = [(b[i] + b[sigma[i]]) / 2 for i in range(s)]
        A = [[(A[i][j] + b[j] - A[sigma[i]][sigma[j]]) / 2 for j in range(s)] for i in range(s)]
    total = sum(b)
    b, A = [w / total for w in b], [[a / total for a in row] for row in A]
    wanted = any(
        all(b[p[i]] == b[i] and A[p[i]][p[j]] == b[j] - A[i][j] for i in range(s) for j in range(s))
        for p in permutations(range(s))
    )
    assert wanted or not symmetric
    assert is_symmetric(SimpleNamespace(A=A, b=b)) == wanted


def test_a_method_that_fails_above_the_diagonal_only_is_not_symmetric():
    A = [list(row) for row in tableau("gauss3").A]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wrong = [list(row) for row in A]
        wrong[i][j] += F(1, 100)
        assert not is_symmetric(SimpleNamespace(A=wrong, b=tableau("gauss3").b))
    A, b = [[F(1, 6), F(1, 3)], [F(1, 6), F(1, 3)]], [F(1, 3), F(2, 3)]  # each stage its own image
    assert is_symmetric(SimpleNamespace(A=A, b=b))
    for i, j in ((0, 1), (1, 0)):
        wrong = [list(row) for row in A]
        wrong[i][j] += F(1, 9)
        assert not is_symmetric(SimpleNamespace(A=wrong, b=b))


@pytest.mark.parametrize(
    ("dtype", "bits", "least"),
    [(np.float16, 10, 24), (np.float32, 23, 149), (np.float64, 52, 1074), (float, 52, 1074)],
)
def test_the_radius_is_that_of_the_format(dtype, bits, least):
    def bound(row):
        only = SimpleNamespace(A=[[0] * len(row)] * len(row), b=row)
        return rounding_bounds(only, 1)[RootedTree()]

    one, small = dtype(1), dtype(2.0 ** (3 - least))
    assert bound([one, one / 2]) == F(2, 2**bits)
    assert bound([one, 0.0]) == bound([one, 0]) == F(1, 2**bits)
    assert bound([one / 2, 1]) == F(2, 2**bits)  # beside a float an int is rounded too
    assert bound([small, small]) == F(2, 2**least)  # subnormal numbers are spaced evenly
    assert bound([1, F(1, 2)]) == 0


def test_rounding_of_subnormal_rows_is_bounded():
    exact = [F(15, 10) * F(1, 2**1074), F(25, 10) * F(1, 2**1074)]
    for scale, dtype in ((1, float), (F(2**925), np.float32)):
        rounded = [dtype(float(w * scale)) for w in exact]
        bounds = rounding_bounds(SimpleNamespace(A=[[0, 0]] * 2, b=rounded), 1)
        assert abs(sum(map(F, map(float, rounded))) - sum(exact) * scale) <= bounds[RootedTree()]


def test_the_symplectic_bound_is_that_of_the_radii():
    # One stage, b = 1 and a = 1/2 + x: 2 a b - b^2 is 2 x, and its bound 5 r + 2 r x + 3 r^2.
    r = F(1, 1000)
    last = (5 * r + 3 * r * r) / (2 - 2 * r)
    for x, kept in ((last, True), (last + F(1, 10**9), False)):
        rough = SimpleNamespace(A=[[F(1, 2) + x]], b=[F(1)], uncertainty=r)
        assert is_symplectic(rough) == kept


def test_an_uncertainty_is_not_negative():
    for decide in (order_of_accuracy, is_symplectic, is_symmetric, stage_order):
        with pytest.raises(ValueError, match="not negative; got -1"):
            decide(SimpleNamespace(A=[[0]], b=[1], uncertainty=-1))


def test_orders_up_to_14_are_decided():
    assert len(order_condition_residuals(tableau("euler"), 14)) == 53272
    with pytest.raises(ValueError, match="at most 14"):
        order_condition_residuals(tableau("euler"), 15)
    with pytest.raises(ValueError, match="at most 14"):
        order_of_accuracy(tableau("euler"), max_order=15)


@pytest.mark.long
def test_the_principal_error_of_a_method_of_order_12():
    # Gauss, 6 stages, to 40 digits.
    import mpmath

    with mpmath.workdps(60):
        legendre = [(-1) ** k * math.comb(6, k) * math.comb(6 + k, k) for k in range(6, -1, -1)]
        nodes = mpmath.polyroots(legendre, extraprec=200)
        powers = mpmath.matrix([[c**k for c in nodes] for k in range(6)])
        solve = mpmath.inverse(powers)

        def weights(x):
            return solve * mpmath.matrix([x ** (k + 1) / (k + 1) for k in range(6)])

        def exact(x):
            return F(int(mpmath.nint(x * mpmath.mpf(10) ** 40)), 10**40)

        A = [[exact(a) for a in weights(c)] for c in nodes]
        b = [exact(w) for w in weights(mpmath.mpf(1))]
    gauss = SimpleNamespace(A=A, b=b, uncertainty=F(1, 10**40))
    with pytest.raises(ValueError, match="raise `max_order`"):
        order_of_accuracy(gauss)
    # The quadrature error is (6!)^4 / (13 (12!)^3) f^(12), with opposite sign.
    bush = RootedTree((RootedTree(),) * 12)
    quadrature = F(math.factorial(6) ** 4, 13 * math.factorial(12) ** 3)
    tau = sum(w * sum(row) ** 12 for w, row in zip(b, A, strict=True)) - F(1, 13)
    assert tau / bush.symmetry == pytest.approx(-quadrature, rel=1e-12)
    assert principal_error(gauss, norm="max") >= abs(tau) / bush.symmetry


@pytest.mark.long
def test_undecided_orders_name_what_can_be_done():
    # All conditions up to 14 are within a bound this wide.
    vague = SimpleNamespace(A=[[F(1, 2)]], b=[F(1)], uncertainty=F(1, 2))
    with pytest.raises(ValueError, match="no higher ones are decided"):
        principal_error(vague)
    with pytest.raises(ValueError, match="raise `max_order`"):
        order_of_accuracy(vague, max_order=4)


def test_reference_values_of_dormand_and_prince():
    found = embedded_metrics(tableau("dopri5"))
    assert str(found.next_error) == "sqrt(2840041584503718)/13471920000"
    assert str(found.embedded_error) == "sqrt(58760846)/6480000"
    assert found.dominance.square == found.next_error.square / found.error.square
    assert float(found.dominance) == pytest.approx(9.9122607, abs=5e-8)
    assert principal_error(tableau("classic"), norm="lotkin") == F(73, 720)
    assert principal_error(tableau("dopri5"), norm="lotkin") == F(47, 18000)


def test_the_largest_coefficient_may_be_an_abscissa_or_of_either_row():
    A = ((0, 0, 0), (2, 0, 0), (F(3, 2), 2, 0))
    pair = SimpleNamespace(A=A, b=(1, 0, 0), b_hat=(0, 1, 0))
    assert embedded_metrics(pair).largest == F(7, 2)
    pair = SimpleNamespace(A=((0, 0), (1, 0)), b=(-2, 3), b_hat=(5, -4))
    assert embedded_metrics(pair).largest == 5


def test_stages_without_stages_of_their_own():
    found = simplifying_assumptions(tableau("euler"))
    assert (found.B, found.C) == (1, 40)
    assert stage_order(tableau("euler")) == 1
    assert simplifying_assumptions(tableau("euler"), limit=7).C == 7


@pytest.mark.parametrize(("name", "kind"), [("dopri5", "floats"), ("kcl_54_8_3r", "decimals")])
def test_a_misprint_is_found_where_low_conditions_do_not_depend_on_it(name, kind):
    method = tableau(name)
    wrong = as_floats(method) if kind == "floats" else SimpleNamespace(
        A=[list(row) for row in method.A], b=method.b, uncertainty=method.uncertainty
    )  # fmt: skip
    wrong.A[1][0] += type(wrong.A[1][0])(F(1, 1000))
    found = locate_typo(wrong, method.order)
    assert [typo.entry for typo in found] == ["a[2][1]"]
    assert found[0].restored == pytest.approx(method.A[1][0], abs=1e-13)
    assert found[0].restored != found[0].found


@pytest.mark.long
def test_a_misprint_at_a_double_root_of_one_condition_is_found():
    method = tableau("calvo65")
    A = [list(row) for row in method.A]
    A[1][0] += F(1, 1000)
    wrong = SimpleNamespace(A=A, b=method.b, uncertainty=method.uncertainty)
    assert [typo.entry for typo in locate_typo(wrong, 6)] == ["a[2][1]"]


def with_two_answers():
    """Of order 5 iff 4 (1 + z)^2 = (3 + z)^2, where z = a[7][1]: for z = 1 and z = -5/3.

    The sixth stage of Dormand and Prince in four copies, of weights (4, 4, -1, -1)/6, which read
    stages y = 1 and z without weight in opposite ways; only the condition of [[.][.]] sees them.
    """
    method = tableau("dopri5")
    A = [[*row[:5], 0, 0, 0, 0, 0, 0] for row in method.A[:5]]
    A += [[F(1), *[0] * 10], [F(1), *[0] * 10]]
    for y in (1, -1, 3, -3):
        z = 1 if y > 0 else -1
        row = method.A[5]
        A.append([row[0] - y - z, *row[1:5], y, z, 0, 0, 0, 0])
    return A, [*method.b[:5], 0, 0, *(method.b[5] * F(w, 6) for w in (4, 4, -1, -1))]


def test_two_answers_are_both_found():
    A, b = with_two_answers()
    assert order_of_accuracy(SimpleNamespace(A=A, b=b)) == 5
    A[6][0] = F(2)
    found = locate_typo(SimpleNamespace(A=A, b=b), 5)
    assert [typo.restored for typo in found if typo.entry == "a[7][1]"] == [F(-5, 3), 1]
    for typo in found:
        assert typo.restored != typo.found


def test_a_misprint_within_ten_radii_is_none():
    method, r = tableau("dopri5"), F(1, 10**12)
    for shift, entries in ((9 * r, []), (30 * r, ["b[5]"])):
        b = list(method.b)
        b[4] += shift  # more than the bound, the radii of seven weights
        wrong = SimpleNamespace(A=method.A, b=b, uncertainty=r)
        assert failing_trees(wrong, 5)
        assert [t.entry for t in locate_typo(wrong, 5) if t.entry == "b[5]"] == entries


def test_what_misses_by_a_thousand_radii_is_not_restored():
    # Two weights are wrong by 100 radii each: no change of one brings all within ten.
    method, r = tableau("classic"), F(1, 10**12)
    b = [method.b[0] + 200 * r, method.b[1] - 300 * r, method.b[2], method.b[3]]
    assert locate_typo(SimpleNamespace(A=method.A, b=b, uncertainty=r), 4) == ()


@pytest.mark.parametrize("method", ["dopri5", None, ([[0]], [1])])
def test_what_has_no_coefficients_is_told_how_to_have_some(method):
    one = [Polynomial((0, 1))]
    for ask in (
        order_of_accuracy, is_symmetric, is_symplectic, principal_error, simplifying_assumptions,
        stage_order, symplectic_residuals, embedded_metrics,
        lambda method: failing_trees(method, 2), lambda method: locate_typo(method, 2),
        lambda method: order_condition_residuals(method, 2),
        lambda method: rounding_bounds(method, 2), lambda method: error_coefficients(method, 2),
        lambda method: dense_output_order(method, one),
        lambda method: dense_output_residuals(method, one, 2),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=rf"`A` and `b`, got {type(method).__name__}; look"):
            ask(method)


def test_what_needs_numbers_refuses_families():
    for ask in (lambda: locate_typo(RK4, 5), lambda: embedded_metrics(RK4_PAIR)):
        with pytest.raises(TypeError, match=r"of a Family are .* with odecore.tableaux.tableau_at"):
            ask()


def test_limits_and_levels_out_of_range_are_refused():
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"`limit` must be at least 1, got {limit}"):
            simplifying_assumptions(tableau("classic"), limit=limit)
    assert RootedTree.from_level_sequence(range(201)).density == math.factorial(201)
    with pytest.raises(ValueError, match=r"at most 200 levels above its root.*got 1099"):
        RootedTree.from_level_sequence(range(1100))
