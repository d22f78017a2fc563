"""Gradients that must not be differentiated again: refused aloud instead of cut in silence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["once_only"]


def once_only(gradient: Tensor, depends_on: Tensor | tuple[Tensor, ...], reason: str) -> Tensor:
    """Return the gradient; under `create_graph` its derivative raises RuntimeError.

    Parameters
    ----------
    gradient : Tensor
    depends_on : Tensor or tuple of Tensor
        What the derivative would be with respect to, or tensors that depend on all of that:
        `torch.autograd.grad` sees only what lies on a path to its inputs.
    reason : str
        Why there is no derivative, and the remedy.
    """
    if not torch.is_grad_enabled():
        return gradient
    tensors = (depends_on,) if isinstance(depends_on, Tensor) else depends_on
    return _Once.apply(gradient, reason, *tensors)


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, reason: str, *depends_on: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.reason = inputs[1]

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[None, ...]:
        raise RuntimeError(ctx.reason)
