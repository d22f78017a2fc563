"""Gradients that must not be differentiated again: refused aloud instead of cut in silence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["once_only"]


def once_only(gradient: Tensor, depends_on: Tensor, reason: str) -> Tensor:
    """Return the gradient; under `create_graph` its derivative raises RuntimeError.

    Parameters
    ----------
    gradient : Tensor
    depends_on : Tensor
        Something that requires a gradient, so that the result is part of the graph.
    reason : str
        Why there is no derivative, and the remedy.
    """
    return _Once.apply(gradient, depends_on, reason) if torch.is_grad_enabled() else gradient


class _Once(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, depends_on: Tensor, reason: str) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.reason = inputs[2]

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[None, ...]:
        raise RuntimeError(ctx.reason)
