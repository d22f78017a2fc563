"""Find the one coefficient that was misprinted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from odecore.exact import Polynomial, QuadraticNumber, exact_number, isolate_roots, refine_root
from odecore.order._conditions import failing_trees
from odecore.order._enumeration import rooted_trees
from odecore.order._method import ExactMethod, RungeKuttaMethod, exact_method, require_numbers
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights

__all__ = ["Typo", "locate_typo"]


@dataclass(frozen=True)
class Typo:
    """One change of one coefficient that restores all order conditions.

    Parameters
    ----------
    entry : str
        "a[4][2]" or "b[3]", counted from 1 as in the literature.
    found, restored : exact numbers
        The coefficient as given, and what it must be.
    digits : int or None
        For coefficients known roughly, how many decimals of `restored` are meant; None if exact.
    """

    entry: str
    found: Any
    restored: Any
    digits: int | None = None

    def __str__(self) -> str:
        about = "" if self.digits is None else f" (to {self.digits} decimals)"
        return f"{self.entry} = {self.found} should be {self.restored}{about}"


@dataclass(frozen=True)
class _Candidate:
    A: tuple[tuple[Any, ...], ...]
    b: tuple[Any, ...]
    uncertainty: Fraction = Fraction(0)


def locate_typo(method: RungeKuttaMethod, order: int, /) -> tuple[Typo, ...]:
    """Find every single-coefficient change after which all conditions up to `order` hold.

    Parameters
    ----------
    method : object with `A` and `b`
        Over Fractions, one quadratic field, or decimals with an `uncertainty`; also floats.
    order : int
        The order that the method should have.

    Returns
    -------
    tuple of Typo
        Empty if no single change does it; several if the conditions do not decide, for instance
        at low order. For an explicit method only entries below the diagonal are tried.

    Raises
    ------
    ValueError
        If the method already has this order, and as `order_condition_residuals`.
    TypeError
        If it is a family: evaluate it first; and as `order_condition_residuals`.

    Notes
    -----
    With one entry a + x, each residual is a polynomial in x; the change sought is a common root of
    all. Conditions are used in increasing order, so that most candidates fail at once. A root is
    found exactly over the rationals; over a quadratic field where the polynomials have a common
    factor of degree one; for rough coefficients by isolated roots, from the condition of least
    degree in x that is no rounding error, and then tested with the same bounds as the order.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fractions import Fraction as F
    >>> A = ((0, 0, 0, 0), (F(1, 3), 0, 0, 0), (F(-1, 3), 1, 0, 0), (1, 1, 1, 0))
    >>> misprint = SimpleNamespace(A=A, b=(F(1, 8), F(3, 8), F(3, 8), F(1, 8)))
    >>> [str(typo) for typo in locate_typo(misprint, 4)]
    ['a[4][2] = 1 should be -1']
    """
    require_numbers(method, "a misprint")
    if not failing_trees(method, order):
        raise ValueError(f"all conditions up to order {order} hold; there is nothing to restore")
    known = exact_method(method)
    found: list[Typo] = []
    digits = None if known.radii is None else _digits(_radius(known))
    for place in _places(known):
        given, (i, j) = _entry(known, place), place
        name = f"b[{j + 1}]" if i is None else f"a[{i + 1}][{j + 1}]"
        roots = _common_roots if known.radii is None else _rough_roots
        for shift in roots(known, place, order):
            found.append(Typo(name, given, exact_number(given + shift), digits))
    return tuple(found)


Place = tuple[int | None, int]
Rows = Sequence[Sequence[Any]]


def _places(known: ExactMethod) -> Iterator[Place]:
    s = len(known.b)
    explicit = all(known.A[i][j] == 0 for i in range(s) for j in range(i, s))
    for i in range(s):
        yield from ((i, j) for j in range(i if explicit else s))
    yield from ((None, j) for j in range(s))


def _entry(known: ExactMethod, place: Place) -> Any:
    i, j = place
    return known.b[j] if i is None else known.A[i][j]


def _shifted(A: Rows, b: Sequence[Any], place: Place, shift: Any) -> tuple[Any, Any]:
    i, j = place
    rows, weights = [list(row) for row in A], list(b)
    row = weights if i is None else rows[i]
    row[j] = shift + row[j]
    return rows, weights


def _polynomials(
    trees: Sequence[RootedTree], A: Rows, b: Sequence[Any], place: Place
) -> list[Polynomial]:
    """Elementary weights as polynomials in a shift of one entry."""
    weights = elementary_weights(trees, *_shifted(A, b, place, Polynomial((0, 1)))).values()
    return [w if isinstance(w, Polynomial) else Polynomial((w,)) for w in weights]


def _common_roots(known: ExactMethod, place: Place, order: int) -> list[Any]:
    """Shifts of one entry of exact coefficients that make all conditions up to `order` hold."""
    common = Polynomial(())
    for n in range(1, order + 1):
        trees = rooted_trees(n)
        for tree, weight in zip(trees, _polynomials(trees, known.A, known.b, place), strict=True):
            residual = weight - Fraction(1, tree.density)
            common = residual.gcd(common) if common else residual
            if common.degree == 0:
                return []
    return _roots_in_field(common) if common else []


def _roots_in_field(polynomial: Polynomial) -> list[Any]:
    free = polynomial.squarefree()
    if free.degree == 1:
        return [exact_number(-free.coefficients[0] / (Fraction(1) * free.leading))]
    if any(isinstance(a, QuadraticNumber) for a in free.coefficients):
        return []
    # Rational roots: numerator and denominator are bounded by the end coefficients.
    bound = max(abs(a) for a in free.coefficients)
    width = Fraction(1, 4 * bound * bound)
    roots = []
    for bracket in isolate_roots(free):
        low, high = refine_root(free, bracket, width)
        root = ((low + high) / 2).limit_denominator(bound)
        roots += [root] if free(root) == 0 else []
    return roots


def _rough_roots(known: ExactMethod, place: Place, order: int) -> list[Any]:
    """Shifts of one entry of rough coefficients after which all conditions can hold."""
    radius = _radius(known)
    proposal = _proposal(known, place, order)
    good = []
    for bracket in isolate_roots(proposal) if proposal else ():
        low, high = refine_root(proposal, bracket, radius / 1000)
        shift = Fraction((low + high) / 2).limit_denominator(10 ** (_digits(radius) + 3))
        A, b = _shifted(known.A, known.b, place, shift)
        # Ten radii: the proposed value carries the roughness of all others, amplified.
        repaired = _Candidate(tuple(map(tuple, A)), tuple(b), 10 * radius)
        if abs(shift) > 10 * radius and not failing_trees(repaired, order):
            good.append(shift)
    return good


def _proposal(known: ExactMethod, place: Place, order: int) -> Polynomial:
    """The residual of least degree in the shift, where rounding does not explain the degree.

    A linear one is taken at once; zero if none depends on the shift.
    """
    least, best = order + 1, Polynomial(())
    for n in range(1, order + 1):
        trees = rooted_trees(n)

        def powers(A: Rows, b: Sequence[Any], n: int = n) -> list[Any]:
            """Coefficients of all powers of the shift, tree after tree."""
            found = (p.coefficients for p in _polynomials(rooted_trees(n), A, b, place))
            return [c for row in found for c in (*row, *[0] * (n + 1 - len(row)))]

        values, bounds = powers(known.A, known.b), known.reach(powers)
        for k, tree in enumerate(trees):
            span = slice(k * (n + 1), (k + 1) * (n + 1))
            pairs = zip(values[span], bounds[span], strict=True)
            degree = max(d for d, (value, bound) in enumerate(pairs) if not d or abs(value) > bound)
            if 0 < degree < least:
                least, best = degree, Polynomial(values[span]) - Fraction(1, tree.density)
            if least == 1:
                return best
    return best


def _radius(known: ExactMethod) -> Any:
    assert known.radii is not None
    return max(r for row in (*known.radii[0], known.radii[1]) for r in row)


def _digits(radius: Fraction) -> int:
    digits = 0
    while Fraction(1, 10**digits) > radius:
        digits += 1
    return digits
