"""Modules in the modes, training or evaluation, that they were in."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import nn

__all__ = ["Mode", "in_modes", "modes_of"]


class Mode(NamedTuple):
    """A module and whether it was in training."""

    module: weakref.ref[nn.Module]
    training: bool


def modes_of(modules: Iterable[nn.Module], /) -> list[Mode]:
    """Of Modules, without frozen ones, which have none."""
    modes = ((module, getattr(module, "training", None)) for module in modules)
    return [Mode(weakref.ref(module), mode) for module, mode in modes if mode is not None]


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
