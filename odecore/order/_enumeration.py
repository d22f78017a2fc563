"""All rooted trees of one order, each once."""

from __future__ import annotations

from functools import cache

from odecore.order._rooted_tree import RootedTree

__all__ = ["rooted_trees"]


@cache
def rooted_trees(order: int, /) -> tuple[RootedTree, ...]:
    """List the rooted trees with a given number of vertices.

    Parameters
    ----------
    order : int
        Number of vertices, at least 1.

    Returns
    -------
    tuple of RootedTree
        1, 1, 2, 4, 9, 20, 48, 115, ... trees, from the path (tallest) to the bush.

    Raises
    ------
    ValueError
        If `order` is less than 1.

    Notes
    -----
    Beyer and Hedetniemi, Constant time generation of rooted trees, SIAM J. Comput. 9 (1980): the
    canonical level sequences in decreasing lexicographic order. The successor shortens the last
    vertex of level above 1 and repeats the branch that it then belongs to.

    Examples
    --------
    >>> [str(tree) for tree in rooted_trees(3)]
    ['[[•]]', '[••]']
    """
    if order < 1:
        raise ValueError(f"`order` is a number of vertices, at least 1; got {order}")
    levels = list(range(order))
    sequences = [levels]
    while max(levels) > 1:
        last = max(i for i, level in enumerate(levels) if level > 1)
        parent = max(i for i in range(last) if levels[i] == levels[last] - 1)
        period = last - parent
        levels = levels[:last]
        while len(levels) < order:
            levels.append(levels[len(levels) - period])
        sequences.append(levels)
    return tuple(map(RootedTree.from_level_sequence, sequences))
