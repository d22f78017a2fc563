"""What is put back after an evaluation: modes, gradients, and torch's random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "evaluating",
    "refusing_training",
    "require_module",
    "require_values",
    "untouched_gradients",
    "untouched_randomness",
]


@dataclass
class _Mode:
    """Of a module that is evaluated: what it goes back to after the last of its evaluations."""

    training: bool
    evaluations: int = 0


_modes: dict[int, _Mode] = {}  # by id of modules, which their evaluations keep alive
_changes = Lock()  # of `_modes`


def require_module(model: Any) -> None:
    """Raise TypeError for what is no Module, such as a function."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"`model` must be a Module, got {type(model).__name__}: put a function into the "
            "forward of one"
        )


def require_values(model: Any, *tensors: Any) -> None:
    """Raise ValueError for a model or tensors on the meta device, where there are none."""
    held = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
    for name, group in (("the model", held), ("inputs and labels", tensors)):
        if any(isinstance(x, Tensor) and x.is_meta for x in group):
            raise ValueError(
                f"{name} must have values, got tensors on the meta device, which have none: make "
                'them on another, a model by model.to_empty(device="cpu") and load_state_dict'
            )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch all modules to evaluation; afterwards each is in the mode it was in.

    Of evaluations at a time, in threads or one in another, of models that may share modules, the
    first of a module notes its mode, and the last puts it back.
    """
    modules = list(model.modules())
    with _changes:
        for module in modules:
            _modes.setdefault(id(module), _Mode(module.training)).evaluations += 1
    try:
        model.eval()
        yield
    finally:
        with _changes:
            for module in modules:
                mode = _modes[id(module)]
                mode.evaluations -= 1
                if not mode.evaluations:
                    module.training = _modes.pop(id(module)).training


@contextmanager
def untouched_gradients(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Put aside `.grad` of these; what is accumulated meanwhile is thrown away."""
    gradients = [(leaf, leaf.grad) for leaf in leaves]
    try:
        for leaf, _ in gradients:
            leaf.grad = None
        yield
    finally:
        for leaf, gradient in gradients:
            leaf.grad = gradient


@contextmanager
def refusing_training(model: nn.Module) -> Iterator[None]:
    """Put back parameters that changed, and raise ValueError for them."""
    before = [
        (name, p, p._version, p.detach().clone())
        for name, p in model.named_parameters()
        if not p.is_inference()  # which can not be trained, and count no changes
    ]
    try:
        yield
    finally:
        changed = {
            name: (p, value)
            for name, p, version, value in before
            if p._version != version and not torch.equal(p, value)
        }
        with torch.no_grad():
            for p, value in changed.values():
                p.copy_(value)
    if changed:
        raise ValueError(
            f"an attack must leave the model as it is, and changed {', '.join(changed)}, which "
            "are put back: let it train a copy"
        )


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Put back the states of torch's generators, of the host and of all devices in use."""
    in_use = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=in_use):
        yield
