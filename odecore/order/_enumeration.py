"""All rooted trees of one order, each once."""

from __future__ import annotations

from functools import cache
from operator import index
from typing import Any

from odecore.order._rooted_tree import RootedTree, trees_of

__all__ = ["rooted_trees", "whole_number"]

MAX_ORDER = 18  # 1,721,159 trees; each further order has about three times as many


def rooted_trees(order: int, /) -> tuple[RootedTree, ...]:
    """List the rooted trees with a given number of vertices.

    Parameters
    ----------
    order : int
        Number of vertices, from 1 to 18.

    Returns
    -------
    tuple of RootedTree
        1, 1, 2, 4, 9, 20, 48, 115, ... trees, from the path (tallest) to the bush.

    Raises
    ------
    TypeError
        If `order` is no int.
    ValueError
        If `order` is less than 1, or so large that the list would not fit in reasonable time.

    Notes
    -----
    Each tree with more than one vertex arises once as the Butcher product u v: v becomes the first
    child of u's root, where v is not smaller than the first child of u. Lists are kept in
    decreasing order of first children, so the admissible u for a v are the end of u's list and each
    tree costs one step. (Beyer and Hedetniemi, SIAM J. Comput. 9 (1980), generate level sequences
    instead; that needs O(order) steps a tree once trees are wanted.)

    Examples
    --------
    >>> [str(tree) for tree in rooted_trees(3)]
    ['[[•]]', '[••]']
    """
    order = whole_number(order, "`order`")
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(
            f"`order` is a number of vertices, at least 1 and at most {MAX_ORDER} (there are "
            f"1,721,159 trees of order 18, and three times as many of the next); got {order}"
        )
    return _trees(order)


def whole_number(value: Any, label: str, /) -> int:
    """An int of Python's or NumPy's, as Python's; TypeError for anything else, 3.0 too."""
    try:
        if isinstance(value, bool):
            raise TypeError("a bool is no count")
        return index(value)
    except TypeError:
        raise TypeError(f"{label} must be an int, got {value!r}") from None


@cache
def _trees(order: int) -> tuple[RootedTree, ...]:
    if order == 1:
        return (RootedTree(),)
    children: list[tuple[RootedTree, ...]] = []
    for size in range(order - 1, 0, -1):  # of the first child
        rests = [tree.children for tree in _trees(order - size)]
        heads = list(zip(_trees(size), strict=True))
        if 2 * size >= order:  # the children in the rests are all smaller
            children += [head + rest for head in heads for rest in rests]
            continue
        start = sum(rest[0].order > size for rest in rests)
        for head in heads:
            children += [head + rest for rest in rests[start:]]
            while start < len(rests) and rests[start][0] is head[0]:
                start += 1
    return tuple(trees_of(children, order))
