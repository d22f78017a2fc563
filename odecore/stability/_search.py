"""The best point of a box, by many spread points and differential evolution from the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import floor, log10
from typing import Any

import numpy as np

__all__ = ["best_point"]

SPREAD = 200  # points for each parameter over the whole box, before the evolution
MOST = 2000  # points in all
WIDTH = 1e-6  # of the population at the end, relative to the box

Key = tuple[float, ...]


def best_point(
    key: Callable[[Any], Key], low: Any, high: Any, members: Iterable[Any] = ()
) -> tuple[Any, Key, int]:
    """The point of the smallest key that is found, its key, and how many points were tried.

    Keys are compared as tuples, so that a first entry may tell how far a point is from being
    admissible. Storn, Price, Differential evolution, J. Global Optim. 11 (1997); with the strategy
    current-to-best, whose steps follow narrow valleys and kinks. The draws are always the same.
    """
    digits = [8 - floor(log10(width)) for width in high - low]

    def admitted(point: Any) -> Any:
        # Decimals that are short make exact members cheap.
        rounded = [round(float(x), n) for x, n in zip(point, digits, strict=True)]
        return np.clip(rounded, low, high)

    points = [admitted(p) for p in (*members, *_spread(low, high))]
    keys = [key(p) for p in points]
    tried, rng, count = len(points), np.random.default_rng(0), 10 + 5 * len(low)
    order = sorted(range(len(keys)), key=keys.__getitem__)[:count]
    points, keys = [points[k] for k in order], [keys[k] for k in order]
    while tried < MOST and np.any(np.ptp(points, axis=0) > WIDTH * (high - low)):
        for k in range(count):
            best = points[min(range(count), key=keys.__getitem__)]
            one, other = rng.choice(count, 2, replace=False)
            scale, moved = rng.uniform(0.4, 0.9), rng.random(len(low)) < 0.9
            moved[rng.integers(len(low))] = True
            step = (best - points[k]) * scale + (points[one] - points[other]) * scale
            trial = admitted(np.where(moved, points[k] + step, points[k]))
            found = key(trial)
            if found <= keys[k]:
                points[k], keys[k] = trial, found
        tried += count
    k = min(range(count), key=keys.__getitem__)
    return points[k], keys[k], tried


def _spread(low: Any, high: Any) -> Any:
    """Points of an additive recurrence; one in ten for each parameter at the ends of its range."""
    ratio = 2.0  # the root of x^(d+1) = x + 1, Roberts' generalization of the golden ratio
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (len(low) + 1))
    parts = np.outer(np.arange(1, SPREAD * len(low) + 1), ratio ** -np.arange(1, len(low) + 1)) % 1
    return low + (high - low) * np.clip(1.1 * parts - 0.05, 0, 1)
