"""Tensors of any layout as dense ones that can be compared."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dense_parts"]


def dense_parts(x: Tensor) -> tuple[Tensor, ...]:
    """Dense tensors without a history that are equal where two of a kind are: indices and values of
    a sparse tensor, the components of a nested one.
    """
    x = x.detach()
    if x.is_nested:
        return tuple(x.unbind())
    if x.layout is torch.strided:
        return (x,)
    if x.layout is torch.sparse_coo:
        x = x.coalesce()
        return x.indices(), x.values()
    if x.layout in (torch.sparse_csr, torch.sparse_bsr):
        return x.crow_indices(), x.col_indices(), x.values()
    if x.layout in (torch.sparse_csc, torch.sparse_bsc):
        return x.ccol_indices(), x.row_indices(), x.values()
    return (x.to_dense(),)
