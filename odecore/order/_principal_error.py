"""The principal error: what is left at the first order that fails, in a norm that has a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import Any

from odecore.exact import SquareRoot
from odecore.order._conditions import MAX_ORDER, order_of_accuracy
from odecore.order._enumeration import rooted_trees, whole_number
from odecore.order._method import RungeKuttaMethod, exact_method, require_numbers
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights

__all__ = ["EmbeddedMetrics", "embedded_metrics", "error_coefficients", "principal_error"]

NORMS = ("2", "max", "lotkin")


def error_coefficients(
    method: RungeKuttaMethod, tree_order: int, /, *, weights: Sequence[Any] | None = None
) -> dict[RootedTree, Any]:
    """Coefficients tau(t) of the elementary differentials in the local error, for one order.

    Parameters
    ----------
    method : object with `A` and `b`
    tree_order : int
        Number q of vertices, from 1 to 18; q = p + 1 gives the principal error of a method of order
        p.
    weights : sequence, optional
        Take these instead of `method.b`.

    Returns
    -------
    dict
        From tree to (Phi(t) - 1/gamma(t)) / sigma(t): the local error is the sum of
        h^q tau(t) F(t)(y) over the trees.

    Raises
    ------
    ValueError, TypeError
        As `order_condition_residuals`, of `tree_order` and `weights` too.

    Notes
    -----
    Hairer, Norsett, Wanner I, section II.3; Prince and Dormand (1981) call these tau_j.
    """
    known = exact_method(method, weights=weights)
    trees = rooted_trees(whole_number(tree_order, "`tree_order`"))
    values = elementary_weights(trees, known.A, known.b)
    return {
        tree: (value - Fraction(1, tree.density)) * Fraction(1, tree.symmetry)
        for tree, value in values.items()
    }


def principal_error(
    method: RungeKuttaMethod,
    /,
    *,
    norm: str = "2",
    tree_order: int | None = None,
    weights: Sequence[Any] | None = None,
) -> Any:
    """Norm of the error coefficients of one order, by default of the first that fails.

    Parameters
    ----------
    method : object with `A` and `b`
    norm : {"2", "max", "lotkin"}, optional
        "2": root of the sum over trees of tau(t)^2, the A^(q) of Prince and Dormand. "max": largest
        abs(tau(t)). "lotkin": the sum of moduli over the distinct monomials of a scalar problem
        y' = f(x, y), which is the constant of Lotkin's bound and the norm of Ralston (1962).
        An optimum in one norm is not one in another.
    tree_order : int, optional
        Number q of vertices. Default: one more than the order of the method.
    weights : sequence, optional
        Take these instead of `method.b`, for instance `method.b_hat`.

    Returns
    -------
    SquareRoot, Fraction or ring element
        Exact: a `SquareRoot` for "2", a number of the coefficients' field otherwise; `float` gives
        a float. For a family only "2" exists, as moduli are no rational functions.

    Raises
    ------
    ValueError
        If the norm is unknown, or no condition up to order 14 fails: then give `tree_order`; and as
        `error_coefficients`.
    TypeError
        If a modulus is asked of a rational function, and as `error_coefficients`.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> str(principal_error(tableau("classic")))
    'sqrt(1745)/2880'
    >>> principal_error(tableau("ralston"), norm="lotkin")
    Fraction(1, 3)
    """
    if not isinstance(norm, str) or norm not in NORMS:
        raise ValueError(f"`norm` must be one of {', '.join(map(repr, NORMS))}; got {norm!r}")
    if tree_order is None:
        tree_order = order_of_accuracy(method, max_order=MAX_ORDER, weights=weights) + 1
    errors = error_coefficients(method, tree_order, weights=weights)
    if norm == "2":
        return SquareRoot(sum((error * error for error in errors.values()), Fraction(0)))
    terms = list(errors.values()) if norm == "max" else list(_scalar_terms(errors).values())
    if not all(hasattr(term, "__abs__") for term in terms):
        raise TypeError(
            f"the norm {norm!r} takes moduli, which rational functions have not; evaluate the "
            "family with odecore.tableaux.tableau_at, or use norm='2'"
        )
    if norm == "max":
        return max(map(abs, terms))
    return sum(map(abs, terms), Fraction(0))


def _scalar_terms(errors: dict[RootedTree, Any]) -> dict[tuple[Any, ...], Any]:
    """Collect the monomials in the derivatives of f of a scalar problem y' = f(x, y)."""
    total: dict[tuple[Any, ...], Any] = {}
    for tree, error in errors.items():
        for monomial, count in _monomials(tree).items():
            total[monomial] = total.get(monomial, Fraction(0)) + error * count
    return total


def _monomials(tree: RootedTree) -> Counter[tuple[tuple[int, int], ...]]:
    """Elementary differential of a scalar y' = f(x, y) as a polynomial in derivatives of f.

    A key is the sorted tuple of pairs (i, j), each a factor with i derivatives by x and j by y.
    Each leaf child is either the variable x, whose derivative is 1, or y, whose derivative is f.
    """
    leaves = sum(child.order == 1 for child in tree.children)
    total: Counter[tuple[tuple[int, int], ...]] = Counter()
    for by_x in range(leaves + 1):
        products = Counter({((0, 0),) * (leaves - by_x): comb(leaves, by_x)})
        for child in tree.children:
            if child.order > 1:
                grown: Counter[tuple[tuple[int, int], ...]] = Counter()
                for left, m in products.items():
                    for right, n in _monomials(child).items():
                        grown[tuple(sorted(left + right))] += m * n
                products = grown
        own = (by_x, len(tree.children) - by_x)
        for monomial, count in products.items():
            total[tuple(sorted((own, *monomial)))] += count
    return total


@dataclass(frozen=True)
class EmbeddedMetrics:
    """The numbers by which embedded pairs are compared; each exact, in 2-norms.

    Parameters
    ----------
    order, embedded_order : int
        p and q of the propagated and the embedded row.
    error : SquareRoot
        A^(p+1), principal error of the propagated row.
    next_error : SquareRoot
        A^(p+2).
    embedded_error : SquareRoot
        Principal error of the embedded row.
    efficacy : SquareRoot
        B = (embedded row's error of order q+2) / (its error of order q+1); small is good: the
        estimate is then led by its first term.
    contrast : SquareRoot
        C = (difference of both rows' errors of order q+2) / (embedded error of order q+1).
    dominance : SquareRoot
        A^(p+2) / A^(p+1) of the propagated row; small is good: its error is then led by its
        first term.
    largest : exact number
        D, the largest modulus of all coefficients A, b, b_hat, c.

    Notes
    -----
    A, B, C, D: Prince and Dormand, J. Comput. Appl. Math. 7 (1981) 67-75. `dominance` is B of the
    propagated row. It is not the E of Kennedy and Carpenter, Appl. Numer. Math. 44 (2003) 139-181,
    which is A^(q+2) / (embedded error of order q+1): for q = p - 1, `error` over `embedded_error`.
    """

    order: int
    embedded_order: int
    error: SquareRoot
    next_error: SquareRoot
    embedded_error: SquareRoot
    efficacy: SquareRoot
    contrast: SquareRoot
    dominance: SquareRoot
    largest: Any


def embedded_metrics(method: Any, /) -> EmbeddedMetrics:
    """Compare an embedded pair's error estimate with its error.

    Parameters
    ----------
    method : object with `A`, `b`, `b_hat`

    Returns
    -------
    EmbeddedMetrics

    Raises
    ------
    ValueError
        If the method has no embedded row.
    TypeError
        If it is a family: evaluate it first.
    """
    require_numbers(method, "a pair's efficiency")
    if getattr(method, "b_hat", None) is None:
        raise ValueError("embedded metrics need `b_hat`; this method has no embedded row")
    p = order_of_accuracy(method, max_order=MAX_ORDER)
    q = order_of_accuracy(method, max_order=MAX_ORDER, weights=method.b_hat)

    def square(order: int, weights: Any = None) -> Any:
        return principal_error(method, tree_order=order, weights=weights).square

    error, next_error = square(p + 1), square(p + 2)
    embedded = square(q + 1, method.b_hat)
    errors = error_coefficients(method, q + 2)
    hats = error_coefficients(method, q + 2, weights=method.b_hat)
    contrast = sum(((hats[t] - errors[t]) ** 2 for t in errors), Fraction(0))
    entries = [a for row in method.A for a in row] + [*method.b, *method.b_hat]
    entries += [sum(row, Fraction(0)) for row in method.A]
    return EmbeddedMetrics(
        order=p,
        embedded_order=q,
        error=SquareRoot(error),
        next_error=SquareRoot(next_error),
        embedded_error=SquareRoot(embedded),
        efficacy=SquareRoot(square(q + 2, method.b_hat) / embedded),
        contrast=SquareRoot(contrast / embedded),
        dominance=SquareRoot(next_error / error),
        largest=max(map(abs, entries)),
    )
