"""Gradients of implicit stages that are solved for without matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_bridge._fields import is_batched
from torch_bridge._one_solve import one_solve
from torch_bridge._own_derivatives import is_watched, unwatched
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
    linear = [_linearization(fun, *point) for point in points]
    return list(_Stages.apply(transposed, linear, torch.stack(stages), torch.stack(values)))


def _linearization(
    fun: Callable[[Any, Tensor], Tensor], t: float, value: Tensor, Y: Tensor
) -> Callable[[], Pull]:
    """A function that gives the transposed products at Y for one backward pass.

    What a checkpoint keeps of the value comes from a repeated forward pass for each product: there
    the value is computed again, once.
    """

    def again() -> tuple[Tensor, Tensor]:
        with torch.enable_grad(), unwatched(), one_solve(records=False):
            y = Y.detach().requires_grad_()
            return fun(t, y), y

    if is_watched():
        return lambda: _pull(*again(), again)
    return lambda: _pull(value, Y, again)


def _pull(value: Tensor, Y: Tensor, again: Callable[[], tuple[Tensor, Tensor]]) -> Pull:
    def pull(v: Tensor) -> Tensor:
        if not value.requires_grad:
            return torch.zeros_like(v)
        try:
            return torch.autograd.grad(value, Y, v, retain_graph=True, materialize_grads=True)[0]
        except RuntimeError as error:
            if not serves_once(error):
                raise
            return torch.autograd.grad(*again(), v, materialize_grads=True)[0]

    return pull


class _Stages(torch.autograd.Function):
    """Forward: the stages. Backward: from their gradients to those of the values of f."""

    @staticmethod
    def forward(
        ctx: Any,
        transposed: Any,
        linear: list[Callable[[], Pull]],
        stages: Tensor,
        values: Tensor,
    ) -> Tensor:
        ctx.transposed, ctx.linear = transposed, linear
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
            pulls = [point() for point in ctx.linear]
            return None, None, None, ctx.transposed(pulls, list(g.unbind()))
