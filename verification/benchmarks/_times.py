"""Times of several calls, taken in turns, so that what else the machine does falls on all."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

__all__ = ["fastest", "medians", "seconds"]


def seconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall times of each call in so many rounds, after two that warm up."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - start)
    return {name: times[2:] for name, times in found.items()}


def fastest(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least time of each."""
    return {name: min(times) for name, times in seconds(runs, rounds).items()}


def medians(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median time of each."""
    return {name: median(times) for name, times in seconds(runs, rounds).items()}
