"""The best point of a box, by many spread points and differential evolution from the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import floor, log10
from typing import Any

import numpy as np

__all__ = ["best_point", "between"]

SPREAD = 200  # points for each parameter over the whole box, before the evolution
MOST = 1500  # points of an evolution
VALLEYS = 3  # that are followed, each from the best points away from those before
APART = 0.15  # of the box
NEARLY = 0.03
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

    points = np.array([admitted(p) for p in (*members, *_spread(low, high))])
    keys = [key(p) for p in points]
    tried, best, least = len(points), points[0], min(keys)
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    rng, count = np.random.default_rng(0), 10 + 5 * len(low)
    for _ in range(VALLEYS):
        start = order[:count]
        known = [keys[k] for k in start]
        point, found, more = _evolved(key, admitted, points[start], known, high - low, least, rng)
        tried += more
        if found <= least:
            best, least = point, found
        apart = np.max(np.abs(points[order] - point) / (high - low), axis=1)
        order = order[apart > APART]
        if len(order) < count:
            break
    return best, least, tried


def _evolved(
    key: Callable[[Any], Key], admitted: Any, points: Any, keys: list[Key], box: Any, least: Key,
    rng: Any,
) -> tuple[Any, Key, int]:  # fmt: skip
    """Evolve points until they are together, or are no better than others and nearly together."""
    (count, d), tried = points.shape, 0
    while tried < MOST:
        width = np.max(np.ptp(points, axis=0) / box)
        if width <= WIDTH or (width <= NEARLY and min(keys) > least):
            break
        for k in range(count):
            best = min(range(count), key=keys.__getitem__)
            one, other = rng.choice(count, 2, replace=False)
            scale, moved = rng.uniform(0.4, 0.9), rng.random(d) < 0.9
            moved[rng.integers(d)] = True
            step = (points[best] - points[k] + points[one] - points[other]) * scale
            trial = admitted(np.where(moved, points[k] + step, points[k]))
            found = key(trial)
            if found <= keys[k]:
                points[k], keys[k] = trial, found
        tried += count
    best = min(range(count), key=keys.__getitem__)
    return points[best], keys[best], tried


def _spread(low: Any, high: Any) -> Any:
    """Points of an additive recurrence; one in ten for each parameter at the ends of its range."""
    ratio = 2.0  # the root of x^(d+1) = x + 1, Roberts' generalization of the golden ratio
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (len(low) + 1))
    parts = np.outer(np.arange(1, SPREAD * len(low) + 1), ratio ** -np.arange(1, len(low) + 1)) % 1
    return between(low, high, np.clip(1.1 * parts - 0.05, 0, 1))


def between(low: Any, high: Any, parts: Any) -> Any:
    """Points of a box from parts of [0, 1]; in wide ones denser around 0, where members are."""
    start, end = np.arcsinh(low), np.arcsinh(high)
    return np.clip(np.sinh(start + (end - start) * parts), low, high)
