"""What a sketch is: a random map of rows, drawn once and applied to both factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from array_api_compat import device, is_array_api_obj
from numpy.typing import NDArray

from odecore._array import constant_like, namespace
from odecore.sketching._moments import Moments, moments_of

__all__ = [
    "Draw",
    "MomentSketch",
    "Sketch",
    "random_signs",
    "require_at_most",
    "require_generator",
    "require_size",
    "require_sketch",
    "rows_of",
    "take_rows",
]


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a sketch: X^T Y is estimated by (R X)^T diag(w) (R Y).

    Parameters
    ----------
    compress : callable
        The linear map R, from X (B, N) to the m rows that are kept of it, (m, N). Apply it to X
        when X is at hand and to Y when Y is.
    weights : (m,) numpy.ndarray
        w. Kept apart from R, so that rows and signs stay exact.
    rows : int, optional
        B, for `compress` to raise ValueError for matrices of other rows, to which this draw does
        not belong; by default it takes what it is given.
    """

    compress: Callable[[Any], Any]
    weights: NDArray[np.float64]
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            checked = partial(_of_rows, self.compress, self.rows)
            object.__setattr__(self, "compress", checked)

    def product(self, X: Any, Y: Any, /) -> Any:
        """The estimate (N, M) from what was kept: `X` (m, N) and `Y` (m, M)."""
        weights = constant_like(self.weights[:, None], Y)
        return namespace(X, Y).matmul(X.T, weights * Y)


def _of_rows(compress: Callable[[Any], Any], rows: int, X: Any, /) -> Any:
    if (shape := tuple(np.shape(X)))[:1] != (rows,):
        raise ValueError(
            f"this draw is for arrays of {rows} rows, got shape {shape}; draw anew for another "
            "number of rows"
        )
    return compress(X)


class Sketch(Protocol):
    """A distribution of random maps for which the estimate of X^T Y is unbiased.

    A sketch is a frozen dataclass of these two methods. `sketched_product` and `variance` call
    them with valid matrices; both give the wrappers `Centred`, `Masked` and `Weighted` all they
    need, so each wrapper works with each sketch.
    """

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw for the rows of X and Y, on the host: all array libraries see the same numbers.

        Parameters
        ----------
        X : (B, N) array
        Y : (B, M) array or None
            None where the distribution does not depend on it, as in the forward pass of a layer;
            most sketches read nothing but the number of rows.
        rng : numpy.random.Generator

        Raises
        ------
        ValueError
            If the sketch does not fit as many rows.
        """
        ...

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact E||estimate - X^T Y||_F^2, a 0-d array, of `X` (B, N) and `Y` (B, M).

        `odecore.sketching.variance` checks more.
        """
        ...


class MomentSketch(Sketch, Protocol):
    """A sketch whose variance depends on the moments alone, and linearly on each."""

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance of `X` (B, N) and `Y` (B, M), that of their moments."""
        return self.variance_of(moments_of(X, Y))

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance, a 0-d array, from the `moments` alone."""
        ...


def require_sketch(sketch: Any) -> None:
    """Raise TypeError for what is no sketch: a name, a class, None."""
    made = not isinstance(sketch, type)
    if not (made and all(callable(getattr(sketch, name, None)) for name in ("draw", "variance"))):
        found = repr(sketch) if made else f"the class {sketch.__name__}"
        raise TypeError(
            "a sketch must be an object with the methods `draw` and `variance`, as UniformRows(4) "
            f"is, got {found}; make one of a size"
        )


def require_size(size: Any) -> None:
    """Raise ValueError unless a sketch may have this size."""
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
        raise ValueError(f"the sketch `size` must be a positive int, got {size!r}; take 1 or more")


def require_at_most(size: float, rows: int, remedy: str) -> None:
    """Raise ValueError if a sketch that can not repeat rows is larger than their number."""
    if size > rows:
        raise ValueError(
            f"the sketch size must not exceed the number of rows, got size {size} for {rows} rows; "
            f"{remedy}"
        )


def require_generator(rng: Any) -> None:
    """Raise TypeError unless this is a source of random numbers."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}; make one with "
            "numpy.random.default_rng(seed)"
        )


def rows_of(X: Any, rng: Any) -> int:
    """The number of rows to draw for; TypeError or ValueError unless there are, and numbers."""
    require_generator(rng)
    if not is_array_api_obj(X):
        raise TypeError(
            "`X` must be a matrix, an array of a row for each sample, got "
            f"{type(X).__name__}; make it one, say by numpy.asarray"
        )
    if len(X.shape) != 2 or X.shape[0] == 0:
        raise ValueError(
            f"`X` must be a matrix of at least one row, got shape {tuple(X.shape)}; reshape "
            "(..., N) to (B, N)"
        )
    return int(X.shape[0])


def random_signs(shape: int | tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Independent signs, each -1 or 1 with probability 1/2."""
    return 2 * rng.integers(0, 2, size=shape) - 1


def take_rows(X: Any, indices: NDArray[np.int64]) -> Any:
    """The rows X[indices]."""
    xp = namespace(X)
    return xp.take(X, xp.asarray(indices, device=device(X)), axis=0)
