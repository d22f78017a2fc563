"""What can be called as func(t, y)."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature, signature
from typing import Any

from torch import nn

__all__ = ["check_function", "refused_signature"]


def check_function(func: Any, label: str = "func") -> None:
    """Raise TypeError unless `func` can be called with two arguments, as far as that is known."""
    if not callable(func):
        raise TypeError(f"`{label}` must be callable as {label}(t, y), got {type(func).__name__}")
    if isinstance(func, type):
        raise TypeError(
            f"`{label}` must be callable as {label}(t, y), got the class {func.__name__}: give an "
            f"object of it, as in {func.__name__}(...)"
        )
    called: Callable[..., Any] = func.forward if isinstance(func, nn.Module) else func
    found = refused_signature(called, 2)
    if found is not None:
        name = type(func).__name__
        remedy = (
            "; for a network of y alone give `lambda t, y: network(y)`, best in the forward of a "
            "Module of its own, which holds its parameters"
        )
        raise TypeError(
            f"`{label}` must take two arguments, {label}(t, y), got {name} of {found}"
            f"{remedy if label == 'func' else ''}"
        )


def refused_signature(function: Callable[..., Any], arguments: int) -> Signature | None:
    """That of a function which can not take so many arguments, as far as that is known."""
    try:
        found = signature(function, follow_wrapped=False)  # what a decorator takes
    except (TypeError, ValueError):  # not written in Python
        return None
    try:
        found.bind(*[None] * arguments)
    except TypeError:
        return found
    return None
