"""A rooted tree: one order condition, one elementary differential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import factorial, prod

__all__ = ["RootedTree"]


@dataclass(frozen=True)
class RootedTree:
    """An unordered rooted tree, kept in canonical form.

    Parameters
    ----------
    children : tuple of RootedTree
        The subtrees that hang on the root, in any order; empty for the one-vertex tree.

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
    """

    children: tuple[RootedTree, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.children, key=lambda child: child.level_sequence, reverse=True))
        object.__setattr__(self, "children", ordered)

    @classmethod
    def from_level_sequence(cls, levels: Sequence[int], /) -> RootedTree:
        """Build the tree whose vertices, in preorder, have these distances from the root.

        Parameters
        ----------
        levels : sequence of int
            Starts with 0; each later entry is at least 1 and at most one more than its predecessor.

        Raises
        ------
        ValueError
            If the sequence is not a preorder walk of a rooted tree.
        """
        steps = pairwise(levels)
        if not levels or levels[0] != 0 or any(not 1 <= b <= a + 1 for a, b in steps):
            raise ValueError(
                "a level sequence starts with 0 and continues with levels from 1 to one more than "
                f"the level before; got {list(levels)}"
            )
        starts = [i for i, level in enumerate(levels) if level == 1] + [len(levels)]
        branches = (levels[i:j] for i, j in pairwise(starts))
        return cls(tuple(cls.from_level_sequence([k - 1 for k in branch]) for branch in branches))

    @cached_property
    def level_sequence(self) -> tuple[int, ...]:
        """Distances from the root in preorder; the largest of all orderings of the children."""
        return (0, *(level + 1 for child in self.children for level in child.level_sequence))

    @cached_property
    def order(self) -> int:
        """Number of vertices."""
        return 1 + sum(child.order for child in self.children)

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
