"""Projected gradient descent, the reference attack of tests and experiments (arXiv 1706.06083)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torch_bridge import Attack

__all__ = ["pgd"]


def pgd(
    eps: float,
    steps: int,
    step_size: float,
    seed: int | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
) -> Attack:
    """Ascend the cross entropy by signs of gradients, in the ball of the largest entry.

    Between low and high, from a random point of the ball where a seed is given.
    """

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = x.clone()
        if seed is not None:
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
            x_adv = (x + eps * (2 * noise - 1)).clamp(low, high)
        for _ in range(steps):
            x_adv.requires_grad_()
            loss = cross_entropy(model(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            moved = x_adv.detach() + step_size * gradient.sign()
            x_adv = torch.minimum(torch.maximum(moved, x - eps), x + eps).clamp(low, high)
        return x_adv

    return Attack(run, eps, steps=steps, step_size=step_size, low=low, high=high)
