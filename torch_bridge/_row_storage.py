"""Rows kept in fewer bits: rounded up or down at random, so that their mean is what they were."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["decoded", "encoded", "require_storage"]

LARGEST = 127  # of int8; -128 is left out


def require_storage(storage: torch.dtype | None) -> None:
    """Raise ValueError unless rows can be stored in this dtype."""
    if not any(storage is dtype for dtype in (None, torch.bfloat16, torch.int8)):
        raise ValueError(
            "`storage` must be None, torch.bfloat16 or torch.int8, got "
            f"{storage!r}; None keeps rows as they are"
        )


def encoded(
    rows: Tensor, storage: torch.dtype | None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor | None]:
    """Rows (p, N) in the dtype of their storage, and the scale (p, 1) of each where it has one.

    bfloat16 keeps 8 bits of the significand, int8 multiples of 1/127 of the largest entry of each
    row. An entry between two neighbours becomes either, with the probabilities that make its mean
    exact, up to the resolution of the random numbers (2^-16 of a gap, in float64 less).
    """
    if storage is None or rows.element_size() <= torch.empty((), dtype=storage).element_size():
        return rows, None
    if storage == torch.bfloat16:
        return _bfloat16(rows, generator), None
    rows = rows if rows.dtype == torch.float64 else rows.float()
    largest = rows.abs().amax(1, keepdim=True) if rows.shape[1] else rows.new_zeros(len(rows), 1)
    scale = torch.where(largest == 0, 1.0, largest) / LARGEST  # keeps NaN
    shift = torch.empty_like(rows).uniform_(generator=generator)
    codes = (rows / scale + shift).floor().clamp(-LARGEST, LARGEST)
    return codes.to(torch.int8), scale


def decoded(rows: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What was encoded, in another dtype."""
    return rows.to(dtype) if scale is None else (rows.to(scale.dtype) * scale).to(dtype)


def _bfloat16(rows: Tensor, generator: torch.Generator | None) -> Tensor:
    # bfloat16 is the upper half of float32: a carry out of the lower half rounds up.
    wide = rows.dtype == torch.float64
    bits = rows.view(torch.int64) if wide else rows.float().view(torch.int32)
    below = 1 << (45 if wide else 16)
    if generator is None:
        noise = torch.randint_like(bits, below)
    else:
        noise = torch.empty_like(bits).random_(0, below, generator=generator)
    bits = (bits + noise) & -below
    rounded = bits.view(torch.float64 if wide else torch.float32)
    return torch.where(rows.isfinite(), rounded, rows).to(torch.bfloat16)
