"""Initial value problems with exact solutions, nonlinear and non-autonomous."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """y' = field(xp)(t, y) on [0, end] with solution exact(t)."""

    name: str
    field: Callable
    exact: Callable
    end: float


def _riccati(xp):
    return lambda t, y: -2 * t * y**2


def _pair(xp):
    # y1 = exp(sin t), y2 = cos t: coupled, nonlinear, non-autonomous, and stable.
    return lambda t, y: xp.stack([y[0] * y[1], -math.sin(t) - (y[1] - math.cos(t)) * y[0]])


RICCATI = Problem("riccati", _riccati, lambda t: [1 / (1 + t * t)], 1.0)
PAIR = Problem("pair", _pair, lambda t: [math.exp(math.sin(t)), math.cos(t)], 2.0)
PROBLEMS = (RICCATI, PAIR)
