"""Is a trained model the flow's, or its solver's?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from odecore.errors import SolveError
from odecore.solve import Newton
from torch_bridge._blocks import NeuralODE
from torch_bridge._class_scores import classes_of, has_class, labels_of, margin_of
from torch_bridge._consistency_report import SolverConsistencyReport
from torch_bridge._evaluation import evaluating, require_module
from torch_bridge._fields import Autocast
from torch_bridge._methods import solver_of
from torch_bridge._numbers import is_number
from torch_bridge._observed_order import observed_order
from torch_bridge._paired_gap import PairedGap
from torch_bridge._rounding_probe import rounding_unit
from torch_bridge._sample_batches import batches_of, tensor_of
from torch_bridge._solved_by import SolvedBy
from torch_bridge._step_ladder import LadderBound, ladder_bound, without_masks
from torch_bridge._unknown_options import require_choice

__all__ = ["coarsest_eps", "ladder_of", "most_steps", "order_of", "solver_consistency"]

POWERFUL = ("rk4", "dopri5")
MOST_HALVINGS = 30


def solver_consistency(
    model: nn.Module | Callable[[Any, int], Any],
    loader: Iterable[Any],
    *,
    task: str = "classification",
    tolerance: float | None = None,
    solvers: Sequence[Any] | None = None,
    halvings: int = 4,
    steps: int | None = None,
    order: float | None = None,
    progress: bool | Callable[[float], None] = False,
) -> SolverConsistencyReport:
    """Compare a model with what more powerful solvers make of its right-hand sides.

    Parameters
    ----------
    model : Module or callable
        A Module with at least one `NeuralODE`, in given `steps`; all of them are refined together.
        Or, of any library, `model(x, n)` with n steps; then give `steps` and `order`, and see to
        evaluation mode. It gets batches as tensors or NumPy arrays.
    loader : iterable
        Of batches (x, y), or of x alone: a DataLoader, a list. Arrays of other libraries become
        NumPy's, and for a Module tensors. For classification y holds class
        numbers (n,), and the model's output is (n, classes), or (n,) or (n, 1) of two classes.
    task : {"classification", "regression"}, optional
    tolerance : float, optional
        For regression: the change of an entry that does not matter.
    solvers : sequence, optional
        More powerful solvers besides the model's own in finer steps, as for `NeuralODE`, by default
        rk4 and dopri5; they take four times as many steps as the model. Not for `model(x, n)`.
    halvings : int, optional
        How often the steps are halved, from 2 to 30.
    steps : int, optional
        Of `model(x, n)` in training.
    order : float, optional
        Of the model's solver, where it is not known; of several, the smallest.
    progress : bool or callable, optional
        Show a bar (needs tqdm), or call the callable with the fraction of batches done, or with
        their number where the loader has no length.

    Returns
    -------
    SolverConsistencyReport

    Raises
    ------
    ValueError, TypeError
        For input that breaks a rule above, an empty loader, and a model without a `NeuralODE` or
        with adaptive steps: those already depend on the tolerance only.
    odecore.errors.SolveError
        If the model's own solve fails; a more powerful one that fails counts as not finite.

    Notes
    -----
    The model is evaluated without gradients, in evaluation, and is left as it was. Ott et al. 2021
    (arXiv 2007.15386) call a model a valid flow if accuracy does not drop under a more powerful
    solver. That passes a model whose accuracy rises, and one on which errors cancel; and accuracy
    is not monotone in the number of steps, so that one solver says little. Here all of them must
    agree, and nearly all samples must have a margin beyond what finer steps can still change.
    A field with kinks, as of ReLU, is a flow's, but a method of order 4 converges to it at order 2:
    `order_remark` of the report says where it looks so. There give `order=2`. In float32 rounding
    mostly hides the order, and a field with kinks is "flow" like a smooth one, as its outputs are
    the flow's up to that rounding: for orders compare in float64.

    Examples
    --------
    >>> from torch_bridge import DenseField, NeuralODE
    >>> _ = torch.manual_seed(0)
    >>> model = NeuralODE(DenseField(3, 8), solver="rk4", steps=8)
    >>> report = solver_consistency(model, [torch.randn(2000, 3)])
    >>> report.verdict
    'flow'
    """
    require_choice("task", task, ("classification", "regression"))
    positive = is_number(tolerance) and tolerance > 0
    if not (positive if task == "regression" else tolerance is None):
        raise ValueError(
            f"regression needs a positive `tolerance`, and only it: got {tolerance!r} for {task}"
        )
    tolerance = None if tolerance is None else float(tolerance)
    if not isinstance(halvings, Integral) or not 2 <= halvings <= MOST_HALVINGS:
        raise ValueError(
            f"`halvings` must be a whole number from 2 to {MOST_HALVINGS}, got {halvings!r}"
        )
    _require_solvers(solvers)
    rungs = tuple(2**k for k in range(halvings + 1))
    if isinstance(model, nn.Module):
        if steps is not None:
            raise ValueError("`steps` is for `model(x, n)`: the blocks of a Module have their own")
        solvers, expected = POWERFUL if solvers is None else solvers, order_of(model, order)
        steps = most_steps(model)
        ladder: list[Any] = [SolvedBy(model, refine=rung) for rung in rungs]
    else:
        counted = isinstance(steps, Integral) and steps >= 1
        if not callable(model) or not counted or order is None:
            raise ValueError(
                "a model that is no Module must be callable as `model(x, n)`, with a whole number "
                f"`steps` from 1 and `order`; got {type(model).__name__}, {steps!r}, {order!r}"
            )
        if solvers:
            raise ValueError("`solvers` are for the blocks of a Module: `model(x, n)` has its own")
        solvers, expected = (), _positive_order(order)
        ladder = [lambda x, n=rung * steps: model(x, n) for rung in rungs]
    others = [SolvedBy(model, solver, refine=4) for solver in solvers]
    names = (*(f"{r} x steps" for r in rungs[1:]), *(f"{_name(s)}, 4 x steps" for s in solvers))
    found: list[_Batch] = []
    module = model if isinstance(model, nn.Module) else nn.Identity()
    drawn = nn.ModuleList([s for s in solvers if isinstance(s, nn.Module)])
    with evaluating(module), evaluating(drawn), torch.no_grad():
        for x, y in batches_of(loader, model, progress):
            outputs = [_called(solved, x, ladder[0]) for solved in ladder]
            more = [_called(solved, x, ladder[0]) for solved in others]
            eps = coarsest_eps(module, tensor_of(x))
            unit = rounding_unit(ladder[0], module, x, outputs[0], eps)
            precise = ladder_bound(outputs, expected, steps, eps, unit)
            found.append(_measured(outputs, more, y, precise, tolerance))
    if not found:
        raise ValueError("`loader` gave no batch")
    return _report(found, task, rungs, names, expected)


@dataclass(frozen=True)
class _Batch:
    """What is kept of a batch: flags and numbers for each sample."""

    correct: Tensor | None  # (solvers + 1, n)
    flipped: Tensor
    ratio: Tensor
    hidden: Tensor
    ladder: LadderBound
    nonfinite: Tensor
    tied: Tensor


def _measured(
    outputs: list[Tensor],
    more: list[Tensor],
    y: Any,
    ladder: LadderBound,
    tolerance: float | None,
) -> _Batch:
    everything, first = outputs + more, outputs[0]
    shown = without_masks(everything)
    finite = torch.stack([torch.isfinite(o.reshape(len(o), -1)).all(1) for o in shown])
    correct, tied = None, torch.zeros_like(finite[0])
    room: Tensor | float
    if tolerance is not None:
        far = [(o - first).reshape(len(o), -1).abs().amax(1) > tolerance for o in everything[1:]]
        flipped, room = torch.stack(far).any(0), tolerance
    else:
        classes = torch.stack([classes_of(o) for o in everything])
        classes = torch.where(finite, classes, -1)
        flipped = (classes[1:] != classes[0]).any(0)
        room = margin_of(first) / 2
        finite &= has_class(first)
        tied = torch.stack([margin_of(o) == 0 for o in everything]).all(0)
        correct = None if y is None else classes == labels_of(y, first)
    ratio = torch.nan_to_num(ladder.bound / room, nan=inf, posinf=inf)
    hidden = ladder.hidden(room) & finite.all(0)
    return _Batch(correct, flipped | ~finite.all(0), ratio, hidden, ladder, ~finite.all(0), tied)


def _report(
    found: list[_Batch], task: str, rungs: tuple[int, ...], names: tuple[str, ...], expected: float
) -> SolverConsistencyReport:
    ratios = torch.cat([batch.ratio for batch in found]).tolist()
    changes = torch.cat([batch.ladder.changes for batch in found], dim=1)
    orders = torch.cat([batch.ladder.orders for batch in found], dim=1)
    accuracy: tuple[float, ...] = ()
    gaps: tuple[PairedGap, ...] = ()
    if task == "classification" and all(batch.correct is not None for batch in found):
        correct = torch.cat([batch.correct for batch in found if batch.correct is not None], dim=1)
        own = correct[0]
        accuracy = tuple(correct.double().mean(1).tolist())
        gaps = tuple(
            PairedGap(int((own & ~other).sum()), int((~own & other).sum()), len(ratios))
            for other in correct[1:]
        )
    return SolverConsistencyReport(
        task=task,
        samples=len(ratios),
        rungs=rungs,
        solvers=names,
        accuracy=accuracy,
        gaps=gaps,
        flipped=sum(int(batch.flipped.sum()) for batch in found),
        ratios=tuple(ratios),
        changes=tuple(median(row) for row in changes.nan_to_num(nan=inf, posinf=inf).tolist()),
        order=observed_order(orders.tolist(), expected),
        expected_order=expected,
        nonfinite=sum(int(batch.nonfinite.sum()) for batch in found),
        hidden=sum(int(batch.hidden.sum()) for batch in found),
        tied=sum(int(batch.tied.sum()) for batch in found),
    )


def most_steps(model: nn.Module) -> int:
    """Steps of the block with the most of them."""
    return max(m.steps or 1 for m in model.modules() if isinstance(m, NeuralODE))


def ladder_of(model: nn.Module, x: Tensor, rungs: Sequence[int]) -> list[Tensor]:
    """Outputs of a model in so many times as many steps, not finite where a solve fails."""
    own = SolvedBy(model, refine=1)
    return [_called(SolvedBy(model, refine=r) if r > 1 else own, x, own) for r in rungs]


def coarsest_eps(model: nn.Module, x: Tensor) -> float:
    """Of the numbers that a model computes with, as far as parameters, inputs, autocast tell."""
    dtypes = {z.dtype for z in (x, *model.parameters()) if z.is_floating_point()}
    autocast = Autocast.current(x.device)
    if autocast.enabled and dtypes - {torch.float64}:
        dtypes.add(autocast.dtype)
    return max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)


def order_of(model: nn.Module, given: float | None = None) -> float:
    """The order that is given, else the smallest of the solvers in a model.

    Raises
    ------
    TypeError
        For a model that is no Module.
    ValueError
        Where a block has no `steps`, or the order of its solver is not known, and for an order that
        is not positive and finite.
    """
    require_module(model)
    if given is not None:
        return _positive_order(given)
    orders = []
    if any(isinstance(module, SolvedBy) for module in model.modules()):
        raise ValueError(
            "the model has a SolvedBy in it, which would hide the solvers to compare with: give "
            "the model inside, its blocks with the solver in question"
        )
    for block in model.modules():
        if not isinstance(block, NeuralODE):
            continue
        if block.steps is None:
            raise ValueError(
                "a block of the model takes adaptive steps, which already depend on the tolerance "
                "only; give it `steps`"
            )
        solver = block.solver
        if isinstance(solver, nn.Module):
            with evaluating(block), torch.no_grad():
                methods = solver(torch.zeros((), device="cpu"))
        else:
            methods = solver_of(solver, {"steps": 1}, 1e-6, 1e-6, Newton).method
        for method in methods if type(methods) is tuple else (methods,):  # of an ensemble
            if getattr(method, "order", None) is None:
                raise ValueError(f"the order of {_name(solver)} is not known; give `order`")
            orders.append(float(method.order))
    if not orders:
        raise ValueError(f"no NeuralODE in this model, a {type(model).__name__}")
    return min(orders)


def _positive_order(order: float) -> float:
    if not is_number(order) or not 0 < order < inf:
        raise ValueError(f"`order` must be positive and finite, got {order!r}")
    return float(order)


def _called(solved: Callable[[Any], Any], x: Any, own: Callable[..., Any]) -> Tensor:
    """The output; a finer solve that fails is halved down to the samples for which it does, NaN."""
    try:
        found = tensor_of(solved(x))
    except SolveError:
        if solved is own:
            raise
        if len(x) == 1:
            return torch.full_like(tensor_of(own(x)), float("nan"))
        half = len(x) // 2
        return torch.cat([_called(solved, part, own) for part in (x[:half], x[half:])])
    real = isinstance(found, Tensor) and found.is_floating_point() and found.numel() > 0
    if not real or found.ndim < 1 or len(found) != len(x):
        raise TypeError(
            "the model must return one real array with a row for each sample, got "
            f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
        )
    return found


def _require_solvers(solvers: Any) -> None:
    """Raise TypeError unless these are solvers by name or object, or None for the usual ones."""
    if solvers is None:
        return
    several = isinstance(solvers, Sequence) and not isinstance(solvers, str)
    if not several or any(solver is None for solver in solvers):
        raise TypeError(
            "`solvers` must be a sequence of solvers, such as ('rk4',), each named or given; got "
            f"{solvers!r}"
        )


def _name(solver: Any) -> str:
    return solver if isinstance(solver, str) else getattr(solver, "name", type(solver).__name__)
