"""Rows that count: padding takes no part in sketches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["counted", "counted_rows"]

#: Masks that are in force, the innermost last: a list, whose length compilers watch.
_masks: list[Tensor] = []


@contextmanager
def counted_rows(mask: Tensor) -> Iterator[None]:
    """Sketch only rows that count, in all sketched layers that run inside.

    Parameters
    ----------
    mask : (...) Tensor of bool
        Which rows count: False for padding. It holds for layers whose input has as many rows,
        such as (..., N); layers with another number of rows sketch them all.

    Raises
    ------
    TypeError
        If the mask is not a tensor of bool.

    Notes
    -----
    The weight gradient is then that of the rows that count. It is the whole one if the loss does
    not depend on the others, whose gradients are 0 and would only be drawn in vain. Where
    activations are checkpointed, run the backward pass inside as well, for it runs layers again.
    Compiled regions can not count rows, and raise RuntimeError.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import SketchedLinear
    >>> layer = SketchedLinear(6, 4, ratio=0.5)
    >>> tokens = torch.tensor([[5, 7, 0, 0], [3, 2, 4, 0]])
    >>> with counted_rows(tokens != 0):
    ...     y = layer(torch.randn(2, 4, 6))
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"`mask` must be a tensor of bool, got {found}; say tokens != padding")
    _masks.append(mask)
    try:
        yield
    finally:
        _masks.pop()


def counted(rows: int) -> Tensor | None:
    """The int32 indices of those of the rows that count; None where all do."""
    if not _masks or _masks[-1].numel() != rows:
        return None
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "the number of rows that count is not known to a compiler: leave torch.compile or "
            "`counted_rows` out"
        )
    return _masks[-1].reshape(-1).nonzero()[:, 0].to(torch.int32)
