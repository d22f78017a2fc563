"""Parametrized weights, which `torch.nn.utils.parametrize.cached` keeps: not beyond their use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.utils import parametrize

__all__ = ["cached_apart"]


class _Forgetting(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep nothing."""


@contextmanager
def cached_apart(*, kept: bool = True) -> Iterator[None]:
    """Context in which the cache of parametrized weights is another, or keeps none, unless `kept`.

    A weight that is made where no gradients are recorded has none, and torch would give that one
    to whatever reads it next, where they are recorded. Whether there is a cache is left alone: it
    is a count, which other threads change as well.
    """
    before, parametrize._cache = parametrize._cache, {} if kept else _Forgetting()
    try:
        yield
    finally:
        parametrize._cache = before if parametrize._cache_enabled else {}
