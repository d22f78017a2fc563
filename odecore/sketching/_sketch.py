"""What a sketch is: a random S with E[S S^T] = I, drawn once and applied to both factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from odecore.sketching._variance import Moments

__all__ = ["Sketch", "require_size"]


class Sketch(Protocol):
    """A distribution of (B, p) matrices S with E[S S^T] = I.

    Attributes
    ----------
    size : int
        The sketch size p, at least 1.
    """

    @property
    def size(self) -> int: ...

    def draw(self, rows: int, rng: np.random.Generator, /) -> Callable[[Any], Any]:
        """Draw S for `rows` = B rows; the result maps X (B, N) to S^T X (p, N)."""
        ...

    def variance(self, moments: Moments, /) -> Any:
        """Exact E||X^T S S^T Y - X^T Y||_F^2 from the moments of X and Y."""
        ...


def require_size(size: Any) -> None:
    """Raise ValueError unless a sketch may have this size."""
    if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
        raise ValueError(f"the sketch `size` must be a positive int, got {size!r}")
