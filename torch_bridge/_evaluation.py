"""What is put back after an evaluation: modes, gradients, and torch's random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating", "untouched_gradients", "untouched_randomness"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch all modules to evaluation; afterwards each is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def untouched_gradients(model: nn.Module) -> Iterator[None]:
    """Put aside `.grad` of all parameters; what is accumulated meanwhile is thrown away."""
    gradients = [(p, p.grad) for p in model.parameters()]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Put back the states of torch's generators, of the host and of all devices in use."""
    in_use = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=in_use):
        yield
