"""What a sketch is: a random map of rows, drawn once and applied to both factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from odecore._array import constant_like, namespace

__all__ = [
    "Draw",
    "Sketch",
    "random_signs",
    "require_at_most",
    "require_size",
    "require_sketch",
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
    """

    compress: Callable[[Any], Any]
    weights: NDArray[np.float64]

    def product(self, X: Any, Y: Any, /) -> Any:
        """The estimate (N, M) from what was kept: `X` (m, N) and `Y` (m, M)."""
        weights = constant_like(self.weights[:, None], Y)
        return namespace(X, Y).matmul(X.T, weights * Y)


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


def random_signs(shape: int | tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Independent signs, each -1 or 1 with probability 1/2."""
    return 2 * rng.integers(0, 2, size=shape) - 1


def take_rows(X: Any, indices: NDArray[np.int64]) -> Any:
    """The rows X[indices]."""
    xp = namespace(X)
    return xp.take(X, xp.asarray(indices, device=device(X)), axis=0)
