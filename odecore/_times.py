"""The rule for times in a row: one direction, none twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

__all__ = ["are_floats", "require_monotone"]


def are_floats(times: Iterable[Any]) -> bool:
    """Whether all are Python's floats, so that they may be read; fast for many."""
    return all(issubclass(kind, float) for kind in set(map(type, times)))


def require_monotone(times: Sequence[Any]) -> None:
    """Raise ValueError unless times move strictly in one direction; only floats are looked at."""
    if not are_floats(times):
        return
    if not all(map(isfinite, times)):
        raise ValueError(f"times must be finite, got {times}")
    forward = times[-1] > times[0]
    for i, (a, b) in enumerate(pairwise(times)):
        if a == b or (b > a) != forward:
            raise ValueError(
                "times must be strictly increasing or strictly decreasing; entries "
                f"{i} and {i + 1} are {a!r} and {b!r}: sort them and drop repeated ones"
            )
