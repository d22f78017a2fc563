"""A rooted tree: one order condition, one elementary differential."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, repeat
from math import factorial, prod
from operator import index
from typing import Any

__all__ = ["RootedTree", "trees_of"]

_HIGHEST = 200  # level: order conditions need 14


class RootedTree:
    """An unordered rooted tree. Equal trees are one object, so they are compared by identity.

    Parameters
    ----------
    children : iterable of RootedTree, optional
        The subtrees that hang on the root, in any order; none for the one-vertex tree.

    Attributes
    ----------
    children : tuple of RootedTree
        In canonical order: larger subtrees first.
    order : int
        Number of vertices.

    Raises
    ------
    TypeError
        If a child is not a tree.

    Notes
    -----
    Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.2. The symmetry
    is the order of the automorphism group (their alpha is order!/(symmetry * density)).

    Examples
    --------
    >>> leaf = RootedTree()
    >>> cherry = RootedTree((leaf, leaf))
    >>> cherry.order, cherry.symmetry, cherry.density, str(cherry)
    (3, 2, 3, '[••]')
    >>> print(RootedTree((cherry, leaf)).drawing())
    •
    ├─•
    │ ├─•
    │ └─•
    └─•
    """

    __slots__ = ("__dict__", "children", "order")

    children: tuple[RootedTree, ...]
    order: int

    def __new__(cls, children: Any = (), /) -> RootedTree:
        """Find the one object of this tree, or make it."""
        children = tuple(children)
        for child in children:
            if not isinstance(child, RootedTree):
                raise TypeError(f"the children of a tree are trees, got {child!r}")
        ordered = tuple(sorted(children, key=_canonical_key, reverse=True))
        return trees_of([ordered], 1 + sum(child.order for child in ordered))[0]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a RootedTree is immutable; cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return RootedTree, (self.children,)

    @classmethod
    def from_level_sequence(cls, levels: Sequence[int], /) -> RootedTree:
        """Build the tree whose vertices, in preorder, have these distances from the root.

        Parameters
        ----------
        levels : sequence of int
            Starts with 0; each later entry is at least 1 and at most one more than its predecessor.

        Raises
        ------
        TypeError
            If the levels are no whole numbers.
        ValueError
            If the sequence is not a preorder walk of a rooted tree, or goes above level 200.
        """
        try:
            levels = list(map(index, levels))
        except TypeError:
            raise TypeError(f"a level sequence holds whole numbers, got {levels}") from None
        steps = pairwise(levels)
        if not levels or levels[0] != 0 or any(not 1 <= b <= a + 1 for a, b in steps):
            raise ValueError(
                "a level sequence starts with 0 and continues with levels from 1 to one more than "
                f"the level before; got {list(levels)}"
            )
        if max(levels) > _HIGHEST:
            raise ValueError(
                f"a tree has at most {_HIGHEST} levels above its root here, as functions of trees "
                f"call themselves for each; got {max(levels)}"
            )
        starts = [i for i, level in enumerate(levels) if level == 1] + [len(levels)]
        branches = (levels[i:j] for i, j in pairwise(starts))
        return cls(cls.from_level_sequence([k - 1 for k in branch]) for branch in branches)

    @cached_property
    def level_sequence(self) -> tuple[int, ...]:
        """Distances from the root in preorder; the largest of all orderings of the children."""
        branches = sorted((child.level_sequence for child in self.children), reverse=True)
        return (0, *(level + 1 for branch in branches for level in branch))

    @cached_property
    def symmetry(self) -> int:
        """Number of automorphisms, sigma(t)."""
        repeated = Counter(self.children).items()
        return prod(factorial(count) * child.symmetry**count for child, count in repeated)

    @cached_property
    def density(self) -> int:
        """The density gamma(t): the product of the orders of all subtrees."""
        return self.order * prod(child.density for child in self.children)

    def __str__(self) -> str:
        return f"[{''.join(map(str, self.children))}]" if self.children else "•"

    def __repr__(self) -> str:
        return f"RootedTree.from_level_sequence({list(self.level_sequence)})"

    def drawing(self) -> str:
        """The tree as text, one line for each vertex, the root on top."""
        lines = ["•"]
        for i, child in enumerate(self.children):
            last = i == len(self.children) - 1
            first, *rest = child.drawing().splitlines()
            lines.append(("└─" if last else "├─") + first)
            lines += [("  " if last else "│ ") + line for line in rest]
        return "\n".join(lines)

    def _repr_svg_(self) -> str:
        """The tree as a picture, root below as in the books; notebooks show it."""
        from odecore.order._drawing import svg

        return svg(self)


_TREES: dict[tuple[RootedTree, ...], RootedTree] = {}
_set_children = RootedTree.children.__set__  # type: ignore[attr-defined]
_set_order = RootedTree.order.__set__  # type: ignore[attr-defined]


def trees_of(children: Sequence[tuple[RootedTree, ...]], order: int, /) -> list[RootedTree]:
    """The trees of one order with these children, each in canonical order.

    Whole lists go through C loops: there are tens of thousands of trees in an enumeration.
    """
    made = list(map(object.__new__, repeat(RootedTree, len(children))))
    deque(map(_set_children, made, children), maxlen=0)
    deque(map(_set_order, made, repeat(order)), maxlen=0)
    return list(map(_TREES.setdefault, children, made))


def _canonical_key(tree: RootedTree) -> tuple[Any, ...]:
    return tree.order, tuple(map(_canonical_key, tree.children))
