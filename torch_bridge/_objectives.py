"""Equiangular descent for a list of losses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from odecore.directions import EquiangularWeights, equiangular_weights

__all__ = ["equiangular_backward"]


def equiangular_backward(
    losses: Iterable[Tensor],
    parameters: Iterable[Tensor],
    *,
    on_zero: Literal["stop", "drop"] = "stop",
    retain_graph: bool = False,
) -> EquiangularWeights:
    """Put the equiangular direction of the losses into the parameters' `.grad`.

    Use it instead of `sum(losses).backward()`; any optimizer takes the step. To first order it
    lowers every loss, and those with positive weight equally, relative to their gradients' norms.

    Parameters
    ----------
    losses : iterable of 0-d Tensors
        At least one; with one the direction is its gradient.
    parameters : iterable of Tensor
        Those that some losses do not touch count as zero there; those that do not require a
        gradient are skipped. The direction is added to `.grad`, as `backward` does.
    on_zero : {"stop", "drop"}, optional
        As for `odecore.directions.equiangular_weights`.
    retain_graph : bool, optional
        Keep the graph of the losses for further backward passes.

    Returns
    -------
    EquiangularWeights
        Weights, cosines and certificate. Where it says `stationary`, zeros are added.

    Raises
    ------
    ValueError
        If there is no loss, a loss is not a scalar that depends on a parameter, no parameter
        requires a gradient, a gradient is sparse, or a gradient is not finite (the message names
        the objective; no `.grad` was touched).
    TypeError
        If a parameter is not a tensor.

    Notes
    -----
    One backward pass for each loss and one m x m Gramian, summed in float64 and read to the host
    once; see `odecore.directions.equiangular_weights` for the weights and their source.
    """
    listed = tuple(parameters)
    for p in listed:
        if not isinstance(p, Tensor):
            raise TypeError(f"`parameters` must hold tensors, got {type(p).__name__}")
    wanted = tuple({id(p): p for p in listed if p.requires_grad}.values())
    losses = list(losses)
    if not losses:
        raise ValueError("`losses` must hold at least one loss, got none")
    if not wanted:
        raise ValueError("`parameters` must hold a tensor that requires a gradient, got none")
    for i, loss in enumerate(losses):
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            found = (
                f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            )
            raise ValueError(
                "`losses` must hold scalar tensors that depend on the parameters; losses"
                f"[{i}] is {found} with requires_grad={getattr(loss, 'requires_grad', False)}"
            )
    rows = []
    for i, loss in enumerate(losses):
        keep = retain_graph or i < len(losses) - 1
        found = torch.autograd.grad(loss.sum(), wanted, retain_graph=keep, allow_unused=True)
        if all(g is None for g in found):
            raise ValueError(f"losses[{i}] depends on none of the `parameters`")
        if any(g is not None and g.layout is not torch.strided for g in found):
            raise ValueError(
                f"losses[{i}] has sparse gradients, which are not supported; make the "
                "embedding with sparse=False"
            )
        rows.append(found)
    weights = equiangular_weights(_gramian(rows), on_zero=on_zero)
    for k, parameter in enumerate(wanted):
        scaled = [
            float(w) * row[k]
            for w, row in zip(weights.weights, rows, strict=True)
            if row[k] is not None
        ]
        direction = sum(scaled[1:], scaled[0]) if scaled else torch.zeros_like(parameter)
        parameter.grad = direction if parameter.grad is None else parameter.grad + direction
    return weights


def _gramian(rows: list[tuple[Tensor | None, ...]]) -> Tensor:
    """Inner products of the gradients, one small matrix product for each parameter, in float64."""
    total = None
    for gradients in zip(*rows, strict=True):
        touched = [i for i, g in enumerate(gradients) if g is not None]
        if not touched:
            continue
        J = torch.stack([_real(gradients[i]).flatten() for i in touched]).to(torch.float64)
        if total is None:
            total = J.new_zeros((len(rows), len(rows)))
        index = torch.tensor(touched, device=J.device)
        total[index[:, None], index] += J @ J.mT
    return total


def _real(gradient: Tensor) -> Tensor:
    """A complex gradient as pairs of real numbers."""
    return torch.view_as_real(gradient) if gradient.is_complex() else gradient
