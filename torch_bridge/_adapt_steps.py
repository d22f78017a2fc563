"""As many steps as a model needs while it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odecore.errors import SolveError
from torch_bridge._blocks import NeuralODE
from torch_bridge._class_scores import margin_of
from torch_bridge._consistency import coarsest_eps, ladder_of, most_steps, order_of
from torch_bridge._evaluation import evaluating, require_values
from torch_bridge._numbers import is_number, require_whole
from torch_bridge._rounding_probe import rounding_unit
from torch_bridge._step_ladder import ladder_bound, without_masks

__all__ = ["StepChange", "adapt_steps"]


@dataclass(frozen=True)
class StepChange:
    """What became of the steps of a model.

    Parameters
    ----------
    before, after : tuple of int
        Steps of each block.
    certified : float
        Share of samples that were certified before.
    hidden : float, optional
        Share that rounding alone left uncertified, for which steps are not doubled: in a dtype as
        narrow none would do.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    certified: float
    hidden: float = 0.0


def adapt_steps(
    model: nn.Module,
    x: Tensor,
    *,
    target: float = 0.95,
    most: int = 256,
    tolerance: float | None = None,
    order: float | None = None,
) -> StepChange:
    """Double the steps of a model that too few samples certify, halve those of one with too many.

    To be called every so many training steps, with a batch that is not trained on.

    Parameters
    ----------
    model : Module
        With `NeuralODE` blocks in given steps, whose `steps` are changed: they are no part of the
        state dict, so keep `after` beside it.
    x : (n, ...) Tensor
        Inputs.
    target : float, optional
        Share of samples whose class, or value up to the `tolerance`, finer steps must not change by
        the bound of `solver_consistency`.
    most : int, optional
        Steps of a block beyond which they are not doubled.
    tolerance : float, optional
        For regression; without it, the output is one of scores of classes.
    order : float, optional
        As for `solver_consistency`.

    Returns
    -------
    StepChange

    Raises
    ------
    ValueError, TypeError
        As `solver_consistency`, unless 0 < target <= 1 and `most` is a whole number from 1, and for
        outputs that are in no steps finite: more do not help.
    odecore.errors.SolveError
        If the model's own solve fails and its steps can not be doubled.

    Notes
    -----
    After Ott et al. 2021 (arXiv 2007.15386), who compare accuracies of a batch under two solvers;
    here each sample's bound from three halvings is compared with its margin, which sees that the
    solver matters before the accuracy does. The steps are halved only if all are even and
    half would do. They are doubled only where changes that show above rounding are too large: finer
    steps add rounding. In half precision little shows; there adapt a copy in float32, as
    ``copy.deepcopy(model).float()``, and set the `steps` it ends with. Costs 19 to 29 forward
    passes of the model, without gradients.

    Examples
    --------
    >>> from torch_bridge import DenseField
    >>> _ = torch.manual_seed(0)
    >>> model = NeuralODE(DenseField(3, 8), solver="rk4", steps=16)
    >>> adapt_steps(model, torch.randn(64, 3)).after
    (8,)
    """
    if not is_number(target) or not 0 < target <= 1:
        raise ValueError(f"`target` must be above 0 and at most 1, got {target!r}")
    require_whole(most=most)
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` must be a tensor of samples, got {type(x).__name__}")
    if not x.ndim or not len(x):
        raise ValueError(f"`x` must hold samples, got the shape {tuple(x.shape)}")
    if tolerance is not None and not (is_number(tolerance) and tolerance > 0):
        raise ValueError(f"`tolerance` must be positive, got {tolerance!r}")
    tolerance = None if tolerance is None else float(tolerance)
    p = order_of(model, order)
    require_values(model, x)
    blocks = [module for module in model.modules() if isinstance(module, NeuralODE)]
    before = tuple(int(block.steps or 0) for block in blocks)

    def certified() -> tuple[float, float]:
        outputs = ladder_of(model, x, (1, 2, 4, 8))
        _require_finite(outputs)
        eps = coarsest_eps(model, x)
        unit = rounding_unit(model, model, x, outputs[0], eps)
        ladder = ladder_bound(outputs, p, most_steps(model), eps, unit)
        room = margin_of(outputs[0]) / 2 if tolerance is None else tolerance
        certain, hidden = (ladder.bound < room).double(), ladder.hidden(room).double()
        return float(certain.mean()), float(hidden.mean())

    def set_steps(steps: tuple[int, ...]) -> None:
        for block, count in zip(blocks, steps, strict=True):
            block.steps = count

    after = before
    with evaluating(model), torch.no_grad():
        doubled = tuple(max(n, min(2 * n, most)) for n in before)
        try:
            share, hidden = certified()
        except SolveError:
            share = hidden = 0.0
            if doubled == before:
                raise
        if share + hidden < target:
            after = doubled
        elif share >= target and all(n % 2 == 0 for n in before):
            half = tuple(n // 2 for n in before)
            set_steps(half)
            try:
                after = half if certified()[0] >= target else before
            except SolveError:
                after = before
            finally:
                set_steps(before)
    set_steps(after)
    return StepChange(before, after, share, hidden)


def _require_finite(outputs: list[Tensor]) -> None:
    shown = [torch.isfinite(y).reshape(len(y), -1).all(1) for y in without_masks(outputs)]
    lost = int((~torch.stack(shown).any(0)).sum())
    if lost:
        raise ValueError(
            f"outputs of {lost} of {len(shown[0])} samples are not finite in any number of steps: "
            "look at the weights, which training may have lost, and at the inputs"
        )
