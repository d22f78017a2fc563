"""Refusal of options and choices that do not exist, with the nearest name that does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from inspect import signature
from typing import Any

__all__ = ["keywords_of", "nearest", "refuse_unknown", "require_choice"]


def keywords_of(*callables: Callable[..., Any]) -> tuple[str, ...]:
    """Names of their keyword-only parameters."""
    return tuple(
        dict.fromkeys(
            name
            for called in callables
            for name, parameter in signature(called).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        )
    )


def refuse_unknown(options: Iterable[str], known: tuple[str, ...], owner: str) -> None:
    """Raise ValueError if an option is not among the known ones of `owner`."""
    unknown = [name for name in options if name not in known]
    if unknown:
        hint = nearest(unknown[0], known) or "."
        raise ValueError(
            f"unknown options {unknown} for {owner}{hint} The options are {', '.join(known)}"
        )


def require_choice(label: str, value: Any, known: Collection[str]) -> None:
    """Raise ValueError unless a value is one of the known names."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"`{label}` must be one of {', '.join(known)}, got {value!r}{nearest(value, known)}"
        )


def nearest(name: Any, known: Collection[str]) -> str:
    """What an error says of the known name that is nearest, if one is near."""
    near = get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
