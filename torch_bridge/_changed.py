"""Tensors that a right-hand side reads, changed in place between the passes: refused."""

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
    """A tensor, how often it had been changed in place, and what it is called."""

    name: str
    tensor: weakref.ref[Tensor]  # what func no longer holds is not kept for this
    number: int

    def changed(self) -> Tensor | None:
        """The tensor, if it is another now."""
        x = self.tensor()
        return None if x is None or x._version == self.number else x


def versions_of(held: Iterable[tuple[str, Any]], /) -> list[Version]:
    """Of the tensors among what a function holds."""
    return [
        Version(name, weakref.ref(x), x._version)
        for name, x in held
        if isinstance(x, Tensor) and not x.is_inference()
    ]


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
        now = changed._version  # evaluations may change it further
        with Calls(func, t, y) as calls, torch.compiler.set_stance("force_eager"):
            if not reads(lambda: field(calls.t, vector(calls.y)), changed):
                continue
        raise ChangedTensorError(
            f"a tensor that `func` reads must not be changed in place between the forward and the "
            f"backward pass, or the gradient is that of another function; `{version.name}` was "
            f"(version {now}, expected {version.number}): change it after the backward pass, or "
            "give each solve a tensor of its own"
        )
