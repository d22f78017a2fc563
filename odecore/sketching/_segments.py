"""Rows that belong together: a segment id for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from odecore._array import on_host

__all__ = ["require_entries", "segment_ids", "segment_numbers"]


def segment_ids(ids: Any, label: str) -> NDArray[Any]:
    """A read-only copy of one id a row: integers or text, in any order."""
    try:
        found = np.array(on_host(ids))
    except ValueError:  # of ragged rows
        found = np.array(None)
    if found.ndim != 1 or found.dtype.kind not in "iuUb":
        raise ValueError(
            f"`{label}` must be one integer or text id for each row, got shape {found.shape} of "
            f"dtype {found.dtype}; rows with the same id belong together"
        )
    found.setflags(write=False)
    return found


def segment_numbers(ids: NDArray[Any], rows: int, label: str) -> tuple[Any, Any]:
    """The number of each row's segment, from 0 in order of the ids, and the rows of each."""
    require_entries(ids, rows, label)
    _, numbers, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return numbers, counts


def require_entries(values: NDArray[Any], rows: int, label: str) -> None:
    """Raise ValueError unless there is one entry for each row."""
    if len(values) != rows:
        raise ValueError(
            f"`{label}` must have one entry for each of the {rows} rows, got {len(values)}; inside "
            "`Masked` only the rows that are in count"
        )
