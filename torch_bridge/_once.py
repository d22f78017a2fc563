"""Gradients that must not be differentiated again: refused aloud instead of cut in silence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torch_bridge._fields import nested_passes

__all__ = ["first_only", "once_only"]

IMPLICIT = (
    "a gradient through the steps of an implicit method can not be differentiated again; use an "
    "explicit method"
)


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


def first_only(y: Tensor, reason: str) -> Tensor:
    """Return a value whose first derivatives are right; second ones raise RuntimeError."""
    if nested_passes("Jvp") > 1:  # torch makes zeros of what passes a Function twice
        raise RuntimeError(reason)
    return _First.apply(y, reason) if torch.is_grad_enabled() else y


class _First(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, reason: str) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        y, ctx.reason = inputs
        ctx.set_materialize_grads(False)  # a tangent that is none depends on nothing
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor | None) -> tuple[Tensor | None, None]:
        return (None if y_grad is None else once_only(y_grad, *ctx.saved_tensors, ctx.reason)), None

    @staticmethod
    def jvp(ctx: Any, y_tangent: Tensor, _: Any) -> Tensor:
        return once_only(y_tangent.clone(), *ctx.saved_tensors, ctx.reason)


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, reason: str, *depends_on: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.reason, ctx.inputs = inputs[1], len(inputs)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[None, ...]:
        if gradient is not None:
            raise RuntimeError(ctx.reason)
        return (None,) * ctx.inputs

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Tensor:
        raise RuntimeError(ctx.reason)
