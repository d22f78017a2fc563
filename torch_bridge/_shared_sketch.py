"""One sketch of a tensor that several layers read, such as queries, keys and values do."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_bridge._row_sketch import RowSketch

__all__ = ["SharedSketch"]


class _Entry(NamedTuple):
    input: weakref.ref[Tensor]
    state: Any
    reader: int
    found: RowSketch | None


class SharedSketch:
    """The last sketch that one of a group of layers made, for the others that read the same tensor.

    The layer that comes first draws. If it comes again with the same tensor, it draws again, as it
    must where a checkpoint repeats a forward pass from the same random numbers; the others never
    draw for a tensor that is sketched, so that they consume no random numbers in either pass.
    Nothing is kept alive: the sketch is forgotten with the tensor.
    """

    def __init__(self) -> None:
        self._last: _Entry | None = None

    def of(
        self,
        input: Tensor,
        reader: object,
        options: Any,
        make: Callable[[], RowSketch | None],
    ) -> RowSketch | None:
        """The sketch of this tensor for a reader, made if the group has none of these options."""
        if torch.compiler.is_compiling() or input.is_inference():
            return make()
        last = self._last
        now = (input._version, options)
        known = last is not None and last.input() is input and last.state == now
        if known and last.reader != id(reader):
            return last.found
        found = make()
        self._last = _Entry(weakref.ref(input, self._forget), now, id(reader), found)
        return found

    def _forget(self, dead: weakref.ref[Tensor]) -> None:
        if self._last is not None and self._last.input is dead:
            self._last = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": None}  # copies share nothing with this group
