"""Parametrized weights, which `torch.nn.utils.parametrize.cached` keeps: not beyond their use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.utils import parametrize

__all__ = ["cached_apart"]


@contextmanager
def cached_apart(*, kept: bool = True) -> Iterator[None]:
    """Context in which the cache of parametrized weights is another, or, unless `kept`, none.

    A weight that is made where no gradients are recorded has none, and torch would give that one
    to whatever reads it next, where they are recorded.
    """
    before = parametrize._cache, parametrize._cache_enabled
    parametrize._cache, parametrize._cache_enabled = {}, before[1] if kept else 0
    try:
        yield
    finally:
        parametrize._cache, parametrize._cache_enabled = before
