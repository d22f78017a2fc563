"""scikit-learn's handwritten digits, one by one and as overlaid pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

__all__ = ["Data", "digit_pairs", "digits", "overlaid"]

SPLIT_SEED = 0
OVERLAP = 3  # columns that the two digits of a pair share


@dataclass(frozen=True)
class Data:
    """Inputs (n, pixels) in [0, 1] and labels (n, tasks), split once and for all."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def digits() -> Data:
    """Load the 1,797 images of 8 x 8 pixels, 80 % for training, the same split every time."""
    found = load_digits()
    images = found.images.astype(np.float32) / 16
    split = train_test_split(
        images, found.target, test_size=0.2, random_state=SPLIT_SEED, stratify=found.target
    )
    train_x, test_x, train_y, test_y = map(torch.from_numpy, split)
    return Data(train_x.flatten(1), train_y[:, None], test_x.flatten(1), test_y[:, None])


def digit_pairs(train: int, test: int) -> Data:
    """Overlay random pairs, the left digit's last columns on the right digit's first.

    The protocol of MultiMNIST: the brighter pixel shows. Train and test pairs are made from the
    train and test images of `digits`.
    """
    single = digits()
    rng = np.random.default_rng(SPLIT_SEED)

    return Data(
        *overlaid(single.train_x, single.train_y, train, rng),
        *overlaid(single.test_x, single.test_y, test, rng),
    )


def overlaid(
    x: Tensor, y: Tensor, count: int, rng: np.random.Generator, /
) -> tuple[Tensor, Tensor]:
    """Random pairs of images (n, 64) with labels (n, 1); labels of the pairs are (count, 2)."""
    left, right = (torch.from_numpy(rng.integers(0, len(x), count)) for _ in range(2))
    canvas = torch.zeros(2, count, 8, 16 - OVERLAP)
    canvas[0, :, :, :8] = x[left].reshape(-1, 8, 8)
    canvas[1, :, :, 8 - OVERLAP :] = x[right].reshape(-1, 8, 8)
    return canvas.amax(0).flatten(1), torch.cat([y[left], y[right]], dim=1)
