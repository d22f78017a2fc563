"""Elementary weights of a Runge-Kutta method, in whatever ring its coefficients live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from odecore.order._rooted_tree import RootedTree

__all__ = ["elementary_weights"]


def elementary_weights(
    trees: Iterable[RootedTree], A: Sequence[Sequence[Any]], b: Sequence[Any], /
) -> dict[RootedTree, Any]:
    """Evaluate Phi(t) = sum_i b_i g_i(t), g_i(t) = prod over children u of sum_j a_ij g_j(u).

    Parameters
    ----------
    trees : iterable of RootedTree
    A : (s, s) nested sequence
        Entries of any commutative ring that contains the integers: Fractions, elements of a
        polynomial ring or fraction field. Only sums and products are used.
    b : (s,) sequence

    Returns
    -------
    dict
        From tree to elementary weight, an element of the same ring. Subtrees are evaluated once.

    Raises
    ------
    ValueError
        If A is not square of the size of b.

    Notes
    -----
    Hairer, Norsett, Wanner I, definition II.2.9.
    """
    lengths = [len(row) for row in A]
    if lengths != [len(b)] * len(b):
        raise ValueError(
            f"`A` must have {len(b)} rows of length {len(b)}, one for each weight in `b`; got rows "
            f"of lengths {lengths}"
        )
    stages = range(len(b))
    inner: dict[RootedTree, list[Any]] = {}

    def pushed(tree: RootedTree) -> list[Any]:
        """The vector A g(tree)."""
        if tree not in inner:
            g = stage_values(tree)
            inner[tree] = [sum((A[i][j] * g[j] for j in stages if A[i][j] != 0), 0) for i in stages]
        return inner[tree]

    def stage_values(tree: RootedTree) -> list[Any]:
        values: list[Any] = [1] * len(b)
        for child in tree.children:
            values = [value * factor for value, factor in zip(values, pushed(child), strict=True)]
        return values

    return {
        tree: sum((bi * gi for bi, gi in zip(b, stage_values(tree), strict=True)), 0)
        for tree in trees
    }
