"""Modules in the modes, training or evaluation, that they were in."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import nn

__all__ = ["Mode", "in_modes", "modes_of"]


class Mode(NamedTuple):
    """A module and whether it was in training."""

    module: weakref.ref[nn.Module]
    training: bool


def modes_of(held: Iterable[tuple[str, Any]], /) -> list[Mode]:
    """Of the Modules among what a function holds; frozen ones have no mode."""
    return [
        Mode(weakref.ref(x), x.training)
        for _, x in held
        if isinstance(x, nn.Module) and hasattr(x, "training")
    ]


@contextmanager
def in_modes(modes: Sequence[Mode]) -> Iterator[None]:
    """Context with the modules in these modes; afterwards they are in those that they had."""
    others = [
        (module, training, module.training)
        for module, training in ((mode.module(), mode.training) for mode in modes)
        if module is not None and module.training != training
    ]
    for module, training, _ in others:
        module.training = training  # `train` may do more, and to more modules
    try:
        yield
    finally:
        for module, _, now in others:
            module.training = now
