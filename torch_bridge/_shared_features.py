"""Gradients of several losses through features that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torch_bridge._hooks import gradients_after_hooks, hooks_suspended
from torch_bridge._leaves import edges, reached
from torch_bridge._listed import listed_tensors
from torch_bridge._objective_rows import (
    Row,
    check_row,
    differentiated,
    naming_cause,
    naming_limits_of_vmap,
)

__all__ = ["checked_features", "heads_only", "through"]


def checked_features(shared: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Features, each once; they must have been computed from something, none from another.

    Autograd's gradient at a feature includes what passes through those computed from it, which
    would count twice.
    """
    features = (shared,) if isinstance(shared, Tensor) else listed_tensors(shared, "shared")
    if not features:
        raise ValueError(
            "`shared` must hold at least one tensor of features, got none; without features leave "
            "it and `gramian` out"
        )
    for k, z in enumerate(features):
        if z.grad_fn is None:
            raise ValueError(
                "`shared` must hold features that were computed from the parameters; "
                f"shared[{k}] has no history: do not detach it"
            )
    return _independent(features)


def _independent(features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    places: dict[Any, int] = {}
    for k, z in enumerate(features):
        places.setdefault((z.grad_fn, z.output_nr), k)
    below = (e for node, _ in edges(features) for e in node.next_functions)
    if len(places) > 1 and not places.keys().isdisjoint(below):  # which ones, feature by feature
        _refuse_dependent(features, places)
    return tuple(features[k] for k in places.values())


def _refuse_dependent(features: tuple[Tensor, ...], places: dict[Any, int]) -> None:
    for k in places.values():
        for edge in edges([features[k]]):
            inner = places.get(edge, k)
            if inner != k:
                raise ValueError(
                    "`shared` must hold features of which none is computed from another; "
                    f"shared[{k}] is from shared[{inner}]: leave shared[{k}] out, for losses reach "
                    f"shared[{inner}] through it, or, if it has parameters of its own between, "
                    "leave out `shared`"
                )


def heads_only(
    losses: Sequence[Tensor],
    features: tuple[Tensor, ...],
    own: tuple[Tensor, ...],
    parameters: tuple[Tensor, ...],
    *,
    retain_graph: bool,
) -> tuple[list[Row], list[Row]]:
    """Gradients down to the features, after their hooks, and to each loss's own parameters."""
    _check_no_way_around(losses, features, parameters)
    _check_hooks(features, own)
    rows = differentiated(losses, (*features, *own), retain_graph=retain_graph)
    count = len(features)
    for i, row in enumerate(rows):
        if all(g is None for g in row[:count]):
            raise ValueError(f"losses[{i}] depends on none of the features in `shared`")
    return [row[:count] for row in rows], [row[count:] for row in rows]


def through(
    features: tuple[Tensor, ...],
    rows: Sequence[Row],
    parameters: Sequence[Tensor | GradientEdge],
    *,
    retain_graph: bool,
    chunk: int = 1,
) -> list[Row]:
    """Pull gradients at the features back to the parameters, `chunk` rows in one pass by vmap.

    They have passed the features' hooks already.
    """
    found: list[Row] = []
    for start in range(0, len(rows), chunk):
        some = rows[start : start + chunk]
        keep = retain_graph or start + chunk < len(rows)
        columns = [
            [torch.zeros_like(z) if row[k] is None else row[k] for row in some]
            for k, z in enumerate(features)
        ]
        one = len(some) == 1
        limits = nullcontext() if one else naming_limits_of_vmap()
        with naming_cause("`shared`"), limits, hooks_suspended(features):
            grads = gradients_after_hooks(
                features,
                parameters,
                [c[0] if one else torch.stack(c) for c in columns],
                retain_graph=keep,
                allow_unused=True,
                is_grads_batched=not one,
            )
        check_row(grads, "`shared`")
        if all(g is None for g in grads):
            raise ValueError("`shared` depends on none of the `parameters`")
        found += [
            grads if one else tuple(g if g is None else g[i] for g in grads)
            for i in range(len(some))
        ]
    return found


def _check_no_way_around(
    losses: Sequence[Tensor], features: tuple[Tensor, ...], parameters: tuple[Tensor, ...]
) -> None:
    """Refuse a loss that reaches a shared parameter without going through the features."""
    stops = {(z.grad_fn, z.output_nr) for z in features}
    for i, loss in enumerate(losses):
        found = reached(loss, stops)
        for k, p in enumerate(parameters):
            if id(p) in found:
                raise ValueError(
                    f"losses[{i}] must reach the shared parameters through `shared` only, and "
                    f"reaches parameters[{k}] on another way; list that parameter in "
                    "`task_specific`, add the tensor on that way to `shared`, or leave it out"
                )


def _check_hooks(features: tuple[Tensor, ...], own: tuple[Tensor, ...]) -> None:
    """Refuse hooks of features below which a pass goes on: torch captures before them there."""
    for i, z in enumerate(features):
        below = reached(z) if z._backward_hooks else {}
        for k, p in enumerate(own):
            if id(p) in below:
                raise ValueError(
                    "`task_specific` parameters must not be below features with hooks; number "
                    f"{k} is below shared[{i}]: compute the losses from `x.view_as(x)` of this "
                    "tensor, and give that view in `shared`"
                )
