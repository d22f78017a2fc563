"""Elementary weights of a Runge-Kutta method, in whatever ring its coefficients live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import lcm
from numbers import Rational
from typing import Any

from odecore.exact import QuadraticNumber, exact_number
from odecore.order._rooted_tree import RootedTree

__all__ = ["elementary_weights", "over_integers", "stage_weights"]

Rows = Sequence[Sequence[Any]]


def elementary_weights(
    trees: Iterable[RootedTree], A: Rows, b: Sequence[Any], /
) -> dict[RootedTree, Any]:
    """Evaluate Phi(t) = sum_i b_i g_i(t), g_i(t) = prod over children u of sum_j a_ij g_j(u).

    Parameters
    ----------
    trees : iterable of RootedTree
    A : (s, s) nested sequence
        Entries of any commutative ring that contains the integers: Fractions, QuadraticNumbers,
        elements of a polynomial ring or fraction field, floats. Only sums and products are used.
    b : (s,) sequence

    Returns
    -------
    dict
        From tree to elementary weight, an element of the same ring. Subtrees are evaluated once;
        over Fractions and quadratic fields all work is done in integers, over one common
        denominator.

    Raises
    ------
    ValueError
        If A is not square of the size of b.
    TypeError
        If one of `trees` is none.

    Notes
    -----
    Hairer, Norsett, Wanner I, definition II.2.9.
    """
    g, scale = stage_weights(A, len(b))
    weights, common = over_integers(b) if scale is not None else (b, None)
    out = {}
    for tree in trees:
        if not isinstance(tree, RootedTree):
            raise TypeError(f"`trees` must hold RootedTrees, got {tree!r}; see rooted_trees")
        terms = zip(weights, g(tree), strict=True)
        total = sum((weight * value for weight, value in terms if weight != 0), 0)
        if scale is not None:
            # Where only b is of another ring, the integers of A are still to be divided out.
            power = scale ** (tree.order - 1)
            total = _divided(total, common * power) if common else total * Fraction(1, power)
        out[tree] = total
    return out


def stage_weights(A: Rows, s: int, /) -> tuple[Callable[[RootedTree], list[Any]], int | None]:
    """The function from a tree t to scale^(order - 1) g_i(t), i = 1..s, and that scale.

    Over Fractions and quadratic fields the scaled values are integers; over other rings the values
    are not scaled, and the scale is None.
    """
    lengths = [len(row) for row in A]
    if lengths != [s] * s:
        raise ValueError(
            f"`A` must have {s} rows of length {s}, one for each weight in `b`; got rows of "
            f"lengths {lengths}"
        )
    flat, scale = over_integers([a for row in A for a in row])
    rows = [[(j, a) for j, a in enumerate(flat[i * s : (i + 1) * s]) if a != 0] for i in range(s)]
    pushed: dict[RootedTree, list[Any]] = {}
    values: dict[tuple[RootedTree, ...], list[Any]] = {(): [1] * s}

    def push(tree: RootedTree) -> list[Any]:
        """The vector A g(tree)."""
        if tree not in pushed:
            g = product(tree.children)
            pushed[tree] = [sum((a * g[j] for j, a in row), 0) for row in rows]
        return pushed[tree]

    def product(children: tuple[RootedTree, ...]) -> list[Any]:
        found = values.get(children)
        if found is None:
            factors = zip(push(children[0]), product(children[1:]), strict=True)
            found = values[children] = [a * b for a, b in factors]
        return found

    return lambda tree: product(tree.children), scale


def over_integers(entries: Sequence[Any]) -> tuple[list[Any], int | None]:
    """Entries times their common denominator, and that; or the entries and None."""
    parts: list[Any] = []
    for entry in entries:
        if isinstance(entry, QuadraticNumber):
            parts += [Fraction(entry.rational), Fraction(entry.irrational)]
        elif isinstance(entry, Rational):
            parts.append(exact_number(entry))
        else:
            return list(entries), None
    common = lcm(*(part.denominator for part in parts))

    def scaled(entry: Any) -> Any:
        if isinstance(entry, QuadraticNumber):
            a, b = (scaled(part) for part in (entry.rational, entry.irrational))
            return QuadraticNumber(a, b, entry.radicand) if b else a
        return int(entry.numerator) * (common // int(entry.denominator))

    return [scaled(entry) for entry in entries], common


def _divided(total: Any, common: int) -> Any:
    """An integral element over its denominator; rational where its irrational part is zero."""
    if isinstance(total, QuadraticNumber):
        if total.irrational:
            return total / common
        total = total.rational
    return Fraction(total, common)
