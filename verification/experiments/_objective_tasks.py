"""Several losses at once: overlaid pairs of digits, and digits of unequal numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from verification._digits import digits, overlaid

__all__ = ["CLASSES", "Imbalanced", "Model", "Pairs", "Side", "class_counts"]

CLASSES = 10
HELD = 20  # images of each class that choose the rate
Side = tuple[Tensor, Tensor]  # images (n, pixels), labels (n, heads)
Sides = tuple[Side, Side, Side]  # training, validation, test


class Model(nn.Module):
    """A trunk of two layers that is shared, and heads of one layer."""

    def __init__(self, pixels: int, heads: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(pixels, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(32, CLASSES) for _ in range(heads))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of each head."""
        z = self.trunk(x)
        return [head(z) for head in self.heads]


@dataclass(frozen=True)
class Pairs:
    """Left and right digit of overlaid pairs, the protocol of MultiMNIST, one loss scaled.

    Parameters
    ----------
    kappa : float
        Factor of the left digit's loss for the trunk; each head gets its own loss unscaled.
    """

    kappa: float = 1.0
    steps: int = 500
    batch: int = 128
    count: int = 4000
    heads = 2

    def data(self, seed: int) -> Sides:
        """The images of each side are always the same, their pairs come from the seed."""
        rng = np.random.default_rng(seed)
        train, held, test = _images()
        return (
            overlaid(*train, self.count, rng),
            overlaid(*held, 1000, rng),
            overlaid(*test, 1000, rng),
        )

    def losses(self, outputs: list[Tensor], labels: Tensor) -> list[Tensor]:
        """Cross entropy of each head, unscaled."""
        return [cross_entropy(y, labels[:, k]) for k, y in enumerate(outputs)]


@dataclass(frozen=True)
class Imbalanced:
    """Digits whose numbers fall geometrically from class to class, a loss for each class.

    Parameters
    ----------
    ratio : float
        Of the most frequent class to the rarest.
    """

    ratio: float = 100.0
    steps: int = 400
    batch: int | None = None
    heads = 1

    def data(self, seed: int) -> Sides:
        """The seed draws the training images, and which digit is how frequent.

        Labels are ranks: 0 is the most frequent class.
        """
        rng = np.random.default_rng(seed)
        rank = torch.from_numpy(rng.permutation(CLASSES))
        train, held, test = ((x, rank[y]) for x, y in _images())
        x, y = train
        chosen = []
        for k, count in enumerate(class_counts(y, self.ratio)):
            members = (y[:, 0] == k).nonzero()[:, 0].numpy()
            chosen += rng.permutation(members)[:count].tolist()
        return (x[chosen], y[chosen]), held, test

    def losses(self, outputs: list[Tensor], labels: Tensor) -> list[Tensor]:
        """Mean cross entropy over the images of each class."""
        each = cross_entropy(outputs[0], labels[:, 0], reduction="none")
        return [each[labels[:, 0] == k].mean() for k in range(CLASSES)]


def class_counts(labels: Tensor, ratio: float) -> list[int]:
    """Images of each class: at first as many as every class has, at last a part 1/ratio of them."""
    most = int(torch.bincount(labels[:, 0]).min())
    return [max(1, round(most * ratio ** (-k / (CLASSES - 1)))) for k in range(CLASSES)]


def _images() -> Sides:
    """Three disjoint sets of images, the first two from the training side."""
    found = digits()
    x, y = found.train_x, found.train_y
    held = torch.zeros(len(y), dtype=torch.bool)
    for k in range(CLASSES):
        held[(y[:, 0] == k).nonzero()[:HELD, 0]] = True
    return (x[~held], y[~held]), (x[held], y[held]), (found.test_x, found.test_y)
