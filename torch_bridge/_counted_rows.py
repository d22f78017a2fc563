"""Rows that count: padding takes no part in sketches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

import torch
from torch import Tensor

from torch_bridge._draws import in_backward

__all__ = ["counted", "counted_rows", "mask_in_force"]

#: Masks that are in force with their threads: a list, whose length compilers watch.
_masks: list[tuple[int, Tensor]] = []


@contextmanager
def counted_rows(mask: Tensor) -> Iterator[None]:
    """Sketch only rows that count, in all sketched layers that run inside, in this thread.

    Parameters
    ----------
    mask : (...) Tensor of bool
        Which rows count: False for padding. It holds for layers whose input is (..., N) with these
        very dimensions; others sketch all their rows. For layers that read (batch * tokens, N) give
        a flat mask; for convolutions one of (batch, H', W'), the pixels that the stride leaves.

    Raises
    ------
    TypeError
        If the mask is not a tensor of bool.

    Notes
    -----
    The weight gradient is then that of the rows that count. It is the whole one if the loss does
    not depend on the others, whose gradients are 0 and would only be drawn in vain. Where
    activations are checkpointed, run the backward pass inside as well, for it runs layers again.
    Under torch.compile layers run uncompiled inside or, with fullgraph=True, raise RuntimeError.

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
    entry = (get_ident(), mask)
    _masks.append(entry)
    try:
        yield
    finally:
        for k in reversed(range(len(_masks))):
            if _masks[k] is entry:
                del _masks[k]
                break


def mask_in_force() -> Tensor | None:
    """The innermost mask of this thread; a backward pass in a thread without one takes any."""
    if not _masks:
        return None
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "the number of rows that count is not known to a compiler: leave torch.compile or "
            "`counted_rows` out"
        )
    own = get_ident()
    mine = [mask for ident, mask in _masks if ident == own]
    if mine:
        return mine[-1]
    return _masks[-1][1] if in_backward() else None


def counted(leading: tuple[int, ...]) -> Tensor | None:
    """The int32 indices of those rows of an input (..., N) that count; None where all do."""
    mask = mask_in_force()
    if mask is None or tuple(mask.shape) != tuple(leading):
        return None
    return mask.reshape(-1).nonzero()[:, 0].to(torch.int32)
