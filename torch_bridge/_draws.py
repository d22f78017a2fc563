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


def draw(sketch: str, size: int, like: Tensor) -> Tensor:
    """Draw for a matrix (B, N): row indices (p,), or for "gaussian" the dense S^T (p, B)."""
    rows = like.shape[0]
    if sketch == "uniform":
        return torch.randperm(rows, device=like.device)[:size]
    return torch.randn((size, rows), dtype=like.dtype, device=like.device) / sqrt(size)


def project(drawn: Tensor, matrix: Tensor) -> Tensor:
    """S^T matrix, without the scale sqrt(B/p) that kept rows carry."""
    return matrix[drawn] if drawn.ndim == 1 else drawn @ matrix
