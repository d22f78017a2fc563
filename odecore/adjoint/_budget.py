"""A budget of memory in bytes."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod
from numbers import Real
from typing import Any

from odecore._array import as_float, limits, namespace

__all__ = ["budget", "bytes_of", "within"]


def budget(memory: Any) -> int | None:
    """The bytes of a budget that a user gave; None, or infinity, for no bound.

    Parameters
    ----------
    memory : int, float or None
        In bytes; a float of a whole number, as 1e9, counts.

    Returns
    -------
    int or None
        None for no bound.

    Raises
    ------
    ValueError
        If it is no positive whole number.
    """
    if memory is None:
        return None
    if isinstance(memory, Real) and memory is not True:
        found = as_float(memory)
        if found == inf:
            return None
        if found > 0 and found.is_integer():
            return int(found)
    raise ValueError(
        f"`memory` must be a positive whole number of bytes, got {memory!r}; leave it out, or give "
        "infinity, for no bound"
    )


def bytes_of(y: Any) -> int:
    """Those of an array's numbers."""
    parts = 2 if namespace(y).isdtype(y.dtype, "complex floating") else 1
    size: int = prod(y.shape) * parts * int(limits(y).bits) // 8
    return size


def within(memory: int | None, panels: list[Any]) -> list[Any]:
    """Panels without every second node, until they are within a budget, if any, in bytes."""
    if memory is None:
        return panels
    size = bytes_of(panels[0].values[0, ...])
    while (total := size * sum(panel.values.shape[0] for panel in panels)) > memory:
        if any(panel.values.shape[0] % 2 == 0 or panel.values.shape[0] < 3 for panel in panels):
            raise ValueError(
                f"`memory` = {memory} bytes do not hold the trajectory: {len(panels)} panels need "
                f"{total} bytes with the fewest nodes; raise it, or take the discrete adjoint with "
                "checkpoints"
            )
        panels = [replace(panel, values=panel.values[::2, ...]) for panel in panels]
    return panels
