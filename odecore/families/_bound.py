"""A formula with its first arguments, which is equal to another with the same ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Bound"]


@dataclass(frozen=True)
class Bound:
    """As `functools.partial`, but compared by what it holds, as a pickle of a family must be.

    Parameters
    ----------
    function : callable
        One of a module, so that it can be pickled.
    first : tuple
        Its first arguments.
    """

    function: Callable[..., Any]
    first: tuple[Any, ...]

    def __call__(self, *values: Any) -> Any:
        """The function of the first arguments and these."""
        return self.function(*self.first, *values)
