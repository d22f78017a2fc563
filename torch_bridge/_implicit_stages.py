"""Gradients of implicit stages that are solved for without matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_bridge._fields import is_batched
from torch_bridge._products import serves_once

__all__ = ["differentiated_stages"]

Pull = Callable[[Tensor], Tensor]


def differentiated_stages(
    fun: Callable[[Any, Tensor], Tensor],
    times: list[float],
    states: list[Tensor],
    stages: list[Tensor],
    transposed: Callable[[list[Pull], list[Tensor]], Tensor],
) -> list[Tensor]:
    """The stages, with the gradient of the implicit function; see `odecore.solve.Newton`.

    The graph that autograd goes through is also what its transposed products are taken from.
    """
    if not torch.is_grad_enabled():
        return stages
    states = [Y if Y.requires_grad else Y.detach().requires_grad_() for Y in states]
    values = [fun(t, Y) for t, Y in zip(times, states, strict=True)]
    points = zip(times, values, states, strict=True)
    pulls = [_pull(fun, t, value, Y) for t, value, Y in points]
    return list(_Stages.apply(transposed, pulls, torch.stack(stages), torch.stack(values)))


def _pull(fun: Callable[[Any, Tensor], Tensor], t: float, value: Tensor, Y: Tensor) -> Pull:
    def pull(v: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros_like(v)
        try:
            (found,) = torch.autograd.grad(value, Y, v, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if not serves_once(error):
                raise
            with torch.enable_grad():
                y = Y.detach().requires_grad_()
                (found,) = torch.autograd.grad(fun(t, y), y, v, allow_unused=True)
        return torch.zeros_like(v) if found is None else found

    return pull


class _Stages(torch.autograd.Function):
    """Forward: the stages. Backward: from their gradients to those of the values of f."""

    @staticmethod
    def forward(
        ctx: Any, transposed: Any, pulls: list[Pull], stages: Tensor, values: Tensor
    ) -> Tensor:
        ctx.transposed, ctx.pulls = transposed, pulls
        return stages.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        if is_batched(g):
            raise RuntimeError(
                "gradients through implicit steps of large states are solved for one at a time: "
                "leave out `is_grads_batched` and `vectorize`, and take chunk=1"
            )
        if not bool(g.isfinite().all()):
            return None, None, None, g * float("nan")
        with torch.no_grad():
            return None, None, None, ctx.transposed(ctx.pulls, list(g.unbind()))
