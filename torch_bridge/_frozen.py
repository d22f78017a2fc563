"""Tensors frozen or thawed between the passes: they require gradients as they did."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

__all__ = ["Flag", "flags_of", "with_flags"]


class Flag(NamedTuple):
    """A tensor and whether it required a gradient."""

    tensor: weakref.ref[Tensor]
    required: bool


def flags_of(tensors: Iterable[Tensor], /) -> list[Flag]:
    """Of those whose flag can be changed: leaves of a graph."""
    return [Flag(weakref.ref(x), x.requires_grad) for x in tensors if x.is_leaf]


@contextmanager
def with_flags(flags: Sequence[Flag]) -> Iterator[None]:
    """Context with the tensors' flags as these; afterwards they are what they were.

    So a network frozen for the step of another one gets its gradients from what it did before, or
    none, as from the steps, whose graph does not look at flags again.
    """
    found = [(flag.tensor(), flag.required) for flag in flags]
    others = [
        (x, required)
        for x, required in found
        if x is not None and x.is_leaf and x.requires_grad != required
    ]
    try:
        for x, required in others:
            x.requires_grad_(required)
        yield
    finally:
        for x, required in others:
            x.requires_grad_(not required)
