"""Hooks of tensors, which see the gradient of a loss and not the products that make it up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

__all__ = ["gradients_after_hooks", "hooks_suspended"]


@contextmanager
def hooks_suspended(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Do without the hooks of these tensors (`register_hook`, `retain_grad`), and put them back.

    Autograd runs them on the gradients that `torch.autograd.grad` captures, and on those it starts
    from. In an adjoint the former are single products; the outer backward pass runs the hooks on
    their sum. Meanwhile backward passes in other threads, through the same tensors, do without them
    too.
    """
    tensors = tuple(tensors)
    retained = [(x, x.grad) for x in tensors if x.retains_grad]
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
        for x, grad in retained:
            x.grad = grad


def gradients_after_hooks(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor | GradientEdge],
    *args: Any,
    **options: Any,
) -> tuple[Tensor | None, ...]:
    """`torch.autograd.grad`, at edges the gradients that the hooks of their tensors leave.

    Those it captures itself have passed hooks only where the pass does not go on below the node.
    Edges can not be had with `is_grads_batched`: what nodes see are vmap's tensors.
    """
    seen: dict[int, tuple[Tensor | None, ...]] = {}
    edges = {k: x for k, x in enumerate(inputs) if isinstance(x, GradientEdge)}
    handles = [x.node.register_prehook(partial(seen.__setitem__, k)) for k, x in edges.items()]
    try:
        found = list(torch.autograd.grad(outputs, inputs, *args, **options))
    finally:
        for handle in handles:
            handle.remove()
    for k, gradients in seen.items():
        found[k] = gradients[edges[k].output_nr]
    return tuple(found)
