"""Losses and parameters as they are listed, checked."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from torch_bridge._leaves import hides_leaves

__all__ = ["checked_losses", "listed_tensors", "wanted"]


def listed_tensors(tensors: Iterable[Tensor], label: str) -> tuple[Tensor, ...]:
    """What is listed; a tensor is no list of tensors, though its rows can be gone through."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable):
        raise TypeError(
            f"`{label}` must be a list of tensors, got {type(tensors).__name__}; give a list, as "
            "in [weight] or list(module.parameters())"
        )
    listed = tuple(tensors)
    for x in listed:
        if not isinstance(x, Tensor):
            raise TypeError(f"`{label}` must hold tensors, got {type(x).__name__}")
    return listed


def wanted(parameters: Iterable[Tensor], label: str = "parameters") -> tuple[Tensor, ...]:
    """Those that require a gradient, each once."""
    listed = listed_tensors(parameters, label)
    for p in listed:
        if hasattr(p, "device_mesh"):  # a DTensor: gradients of shards never meet
            raise TypeError(
                f"`{label}` holds parameters in shards, as fully_shard makes them, whose gradient "
                "for each loss no process has; use DistributedDataParallel, or a fixed sum"
            )
    return tuple({id(p): p for p in listed if p.requires_grad}.values())


def checked_losses(losses: Iterable[Tensor]) -> list[Tensor]:
    """Real scalars with a history that shows its parameters, at least one."""
    if not isinstance(losses, Iterable) or (isinstance(losses, Tensor) and losses.ndim == 0):
        raise TypeError(
            f"`losses` must be a list of scalar tensors, got one {type(losses).__name__}; give "
            "each loss for itself, [first, second], not their sum"
        )
    listed = list(losses)
    if not listed:
        raise ValueError("`losses` must hold at least one loss, got none")
    for i, loss in enumerate(listed):
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            found = (
                f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            )
            raise ValueError(
                "`losses` must hold scalar tensors that depend on the parameters; losses"
                f"[{i}] is {found} with requires_grad={getattr(loss, 'requires_grad', False)}"
            )
        if loss.is_complex():
            raise TypeError(
                f"`losses` must be real, as what is to fall is; losses[{i}] is {loss.dtype}: give "
                "its real part, or its absolute value"
            )
    if hides_leaves(listed):
        raise ValueError(
            "`losses` must not go through reentrant checkpoints, which hide their parameters from "
            "gradients of one loss; give torch.utils.checkpoint `use_reentrant=False`"
        )
    return [loss.sum() if loss.ndim or loss.is_leaf else loss for loss in listed]
