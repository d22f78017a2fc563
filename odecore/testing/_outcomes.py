"""Every outcome of a random program, with its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import comb, prod, sqrt
from typing import Any, NoReturn

import numpy as np

__all__ = ["ANOTHER_SOURCE", "Listed", "UnlistedError", "every_outcome", "walk"]

_MOST = 10**6  # outcomes of one choice: more are not listed
_ROUNDING = Fraction(
    1, 2**48
)  # relative difference of a float from the fraction that it stands for
ANOTHER_SOURCE = (
    "the same choices of rng led to other results: the program keeps something between calls, or "
    "has another source of randomness; take all of it from rng"
)


class UnlistedError(ValueError):
    """A program asks for random numbers whose outcomes are not finite, or not listed here."""


class Listed(np.random.Generator):
    """A generator whose choices are made from outside, so that a program can run for each."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))
        self.path: list[list[int]] = []  # for each choice: which one, of how many
        self.off = 0.0  # the largest difference from 1 of a sum of probabilities
        self.restart()

    def restart(self) -> None:
        """Go back to the first choice."""
        self.position, self.probability = 0, Fraction(1)

    def pick(self, probabilities: Sequence[Fraction]) -> int:
        """The next choice on the path, as the index of a probability above 0."""
        possible = [k for k, p in enumerate(probabilities) if p > 0]
        if self.position == len(self.path):
            self.path.append([0, len(possible)])
        index, count = self.path[self.position]
        if count != len(possible):
            raise ValueError(ANOTHER_SOURCE)
        chosen = possible[index]
        self.position += 1
        self.probability *= probabilities[chosen]
        return chosen

    def integers(
        self,
        low: Any,
        high: Any = None,
        size: Any = None,
        dtype: Any = np.int64,
        endpoint: bool = False,
    ) -> Any:
        """As NumPy's, for bounds that are single numbers."""
        low, high = (0, low) if high is None else (low, high)
        if np.ndim(low) or np.ndim(high):
            raise _unlisted("integers with arrays of bounds")
        low, count = int(low), int(high) - int(low) + bool(endpoint)
        if not 1 <= count <= _MOST:
            raise _unlisted(f"one of {count} integers")
        return self._filled(lambda: low + self.pick([Fraction(1, count)] * count), size, dtype)

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """As NumPy's."""
        x = np.arange(x) if isinstance(x, int | np.integer) else np.asarray(x)
        left, found = list(range(x.shape[axis])), []
        while left:
            found.append(left.pop(self.pick([Fraction(1, len(left))] * len(left))))
        return np.take(x, np.array(found, dtype=np.int64), axis=axis)

    def shuffle(self, x: Any, axis: int = 0) -> None:
        """As NumPy's."""
        if isinstance(x, np.ndarray):
            x[...] = self.permutation(x, axis)
            return
        if axis:
            raise NotImplementedError("axis is only supported for arrays")  # as NumPy's
        for k, value in enumerate([x[k] for k in self.permutation(len(x))]):
            x[k] = value

    def choice(
        self,
        a: Any,
        size: Any = None,
        replace: bool = True,
        p: Any = None,
        axis: int = 0,
        shuffle: bool = True,
    ) -> Any:
        """As NumPy's; without replacement only for equal probabilities in random order."""
        a = np.arange(a) if isinstance(a, int | np.integer) else np.asarray(a)
        if replace:
            count = a.shape[axis]
            q, off = ([Fraction(1, count)] * count, 0.0) if p is None else _checked(p, count)
            self.off = max(self.off, off)
            indices = self._filled(lambda: self.pick(q), size, np.int64)
        elif p is not None or not shuffle:
            raise _unlisted("choice(replace=False) with `p` or shuffle=False")
        else:
            left = list(range(a.shape[axis]))
            if prod(np.atleast_1d(1 if size is None else size)) > len(left):
                raise ValueError("cannot take a larger sample than population without replacement")
            indices = self._filled(
                lambda: left.pop(self.pick([Fraction(1, len(left))] * len(left))), size, np.int64
            )
        return np.take(a, indices, axis=axis)

    def binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """As NumPy's, for one n."""
        if np.ndim(n):
            raise _unlisted("binomial with an array of n")
        p = np.asarray(p) if size is None else np.broadcast_to(p, size)
        found = [self.pick(_binomial(int(n), _fraction(q))) for q in p.ravel()]
        return np.array(found, dtype=np.int64).reshape(p.shape)[()]

    def _filled(self, one: Callable[[], int], size: Any, dtype: Any) -> Any:
        shape = () if size is None else tuple(np.atleast_1d(size))
        found = [one() for _ in range(prod(shape))]
        return np.array(found, dtype=dtype).reshape(shape)[()]


def _unlisted(what: str) -> UnlistedError:
    return UnlistedError(
        f"the outcomes of a program that asks for {what} are not listed: what is, is integers, "
        "permutation, shuffle, choice and binomial; take draws"
    )


def _refuse(name: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> NoReturn:
        raise _unlisted(name)

    return method


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in vars(Listed):
        _method = _refuse(_name)
        setattr(Listed, _name, property(_method) if _name == "bit_generator" else _method)


def every_outcome(program: Callable[[np.random.Generator], Any], /) -> Iterator[tuple[Any, Any]]:
    """Run a random program once for each outcome of its draws.

    Parameters
    ----------
    program : callable
        `program(rng)` to anything. All its randomness comes from rng, by `integers`,
        `permutation`, `shuffle`, `choice` and `binomial`.

    Yields
    ------
    probability : Fraction
    result
        What the program returns then.

    Raises
    ------
    ValueError
        If the program asks rng for anything else, as for normal numbers, or if the same draws give
        it another number of choices.

    Notes
    -----
    Probabilities `p` that are given as floats are taken for fractions with small denominators
    where these are equal to rounding, and for what they are where not. Those of a choice are
    divided by their sum, as NumPy does, so that all add up to 1 exactly.

    Examples
    --------
    >>> from odecore.testing import every_outcome
    >>> dice = list(every_outcome(lambda rng: int(rng.integers(1, 7, size=2).sum())))
    >>> print(len(dice), sum(probability for probability, total in dice if total == 7))
    36 1/6
    """
    return walk(program, Listed())


def walk(program: Callable[[Any], Any], rng: Listed) -> Iterator[tuple[Any, Any]]:
    """Do as `every_outcome`, with the choices of this generator."""
    while True:
        rng.restart()
        result = program(rng)
        if rng.position != len(rng.path):
            raise ValueError(ANOTHER_SOURCE)
        yield rng.probability, result
        while rng.path and rng.path[-1][0] == rng.path[-1][1] - 1:
            rng.path.pop()
        if not rng.path:
            return
        rng.path[-1][0] += 1


def _fraction(value: Any) -> Fraction:
    exact = Fraction(float(value))
    near = exact.limit_denominator(10**4)
    # Relative to the rarer of the two outcomes, with p and 1 - p: neither may vanish.
    return near if abs(near - exact) <= _ROUNDING * min(exact, 1 - exact) else exact


def _checked(p: Any, count: int) -> tuple[list[Fraction], float]:
    """The probabilities, and how far their sum was from 1."""
    dtype = p.dtype if isinstance(p, np.ndarray) and p.dtype.kind == "f" else np.dtype(np.float64)
    given = np.asarray(p, dtype=np.float64).ravel()
    rule = f"`p` must be {count} probabilities that add up to 1, got"
    if len(given) != count:
        raise ValueError(f"{rule} {len(given)}")
    if not given.min(initial=0) >= 0:
        raise ValueError(f"{rule} {given.min():.6g}")
    found = [_fraction(q) for q in given]
    total = sum(found, Fraction(0))
    off = abs(float(total - 1))
    if off > sqrt(max(np.finfo(dtype).eps, np.finfo(np.float64).eps)):  # as NumPy
        raise ValueError(f"{rule} {count} with the sum {float(total):.9g}")
    return [q / total for q in found], off


def _binomial(n: int, p: Fraction) -> list[Fraction]:
    if not 0 <= p <= 1 or n < 0:
        raise ValueError(f"binomial needs n >= 0 and a probability, got n = {n}, p = {float(p)}")
    return [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
