"""Refusal of options that nobody takes, with the nearest name that somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from inspect import signature
from typing import Any

__all__ = ["keywords_of", "refuse_unknown"]


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
        near = get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(
            f"unknown options {unknown} for {owner}{hint} The options are {', '.join(known)}"
        )
