"""The size of a local error, in units of the tolerance."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, prod, sqrt
from typing import Any

import numpy as np

from odecore._array import all_finite, constant, is_torch_array, limits, namespace
from odecore.solve._tracing import is_tracing

__all__ = ["checked_norm", "error_ratio", "root_mean_square", "starting_scale", "tolerance_scale"]


def root_mean_square(x: Any, /) -> float:
    """Root mean square of all entries, read to the host; 0 for an empty array."""
    count = prod(x.shape)
    if count == 0:
        return 0.0
    xp = namespace(x)
    x = constant(x)
    if limits(x).bits < 32:  # squares would overflow
        x = xp.astype(x, xp.float32)
    if is_torch_array(x):
        size = float(xp.linalg.vector_norm(x))
    elif isinstance(x, np.ndarray):  # in a tenth of the time, and its overflow is no warning
        size = sqrt(np.vdot(x, x).real)
    else:
        with np.errstate(over="ignore"):
            size = float(xp.linalg.vector_norm(x))
    if size == inf:  # of x, or of squares alone
        top = float(xp.max(xp.abs(x)))
        size = top * float(xp.linalg.vector_norm(x / top)) if top < inf else inf
    return size / sqrt(count)


def checked_norm(norm: Callable[[Any], Any], /) -> Callable[[Any], float]:
    """The user's norm, whose values are looked at.

    Raises
    ------
    TypeError, ValueError
        When it is called, unless it gives one number that is not negative, nor NaN for numbers.
    """

    def checked(x: Any) -> float:
        found = norm(x)
        try:
            if isinstance(found, str | bytes):
                raise TypeError("text")
            size = float(found)
        except (TypeError, ValueError, RuntimeError) as error:
            if is_tracing(error):
                raise
            raise TypeError(f"`norm` must return one real number, got {found!r}") from error
        if size < 0 or (isnan(size) and all_finite(x)):
            raise ValueError(f"`norm` must return a number that is not negative, got {size}")
        return size

    return checked


def tolerance_scale(y: Any, rtol: Any, atol: Any, xp: Any = None) -> Any:
    """Elementwise atol + rtol |y|, kept off zero so that 0/0 counts as no error.

    `xp` is the namespace of y, where the caller knows it already.
    """
    xp = namespace(y) if xp is None else xp
    return _off_zero(rtol * xp.abs(y) + atol, atol, xp)


def starting_scale(y: Any, rtol: Any, atol: Any, xp: Any = None) -> Any:
    """The same to guess a first step with: infinite where it is zero, and nothing is asked of y."""
    xp = namespace(y) if xp is None else xp
    return _off_zero(rtol * xp.abs(y) + atol, atol, xp, inf)


def _off_zero(scale: Any, atol: Any, xp: Any, instead: float | None = None) -> Any:
    """The scale with something else, by default the least normal number, where it is zero."""
    tiny = float(xp.finfo(scale.dtype).smallest_normal)
    if isinstance(atol, float) and atol >= tiny:
        return scale
    return xp.where(scale > 0, scale, xp.full_like(scale, tiny if instead is None else instead))


def error_ratio(
    error: Any,
    y: Any,
    y_new: Any,
    rtol: Any,
    atol: Any,
    norm: Callable[[Any], float] = root_mean_square,
    /,
) -> float:
    """Norm of error / (atol + rtol max(|y|, |y_new|)); a step is good at <= 1.

    Hairer, Norsett, Wanner I, equation II.4.11.
    """
    error, y, y_new = constant(error), constant(y), constant(y_new)
    xp = namespace(error)
    scale = rtol * xp.maximum(xp.abs(y), xp.abs(y_new)) + atol
    return float(norm(error / _off_zero(scale, atol, xp)))
