"""What is trained: a classifier of handwritten digits, and a density by a continuous flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from verification._digits import digits

__all__ = ["TASKS", "Density", "Digits", "Task"]

Solve = Callable[[nn.Module, Tensor, Tensor], Tensor]
TIMES = torch.tensor([0.0, 1.0])


class _Layers(nn.Module):
    """Two layers and a tanh, with the time as an input."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.clock = nn.Parameter(torch.zeros(hidden))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate."""
        return self.outer(torch.tanh(self.inner(y) + t * self.clock))


class Digits(nn.Module):
    """Linear stem, neural ODE, linear head; the loss is the cross entropy."""

    def __init__(self, width: int = 16, hidden: int = 64) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.field = _Layers(width, hidden)

    def forward(self, solve: Solve, x: Tensor) -> Tensor:
        """The loss on images (n, 64) with their label as last column."""
        y = solve(self.field, self.stem(x[:, :-1]), TIMES)[-1]
        return cross_entropy(self.head(y), x[:, -1].long())


class _Divergence(nn.Module):
    """A field on the plane beside its divergence, exactly: states (n, 3)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = _Layers(2, hidden)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate; the last column is minus the divergence."""
        layers = self.layers
        active = torch.tanh(layers.inner(y[:, :2]) + t * layers.clock)
        products = (layers.inner.weight * layers.outer.weight.T).sum(1, keepdim=True)
        return torch.cat([layers.outer(active), (active.square() - 1) @ products], dim=1)


class Density(nn.Module):
    """A continuous normalizing flow from data to a normal distribution; the loss is -log p."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.field = _Divergence(hidden)

    def log_density(self, solve: Solve, x: Tensor) -> Tensor:
        """Log p at points (n, 2): log N(0, 1) where the flow ends, plus the integral of div f."""
        start = torch.cat([x, torch.zeros_like(x[:, :1])], dim=1)
        end = solve(self.field, start, TIMES)[-1]
        return -0.5 * end[:, :2].square().sum(1) - math.log(2 * math.pi) - end[:, 2]

    def forward(self, solve: Solve, x: Tensor) -> Tensor:
        """The mean of -log p."""
        return -self.log_density(solve, x).mean()


@dataclass(frozen=True)
class Task:
    """A model, its data and how long it is trained.

    Parameters
    ----------
    name : str
    model : callable
        Makes the module, whose call `model(solve, x)` is the loss.
    data : callable
        Training and test set, each (n, ...).
    batch, steps : int
    rate : float
        Of Adam, at the start of a cosine schedule.
    """

    name: str
    model: Callable[[], Any]
    data: Callable[[], tuple[Tensor, Tensor]]
    batch: int
    steps: int
    rate: float


def _labelled_digits() -> tuple[Tensor, Tensor]:
    found = digits()
    pairs = (found.train_x, found.train_y), (found.test_x, found.test_y)
    train, test = (torch.cat([x, y.to(x.dtype)], dim=1) for x, y in pairs)
    return train, test


def _moons() -> tuple[Tensor, Tensor]:
    """Two half circles with noise, centred, in units of their spread."""
    x = make_moons(6000, noise=0.05, random_state=0)[0].astype(np.float32)
    x = torch.from_numpy((x - x.mean(0)) / x.std(0))
    return x[:4000], x[4000:]


TASKS = (
    Task("digits", Digits, _labelled_digits, 64, 300, 1e-2),
    Task("density", Density, _moons, 256, 400, 2e-2),
)
