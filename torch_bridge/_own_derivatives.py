"""Derivatives that a solve takes itself: a checkpoint around it does not see them.

To what they keep, it would repeat its whole region for each of them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

__all__ = ["is_watched", "unwatched"]


def unwatched() -> AbstractContextManager[None]:
    """Context in which autograd keeps what it saves, whatever hooks there are around.

    Where there are none it does nothing, since torch.func, which a function may use, takes no hooks
    around it. What is saved loses its history, which autograd puts back: a value of the graph would
    hold the graph, which holds it.
    """
    return saved_tensors_hooks(Tensor.detach, lambda x: x) if is_watched() else nullcontext()


def is_watched() -> bool:
    """Whether somebody, such as a checkpoint, keeps what autograd saves elsewhere."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
