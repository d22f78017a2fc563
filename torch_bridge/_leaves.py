"""Leaves of the graph that autograd keeps of tensors, and what hides them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from torch import Tensor

__all__ = ["edges", "hides_leaves", "reached"]


def edges(tensors: Iterable[Tensor], stops: Collection[Any] = (), /) -> Iterator[tuple[Any, int]]:
    """The edges (node, number of its output) of the graph of tensors, each once, up to stops."""
    waiting = [(x.grad_fn, x.output_nr) for x in tensors]
    seen = {*stops}
    while waiting:
        edge = waiting.pop()
        if edge[0] is not None and edge not in seen:
            seen.add(edge)
            yield edge
            waiting += edge[0].next_functions


def reached(loss: Tensor, stops: Collection[Any] = (), /) -> dict[int, Tensor]:
    """The leaves that the graph of a loss reaches, not through these edges, by their identities.

    A loss without a history is its own leaf.
    """
    if loss.grad_fn is None:
        return {id(loss): loss} if loss.requires_grad else {}
    found = (getattr(node, "variable", None) for node, _ in edges([loss], stops))
    return {id(leaf): leaf for leaf in found if leaf is not None}


def hides_leaves(tensors: Iterable[Tensor], /) -> bool:
    """Whether there is a reentrant checkpoint in the graph, whose parameters it does not show."""
    return any(node.name() == "CheckpointFunctionBackward" for node, _ in edges(tensors))
