"""Random draws of sketches on a layer's own device, as tensors that a backward pass can keep."""

from __future__ import annotations

from math import ceil, sqrt

import torch
from torch import Tensor

__all__ = ["SKETCHES", "draw", "project", "sketch_size"]

SKETCHES = ("uniform", "gaussian")


def sketch_size(rows: int, ratio: float) -> int:
    """Return p = ceil(ratio rows), between 1 and the number of rows."""
    # The slack keeps ceil(0.2 * 5), which is 1.0000000000000002 in floats, at one row.
    return min(rows, max(1, ceil(ratio * rows * (1 - 1e-12))))


def draw(sketch: str, size: int, like: Tensor, layer: Tensor) -> Tensor:
    """Draw for a matrix (B, N): row indices (p,), or for "gaussian" the dense S^T (p, B).

    A compiler may draw random numbers again in the backward pass rather than keep them, so that
    the two passes see different sketches and the gradient is biased. Inside a compiled region the
    draw is therefore an operator of its own, which can not be recomputed. Nor may the draws of two
    layers be merged into one: they differ in the argument `layer`, the weight.
    """
    if torch.compiler.is_compiling():
        operator = _drawn_rows if sketch == "uniform" else _drawn_normal
        return operator(like.detach(), layer.detach(), size)
    return _rows(like, size) if sketch == "uniform" else _normal(like, size)


def project(drawn: Tensor, matrix: Tensor) -> Tensor:
    """S^T matrix, without the scale sqrt(B/p) that kept rows carry."""
    return matrix.index_select(0, drawn) if drawn.ndim == 1 else drawn @ matrix


def _rows(like: Tensor, size: int) -> Tensor:
    # Converted, hence copied: a slice would keep the storage of the whole permutation alive.
    return torch.randperm(like.shape[0], device=like.device)[:size].to(torch.int32)


def _normal(like: Tensor, size: int) -> Tensor:
    shape = (size, like.shape[0])
    return torch.randn(shape, dtype=like.dtype, device=like.device) / sqrt(size)


_TAGS = (torch.Tag.nondeterministic_seeded,)


@torch.library.custom_op("torch_bridge::drawn_rows", mutates_args=(), tags=_TAGS)
def _drawn_rows(like: Tensor, layer: Tensor, size: int) -> Tensor:
    return _rows(like, size)


@torch.library.custom_op("torch_bridge::drawn_normal", mutates_args=(), tags=_TAGS)
def _drawn_normal(like: Tensor, layer: Tensor, size: int) -> Tensor:
    return _normal(like, size)


@_drawn_rows.register_fake
def _(like: Tensor, layer: Tensor, size: int) -> Tensor:
    return like.new_empty(size, dtype=torch.int32)


@_drawn_normal.register_fake
def _(like: Tensor, layer: Tensor, size: int) -> Tensor:
    return like.new_empty((size, like.shape[0]))
