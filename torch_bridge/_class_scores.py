"""Classes and margins from the scores of a classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["classes_of", "has_class", "labels_of", "margin_of", "require_scores"]


def require_scores(output: Any) -> Tensor:
    """Raise TypeError for what a model returns unless it is one tensor of real numbers."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or not output.ndim:
        tensor = isinstance(output, Tensor)
        found = f"{tuple(output.shape)}, {output.dtype}" if tensor else type(output).__name__
        raise TypeError(
            "the model must return logits, one floating-point tensor with a row for each sample, "
            f"got {found}: put it into a Module that picks them, as output[0] or output.logits"
        )
    return output


def classes_of(output: Tensor) -> Tensor:
    scores = _scores(output)
    return (scores > 0).long() if scores.ndim == 1 else scores.argmax(1)


def has_class(output: Tensor) -> Tensor:
    """Whether the largest score is finite; others may be -inf, as of a mask."""
    scores = _scores(output)
    return torch.isfinite(scores if scores.ndim == 1 else scores.amax(1))


def margin_of(output: Tensor) -> Tensor:
    """Difference of the two largest scores; twice the score of two classes."""
    scores = _scores(output).double()
    if scores.ndim == 1:
        return 2 * scores.abs()
    top = scores.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def _scores(output: Tensor) -> Tensor:
    if output.ndim > 2:
        raise ValueError(
            "for classification the output must be (n, classes), (n, 1) or (n,), got "
            f"{tuple(output.shape)}; move the classes last and flatten the rest into samples"
        )
    return output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output


def labels_of(y: Any, output: Tensor) -> Tensor:
    """Class numbers (n,) for scores of n samples."""
    scores = _scores(output)
    classes = 2 if scores.ndim == 1 else scores.shape[1]
    try:
        given = torch.as_tensor(y, device=output.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"labels must be class numbers, got a {type(y).__name__} that is no tensor ({error}): "
            "number the classes from 0"
        ) from error
    labels = given.reshape(-1)
    if not given.is_floating_point() and not given.is_complex():
        labels = labels.long()  # as torch compares no uint16
    negative = labels.real[labels.real < 0]
    whole = not given.is_complex() and not (labels != labels.long()).any()
    if len(labels) != len(output) or not whole or len(negative):
        least = f", the smallest {negative.min().item()}" if len(negative) else ""
        raise ValueError(
            f"labels must be {len(output)} class numbers from 0, one for each sample, got a "
            f"tensor of shape {tuple(given.shape)} and dtype {given.dtype}{least}"
        )
    if (labels >= classes).any():
        raise ValueError(
            f"labels must be class numbers from 0 to {classes - 1}, of the {classes} classes that "
            f"the model tells apart; got {int(labels.max())}: where they count from 1, subtract 1"
        )
    return labels.long()
