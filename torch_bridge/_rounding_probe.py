"""What a unit of rounding of a model's states changes of its output."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_bridge._blocks import NeuralODE
from torch_bridge._sample_batches import tensor_of

__all__ = ["rounding_unit"]

UNITS = 8  # by which an entry moves: its own rounding does not hide that
PROBES = 4  # of which the largest change counts, since in one they may cancel


def rounding_unit(
    solved: Callable[[Any], Any], model: nn.Module, x: Any, output: Tensor, eps: float
) -> Tensor:
    """Largest change of an entry of the output, (n,), where states move by a unit of rounding.

    States are what each `NeuralODE` of the model takes and returns; without any, the inputs. Their
    entries are multiplied by 1 + eps z, z standard normal and alike for all samples, so that none
    depends on its batch.

    Parameters
    ----------
    solved : callable
        From x to the output.
    model : Module
        With the blocks that it calls.
    x : (n, ...) Tensor or array
    output : (n, ...) Tensor
        Of x.
    eps : float
        At least that of a state's dtype counts.
    """
    generator, thread = torch.Generator(), get_ident()

    @torch.compiler.disable  # compilers do not know the thread
    def moved(y: Any) -> Any:
        if get_ident() != thread or not isinstance(y, Tensor) or not y.is_floating_point():
            return y
        z = torch.randn(y.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
        return y * (1 + UNITS * max(eps, torch.finfo(y.dtype).eps) * z).to(y)

    blocks = [module for module in model.modules() if isinstance(module, NeuralODE)]
    changes, hooks = [torch.zeros(len(x), dtype=torch.float64, device=output.device)], []
    try:
        for block in blocks:
            hooks.append(
                block.register_forward_pre_hook(lambda _, y: tuple(map(moved, y[:1])) + y[1:])
            )
            hooks.append(block.register_forward_hook(lambda _, __, y: moved(y)))
        for seed in range(PROBES):
            generator.manual_seed(seed)
            z = x if blocks else moved(tensor_of(x))
            found = tensor_of(solved(z.numpy() if isinstance(x, np.ndarray) else z))
            change = found.double() - output.double()
            changes.append(change.reshape(len(x), -1).nan_to_num(0.0, 0.0, 0.0).abs().amax(1))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(changes).amax(0) / UNITS
