"""A model with another solver in its neural ODEs, and no change to the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from torch_bridge._block_arguments import require_solver
from torch_bridge._blocks import NeuralODE
from torch_bridge._evaluation import require_module
from torch_bridge._methods import is_adaptive
from torch_bridge._numbers import require_whole

__all__ = ["SolvedBy"]


class SolvedBy(nn.Module):
    """A model whose neural ODEs are solved by another solver, or in finer steps.

    Parameters
    ----------
    model : Module
        With at least one `NeuralODE` in it. Weights are shared, not copied.
    solver : optional
        As for `NeuralODE`; by default each block's own.
    refine : int, optional
        How many times as many steps are taken.

    Raises
    ------
    TypeError
        For a model that is no Module, and a solver of another type.
    ValueError
        For an unknown solver, without a `NeuralODE` in the model, for `refine` below 1, or above 1
        where a block has no `steps`, and for a solver of fixed steps where a block has none.

    Notes
    -----
    Blocks are told their solver for the time of a call, each thread its own, so that threads may
    share a model; threads that the model itself starts, except those of DataParallel, do not see
    it. A checkpoint belongs around a `SolvedBy`, not inside. Inside, its repetition in the backward
    pass takes the solver of the last forward pass, and is refused only where that is another one
    than the block has then.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import DenseField
    >>> block = NeuralODE(DenseField(2, 4), solver="euler", steps=4)
    >>> x = torch.ones(3, 2)
    >>> (block(x) - SolvedBy(block, refine=64)(x)).abs().max() > 0
    tensor(True)
    """

    def __init__(self, model: nn.Module, solver: Any = None, *, refine: int = 1) -> None:
        super().__init__()
        require_module(model)
        blocks = _blocks_of(model)
        if not blocks:
            raise ValueError(f"no NeuralODE in this model, a {type(model).__name__}")
        require_whole(refine=refine)
        require_solver(solver)
        fixed = refine > 1 or (solver is not None and not is_adaptive(solver))
        if fixed and any(block.steps is None for block in blocks):
            raise ValueError(
                "a block of the model has no `steps`, which finer steps and a solver of fixed "
                "steps need; give it `steps`"
            )
        self.model, self.solver, self.refine = model, solver, int(refine)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with `args` and `kwargs`."""
        blocks = _blocks_of(self.model)
        before = _replaced(blocks)
        try:
            given = self.solver
            chosen = [(s if given is None else given, n * self.refine) for s, n in before]
            _replace(blocks, chosen)
            return self.model(*args, **kwargs)
        finally:
            _replace(blocks, before)

    def extra_repr(self) -> str:
        """Show what is not a submodule."""
        shown = f"refine={self.refine}"
        fixed = self.solver is None or isinstance(self.solver, nn.Module)
        return shown if fixed else f"solver={self.solver!r}, {shown}"


def _blocks_of(model: nn.Module) -> list[NeuralODE]:
    return [module for module in model.modules() if isinstance(module, NeuralODE)]


@torch.compiler.disable  # compilers do not know the thread
def _replaced(blocks: list[NeuralODE]) -> list[tuple[Any, int]]:
    return [block.replaced for block in blocks]


@torch.compiler.disable
def _replace(blocks: list[NeuralODE], values: list[tuple[Any, int]]) -> None:
    for block, value in zip(blocks, values, strict=True):
        block.replaced = value
