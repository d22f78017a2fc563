"""Rational functions modulo random primes, at points and on lines, by integers alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from random import Random

from odecore.families._terms import Rational, Terms

__all__ = ["divides_a_power", "random_prime", "value_at"]

BITS = 80
# No composite below 3.3e24 > 2^81 passes for all of these (Sorenson, Webster, Math. Comp. 2017).
_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)


def random_prime(random: Random) -> int:
    """A prime from 2^79 to 2^80, of which there are more than 2^73."""
    while True:
        number = random.getrandbits(BITS) | 1 << (BITS - 1) | 1
        if all(_passes(number, base) for base in _BASES):
            return number


def _passes(number: int, base: int) -> bool:
    """Miller's test of an odd number."""
    twos = (number - 1 & 1 - number).bit_length() - 1
    power = pow(base, number - 1 >> twos, number)
    if power == 1:
        return True
    for _ in range(twos):
        if power == number - 1:
            return True
        power = power * power % number
    return False


def value_at(entry: Rational, at: Sequence[int], prime: int) -> int:
    """The value at a point modulo a prime; ValueError at a pole."""
    numerator, denominator = (
        sum(
            n * pow(d, -1, prime) * prod(pow(x, k, prime) for x, k in zip(at, powers, strict=True))
            for powers, n, d in terms
        )
        % prime
        for terms in entry
    )
    return numerator * pow(denominator, -1, prime) % prime


def divides_a_power(divisor: Terms, factors: Sequence[Terms], prime: int, random: Random) -> bool:
    """Whether a polynomial divides a power of the product of others, on a random line.

    Then it vanishes nowhere but where one of them does. What divides everywhere divides on the
    line; what does not fails on almost every line.
    """
    lines = [[random.randrange(prime) for _ in range(2)] for _ in divisor[0][0]]
    on_line = _on_line(divisor, lines, prime)
    if not on_line:
        return False
    power = [1]
    for factor in factors:
        power = _remainder(_product(power, _on_line(factor, lines, prime)), on_line, prime)
    for _ in range(len(on_line).bit_length()):
        power = _remainder(_product(power, power), on_line, prime)
    return not power


def _on_line(terms: Terms, lines: Sequence[list[int]], prime: int) -> list[int]:
    """Coefficients in t where parameter k is the k-th of the linear polynomials in t."""
    total: list[int] = []
    for powers, n, d in terms:
        product = [n * pow(d, -1, prime) % prime]
        for line, k in zip(lines, powers, strict=True):
            for _ in range(k):
                product = [c % prime for c in _product(product, line)]
        total = [a + b for a, b in zip_longest(total, product, fillvalue=0)]
    return _trimmed([c % prime for c in total])


def _product(p: Sequence[int], q: Sequence[int]) -> list[int]:
    product = [0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return product


def _remainder(p: Sequence[int], divisor: Sequence[int], prime: int) -> list[int]:
    rest = [c % prime for c in p]
    inverse = pow(divisor[-1], -1, prime)
    while len(rest) >= len(divisor):
        quotient = rest.pop() * inverse % prime
        for k, c in enumerate(divisor[:-1], start=len(rest) + 1 - len(divisor)):
            rest[k] = (rest[k] - quotient * c) % prime
    return _trimmed(rest)


def _trimmed(p: list[int]) -> list[int]:
    while p and p[-1] == 0:
        p.pop()
    return p
