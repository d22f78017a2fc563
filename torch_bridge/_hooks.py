"""Hooks of tensors, which see the gradient of a loss and not the products that make it up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

__all__ = ["hooks_suspended"]


@contextmanager
def hooks_suspended(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Do without the hooks of these tensors (`Tensor.register_hook`), and put them back.

    Autograd runs them on the gradients that `torch.autograd.grad` captures. In an adjoint those are
    single products; the outer backward pass runs the hooks on their sum. Meanwhile backward
    passes in other threads, through the same tensors, do without them too.
    """
    hooked = [x._backward_hooks for x in tensors if x._backward_hooks]
    before = [dict(hooks) for hooks in hooked]
    for hooks in hooked:
        hooks.clear()  # autograd holds this very dict, so that a new one would not do
    try:
        yield
    finally:
        for hooks, then in zip(hooked, before, strict=True):
            new = dict(hooks)
            hooks.clear()
            hooks.update(then | new)
