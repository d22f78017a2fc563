"""Real images and generated signals for networks: inputs (n, channels, ...) and labels (n,)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from verification._digits import digits

__all__ = ["DATA", "Labelled", "handwritten", "signals"]


@dataclass(frozen=True)
class Labelled:
    """A training and a test set."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def dimensions(self) -> int:
        """Axes after the channels."""
        return self.train_x.ndim - 2


def handwritten() -> Labelled:
    """scikit-learn's digits, 1,437 images of 8 x 8 pixels to train and 360 to test."""
    found = digits()
    train_x, test_x = (2 * x.reshape(-1, 1, 8, 8) - 1 for x in (found.train_x, found.test_x))
    return Labelled(train_x, found.train_y[:, 0], test_x, found.test_y[:, 0])


def signals() -> Labelled:
    """MNIST-1D (arXiv 2011.14439), 4,000 signals of length 40 to train and 1,000 to test.

    Generated, always the same: nothing is downloaded. The package seeds the global generators,
    which are put back.
    """
    from mnist1d.data import get_dataset_args, make_dataset

    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        found = make_dataset(get_dataset_args())
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
    x = [torch.from_numpy(found[k]).float()[:, None] for k in ("x", "x_test")]
    y = [torch.from_numpy(found[k]).long() for k in ("y", "y_test")]
    return Labelled(x[0], y[0], x[1], y[1])


DATA = {"digits": handwritten, "mnist1d": signals}
