"""Layers that `apply` has sketched in place, and what they were before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from torch_bridge._convolution import SketchedConv2d
from torch_bridge._linear import SketchedLinear

__all__ = ["SKETCHED", "converted", "exact_for_now"]

#: What each exact layer becomes.
SKETCHED = {nn.Linear: SketchedLinear, nn.Conv2d: SketchedConv2d}


def converted(layers: Iterable[nn.Module]) -> list[Any]:
    """Those that were exact; their attribute `_exact` is the class they had."""
    return [layer for layer in layers if "_exact" in vars(layer)]


@contextmanager
def exact_for_now(model: nn.Module) -> Iterator[None]:
    """All such layers as they were, except those that were parametrized since."""
    layers = [one for one in converted(model.modules()) if type(one) is SKETCHED[one._exact]]
    try:
        for layer in layers:
            layer.__class__ = layer._exact
        yield
    finally:
        for layer in layers:
            layer.__class__ = SKETCHED[layer._exact]
