"""A first step size from the scales of y, y' and y''."""

from __future__ import annotations

from collections.abc import Callable
from math import ulp
from typing import Any

from odecore._array import constant
from odecore.solve._controllers import AdaptiveSteps
from odecore.solve._error_norm import starting_scale

__all__ = ["first_step_size"]


def first_step_size(
    fun: Callable[[Any, Any], Any], t: float, y: Any, slope: Any, end: float, tol: AdaptiveSteps, /
) -> float:
    """Guess a positive step whose error is near the tolerance; one evaluation of fun.

    Hairer, Norsett, Wanner I, algorithm "starting step size" of section II.4. Unlike there the
    trial Euler step is kept inside the interval, where alone fun must be defined.
    """
    y, slope = constant(y), constant(slope)
    span = abs(end - t)
    scale = starting_scale(y, tol.rtol, tol.atol)
    norm = tol.norm
    size, speed = float(norm(y / scale)), float(norm(slope / scale))
    h0 = 0.01 * size / speed if size > 1e-5 and speed > 1e-5 else 1e-6
    floor = 16 * ulp(t)  # below that, times do not move
    h0 = min(max(h0, floor), span) or span
    direction = 1.0 if end > t else -1.0
    later = fun(t + direction * h0, y + (direction * h0) * slope)
    bend = float(norm((constant(later) - slope) / scale)) / h0
    steepest = max(speed, bend)
    if not steepest < float("inf"):  # overflow or NaN beyond t: start small, the judge sees it
        return h0
    h1 = (
        max(1e-6, floor, h0 * 1e-3)
        if steepest <= 1e-15
        else (0.01 / steepest) ** (1 / (tol.order + 1))
    )
    return min(100 * h0, h1, span)
