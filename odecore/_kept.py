"""Matrices and rules of few nodes, kept from call to call."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

__all__ = ["kept_if_small"]

Made = TypeVar("Made")

LARGEST = 129  # nodes: a matrix of 130 KiB


def kept_if_small(make: Callable[..., Made], /) -> Callable[..., Made]:
    """Keep what was made for the last 64 arguments of at most 129 nodes, their number coming first.

    Larger matrices are made at each call: a few of them would hold the memory for good.
    """
    small = lru_cache(maxsize=64)(make)

    @wraps(make)
    def found(m: int, /, *rest: object) -> Made:
        return (small if m <= LARGEST else make)(m, *rest)

    return found
