"""Weights that are arrays with a gradient, times step sizes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from odecore._array import Terms

__all__ = ["Scaled", "scaled", "scaled_terms"]


class Scaled:
    """An array times step sizes: equal steps share the product, and the sum of its gradients.

    Parameters
    ----------
    array : array
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.made: dict[float, Any] = {}

    def __mul__(self, h: Any) -> Any:
        """Multiply by a step size."""
        if not isinstance(h, float):
            return self.array * h
        found = self.made.get(h)
        if found is None:
            found = self.made[h] = self.array * h
        return found


def scaled(weights: Sequence[Any]) -> tuple[Any, ...]:
    """Weights that meet many steps; numbers stay."""
    return tuple(w if isinstance(w, Real) else Scaled(w) for w in weights)


def scaled_terms(terms: Terms) -> Terms:
    """The same for pairs (j, w_j)."""
    return tuple((j, w if isinstance(w, Real) else Scaled(w)) for j, w in terms)
