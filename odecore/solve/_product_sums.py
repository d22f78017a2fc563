"""Sums of many stages as products, for NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from odecore._array import limits
from odecore.tableaux import Coefficients

__all__ = ["ProductSums"]

LARGEST = 2**15  # entries of a state: of larger ones no second copy of the stages is kept


class ProductSums:
    """Sums h sum_j w_j k_j of the stages of a step.

    A call of NumPy's takes longer than a small state does.

    Parameters
    ----------
    method : Coefficients
        Of floats.
    like : (...) ndarray
        An array like the state, of one axis at least.
    """

    def __init__(self, method: Coefficients, like: np.ndarray) -> None:
        self.rows, self.b, self.error = method.products
        self.stages = np.empty((len(method.b), *like.shape), like.dtype)
        self.flat = self.stages.reshape(len(method.b), -1)
        self.real = limits(like).dtype

    @staticmethod
    def fit(method: Coefficients, like: Any) -> bool:
        """Whether sums of this method on arrays like this one may be products."""
        if not isinstance(like, np.ndarray) or like.dtype.char not in "fdFD":
            return False
        return like.ndim > 0 and like.size <= LARGEST and not method.has_arrays

    def __call__(self, weights: np.ndarray, h: float) -> np.ndarray:
        """The sum with these weights of the first stages."""
        scales = (weights * h).astype(self.real, copy=False)
        found: np.ndarray = scales.dot(self.flat[: len(scales)])
        return found if self.stages.ndim == 2 else found.reshape(self.stages.shape[1:])
