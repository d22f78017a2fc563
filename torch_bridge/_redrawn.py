"""Random numbers that a right-hand side draws, and its backward pass again."""

from __future__ import annotations

import warnings

import torch

from odecore.errors import RightHandSideWarning

__all__ = ["generator_states", "warn_of_draws"]

States = list[bytes]

REDRAWN = (
    "`func` draws random numbers, and the backward pass has drawn other random numbers than the "
    "forward pass, so that the gradient is that of another function: draw once for a solve and "
    "keep what was drawn, leave dropout out of `func`, or use `odeint` (a NeuralODE with "
    "adjoint='direct'), which differentiates the draws that were made"
)


def generator_states(device: torch.device) -> States:
    """Of torch's generators for the CPU and for a device; none where operations are watched."""
    if torch._C._len_torch_dispatch_stack():
        return []
    states = [torch.get_rng_state()]
    if device.type == "xpu" or (
        device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
    ):
        states.append(torch.get_device_module(device).get_rng_state(device))
    return [state.numpy().tobytes() for state in states]


def warn_of_draws(drawn: States, before: States, device: torch.device) -> None:
    """Warn at the end of a backward pass if it drew other numbers than the forward pass.

    Parameters
    ----------
    drawn : list of bytes
        The states of the generators after the forward pass, which has drawn. A function that seeds
        them itself leaves them there again.
    before : list of bytes
        Those before the backward pass.
    device : torch.device
    """
    if generator_states(device) not in (before, drawn):
        warnings.warn(REDRAWN, RightHandSideWarning, stacklevel=6)
