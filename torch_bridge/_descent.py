"""Equiangular steps by any optimizer of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass

import torch
from torch import Tensor

from odecore.directions import EquiangularWeights
from odecore.errors import NonfiniteGradientError
from torch_bridge._kinds import require_callable
from torch_bridge._listed import checked_losses, listed_tensors, wanted
from torch_bridge._objective_rows import Rows, marked
from torch_bridge._objectives import (
    OnZero,
    Scaling,
    check_options,
    combine,
    objective_rows,
    own_parameters,
    retains,
)
from torch_bridge._processes import averaged, processes

__all__ = ["DescentReport", "EquiangularDescent"]

Losses = Callable[[], Iterable[Tensor]]


@dataclass(frozen=True)
class DescentReport:
    """What one step did to each loss.

    Parameters
    ----------
    weights : EquiangularWeights
        Cosines, weights, certificate; `weights.rates` are decreases per step size along the
        direction itself.
    expected : tuple of float or None
        First-order decrease along the step that the optimizer made of the direction: negative
        where momentum or a preconditioner turned it against a loss. Exact, from the gradients that
        are at hand, where a forward-mode pass would find the same.
    decrease : tuple of float or None
        Decrease measured by one more evaluation of the closure.
    """

    weights: EquiangularWeights
    expected: tuple[float, ...] | None = None
    decrease: tuple[float, ...] | None = None


class EquiangularDescent:
    """An optimizer whose steps follow the equiangular direction of several losses.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Takes the steps; learning-rate schedulers and checkpoints belong to it.
    task_specific : iterable of Tensor, optional
        Parameters of the optimizer that belong to one loss each and get its plain gradient. All
        others share the direction. Groups may be added to the optimizer before they are used.
    scaling, on_zero, chunk, scaler, synchronize : optional
        As for `equiangular_backward`. With a scaler, `step` also steps and updates the scaler.
    report : bool, optional
        Find `expected`, and with a closure `decrease`; takes a copy of the parameters. The same on
        all processes, which average the losses too. The evaluation for `decrease` draws random
        numbers and solvers and moves statistics as any does, and the training goes on from there.

    Notes
    -----
    `backward` accumulates one gradient for each loss, over any number of micro-batches; `step`
    combines them, so that the direction is that of the whole batch, which the sum of the
    micro-batches' directions is not. For the same reason clip between `combine` and `step`.

    An optimizer that evaluates its closure again in one step, as LBFGS does, needs one function:
    weights are found at the first evaluation and kept to the end of the step. Where a loss or a
    gradient is not finite in a later evaluation, or the closure raises, a step of
    `torch.optim.LBFGS` is undone: the parameters are what they were before it, the optimizer's
    history is forgotten, and the error is passed on.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([3.0, 1.0], requires_grad=True)
    >>> descent = EquiangularDescent(torch.optim.SGD([x], lr=0.1), report=True)
    >>> found = descent.step(lambda: [x[0] ** 2, 100 * x[1] ** 2])
    >>> [round(float(c), 3) for c in found.weights.cosines], min(found.decrease) > 0
    ([0.707, 0.707], True)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        task_specific: Iterable[Tensor] = (),
        scaling: Scaling = "harmonic",
        on_zero: OnZero = "stop",
        chunk: int = 1,
        scaler: torch.amp.GradScaler | None = None,
        synchronize: bool = True,
        report: bool = False,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(
                f"`optimizer` must be a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
        self._task_specific = listed_tensors(task_specific, "task_specific")
        check_options(chunk, scaling, on_zero, scaler, synchronize=synchronize, report=report)
        if isinstance(optimizer, torch.optim.LBFGS):
            _require_no_own(optimizer, self._task_specific)
            if scaler is not None:
                raise ValueError(
                    "`scaler` must be None for LBFGS, whose steps need a closure that a scaler "
                    "does not give; leave it out, in float32 or bfloat16"
                )
        self.optimizer = optimizer
        self.scaler = scaler
        self.report = report
        self._chunk = int(chunk)
        self._options = {"scaling": scaling, "on_zero": on_zero, "synchronize": synchronize}
        self._pending: Rows | None = None
        self._combined: tuple[Rows, EquiangularWeights] | None = None

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget accumulated gradients, those of the optimizer included: None if `set_to_none`."""
        self._pending = self._combined = None
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def backward(
        self,
        losses: Iterable[Tensor],
        *,
        shared: Tensor | Iterable[Tensor] | None = None,
        retain_graph: bool | None = False,
    ) -> None:
        """Differentiate the `losses` and add their gradients to those accumulated, loss by loss.

        `shared`, `retain_graph`: see `equiangular_backward`. ValueError from `combine` to `step`.
        """
        self._require_open()
        kept = retains(retain_graph)
        rows = self._rows(checked_losses(losses), shared=shared, retain_graph=kept, formed=True)
        if self._pending is None:
            self._pending = rows
        else:
            self._pending.add(rows)

    def combine(self) -> EquiangularWeights:
        """Add the direction of the accumulated losses to `.grad`; `step` does so if you did not."""
        self._require_open()
        if self._pending is None:
            raise ValueError(
                "there must be losses to combine, got none since the last step; call `backward` "
                "first, or give `step` a closure"
            )
        rows, self._pending = self._pending, None
        rows.rescale(self._scale())  # that of now, which the scaler's step divides by
        found = combine(rows, scaler=self.scaler, **self._options)  # type: ignore[arg-type]
        self._combined = rows, found
        return found

    def step(self, closure: Losses | None = None) -> DescentReport:
        """One step of the optimizer, along the direction of the losses.

        Parameters
        ----------
        closure : callable, optional
            Returns the losses; old gradients are cleared first. Without it `backward` was called
            before. Do not call `backward` inside.
        """
        if closure is not None:
            require_callable("closure", closure, "closure(), giving losses", 0)
            self.zero_grad()
        elif isinstance(self.optimizer, torch.optim.LBFGS):
            raise ValueError("`closure` must be given for LBFGS, which evaluates it; got None")
        elif self._combined is None:
            self.combine()
        if closure is not None and self.scaler is None:
            before, moved = self._step_evaluating(closure)
        else:
            before = [] if closure is None else self._evaluated(closure)
            moved = self._start()
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.update()
        (rows, weights), self._combined = self._found(), None
        if not self.report:
            return DescentReport(weights)
        decrease = None
        if closure is not None:
            with torch.enable_grad():  # which losses of derivatives need
                after = self._averaged(_as_many(closure(), before))
            decrease = tuple(float(a) - float(b) for a, b in zip(before, after, strict=True))
        return DescentReport(weights, tuple(rows.decrease(moved)), decrease)

    def _evaluated(self, closure: Losses) -> list[Tensor]:
        averaged = self._options["synchronize"] and processes() > 1
        with torch.enable_grad():
            losses = checked_losses(closure())
            self._pending = self._rows(losses, formed=self.report or averaged)
        self.combine()
        return self._averaged(losses)

    def _averaged(self, losses: Iterable[Tensor]) -> list[Tensor]:
        return averaged(losses, synchronize=self._options["synchronize"])  # type: ignore[arg-type]

    def _rows(
        self,
        scalars: list[Tensor],
        *,
        shared: Tensor | Iterable[Tensor] | None = None,
        retain_graph: bool = False,
        formed: bool,
    ) -> Rows:
        if self.scaler is not None:
            scalars = [self.scaler.scale(loss) for loss in scalars]
        return objective_rows(
            scalars,
            *self._parameters(),
            shared=shared,
            chunk=self._chunk,
            scale=self._scale(),
            retain_graph=retain_graph,
            formed=formed,
        )

    def _scale(self) -> float:
        return 1.0 if self.scaler is None else float(self.scaler.get_scale())

    def _start(self) -> list[Tensor]:
        """For the report, the parameters from which this step sets out."""
        return [p.detach().clone() for p in self._found()[0].parameters] if self.report else []

    def _step_evaluating(self, closure: Losses) -> tuple[list[Tensor], list[Tensor]]:
        """Let the optimizer evaluate; undo a step of LBFGS that fails in a later evaluation.

        It gets one function, whose gradient is the direction at the first call. Returned are the
        losses at that call, and where it was for the report.
        """
        before: list[Tensor] = []
        moved: list[Tensor] = []

        def evaluate() -> Tensor:
            if not before:
                before.extend(self._evaluated(closure))
                moved.extend(self._start())
                values = before
            else:
                values = self._again(closure, self._found()[1])
            weights = self._found()[1].weights
            terms = [float(w) * v for w, v in zip(weights, values, strict=True)]
            return torch.stack(terms).sum()

        again = self._held() if isinstance(self.optimizer, torch.optim.LBFGS) else []
        start = [(p, p.detach().clone()) for p in again]
        try:
            self.optimizer.step(evaluate)  # type: ignore[arg-type]
        except Exception:
            if start and before:
                with torch.no_grad():
                    for p, old in start:
                        p.copy_(old)
                self.optimizer.state.clear()  # its history is that of half a step
                self.zero_grad()
            raise
        return before, moved

    def _require_open(self) -> None:
        if self._combined is not None:
            raise ValueError(
                "a step takes the losses given before `combine`, and those were combined already; "
                "call `step`, or `zero_grad` to forget them"
            )

    def _found(self) -> tuple[Rows, EquiangularWeights]:
        if self._combined is None:
            raise ValueError(
                f"the optimizer must evaluate its closure; {type(self.optimizer).__name__} did "
                "not: call `backward` and then `step` without a closure"
            )
        return self._combined

    def _again(self, closure: Losses, found: EquiangularWeights) -> list[Tensor]:
        """Gradient of the weighted sum, with the weights of this step's first evaluation."""
        parameters, own = self._parameters()
        _require_no_own(self.optimizer, own)
        with torch.enable_grad():
            losses = _as_many(checked_losses(closure()), found.weights)
            total = sum(float(w) * x for w, x in zip(found.weights, losses, strict=True))
            grads = torch.autograd.grad(total, parameters, allow_unused=True)
        rows = Rows([grads], parameters, len(parameters))
        if self._options["synchronize"]:
            rows.synchronize()
        values = self._averaged(losses)
        bad = [i for i, value in enumerate(values) if not value.isfinite()]
        size = marked(torch.zeros(1, 1, dtype=torch.float64, device="cpu"), rows.gradients)
        if bad or not size.isfinite():
            bad = bad or list(range(len(values)))
            raise NonfiniteGradientError(
                "losses and gradients must be finite in all evaluations of a step; those of "
                f"objectives {bad} are not in a later one: use a smaller learning rate",
                tuple(bad),
            )
        self.optimizer.zero_grad()
        rows.put([1.0])
        return values

    def _parameters(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What shares the direction and what does not, as the optimizer is now."""
        every = self._held()
        given = {id(p) for p in self._task_specific}
        parameters = wanted(p for p in every if id(p) not in given)
        if not parameters:
            raise ValueError("the optimizer must hold a shared parameter that requires a gradient")
        own, held = own_parameters(self._task_specific, parameters), {id(p) for p in every}
        missing = [tuple(p.shape) for p in own if id(p) not in held]
        if missing:
            raise ValueError(
                "`task_specific` parameters must be parameters of the optimizer, which does not "
                f"hold those of shapes {missing} and would never step them: add them to it, as by "
                "`add_param_group`, or leave them out"
            )
        return parameters, own

    def _held(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _as_many(losses: Iterable[Tensor], before: Sized) -> list[Tensor]:
    """ValueError unless a later evaluation of the closure gives the losses of the first."""
    listed = list(losses)
    if len(listed) != len(before):
        raise ValueError(
            "the closure must return as many losses in all evaluations of a step, "
            f"{len(before)} at first, got {len(listed)}"
        )
    return listed


def _require_no_own(optimizer: torch.optim.Optimizer, own: tuple[Tensor, ...]) -> None:
    if own:
        raise ValueError(
            f"`task_specific` must be empty for {type(optimizer).__name__}, which evaluates one "
            f"function several times a step; got {len(own)} tensors"
        )
