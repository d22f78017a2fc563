"""Tensors that a right-hand side reads, changed between the passes: refused."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from odecore.errors import ChangedTensorError
from torch_bridge._reads import reads
from torch_bridge._right_hand_side_calls import Calls

__all__ = ["Version", "refuse_changes", "versions_of"]


class Version(NamedTuple):
    """A tensor, how often it had been changed in place, where its data was, and its name."""

    name: str
    tensor: weakref.ref[Tensor]  # what func no longer holds is not kept for this
    number: int
    data: tuple[Any, ...]

    def changed(self) -> Tensor | None:
        """The tensor, if it is another now."""
        x = self.tensor()
        same = x is None or (x._version == self.number and _data_of(x) == self.data)
        return None if same else x

    def change(self, x: Tensor) -> str:
        """In words."""
        if x._version != self.number:
            return f"changed in place (version {x._version}, expected {self.number})"
        now, then = (", ".join(map(str, data[1:3])) for data in (_data_of(x), self.data))
        other = f" ({now}, expected {then})" if now != then else ""
        return f"given other data{other}, as by `.data`, vector_to_parameters or Module.to"


def versions_of(tensors: Iterable[tuple[str, Tensor]], /) -> list[Version]:
    """Of tensors by name, without those that have none."""
    return [
        Version(name, weakref.ref(x), x._version, _data_of(x))
        for name, x in tensors
        if not x.is_inference()
    ]


def _data_of(x: Tensor) -> tuple[Any, ...]:
    """Where the data is, by a reference that no later storage at its address equals."""
    try:
        where = weakref.ref(x.untyped_storage())
        return where, x.dtype, x.shape, x.stride(), x.storage_offset()
    except Exception:  # sparse, wrapped by torch.func, not yet initialized, or a class of its own
        return ()


def refuse_changes(
    versions: Sequence[Version],
    func: Any,
    field: Callable[[Any, Any], Any],
    t: Any,
    y: Any,
    vector: Callable[[Any], Any],
) -> None:
    """Raise ChangedTensorError if a tensor was changed since and func reads it.

    Parameters
    ----------
    versions : sequence of Version
    func, t, y
        The user's function, and arguments for it, which it is called with only if one has changed.
    field : callable
        `func` as it was, of states as vectors.
    vector : callable
        Makes them.
    """
    for version in versions:
        changed = version.changed()
        if changed is None:
            continue
        change, cause = version.change(changed), None  # evaluations may change it further
        with Calls(func, t, y) as calls, torch.compiler.set_stance("force_eager"):
            try:
                if not reads(lambda: field(calls.t, vector(calls.y)), changed):
                    continue
            except Exception as error:
                if _data_of(changed)[1:3] == version.data[1:3]:
                    raise
                cause = error  # of its dtype or shape
        raise ChangedTensorError(
            f"a tensor that `func` reads must not change between the forward and the backward "
            f"pass, or the gradient is that of another function; `{version.name}` was {change}: "
            "change it after the backward pass, or give each solve a tensor of its own"
        ) from cause
