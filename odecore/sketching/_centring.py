"""Means are products of rank one: take them exactly and sketch what is left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import constant_like, namespace, widened
from odecore.sketching._bucketing import bucket_sums
from odecore.sketching._moments import paired
from odecore.sketching._reweighting import Masked, Weighted
from odecore.sketching._segments import segment_ids, segment_numbers
from odecore.sketching._sketch import Draw, Sketch, require_sketch, rows_of, take_rows

__all__ = ["Centred"]


@dataclass(frozen=True, eq=False)
class Centred:
    """A sketch of both factors less their column means; the means' product is added exactly.

    Parameters
    ----------
    sketch : Sketch
        Not `Masked` or `Weighted`, which go outside: Masked(Centred(sketch), keep).
    segments : (B,) array_like of int or str, optional
        A segment id for each row: each segment has its own means. By default all rows are one.

    Raises
    ------
    ValueError
        If the ids are no integers or text; at the draw, if there is not one for each row.
    TypeError
        If the sketch is masked or weighted, or none.

    Notes
    -----
    With segments s of n_s rows and means mu_s and nu_s, X^T Y is sum_s n_s mu_s nu_s^T plus the
    product of the centred matrices, and the variance is that of the sketch for these. The draw
    keeps one row a segment beside those of the sketch, the means. Where Y is the gradient of a
    layer's output, sum_s n_s nu_s is the exact gradient of its bias.

    Centring lowers ||X||^2 and ||Y||^2 but may raise T: uniform rows may become worse by it.
    """

    sketch: Sketch
    segments: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        require_sketch(self.sketch)
        if isinstance(self.sketch, Masked | Weighted):
            raise TypeError(
                f"a {type(self.sketch).__name__} sketch can not be centred: its rows do not all "
                "count once; centre inside, as in Masked(Centred(sketch), keep)"
            )
        if self.segments is not None:
            object.__setattr__(self, "segments", segment_ids(self.segments, "segments"))

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw for the centred rows."""
        rows = rows_of(X, rng)
        numbers, counts = self._segments(rows)
        x, y = (None if A is None else _parts(A, numbers, counts)[0] for A in (X, Y))
        draw = self.sketch.draw(x, y, rng)
        weights = np.concatenate([draw.weights, counts])
        return Draw(partial(_with_means, draw, numbers, counts), weights, rows)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = paired(X, Y)
        numbers, counts = self._segments(X.shape[0])
        return self.sketch.variance(*(_parts(A, numbers, counts)[0] for A in (X, Y)))

    def _segments(self, rows: int) -> tuple[Any, Any]:
        if self.segments is None:
            return np.zeros(rows, dtype=np.int64), np.array([rows])
        return segment_numbers(self.segments, rows, "segments")


def _with_means(draw: Draw, numbers: NDArray[np.int64], counts: NDArray[np.int64], X: Any) -> Any:
    """What a draw keeps of the rest, then the means."""
    rest, means = _parts(X, numbers, counts)
    return namespace(X).concat([draw.compress(rest), means], axis=0)


def _parts(X: Any, numbers: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Any, Any]:
    """X less the mean of each row's segment, and those means."""
    sums = bucket_sums(widened(X), numbers, len(counts))
    means = namespace(X).astype(sums / constant_like(counts[:, None], sums), X.dtype, copy=False)
    return X - take_rows(means, numbers), means
