"""Sketches that keep rows by how much they matter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import as_float, as_float64, constant, constant_like, namespace
from odecore.sketching._moments import moments_of, paired
from odecore.sketching._scores import Scores, frozen_scores, row_products, scores_of
from odecore.sketching._sketch import Draw, require_at_most, require_size, rows_of, take_rows

__all__ = ["ImportanceRows", "PoissonRows", "WinnerTakeAllRows"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImportanceRows:
    """p independent rows, drawn with probabilities q in proportion to scores.

    Parameters
    ----------
    size : int
        p; may exceed the number of rows.
    scores : callable or (B,) array_like, optional
        `row_products`, which is optimal, `squared_rows`, `leverage_scores`, or another function of
        (X, Y); or the numbers themselves. They are divided by their sum.

    Raises
    ------
    ValueError
        If `size` is no positive int, or scores are negative or not finite; at the draw, if a row
        that counts has score 0, or there is not one score for each row.

    Notes
    -----
    The variance is (sum_k ||x_k||^2 ||y_k||^2 / q_k - g)/p. With A = sum_k ||x_k|| ||y_k|| the
    optimal q gives (A^2 - g)/p, length-squared sampling (||X||^2 ||Y||^2 - g)/p. Drineas, Kannan
    and Mahoney, SIAM J. Comput. 36 (2006).
    """

    size: int
    scores: Scores | Numbers = row_products

    def __post_init__(self) -> None:
        require_size(self.size)
        object.__setattr__(self, "scores", frozen_scores(self.scores))

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw the indices; Y may be None if the scores do not need it."""
        rows = rows_of(X, rng)
        q = self._probabilities(X, Y)
        indices = rng.choice(len(q), size=self.size, p=q)
        return Draw(partial(take_rows, indices=indices), 1 / (self.size * q[indices]), rows)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = map(constant, paired(X, Y))  # a derivative of the product alone would be wrong
        expected = _expected(_squared_products(X, Y), self._probabilities(X, Y))
        return (constant_like(expected, X) - moments_of(X, Y).product) / self.size

    def _probabilities(self, X: Any, Y: Any) -> Numbers:
        scores = scores_of(self.scores, X, Y)
        return np.asarray(scores / scores.sum())


@dataclass(frozen=True, eq=False)
class PoissonRows:
    """Each row is kept or not, independently, with its own inclusion probability pi.

    Parameters
    ----------
    size : float
        The expected number of rows that are kept, sum_k pi_k, at most B; need not be an integer.
    scores : callable or (B,) array_like, optional
        pi is in proportion to these, capped at 1; see `ImportanceRows`. Inclusion probabilities
        that are given are their own scores: PoissonRows(sum(pi), pi).

    Raises
    ------
    ValueError
        As `ImportanceRows`, but `size` is a positive number; at the draw, if there are fewer rows.

    Notes
    -----
    The variance is sum_k (1/pi_k - 1) ||x_k||^2 ||y_k||^2. What capping frees goes to the other
    rows: pi_k = min(1, lambda s_k) with the lambda that makes the sum `size`. Where fewer rows than
    `size` have a positive score, all of these are kept.
    """

    size: float
    scores: Scores | Numbers = row_products

    def __post_init__(self) -> None:
        size = self.size
        real = isinstance(size, int | float | np.integer | np.floating)
        if not real or isinstance(size, bool) or not 0 < as_float(size) < inf:
            raise ValueError(
                f"`size` must be a finite number > 0, got {size!r}; it is the expected number of "
                "rows"
            )
        object.__setattr__(self, "scores", frozen_scores(self.scores))

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw which rows are kept; Y may be None if the scores do not need it."""
        rows = rows_of(X, rng)
        pi = self._inclusion(X, Y)
        indices = np.flatnonzero(rng.binomial(1, pi))
        return Draw(partial(take_rows, indices=indices), 1 / pi[indices], rows)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = paired(X, Y)
        pi = self._inclusion(X, Y)
        products = _squared_products(X, Y)
        return constant_like(_expected(products * (1 - pi), pi), X)

    def _inclusion(self, X: Any, Y: Any) -> Numbers:
        remedy = "each row is kept at most once: lower it, or draw with replacement"
        # sum(pi) may exceed the number of rows by rounding.
        require_at_most(self.size * (1 - 1e-12), X.shape[0], remedy)
        return _capped(scores_of(self.scores, X, Y), self.size)


@dataclass(frozen=True)
class WinnerTakeAllRows:
    """The c rows of largest ||x|| ||y|| exactly, p - c more drawn from the rest with replacement.

    Parameters
    ----------
    size : int
        p, at most the number of rows B; with p = B the product is exact.

    Raises
    ------
    ValueError
        If `size` is no positive int; at the draw, if there are fewer rows.

    Notes
    -----
    The rest R is drawn by optimal probabilities. With A_R = sum_R ||x_k|| ||y_k|| the variance is
    (A_R^2 - ||X_R^T Y_R||^2)/(p - c). The number c minimizes A_R^2/(p - c), which bounds it and is
    known before any product. The estimator is that of Liu et al., arXiv 2305.15265; the rule for c
    follows from the variance.
    """

    size: int

    def __post_init__(self) -> None:
        require_size(self.size)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw the rows that are not kept for certain."""
        rows = rows_of(X, rng)
        products = row_products(X, Y)
        kept, rest, draws = self._split(products)
        if not draws:
            return Draw(partial(take_rows, indices=kept), np.ones(len(kept)), rows)
        q = products[rest] / products[rest].sum()
        drawn = rng.choice(len(rest), size=draws, p=q)
        indices = np.concatenate([kept, rest[drawn]])
        weights = np.concatenate([np.ones(len(kept)), 1 / (draws * q[drawn])])
        return Draw(partial(take_rows, indices=indices), weights, rows)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = map(constant, paired(X, Y))  # a derivative of the product alone would be wrong
        _, rest, draws = self._split(row_products(X, Y))
        if not draws:
            return constant_like(0.0, X)
        X, Y = take_rows(X, rest), take_rows(Y, rest)
        total = np.sqrt(_squared_products(X, Y)).sum()
        return (constant_like(total**2, X) - moments_of(X, Y).product) / draws

    def _split(self, products: Numbers) -> tuple[Any, Any, int]:
        """The rows kept, the others, and the number of draws from those."""
        p, B = self.size, len(products)
        require_at_most(p, B, "with size = rows the product is exact already")
        order = np.argsort(-products, kind="stable")
        tails = np.append(np.cumsum(products[order][::-1])[::-1], 0.0)  # A_R for each c
        criterion = [float(tails[c]) ** 2 / (p - c) for c in range(p)]
        criterion.append(0.0 if tails[p] == 0 else inf)
        c = int(np.argmin(criterion))
        return order[:c], order[c:], p - c if tails[c] > 0 else 0


def _squared_products(X: Any, Y: Any) -> Numbers:
    """||x_k||^2 ||y_k||^2 for each row."""
    xp = namespace(X, Y)
    x_rows, y_rows = xp.sum(X * X, axis=1), xp.sum(Y * Y, axis=1)
    return np.asarray(as_float64(x_rows, "X") * as_float64(y_rows, "Y"))


def _expected(values: Numbers, probabilities: Numbers) -> float:
    """sum_k values_k / probabilities_k, where 0/0 is 0."""
    counted = values > 0
    return float(np.sum(values[counted] / probabilities[counted]))


def _capped(scores: Numbers, size: float) -> Numbers:
    """min(1, lambda scores) with sum `size`, or 1 where positive if these are fewer."""
    ordered = np.sort(scores)[::-1]
    tails = np.cumsum(ordered[::-1])[::-1]
    # With the c largest at 1, lambda = (size - c)/tails[c]: the first c whose next row fits.
    for c in range(int(np.count_nonzero(scores))):
        if (size - c) * ordered[c] <= tails[c]:
            return np.asarray(np.minimum(1.0, scores * (size - c) / tails[c]))
    return (scores > 0).astype(np.float64)
