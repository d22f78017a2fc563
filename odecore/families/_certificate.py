"""The proof that a family has its order, as an object that others can check again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from numbers import Integral
from random import Random
from typing import Any

from odecore.families._modular import divides_a_power, random_prime, value_at
from odecore.families._terms import Rational, Terms, as_text, is_int, is_polynomial, is_rational
from odecore.order import RootedTree, rooted_trees

__all__ = ["OrderCertificate", "Verification"]

FORMAT = "odecore order certificate 2"
NEGLIGIBLE = -100  # of `log2_error`


@dataclass(frozen=True)
class Verification:
    """Outcome of an independent check of an `OrderCertificate`.

    Parameters
    ----------
    holds : bool
        Whether the certificate is complete, all that it says is true at all points, and
        `log2_error` is at most -100.
    points : int
        Number of points at which everything was evaluated.
    primes : tuple of int
        Arithmetic was done modulo these.
    failures : tuple of str
        What did not hold.
    log2_error : int
        A wrong certificate passes with probability at most 2^log2_error: the bound of Schwartz and
        Zippel, degree over size of the field, and the chance that a random prime divides a
        coefficient, from degrees and digits of the certificate; once for each prime.
    """

    holds: bool
    points: int
    primes: tuple[int, ...]
    failures: tuple[str, ...]
    log2_error: int


@dataclass(frozen=True)
class OrderCertificate:
    """A family with its order proved, in a form that needs no computer algebra to check.

    A polynomial is a tuple of terms (exponents, numerator, denominator), with one exponent for each
    parameter; a rational function is a pair (numerator, denominator) of polynomials.

    Parameters
    ----------
    family : str
        A label, as the names of the parameters are: the claim is about A and b.
    parameters : tuple of str
    order : int
    factors : tuple of polynomials
        The proof holds where none of these vanish.
    A, b : nested tuples of rational functions
    conditions : tuple of (level sequence, rational function)
        Each tree up to the order and its residual: the zero of the field in a complete proof.
    witness : (level sequence, rational function)
        A tree of order p + 1 and its residual, which is not zero: the order is not higher.
    undeclared : tuple of str
        Factors of denominators that are missing in `factors`; empty in a complete proof.

    Raises
    ------
    ValueError
        If an entry has not this form.
    """

    family: str
    parameters: tuple[str, ...]
    order: int
    factors: tuple[Terms, ...]
    A: tuple[tuple[Rational, ...], ...]
    b: tuple[Rational, ...]
    conditions: tuple[tuple[tuple[int, ...], Rational], ...]
    witness: tuple[tuple[int, ...], Rational] | None
    undeclared: tuple[str, ...]

    def __post_init__(self) -> None:
        for entry, fits in self._form().items():
            if not fits:
                raise ValueError(
                    f"{entry} of an order certificate must have the documented form, got "
                    f"{getattr(self, entry)!r:.80}; take certificates from prove_order"
                )

    def _form(self) -> dict[str, bool]:
        """Whether each entry has the form that the others rely on."""
        n = len(self.parameters) if _are(str, self.parameters) else -1
        s = len(self.b) if isinstance(self.b, tuple) else -1
        listed = {"conditions": self.conditions, "witness": self._witnesses()}
        return {
            "family": isinstance(self.family, str),
            "parameters": 0 < n == len(set(self.parameters)),
            "order": is_int(self.order) and 1 <= self.order <= 14,
            "factors": all(factor and is_polynomial(factor, n) for factor in self.factors),
            "A": len(self.A) == s
            and all(len(row) == s and all(is_rational(a, n) for a in row) for row in self.A),
            "b": s > 0 and all(is_rational(weight, n) for weight in self.b),
            "undeclared": _are(str, self.undeclared),
        } | {
            entry: all(all(map(is_int, t)) and is_rational(residual, n) for t, residual in pairs)
            for entry, pairs in listed.items()
        }

    @property
    def excluded(self) -> tuple[str, ...]:
        """The polynomials of which none vanishes where the proof holds."""
        return tuple(as_text(factor, self.parameters) for factor in self.factors)

    @property
    def proved(self) -> bool:
        """Whether the proof is complete: `verify` checks that it is true."""
        return not self._gaps()

    def __bool__(self) -> bool:
        return self.proved

    def __str__(self) -> str:
        name = f"{self.family}({', '.join(self.parameters)})"
        if gaps := self._gaps():
            return "\n".join([f"order {self.order} of {name} is not proved:", *gaps])
        off = f" where none of {', '.join(self.excluded)} is zero" if self.factors else ""
        sharp = "".join(map(self._residual, self._witnesses()))
        return f"{name} has order {self.order}{off}; no higher, for the residual of {sharp}"

    def _residual(self, condition: tuple[tuple[int, ...], Rational]) -> str:
        """A tree and its residual, as people write them."""
        levels, parts = condition
        texts = (as_text(part, self.parameters) if part else "0" for part in parts)
        top, bottom = (f"({text})" if " " in text else text for text in texts)
        value = top.strip("()") if bottom == "1" else f"{top}/{bottom}"
        return f"{RootedTree.from_level_sequence(levels)} is {value}"

    def to_json(self) -> str:
        """Write the certificate; `from_json` reads it."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str, /) -> OrderCertificate:
        """Read a certificate, for instance to verify one that somebody else made.

        Parameters
        ----------
        text : str
            As `to_json` writes it.

        Raises
        ------
        ValueError
            If the text is not a certificate.
        """
        try:
            record = json.loads(text)
            if record.pop("format") != FORMAT:
                raise ValueError(f"the format is not {FORMAT!r}")
            return cls(**{key: _frozen(value) for key, value in record.items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not an order certificate: {error}") from None

    def verify(self, *, points: Any = 12, seed: int = 0) -> Verification:
        """Check the claim again from A and b alone, by integers modulo primes at random points.

        Nothing of the proof is used: no computer algebra, no shared subtrees, another recursion.
        Primes and points are drawn from a hash of the certificate, so that no certificate can be
        made to fit them.

        Parameters
        ----------
        points : int, optional
            For each of four primes, from 0, which holds for none, to 10^6.
        seed : int, optional
            Draws other primes and points.

        Raises
        ------
        ValueError
            For another number of points.
        """
        if not isinstance(points, Integral) or not 0 <= int(points) <= 10**6:
            raise ValueError(f"`points` must be a whole number from 0 to 10^6, got {points!r}")
        random, failures, tried, sharp, log2_error = self._random(seed), self._gaps(), 0, False, 0
        primes = tuple(random_prime(random) for _ in range(4))
        for prime in () if failures else primes:
            failures += self._uncovered(prime, random)
            before = tried
            for _ in range(int(points)):
                at = tuple(random.randrange(prime) for _ in self.parameters)
                try:
                    wrong, different = self._wrong_at(at, prime)
                except ValueError:
                    continue  # a pole: not in the domain
                tried, sharp = tried + 1, sharp or different
                failures += [f"{tree} at {at} modulo {prime}" for tree in wrong]
            log2_error += self._log2_error_of_a_prime() if tried > before else 0
        if tried and not sharp:
            failures.append("the residual of the witness vanishes at all points")
        if not failures and log2_error > NEGLIGIBLE:
            failures.append(f"at {tried} points the chance of error, 2^{log2_error}, is too large")
        return Verification(not failures, tried, primes, tuple(failures[:20]), log2_error)

    def _witnesses(self) -> list[tuple[tuple[int, ...], Rational]]:
        return [] if self.witness is None else [self.witness]

    def _random(self, seed: int) -> Random:
        return Random(f"{seed} {self.to_json()}")  # noqa: S311 - by SHA-512 of the text

    def _gaps(self) -> list[str]:
        """What is missing for a complete proof, before anything is evaluated."""
        gaps = [f"{factor} is not excluded" for factor in self.undeclared]
        trees = [tree for n in range(1, self.order + 1) for tree in rooted_trees(n)]
        if sorted(levels for levels, _ in self.conditions) != sorted(
            tree.level_sequence for tree in trees
        ):
            gaps.append(f"the conditions are not those of the trees up to order {self.order}")
        gaps += [
            f"the residual of {self._residual(condition)}, not zero"
            for condition in self.conditions
            if condition[1][0]
        ]
        sharp = (tree.level_sequence for tree in rooted_trees(self.order + 1))
        if self.witness is None or self.witness[0] not in sharp or not self.witness[1][0]:
            gaps.append(f"no tree of order {self.order + 1} has a residual that is not zero")
        random = self._random(0)
        return gaps + self._uncovered(random_prime(random), random)

    def _uncovered(self, prime: int, random: Random) -> list[str]:
        """Denominators that vanish elsewhere than where a factor does."""
        below = dict.fromkeys(denominator for _, denominator in chain(self.b, *self.A))
        return [
            f"{as_text(denominator, self.parameters)} vanishes off the excluded set"
            for denominator in below
            if not divides_a_power(denominator, self.factors, prime, random)
        ]

    def _wrong_at(self, at: Sequence[int], prime: int) -> tuple[list[RootedTree], bool]:
        """Trees whose residual is not what is said, and whether that of the witness is not 0."""
        A = [[value_at(entry, at, prime) for entry in row] for row in self.A]
        b = [value_at(entry, at, prime) for entry in self.b]
        wrong, residual = [], 0
        for levels, claimed in (*self.conditions, *self._witnesses()):
            tree = RootedTree.from_level_sequence(levels)
            residual = _weight(tree, A, b, prime) - pow(tree.density, -1, prime)
            if (residual - value_at(claimed, at, prime)) % prime:
                wrong.append(tree)
        return wrong, residual % prime != 0

    def _log2_error_of_a_prime(self) -> int:
        """Schwartz and Zippel's bound, and that of a prime which divides a coefficient.

        A residual times the denominators of all entries is a polynomial with integer coefficients.
        Its degree and its digits are at most p + 1 times those of all entries together; those of
        the resultant that decides on a line, their products with the degree.
        """
        residuals = [residual for _, residual in self._witnesses()]
        polynomials = [*chain(*self.b, *chain(*self.A), *residuals), *self.factors]
        q, s = self.order + 1, len(self.b)
        degree = 1 + q * sum(
            max((sum(powers) for powers, _, _ in terms), default=0) for terms in polynomials
        )
        digits = q * (s.bit_length() + q.bit_length()) + q * sum(
            n.bit_length() + d.bit_length() for terms in polynomials for _, n, d in terms
        )
        return (degree * (degree + digits)).bit_length() - 73  # of 2^73 primes and more


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


def _weight(tree: RootedTree, A: Sequence[Sequence[int]], b: Sequence[int], prime: int) -> int:
    """Phi(t) modulo a prime by the plain recursion over vertices."""

    def inner(node: RootedTree, i: int) -> int:
        total = 1
        for child in node.children:
            total = total * sum(A[i][j] * inner(child, j) for j in range(len(b)) if A[i][j]) % prime
        return total

    return sum(w * inner(tree, i) for i, w in enumerate(b) if w) % prime
