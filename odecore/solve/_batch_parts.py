"""Samples that are not done, taken out of a batch and put back."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from odecore.solve._batch import Batch, take_rows
from odecore.solve._status import Status

__all__ = ["run"]

KEPT = (
    "t", "h", "rejects", "accepted", "rejected", "forced", "active", "status", "next", "samples",
)  # fmt: skip


def run(batch: Batch, attempts: int, shrink: bool, report: Any = None) -> None:
    """Step until all samples are done, or have used up their attempts.

    Parameters
    ----------
    batch : Batch
        Started.
    attempts : int
    shrink : bool
        Whether to go on with the rest alone once half of the samples are done.
    report : callable, optional
        Called with the time of the slowest sample.
    """
    for left in range(attempts, 0, -1):
        count = int(batch.active.sum())
        if count == 0:
            break
        if shrink and 2 * count <= len(batch.active):
            rows = np.flatnonzero(batch.active)
            part = _part(batch, rows)
            run(part, left, shrink, report)
            _put_back(batch, rows, part)
            return
        batch.step()
        if report is not None:
            report(batch.slowest)
    batch.fail(batch.active, Status.MAX_STEPS)


def _part(batch: Batch, rows: np.ndarray) -> Batch:
    """A batch of some of the samples, which records with the whole."""
    part = copy(batch)
    for name in KEPT:
        setattr(part, name, getattr(batch, name)[rows])
    part.ratios = batch.ratios[:, rows]
    part.evaluations = 0
    part.y, part.slope = take_rows(batch.y, rows), take_rows(batch.slope, rows)
    part.args = tuple(take_rows(x, rows) for x in batch.args)
    control, n = batch.controller, len(batch.t)

    def tolerance(x: Any) -> Any:
        has_rows = hasattr(x, "shape") and len(x.shape) == len(batch.y.shape) and x.shape[0] == n
        return take_rows(x, rows) if has_rows else x

    part.controller = replace(control, rtol=tolerance(control.rtol), atol=tolerance(control.atol))
    return part


def _put_back(batch: Batch, rows: np.ndarray, part: Batch) -> None:
    """Replace samples by what became of them."""
    for name in KEPT:
        getattr(batch, name)[rows] = getattr(part, name)
    batch.evaluations += part.evaluations
