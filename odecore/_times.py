"""Times in a row: how they are read, and their rule, one direction and none twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import pairwise
from math import isfinite
from numbers import Real
from typing import Any

from array_api_compat import is_array_api_obj

from odecore._array import constant, is_readable, namespace
from odecore._recording import records

__all__ = ["are_floats", "is_length", "read_times", "read_unordered", "require_monotone"]


def are_floats(times: Iterable[Any]) -> bool:
    """Whether all are Python's floats, so that they may be read; fast for many."""
    return all(issubclass(kind, float) for kind in set(map(type, times)))


def is_length(value: Any) -> bool:
    """Whether this may be a step size: one real number that may be read, also in a 0-d array."""
    if isinstance(value, Real):
        return True
    if not is_array_api_obj(value) or value.shape != () or not is_readable(value):
        return False
    if records(value):  # a gradient that it would not get
        return False
    return bool(namespace(value).isdtype(value.dtype, ("real floating", "integral")))


def require_monotone(times: Sequence[Any]) -> None:
    """Raise ValueError unless times move strictly in one direction; only floats are looked at."""
    if not are_floats(times):
        return
    if not all(map(isfinite, times)):
        raise ValueError(f"times must be finite, got {times}")
    forward = times[-1] > times[0]
    for i, (a, b) in enumerate(pairwise(times)):
        if a == b or (b > a) != forward:
            raise ValueError(
                "times must be strictly increasing or strictly decreasing; entries "
                f"{i} and {i + 1} are {a!r} and {b!r}: sort them and drop repeated ones"
            )


def read_times(times: Any, label: str) -> list[Any]:
    """Times as Python floats, except arrays that may not be read, which stay as they are.

    Raises
    ------
    TypeError
        For what is no sequence of times, as text, and for times that are read and whose gradients
        would be recorded.
    ValueError
        If an array is not one-dimensional, or an int above all floats.
    """
    if hasattr(times, "shape"):
        if len(times.shape) != 1:
            raise ValueError(
                f"times must be one-dimensional, got `{label}` of shape {tuple(times.shape)}"
            )
        if not is_readable(times):
            return [times[i] for i in range(times.shape[0])]
    try:
        if isinstance(times, str | bytes | Mapping | Set):  # of characters, keys, or in any order
            raise TypeError(type(times).__name__)
        times = list(times)
        found = times if {*map(type, times)} <= {float} else [_float(t) for t in times]
    except OverflowError as error:
        raise ValueError(
            f"`{label}` must hold finite times, got an int above all floats"
        ) from error
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{label}` must be a sequence of times, got {times!r}") from error
    if found is not times and any(records(t) and is_readable(t) for t in times):
        raise TypeError(f"`{label}` is read, and gets no gradient: give detached times")
    return found


def read_unordered(times: Any, label: str) -> list[Any]:
    """`read_times` of times in any order, as those of a set; none for None."""
    if times is None:
        return []
    return read_times(list(times) if isinstance(times, Set) else times, label)


def _float(t: Any) -> Any:
    if isinstance(t, str | bytes):
        raise TypeError("text")
    return t if hasattr(t, "shape") and not is_readable(t) else float(constant(t))
