"""A budget of memory in bytes."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any

__all__ = ["budget"]


def budget(memory: Any) -> int | None:
    """The bytes of a budget that a user gave; None, or infinity, for no bound.

    Raises
    ------
    ValueError
        If it is no positive whole number.
    """
    if memory is None:
        return None
    if isinstance(memory, Real) and memory is not True:
        found = float(memory)
        if found == inf:
            return None
        if found > 0 and found.is_integer():
            return int(found)
    raise ValueError(
        f"`memory` must be a positive whole number of bytes, got {memory!r}; leave it out, or give "
        "infinity, for no bound"
    )
