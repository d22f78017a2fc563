"""The size of a local error, in units of the tolerance."""

from __future__ import annotations

from typing import Any

from odecore._array import constant, namespace

__all__ = ["error_ratio", "root_mean_square"]


def root_mean_square(x: Any, /) -> float:
    """Root mean square of all entries, read to the host; 0 for an empty array."""
    x, xp = constant(x), namespace(x)
    return float(xp.sqrt(xp.mean(xp.abs(x) ** 2))) if x.size != 0 else 0.0


def error_ratio(error: Any, y: Any, y_new: Any, rtol: float, atol: Any) -> float:
    """Root mean square of error / (atol + rtol max(|y|, |y_new|)); a step is good at <= 1.

    Hairer, Norsett, Wanner I, equation II.4.11.
    """
    xp = namespace(error)
    error, y, y_new = constant(error), constant(y), constant(y_new)
    return root_mean_square(error / (atol + rtol * xp.maximum(xp.abs(y), xp.abs(y_new))))
