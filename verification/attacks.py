"""Projected gradient descent, the reference attack of tests and experiments (arXiv 1706.06083)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torch_bridge import Attack

__all__ = ["pgd"]


def pgd(eps: float, steps: int, step_size: float, seed: int | None = None) -> Attack:
    """Ascend the cross entropy by signs of gradients, in the ball of the largest entry in [0, 1].

    From a random point of the ball where a seed is given.
    """

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = x.clone()
        if seed is not None:
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
            x_adv = (x + eps * (2 * noise - 1)).clamp(0, 1)
        for _ in range(steps):
            x_adv.requires_grad_()
            loss = cross_entropy(model(x_adv), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            moved = x_adv.detach() + step_size * gradient.sign()
            x_adv = torch.minimum(torch.maximum(moved, x - eps), x + eps).clamp(0, 1)
        return x_adv

    return Attack(run, eps, steps=steps, step_size=step_size, low=0.0, high=1.0)
