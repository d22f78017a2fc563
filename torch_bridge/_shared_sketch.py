"""One sketch of a tensor that several layers read, such as queries, keys and values do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from torch_bridge._counted_rows import mask_in_force
from torch_bridge._draws import in_backward
from torch_bridge._fields import inside_transform
from torch_bridge._row_sketch import RowSketch

__all__ = ["SharedSketch"]


class _Entry(NamedTuple):
    """`state` is what must not have changed; the first of the readers has drawn."""

    state: Any
    mask: Tensor | None
    readers: list[int]
    found: RowSketch


class SharedSketch:
    """The sketch that one of a group of layers made of a tensor, for the others that read it too.

    The layer that comes first draws. One that comes again with the same tensor draws again, for
    that is another pass; so no sketch outlives its step. Where a checkpoint repeats a forward pass,
    only the layer draws that drew before, so that random numbers stay aligned. Nothing is kept
    alive: the sketch is forgotten with the tensor.
    """

    def __init__(self) -> None:
        self._entries = WeakTensorKeyDictionary()

    def of(
        self, input: Tensor, reader: object, options: Any, make: Callable[[], RowSketch]
    ) -> RowSketch:
        """The sketch of this tensor for a reader, made if the group has none of these options."""
        if inside_transform() or input.is_inference():
            return make()
        mask, me = mask_in_force(), id(reader)
        version = None if mask is None else mask._version
        state = (input._version, torch.is_grad_enabled(), options, id(mask), version)
        entry = self._entries.get(input)
        if entry is not None and entry.state == state:
            repeated = me == entry.readers[0] if in_backward() else me in entry.readers
            if not repeated:
                entry.readers.append(me)
                return entry.found
        found = make()
        self._entries[input] = _Entry(state, mask, [me], found)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc] - copies share nothing with this group
