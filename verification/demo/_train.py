"""One training run and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from torch_bridge import apply, equiangular_backward, plan
from torch_bridge import saved_bytes as bytes_of
from verification._digits import Data
from verification.demo._rows import Classifier, Row

__all__ = ["Run", "saved_bytes", "train"]

BATCH = 64
LEARNING_RATE = 1.5e-2


@dataclass(frozen=True)
class Run:
    """What one training run gave.

    Parameters
    ----------
    accuracy : float
        On the test set, the mean over the tasks.
    curve : tuple of float
        Test accuracy after each epoch.
    forward, backward : int
        Evaluations of the right-hand side in one training step.
    saved : int
        Bytes that the backward pass of one training step keeps, parameters not counted.
    seconds : float
        Time spent in training steps.
    weights : dict
        The state_dict of the trained model, as NumPy arrays.
    warned : tuple of str
        Warnings of the library while training, each text once.
    """

    accuracy: float
    curve: tuple[float, ...]
    forward: int
    backward: int
    saved: int
    seconds: float
    weights: dict[str, Any]
    warned: tuple[str, ...] = ()


def train(model: Classifier, row: Row, data: Data, *, epochs: int, seed: int) -> Run:
    """Train with Adam and a cosine schedule, on batches drawn from the seed."""
    if row.budget is not None:
        first = data.train_x[:BATCH], data.train_y[:BATCH]
        apply(plan(model, first[0], budget=row.budget, loss=partial(_loss, labels=first[1])))
    batches = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    per_epoch = len(data.train_x) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch)
    curve = []
    seconds = 0.0
    for _ in range(epochs):
        model.train()
        start = time.perf_counter()
        order = torch.randperm(len(data.train_x), generator=batches)
        for k in range(per_epoch):
            index = order[k * BATCH : (k + 1) * BATCH]
            step(model, row, data.train_x[index], data.train_y[index], optimizer)
            schedule.step()
        seconds += time.perf_counter() - start
        curve.append(accuracy(model, data.test_x, data.test_y))
    x, y = data.train_x[:BATCH], data.train_y[:BATCH]
    forward, backward = evaluations(model, row, x, y)
    saved = saved_bytes(model, x, y)
    weights = {name: value.numpy(force=True) for name, value in model.state_dict().items()}
    return Run(curve[-1], tuple(curve), forward, backward, saved, seconds, weights)


def losses(model: Classifier, x: Tensor, y: Tensor) -> list[Tensor]:
    """Cross entropy of each task."""
    return _losses(model(x), y)


def _losses(logits: list[Tensor], y: Tensor) -> list[Tensor]:
    return [cross_entropy(z, labels) for z, labels in zip(logits, y.unbind(1), strict=True)]


def _loss(logits: list[Tensor], _: Any, labels: Tensor) -> Tensor:
    return torch.stack(_losses(logits, labels)).sum()


def step(
    model: Classifier, row: Row, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """One optimizer step on one batch."""
    optimizer.zero_grad()
    backward(model, row, losses(model, x, y))
    optimizer.step()


def backward(model: Classifier, row: Row, found: list[Tensor]) -> None:
    """Sum, or equiangular direction."""
    if row.equiangular:
        equiangular_backward(found, model.parameters())
    else:
        sum(found[1:], found[0]).backward()


@torch.no_grad()
def accuracy(model: Classifier, x: Tensor, y: Tensor) -> float:
    """Share of right answers, the mean over the tasks."""
    model.eval()
    answers = torch.stack([z.argmax(1) for z in model(x)], dim=1)
    return float((answers == y).float().mean())


def evaluations(model: Classifier, row: Row, x: Tensor, y: Tensor) -> tuple[int, int]:
    """Calls of the right-hand side in the forward and in the backward pass of one step."""
    model.train()
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    with model.field.register_forward_hook(count):
        found = losses(model, x, y)
        forward = calls
        backward(model, row, found)
    model.zero_grad()
    return forward, calls - forward


def saved_bytes(model: Classifier, x: Tensor, y: Tensor) -> int:
    """Bytes kept for the backward pass: each storage once, parameters and the batch excluded."""
    model.train()
    return bytes_of(lambda: losses(model, x, y), besides=[*model.parameters(), x, y])
