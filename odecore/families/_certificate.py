"""The proof that a family has its order, as an object that others can check again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import prod
from random import Random
from typing import Any

from odecore.families._family import Family
from odecore.order import RootedTree, elementary_weights, order_condition_residuals, rooted_trees

__all__ = ["OrderCertificate", "Verification", "order_is_proved", "prove_order"]

PRIMES = (2**61 - 1, 2**89 - 1, 2**107 - 1)  # Mersenne primes

Terms = tuple[tuple[tuple[int, ...], int, int], ...]  # (exponents, numerator, denominator)
Rational = tuple[Terms, Terms]  # numerator and denominator


@dataclass(frozen=True)
class Verification:
    """Outcome of an independent check of an `OrderCertificate`.

    Parameters
    ----------
    holds : bool
        Whether all conditions vanish at all points, and that of the witness does not.
    points : int
        Number of points at which everything was evaluated.
    primes : tuple of int
        Arithmetic was done modulo these.
    failures : tuple of str
        What did not hold.
    log2_error : int
        A wrong certificate passes with probability at most 2^log2_error (Schwartz and Zippel:
        degree over size of the field, to the power of the number of points).
    """

    holds: bool
    points: int
    primes: tuple[int, ...]
    failures: tuple[str, ...]
    log2_error: int


@dataclass(frozen=True)
class OrderCertificate:
    """A family with its order proved, in a form that needs no computer algebra to check.

    Parameters
    ----------
    family : str
    parameters : tuple of str
    order : int
    excluded : tuple of str
        The proof holds where none of these vanish.
    A, b : nested tuples
        Coefficients as pairs (numerator, denominator) of polynomials, each a tuple of terms
        (exponents, numerator, denominator).
    conditions : tuple of (level sequence, str)
        For each tree up to the order its residual: "0", the zero of the field.
    witness : (level sequence, str)
        A tree of order p + 1 and its residual, which is not zero: the order is not higher.
    undeclared : tuple of str
        Factors of denominators that are missing in `excluded`; empty in a complete proof.
    """

    family: str
    parameters: tuple[str, ...]
    order: int
    excluded: tuple[str, ...]
    A: tuple[tuple[Rational, ...], ...]
    b: tuple[Rational, ...]
    conditions: tuple[tuple[tuple[int, ...], str], ...]
    witness: tuple[tuple[int, ...], str] | None
    undeclared: tuple[str, ...]

    @property
    def proved(self) -> bool:
        """Whether all residuals are zero, the witness is not, and nothing is undeclared."""
        held = all(residual == "0" for _, residual in self.conditions)
        return held and self.witness is not None and not self.undeclared

    def __bool__(self) -> bool:
        return self.proved

    def to_json(self) -> str:
        """Write the certificate; `from_json` reads it."""
        return json.dumps({"format": "odecore order certificate 1", **asdict(self)})

    @classmethod
    def from_json(cls, text: str, /) -> OrderCertificate:
        """Read a certificate, for instance to verify one that somebody else made.

        Raises
        ------
        ValueError
            If the text is not a certificate.
        """
        try:
            record = json.loads(text)
            if record.pop("format") != "odecore order certificate 1":
                raise ValueError("another format")
            return cls(**{key: _frozen(value) for key, value in record.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an order certificate: {error}") from None

    def verify(self, *, points: int = 12, seed: int = 0) -> Verification:
        """Check the claim again from A and b alone, by integers modulo primes at random points.

        Nothing of the proof is used: no computer algebra, no shared subtrees, another recursion.

        Parameters
        ----------
        points : int, optional
            For each of three primes.
        seed : int, optional
        """
        random, failures, sharp, degree, tried = Random(seed), [], False, 1, 0  # noqa: S311
        trees = [tree for n in range(1, self.order + 1) for tree in rooted_trees(n)]
        top = rooted_trees(self.order + 1)
        for prime in PRIMES:
            for _ in range(points):
                at = tuple(random.randrange(prime) for _ in self.parameters)
                try:
                    A = [[_modular(entry, at, prime) for entry in row] for row in self.A]
                    b = [_modular(entry, at, prime) for entry in self.b]
                except ValueError:
                    continue  # a pole of a coefficient: not in the domain
                tried += 1
                for tree in trees:
                    if (_weight(tree, A, b, prime) * tree.density - 1) % prime:
                        failures.append(f"{tree} at {at} modulo {prime}")
                sharp |= any((_weight(t, A, b, prime) * t.density - 1) % prime for t in top)
        for entry in (*self.b, *(entry for row in self.A for entry in row)):
            degree += sum(max((sum(t[0]) for t in terms), default=0) for terms in entry)
        if tried and not sharp:
            failures.append(f"all conditions of order {self.order + 1} hold at all points")
        if not tried:
            failures.append("every point was a pole of a coefficient")
        bits = (degree * (self.order + 1)).bit_length() - 61
        return Verification(not failures, tried, PRIMES, tuple(failures[:20]), bits * tried)


def prove_order(family: Family, /) -> OrderCertificate:
    """Prove that all members of a family have exactly the claimed order.

    Parameters
    ----------
    family : Family

    Returns
    -------
    OrderCertificate
        True as a bool iff proved. The residual of every tree up to order p is computed in the field
        of rational functions over the rationals and is its zero or not; one tree of order p+1 whose
        residual is not zero shows that the order is no higher (on a curve inside the parameter
        space it may be); the denominators are factored, and each factor must be declared.

    Examples
    --------
    >>> from odecore.families import RK4
    >>> certificate = prove_order(RK4)
    >>> bool(certificate), certificate.verify().holds, len(certificate.conditions)
    (True, True, 8)
    """
    if not isinstance(family, Family):
        raise TypeError(
            f"`family` must be a Family, got {type(family).__name__}; for one method use "
            "odecore.order.order_of_accuracy"
        )
    residuals = order_condition_residuals(family, family.order)
    witness = None
    for tree in reversed(rooted_trees(family.order + 1)):  # the bush first: it is cheapest
        weight = elementary_weights([tree], family.A, family.b)[tree]
        residual = weight - Fraction(1, tree.density)
        if residual != 0:
            witness = (tree.level_sequence, str(residual))
            break
    return OrderCertificate(
        family.name,
        family.parameters,
        family.order,
        family.excluded,
        tuple(tuple(map(_rational, row)) for row in family.A),
        tuple(map(_rational, family.b)),
        tuple((t.level_sequence, "0" if r == 0 else str(r)) for t, r in residuals.items()),
        witness,
        _undeclared(family),
    )


def order_is_proved(family: Family, /) -> bool:
    """Decide whether all members have exactly the claimed order p, away from the excluded set.

    Parameters
    ----------
    family : Family

    Returns
    -------
    bool
        What `prove_order` found.

    Notes
    -----
    This is a proof, not a test at sample points: arithmetic in the field is exact. Order p+1 may
    still be reached on a curve inside the parameter space.
    """
    return prove_order(family).proved


def _undeclared(family: Family) -> tuple[str, ...]:
    """Factors of denominators that do not divide any declared factor."""
    declared = [f.numer for f in family.factors(*family.generators) if hasattr(f, "numer")]
    missing: list[str] = []
    for entry in (*family.b, *(a for row in family.A for a in row)):
        rest = entry.denom if hasattr(entry, "denom") and hasattr(entry, "numer") else None
        if rest is None or not hasattr(rest, "is_ground"):
            continue
        rest = _without(rest, declared)
        if not rest.is_ground and str(rest.as_expr()) not in missing:
            missing.append(str(rest.as_expr()))
    return tuple(missing)


def _without(rest: Any, declared: Sequence[Any]) -> Any:
    for factor in declared:
        common = rest.gcd(factor)
        while not common.is_ground:
            rest = rest.exquo(common)
            common = rest.gcd(factor)
    return rest


def _rational(entry: Any) -> Rational:
    if not hasattr(entry, "numer"):
        value = Fraction(entry)
        one = (((), 1, 1),)
        return ((((), value.numerator, value.denominator),) if value else (), one)
    return _terms(entry.numer), _terms(entry.denom)


def _terms(polynomial: Any) -> Terms:
    return tuple(
        (tuple(powers), int(c.numerator), int(c.denominator))
        for powers, c in polynomial.terms()
        if c
    )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _modular(entry: Rational, at: Sequence[int], prime: int) -> int:
    numerator, denominator = (
        sum(
            n * pow(d, -1, prime) * prod(pow(x, k, prime) for x, k in zip(at, powers, strict=False))
            for powers, n, d in terms
        )
        % prime
        for terms in entry
    )
    return numerator * pow(denominator, -1, prime) % prime


def _weight(tree: RootedTree, A: Sequence[Sequence[int]], b: Sequence[int], prime: int) -> int:
    """Phi(t) modulo a prime by the plain recursion over vertices."""

    def inner(node: RootedTree, i: int) -> int:
        total = 1
        for child in node.children:
            total = total * sum(A[i][j] * inner(child, j) for j in range(len(b)) if A[i][j]) % prime
        return total

    return sum(w * inner(tree, i) for i, w in enumerate(b) if w) % prime
