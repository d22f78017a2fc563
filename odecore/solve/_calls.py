"""How the right-hand side is called, for those whose function takes other arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from types import FunctionType
from typing import Any

__all__ = ["explaining_calls", "takes"]


@contextmanager
def explaining_calls(fun: Callable[..., Any], *arguments: str) -> Iterator[None]:
    """Say how `fun` is called where that alone is why it raised TypeError."""
    try:
        yield
    except TypeError as error:
        if not callable(fun) or takes(fun, len(arguments)):
            raise
        raise TypeError(
            f"`fun` is called as fun({', '.join(arguments)}), and this one does not take "
            f"{len(arguments)} arguments: {error}"
        ) from error


def takes(fun: Callable[..., Any], n: int) -> bool:
    """Whether a function takes n arguments, or does not say."""
    if isinstance(fun, FunctionType):  # in less time than by its signature
        code, optional = fun.__code__, len(fun.__defaults__ or ())
        if code.co_argcount - optional <= n <= code.co_argcount and not code.co_kwonlyargcount:
            return True
    try:
        known = signature(fun, follow_wrapped=False)
    except (TypeError, ValueError):
        return True
    try:
        known.bind(*range(n))
    except TypeError:
        return False
    return True
