"""Rows that do not count, and rows that count more or less."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import as_float64, constant_like, on_host
from odecore.sketching._moments import paired
from odecore.sketching._segments import require_entries
from odecore.sketching._sketch import Draw, Sketch, require_sketch, rows_of, take_rows

__all__ = ["Masked", "Weighted"]


@dataclass(frozen=True, eq=False)
class Masked:
    """A sketch of the rows that are in; the others, padding for example, do not count in B.

    Parameters
    ----------
    sketch : Sketch
        Sees the rows that are in and nothing else: ids, weights and scores that it holds have one
        entry for each of these.
    keep : (B,) array_like of bool
        Which rows are in. If none is, the estimate is exactly 0.

    Raises
    ------
    ValueError
        If `keep` is no vector of bool; at the draw, if it has not one for each row.
    TypeError
        If `sketch` is none.

    Notes
    -----
    Estimates the sum of x_k y_k^T over the rows that are in, with the variance of the sketch there.
    """

    sketch: Sketch
    keep: NDArray[np.bool_]

    def __post_init__(self) -> None:
        require_sketch(self.sketch)
        try:
            keep = np.array(on_host(self.keep))
        except ValueError:  # of ragged rows
            keep = np.array(None)
        if keep.ndim != 1 or keep.dtype != np.bool_:
            raise ValueError(
                f"`keep` must be one bool for each row, got shape {keep.shape} of dtype "
                f"{keep.dtype}; compare first, as in `tokens != padding`"
            )
        keep.setflags(write=False)
        object.__setattr__(self, "keep", keep)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw for the rows that are in."""
        rows_of(X, rng)
        if not self.keep.any():
            return Draw(self.inside, np.ones(0))
        draw = self.sketch.draw(self.inside(X), None if Y is None else self.inside(Y), rng)
        return Draw(partial(_inside, self, draw), draw.weights)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = map(self.inside, paired(X, Y))
        return self.sketch.variance(X, Y) if self.keep.any() else constant_like(0.0, X)

    def inside(self, X: Any) -> Any:
        """The rows of `X` that are in."""
        require_entries(self.keep, X.shape[0], "keep")
        return take_rows(X, np.flatnonzero(self.keep))


@dataclass(frozen=True, eq=False)
class Weighted:
    """A sketch that estimates sum_k w_k x_k y_k^T.

    Parameters
    ----------
    sketch : Sketch
    weights : (B,) array_like
        w >= 0. Rows of weight 0 add nothing, but `Masked` also takes them out of B.

    Raises
    ------
    ValueError
        If weights are negative or not finite; at the draw, if there is not one for each row.
    TypeError
        If `sketch` is none.

    Notes
    -----
    Both factors get sqrt(w_k): the variance is that of the sketch for sqrt(w_k) x_k and
    sqrt(w_k) y_k, whatever it is, and one draw serves both.
    """

    sketch: Sketch
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        require_sketch(self.sketch)
        weights = as_float64(self.weights, "weights")
        if weights.ndim != 1 or not np.all(np.isfinite(weights)) or not np.all(weights >= 0):
            raise ValueError(
                "`weights` must be one finite number >= 0 for each row, got shape "
                f"{weights.shape} with minimum {weights.min(initial=np.inf)}; put signs into X or Y"
            )
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw for the scaled rows."""
        rows_of(X, rng)
        draw = self.sketch.draw(self.inside(X), None if Y is None else self.inside(Y), rng)
        return Draw(partial(_inside, self, draw), draw.weights)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        return self.sketch.variance(*map(self.inside, paired(X, Y)))

    def inside(self, X: Any) -> Any:
        """The rows of `X` times sqrt(w)."""
        require_entries(self.weights, X.shape[0], "weights")
        return constant_like(np.sqrt(self.weights)[:, None], X) * X


def _inside(sketch: Masked | Weighted, draw: Draw, X: Any) -> Any:
    return draw.compress(sketch.inside(X))
