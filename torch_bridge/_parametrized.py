"""Parametrized weights, which `torch.nn.utils.parametrize.cached` keeps: not beyond their use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.utils import parametrize

__all__ = ["cached_apart"]

_thread = threading.local()


class _Cache(dict[Any, Any]):
    """torch's cache, but for threads that have one of their own."""

    def get(self, key: Any, default: Any = None) -> Any:
        own = getattr(_thread, "cache", None)
        return super().get(key, default) if own is None else own.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        own = getattr(_thread, "cache", None)
        if own is None:
            super().__setitem__(key, value)
        else:
            own[key] = value


class _Forgetting(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep nothing."""


@contextmanager
def cached_apart(*, kept: bool = True) -> Iterator[None]:
    """Context in which this thread has another cache of parametrized weights, or none if not kept.

    A weight that is made where no gradients are recorded has none, and torch would give that one
    to whatever reads it next, where they are recorded. Whether there is a cache is left alone: it
    is a count, which other threads change as well. Where they leave and enter `cached()` meanwhile,
    torch's new cache is for all threads.
    """
    if not isinstance(parametrize._cache, _Cache):
        parametrize._cache = _Cache(parametrize._cache)
    before = getattr(_thread, "cache", None)
    _thread.cache = {} if kept else _Forgetting()
    try:
        yield
    finally:
        _thread.cache = before
