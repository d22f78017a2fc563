"""Rooted trees and order conditions."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.exact import Polynomial
from odecore.order import (
    RootedTree,
    dense_output_order,
    dense_output_residuals,
    elementary_weights,
    error_coefficients,
    failing_trees,
    order_condition_residuals,
    order_of_accuracy,
    principal_error,
    rooted_trees,
    simplifying_assumptions,
)
from odecore.tableaux import ButcherTableau, tableau

ORDERS = range(1, 10)


@pytest.mark.parametrize("n", ORDERS)
def test_trees_are_distinct_and_of_their_order(n):
    trees = rooted_trees(n)
    assert len(set(trees)) == len(trees)
    assert {tree.order for tree in trees} == {n}


@pytest.mark.parametrize("n", ORDERS)
def test_symmetry_counts_labelled_trees(n):
    # Cayley: there are n^(n-1) rooted labelled trees, n!/sigma for each shape.
    assert sum(Fraction(math.factorial(n), t.symmetry) for t in rooted_trees(n)) == n ** (n - 1)


@pytest.mark.parametrize("n", ORDERS)
def test_density_counts_monotone_labellings(n):
    # There are (n-1)! increasing labellings in all, n!/(sigma gamma) for each shape (HNW II.2).
    total = sum(Fraction(math.factorial(n), t.symmetry * t.density) for t in rooted_trees(n))
    assert total == math.factorial(n - 1)


def _walk(steps):
    levels = [0]
    for step in steps:
        levels.append(1 + step % (levels[-1] + 1))
    return levels


level_sequences = st.lists(st.integers(0, 8), max_size=8).map(_walk)


@given(level_sequences, st.randoms())
def test_a_tree_does_not_depend_on_the_order_of_its_children(levels, random):
    def shuffled(tree):
        children = [shuffled(child) for child in tree.children]
        random.shuffle(children)
        return RootedTree(tuple(children))

    tree = RootedTree.from_level_sequence(levels)
    assert shuffled(tree) == tree
    assert hash(shuffled(tree)) == hash(tree)
    assert RootedTree.from_level_sequence(tree.level_sequence) == tree
    assert tree.order == len(levels)
    assert tree in rooted_trees(tree.order)


@pytest.mark.parametrize("levels", [[], [1], [0, 0], [0, 2], [0, 1, 3], [0, 1, 0]])
def test_malformed_level_sequences_are_refused(levels):
    with pytest.raises(ValueError, match="level sequence starts with 0"):
        RootedTree.from_level_sequence(levels)


@pytest.mark.parametrize("order", [0, -3])
def test_orders_below_one_are_refused(order):
    with pytest.raises(ValueError, match="at least 1"):
        rooted_trees(order)
    with pytest.raises(ValueError, match="at least 1"):
        order_condition_residuals(tableau("euler"), order)


@pytest.mark.parametrize("order", [3.0, "3", [3], None])
def test_orders_are_ints_of_python_or_numpy(order):
    euler, theta = tableau("euler"), [Polynomial((0, 1))]
    for ask in (
        rooted_trees,
        lambda order: order_condition_residuals(euler, order),
        lambda order: failing_trees(euler, order),
        lambda order: error_coefficients(euler, order),
        lambda order: order_of_accuracy(euler, max_order=order),
        lambda order: dense_output_order(euler, theta, max_order=order),
        lambda order: dense_output_residuals(euler, theta, order),
        lambda order: simplifying_assumptions(euler, limit=order),
    ):
        with pytest.raises(TypeError, match=rf"must be an int, got {re.escape(repr(order))}"):
            ask(order)
        assert ask(np.int64(3)) == ask(3)


def test_weights_of_bushes_and_paths(rng):
    # Independent formulas: b^T c^k for the bush of order k+1, b^T A^k 1 for the path.
    A, b = rng.standard_normal((4, 4)), rng.standard_normal(4)
    leaf = RootedTree()
    path, power = leaf, np.ones(4)
    for k in range(5):
        bush = RootedTree((leaf,) * k)
        weights = elementary_weights([bush, path], A.tolist(), b.tolist())
        assert weights[bush] == pytest.approx(b @ (A @ np.ones(4)) ** k, rel=1e-12)
        assert weights[path] == pytest.approx(b @ power, rel=1e-12)
        path, power = RootedTree((path,)), A @ power


def test_the_rk4_conditions_as_hairer_lists_them():
    # HNW table II.2.1: 1/gamma for the eight trees up to order 4.
    found = sorted(t.density for n in range(1, 5) for t in rooted_trees(n))
    assert found == sorted([1, 2, 3, 6, 4, 8, 12, 24])


def test_residuals_of_a_wrong_weight_name_the_trees():
    wrong = ButcherTableau(((), (Fraction(1, 2),)), (Fraction(1, 10), Fraction(9, 10)))
    bad = {str(tree): r for tree, r in order_condition_residuals(wrong, 2).items() if r != 0}
    assert bad == {"[•]": Fraction(-1, 20)}


def test_order_is_not_decided_when_all_conditions_hold():
    with pytest.raises(ValueError, match="raise `max_order`"):
        order_of_accuracy(tableau("classic"), max_order=4)


def test_inconsistent_method_has_order_zero():
    class Wrong:
        A, b = ((0,),), (Fraction(1, 2),)

    assert order_of_accuracy(Wrong()) == 0


@pytest.mark.parametrize(
    ("name", "square"),
    [
        ("ralston", Fraction(1, 36)),  # the minimum over RK2(u)
        ("classic", Fraction(1745, 2880**2)),
        ("dopri5", Fraction(16719, 324000**2)),
    ],
)
def test_principal_error_reference_values(name, square):
    method = tableau(name)
    assert principal_error(method).square == square


def test_principal_error_of_the_three_eighths_rule():
    assert float(principal_error(tableau("three_eighths"))) == pytest.approx(
        0.0126693677, abs=5e-11
    )


@pytest.mark.parametrize(("A", "b"), [([[0]], [1, 0]), ([[0], [1, 0]], [0, 1]), ([], [1])])
def test_coefficients_that_do_not_fit_are_refused(A, b):
    with pytest.raises(ValueError, match="one for each weight in `b`"):
        elementary_weights([RootedTree()], A, b)
