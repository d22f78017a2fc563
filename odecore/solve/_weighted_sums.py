"""Many weighted sums of the same arrays, by products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
from array_api_compat import device, is_jax_array

from odecore._array import combiner, is_readable, limits, namespace

__all__ = ["weighted_sums"]

SMALL = 2**13  # entries in less than double precision; converting more takes as long as it saves
TOGETHER = 2**17  # entries of sums


def weighted_sums(rows: Sequence[Any], which: Sequence[int], weights: np.ndarray) -> list[Any]:
    """The sums v_0 + sum_j w_ij v_j for each i, of the arrays v in the row which[i].

    By products in double precision, rounded once, which no setting for faster products touches; on
    accelerators, for arrays of jax, and for large ones in lower precision one after another.

    Parameters
    ----------
    rows : (n,) sequence of (m + 1,) sequence of array, or array
    which : (k,) sequence of int
        In order.
    weights : (k, m) array
    """
    like = rows[0][0]
    xp, size, bits = namespace(like), prod(like.shape), limits(like).bits
    slow = bits > 64 or (bits < 64 and size > SMALL) or size == 0
    if slow or not is_readable(like) or is_jax_array(like):
        combine = combiner(like)
        return [
            combine(rows[row][0], 1.0, numbers, [*rows[row]][1:])
            for row, numbers in zip(which, weights.tolist(), strict=True)
        ]
    table: Any = rows if hasattr(rows, "shape") else xp.stack([xp.stack(row) for row in rows])
    wide = xp.complex128 if xp.isdtype(like.dtype, "complex floating") else xp.float64
    table = xp.reshape(table[: which[-1] + 1, ...], (which[-1] + 1, -1, size))
    table = xp.astype(table, wide, copy=False)
    numbers = np.concatenate([np.ones((len(weights), 1)), weights], axis=1)
    numbers = xp.asarray(numbers, dtype=wide, device=device(like))
    found: list[Any] = []
    for row, group in groupby(which):
        first, end = len(found), len(found) + sum(1 for _ in group)
        for k in range(first, end, max(1, TOGETHER // size)):
            part = numbers[k : min(end, k + max(1, TOGETHER // size)), ...]
            sums = xp.astype(xp.matmul(part, table[row, ...]), like.dtype, copy=False)
            sums = xp.reshape(sums, (-1, *like.shape))
            found += [sums[i, ...] for i in range(part.shape[0])]
    return found
