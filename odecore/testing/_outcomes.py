"""Every outcome of a random program, with its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from math import inf, prod, sqrt
from typing import Any, NoReturn

import numpy as np

__all__ = ["ANOTHER_SOURCE", "Listed", "UnlistedError", "every_outcome", "require_draws", "walk"]

_MOST = 10**6  # outcomes of one choice: more are not listed
_TRIALS = 1000  # of one binomial: the probabilities of more have too many digits
_ROUNDING = Fraction(1, 2**48)  # how near a float is to the fraction that it stands for
Weighted = list[tuple[int, Fraction]]
ANOTHER_SOURCE = (
    "the same choices of rng led to other results: the program keeps something between calls, or "
    "has another source of randomness; take all of it from rng"
)


class UnlistedError(ValueError):
    """A program asks for random numbers whose outcomes are not finite, or not listed here."""


class Listed(np.random.Generator):
    """A generator whose choices are made from outside, so that a program can run for each."""

    def __init__(self, most: float = inf) -> None:
        super().__init__(np.random.PCG64(0))
        self._numpy = np.random.default_rng(0)  # asked too, so that it refuses what it refuses
        self.path: list[list[int]] = []  # for each choice: which one, of how many
        self.off = 0.0  # the largest difference from 1 of a sum of probabilities
        self.most = most
        self.least = 1  # there are at least so many outcomes
        self.expected = 1.0  # and so many if all choices are like those of the first run
        self.first = True
        self._known: dict[Any, Weighted] = {}
        self.restart()

    def restart(self) -> None:
        """Go back to the first choice."""
        self.position, self.probability = 0, Fraction(1)

    def _next(self, count: int) -> int:
        """The next choice on the path, of so many; UnlistedError if outcomes become too many."""
        if self.position == len(self.path):
            if not 1 <= count <= _MOST:
                raise _unlisted(f"one of {count} choices")
            self.path.append([0, count])
            self.least += count - 1
            self.expected *= count if self.first else 1
            if self.least > self.most or self.expected > 10 * self.most:
                raise UnlistedError(f"the program has more than {self.most} outcomes")
        index, known = self.path[self.position]
        if count != known:
            raise ValueError(ANOTHER_SOURCE)
        self.position += 1
        return index

    def one_of(self, count: int) -> int:
        """One of so many, with equal probabilities."""
        index = self._next(count)
        self.probability /= count
        return index

    def pick(self, key: Any, probabilities: Callable[[], Weighted]) -> int:
        """One of those with these probabilities, which are worked out once for each key."""
        if key not in self._known:
            self._known[key] = [(k, p) for k, p in probabilities() if p > 0]
        possible = self._known[key]
        chosen, probability = possible[self._next(len(possible))]
        self.probability *= probability
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
        self._numpy.integers(low, high, _none_or_one(size), dtype, endpoint)
        low, count = int(low), int(high) - int(low) + bool(endpoint)
        return self._filled(lambda: low + self.one_of(count), size, dtype)

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """As NumPy's."""
        x = np.arange(x) if isinstance(x, int | np.integer) else np.asarray(x)
        if not x.ndim:
            self._numpy.permutation(x)
        left, found = list(range(x.shape[axis])), []
        while left:
            found.append(left.pop(self.one_of(len(left))))
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
        self._numpy.choice(a, _none_or_one(size), replace, axis=axis)
        a = np.asarray(a) if np.ndim(a) else np.arange(int(a))
        if replace:
            indices = self._filled(self._with_replacement(a.shape[axis], p), size, np.int64)
        elif p is not None or not shuffle:
            raise _unlisted("choice(replace=False) with `p` or shuffle=False")
        else:
            left = list(range(a.shape[axis]))
            if prod(_shape(size)) > len(left):
                raise ValueError("cannot take a larger sample than population without replacement")
            indices = self._filled(lambda: left.pop(self.one_of(len(left))), size, np.int64)
        return np.take(a, indices, axis=axis)

    def binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """As NumPy's, for one n."""
        if np.ndim(n):
            raise _unlisted("binomial with an array of n")
        p = np.asarray(p) if size is None else np.broadcast_to(p, size)
        if n > _TRIALS:
            raise _unlisted(f"a binomial of {n} trials")
        found = [self.pick((n, q), partial(_binomial, int(n), q)) for q in p.ravel().tolist()]
        return np.array(found, dtype=np.int64).reshape(p.shape)[()]

    def _with_replacement(self, count: int, p: Any) -> Callable[[], int]:
        if p is None:
            return partial(self.one_of, count)
        floating = isinstance(p, np.ndarray) and p.dtype.kind == "f"
        eps = max(float(np.finfo(kind).eps) for kind in (p.dtype if floating else float, float))
        p = np.asarray(p, dtype=np.float64)
        if p.ndim != 1:
            raise ValueError(f"`p` must be 1-dimensional, got shape {p.shape}")

        def probabilities() -> Weighted:
            found, off = _checked(p, count, sqrt(eps))  # as NumPy
            self.off = max(self.off, off)
            return list(enumerate(found))

        return partial(self.pick, (count, eps, p.tobytes()), probabilities)

    def _filled(self, one: Callable[[], int], size: Any, dtype: Any) -> Any:
        shape = _shape(size)
        found = [one() for _ in range(prod(shape))]
        return np.array(found, dtype=dtype).reshape(shape)[()]


def _shape(size: Any) -> tuple[int, ...]:
    return () if size is None else np.broadcast_to(0, size).shape


def _none_or_one(size: Any) -> int:
    """How many draws show what NumPy refuses."""
    return min(1, prod(_shape(size)))


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
        `permutation`, `shuffle`, `choice` and `binomial` of up to 1000 trials.

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
    TypeError
        If it is not callable.

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
    require_draws("program", program)
    return walk(program, Listed())


def require_draws(label: str, program: Any) -> None:
    """Raise TypeError unless this can be called with a generator."""
    if not callable(program):
        raise TypeError(f"`{label}` must be callable as {label}(rng), got {program!r}")


def walk(program: Callable[[Any], Any], rng: Listed) -> Iterator[tuple[Any, Any]]:
    """Do as `every_outcome`, with the choices of this generator."""
    while True:
        rng.restart()
        result = program(rng)
        if rng.position != len(rng.path):
            raise ValueError(ANOTHER_SOURCE)
        yield rng.probability, result
        rng.first = False
        while rng.path and rng.path[-1][0] == rng.path[-1][1] - 1:
            rng.path.pop()
        if not rng.path:
            return
        rng.path[-1][0] += 1


def _fraction(value: float) -> Fraction:
    exact = Fraction(value)
    near = exact.limit_denominator(10**4)
    # Relative to the rarer of the two outcomes, with p and 1 - p: neither may vanish.
    return near if abs(near - exact) <= _ROUNDING * min(exact, 1 - exact) else exact


def _checked(p: Any, count: int, tolerance: float) -> tuple[list[Fraction], float]:
    """The probabilities, and how far their sum was from 1."""
    rule = f"`p` must be {count} probabilities that add up to 1, got"
    if len(p) != count:
        raise ValueError(f"{rule} {len(p)}")
    if not p.min(initial=0) >= 0:
        raise ValueError(f"{rule} {p.min():.6g}")
    found = [_fraction(q) for q in p.tolist()]
    total = sum(found, Fraction(0))
    off = abs(float(total - 1))
    if off > tolerance:
        raise ValueError(f"{rule} {count} with the sum {float(total):.9g}")
    return [q / total for q in found], off


def _binomial(n: int, p: float) -> Weighted:
    if not 0 <= p <= 1 or n < 0:
        raise ValueError(f"binomial needs n >= 0 and a probability, got n = {n}, p = {p}")
    likely = _fraction(p)
    if likely == 1:
        return [(n, likely)]
    found, odds = [(1 - likely) ** n], likely / (1 - likely)
    for k in range(n):
        found.append(found[k] * ((n - k) * odds / (k + 1)))  # few common factors to look for
    return list(enumerate(found))
