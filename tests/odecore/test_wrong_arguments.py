"""Arguments of exact, order and tableaux of another kind: told by name."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.exact import Polynomial, QuadraticNumber, SquareRoot, isolate_roots, refine_root
from odecore.families import RK4 as FAMILY
from odecore.families import chart, prove_order
from odecore.interpolation import barycentric_weights, chebyshev_points, differentiation_matrix
from odecore.order import (
    RootedTree,
    dense_output_order,
    elementary_weights,
    error_coefficients,
    order_of_accuracy,
    principal_error,
    rooted_trees,
    simplifying_assumptions,
)
from odecore.sketching import UniformRows, alignment, moments, optimal_ranks, variance
from odecore.tableaux import (
    ButcherTableau,
    Coefficients,
    continuous_extension,
    hermite_extension,
    tableau,
    tableau_from_json,
    tableau_to_json,
)
from odecore.testing import family_members

F = Fraction
RK4 = tableau("classic")
SQUARE = Polynomial((-2, 0, 1))


def test_polynomials_have_coefficients_in_order():
    for wrong in ({1, 2}, {1: 2}, np.ones((2, 2)), np.array(1.0), 3):
        with pytest.raises(TypeError, match="`coefficients` must be a sequence, lowest degree"):
            Polynomial(wrong)
    assert Polynomial(np.array([1.0, 2.0])).coefficients == (1.0, 2.0)
    assert SQUARE.gcd(2) == Polynomial((1,))
    with pytest.raises(TypeError, match="coefficients of a polynomial are numbers, got 'x'"):
        SQUARE.gcd("x")


def test_roots_are_refined_in_a_pair():
    ((low, high),) = isolate_roots(SQUARE, 0)
    for wrong in (None, 3, (1, 2, 3)):
        with pytest.raises(ValueError, match="`bracket` must be a pair, got"):
            refine_root(SQUARE, wrong, F(1, 10))
    for wrong in (None, "1", [1], 1j):
        with pytest.raises(ValueError, match="`width` must be positive, got"):
            refine_root(SQUARE, (low, high), wrong)


def test_numbers_of_a_quadratic_field():
    root = QuadraticNumber.sqrt(np.int64(3))
    assert root == QuadraticNumber.sqrt(3)
    assert type(root.radicand) is int
    for wrong in (3.0, "3", None, True):
        with pytest.raises(ValueError, match="`radicand` must be squarefree, from 2 to 10"):
            QuadraticNumber.sqrt(wrong)
    for wrong in (-1, 2.5, None):
        with pytest.raises(ValueError, match="`bits` must be a whole number from 0"):
            root.bracket(wrong)
    with pytest.raises(TypeError, match="`rational` and `irrational` must be int or Fraction"):
        QuadraticNumber(0.5, 1, 2)
    for wrong in (None, "2", 2.5, [1]):
        with pytest.raises(TypeError, match="`square` must be a Fraction, QuadraticNumber or rat"):
            SquareRoot(wrong)


def test_trees_of_arrays():
    tree = RootedTree.from_level_sequence([0, 1, 2, 1])
    assert RootedTree.from_level_sequence(np.array([0, 1, 2, 1])) is tree
    assert RootedTree.from_level_sequence(iter([0, 1, 2, 1])) is tree
    with pytest.raises(TypeError, match="`trees` must hold RootedTrees, got '•'"):
        elementary_weights(["•"], RK4.A, RK4.b)


def test_what_is_wrong_is_blamed():
    with pytest.raises(
        ValueError, match="`weights` must hold 4 numbers, one for each stage, got 1"
    ):
        order_of_accuracy(RK4, weights=[1])
    with pytest.raises(TypeError, match="`b` or `weights` numbers"):
        order_of_accuracy(RK4, weights=1)
    for function in (error_coefficients, lambda m, n: principal_error(m, tree_order=n)):
        with pytest.raises(TypeError, match=r"`tree_order` must be an int, got 2\.5"):
            function(RK4, 2.5)
    for function in (
        rooted_trees,
        lambda n: order_of_accuracy(RK4, max_order=n),
        lambda n: simplifying_assumptions(RK4, limit=n),
    ):
        with pytest.raises(TypeError, match="must be an int, got True"):
            function(True)


def test_tableaux_are_made_of_rows():
    for wrong in (None, 3, {1: 2}, "12"):
        with pytest.raises(TypeError, match="`A` must be rows of numbers"):
            ButcherTableau(wrong, (0, 1))
        with pytest.raises(TypeError, match="`b` must be a sequence of numbers"):
            ButcherTableau(((), (F(1, 2),)), wrong)
        with pytest.raises(TypeError, match="`A` must be rows of numbers"):
            ButcherTableau((wrong, wrong), (0, 1))
    with pytest.raises(TypeError, match="`b_hat` must be a sequence of numbers"):
        ButcherTableau(((), (F(1, 2),)), (0, 1), 3)


def test_coefficients_are_made_of_rows():
    for name, wrong in (("A", 3), ("A", (1.0, 2.0)), ("b", 1.0), ("error", 1.0), ("c", 2)):
        given = {"A": ((), (0.5,)), "b": (0.0, 1.0), name: wrong}
        with pytest.raises(TypeError, match=f"`{name}` must be"):
            Coefficients(**given)
    for wrong in ("4", 2.5, 0, -1, True):
        with pytest.raises(ValueError, match="`order` must be a positive integer, or None"):
            Coefficients(((), (0.5,)), (0.0, 1.0), order=wrong)


def test_json_is_of_tableaux_and_text():
    with pytest.raises(TypeError, match="`method` must be a ButcherTableau, got str; look a name"):
        tableau_to_json("classic")
    for wrong in ({}, None, 3):
        with pytest.raises(TypeError, match="`text` must be the text of a JSON object, got"):
            tableau_from_json(wrong)


def test_matrices_are_of_one_library():
    torch = pytest.importorskip("torch")
    X, Y = np.ones((2, 2)), torch.ones(2, 2)
    for function in (moments, alignment, lambda X, Y: variance(UniformRows(1), X, Y)):
        with pytest.raises(TypeError, match="`X` and `Y` must be arrays of one library, got numpy"):
            function(X, Y)
    for wrong in ("24", None, 1j):
        with pytest.raises(TypeError, match="`budget` must be a real number"):
            optimal_ranks([1.0, 1.0], [1, 1], wrong, 16)
    with pytest.raises(ValueError, match="`budget` must be one number"):
        optimal_ranks([1.0, 1.0], [1, 1], [24], 16)


def test_charts_and_members_are_at_numbers():
    for wrong in (None, "1/2", float("nan"), float("inf"), [1]):
        with pytest.raises(TypeError, match="`u0` must be a finite number"):
            chart(FAMILY, wrong, 0)
        with pytest.raises(TypeError, match="`v0` must be a finite number"):
            chart(FAMILY, F(1, 2), wrong)
    assert chart(FAMILY, np.float64(0.5), 0) is chart(FAMILY, F(1, 2), 0)
    with pytest.raises(TypeError, match="RK4 has the parameters u, v; got 1, 2"):
        FAMILY.values({1: 2, 2: 3})
    for wrong in (None, 0, 2.5, True, "4"):
        with pytest.raises(ValueError, match="`s` must be a number of stages"):
            hermite_extension(wrong)


def test_powers_are_whole():
    for number in (SQUARE, QuadraticNumber.sqrt(2)):
        assert number ** np.int64(2) == number * number
        for wrong in (None, 2.5, "2"):
            with pytest.raises(TypeError, match="unsupported operand"):
                number**wrong


def test_what_is_gone_through_is_told_where_it_can_not_be():
    for wrong in (None, 3.5, [0, None], np.zeros((2, 2))):
        with pytest.raises(TypeError, match="a level sequence holds whole numbers, got"):
            RootedTree.from_level_sequence(wrong)
    with pytest.raises(TypeError, match=r"`weights` must be .*got None"):
        dense_output_order(RK4, None)
    with pytest.raises(TypeError, match="must be a Family, got int"):
        family_members(5)
    with pytest.raises(ValueError, match="`norm` must be one of"):
        principal_error(RK4, norm=np.ones(0))
    for wrong in (None, [], "1"):
        with pytest.raises(TypeError, match="`amplification` must be a real number, got"):
            continuous_extension(RK4.coefficients, amplification=wrong)


def test_numbers_of_points_have_an_end():
    certificate = prove_order(FAMILY)
    for wrong in (None, -1, 2.5, 10**400):
        with pytest.raises(ValueError, match="`points` must be a whole number from 0 to 10"):
            certificate.verify(points=wrong)
    for function in (chebyshev_points, barycentric_weights, differentiation_matrix):
        with pytest.raises(ValueError, match="at most 1000000000"):
            function(10**400)
