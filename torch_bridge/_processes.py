"""What the processes of torch.distributed share of several losses."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["averaged", "processes", "require_alike"]


def processes() -> int:
    """How many processes torch.distributed has joined."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return int(torch.distributed.get_world_size()) if ready else 1


def require_alike(losses: int, parameters: int, device: torch.device) -> None:
    """ValueError, on all processes, unless all have so many; else their sums would never meet."""
    mine = torch.tensor([losses, parameters], device=device)
    found = torch.cat([mine, -mine])
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    most, least = found[:2].tolist(), (-found[2:]).tolist()
    if most != least:
        raise ValueError(
            f"all processes must have as many losses, got {least[0]} to {most[0]}, and parameters "
            f"that require a gradient, got {least[1]} to {most[1]}: give a task that a batch lacks "
            "as a zero, 0 * features.sum(), or synchronize=False where models differ"
        )


def averaged(losses: Iterable[Tensor], *, synchronize: bool) -> list[Tensor]:
    """Values of the losses, over the processes where there are several, as `Rows.synchronize`."""
    values = [loss.detach().sum() for loss in losses]
    count = processes()
    if not synchronize or count == 1:
        return values
    total = torch.stack([value.to(values[0].device) for value in values])
    torch.distributed.all_reduce(total)
    return list(total / count)
