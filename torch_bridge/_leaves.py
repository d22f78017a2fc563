"""Leaves of the graph that autograd keeps of a loss."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor

__all__ = ["reached"]


def reached(loss: Tensor, stops: Collection[Any] = (), /) -> dict[int, Tensor]:
    """The leaves that the graph of a loss reaches, not through these edges, by their identities."""
    waiting: list[Any] = [] if loss.grad_fn is None else [(loss.grad_fn, loss.output_nr)]
    seen = set(waiting)
    leaves: dict[int, Tensor] = {}
    while waiting:
        edge = waiting.pop()
        if edge in stops:
            continue
        leaf = getattr(edge[0], "variable", None)
        if leaf is not None:
            leaves[id(leaf)] = leaf
        new = [e for e in edge[0].next_functions if e[0] is not None and e not in seen]
        seen.update(new)
        waiting += new
    return leaves
