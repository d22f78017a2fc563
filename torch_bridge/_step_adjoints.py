"""Adjoints that make steps backward: reversed in time, and the transpose of the forward steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from odecore.adjoint import (
    Gradients,
    Panel,
    Pull,
    StepRecord,
    Undone,
    backsolve,
    discrete,
    record_panels,
    record_steps,
    steps_at_once,
)
from odecore.solve import solve_ivp
from torch_bridge._adjoint_choice import FEW
from torch_bridge._adjoint_refusals import refuse_interpolation
from torch_bridge._adjoint_setting import Setting
from torch_bridge._callbacks import observer_of
from torch_bridge._compiled_transpose import compiled_transpose
from torch_bridge._methods import is_implicit
from torch_bridge._products import Products, left_vmap
from torch_bridge._scipy import scipy_solve

__all__ = ["Discrete", "Reversed"]

EXPLICIT, IMPLICIT = 2**19, 2**21  # bytes, to which a pass for each entry of the state is faster
FEWEST = 16  # passes, for 512 nodes are held in any case
KEPT = 2**26  # bytes of states of compiled and implicit steps, undone sooner if all are kept


@dataclass(frozen=True)
class Reversed:
    """Saves the states at the output times only."""

    setting: Setting

    def record(self, y0: Tensor) -> tuple[Tensor, ...]:
        """Solve forward: the states at output times, and those to be saved."""
        problem = self.setting.problem
        if problem.solver.method is None:
            y = scipy_solve(problem.field, y0, problem.times, problem.solver.options)
            return y, y.clone()
        span = problem.times[0], problem.times[-1]
        arguments = problem.arguments("linear")
        y = solve_ivp(problem.field, span, y0, t_eval=problem.times, **arguments).y
        return y, y.clone()

    def panels(self, saved: Sequence[Tensor]) -> list[Panel]:
        """The trajectory again, at nodes."""
        return _panels(self.setting, saved[0][0])

    def gradients(self, saved: Sequence[Tensor], cotangents: list[Tensor]) -> Gradients:
        """Solve backward."""
        setting, norm = self.setting, self.setting.norm
        options = setting.backward_options()
        options["seminorm"] = norm == "seminorm"
        options["observe"] = observer_of(setting.problem.func, self._augmented, "_adjoint")
        for name in {"rtol", "atol"} & set(options):
            if isinstance(options[name], Tensor):  # of the state's entries
                least = float(options[name].min())
                options[name] = (options[name],) * 2 + (least,) * len(setting.parameters)
        if callable(norm):
            options["norm"] = lambda parts: norm(setting.parts(*parts))
        products = setting.products(saved[0], looks_always=True)
        return backsolve(
            products.point, setting.problem.times, saved[0], cotangents,
            parameters=setting.parameters, **options,
        )  # fmt: skip

    def _augmented(self, t: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """As torchdiffeq's callbacks expect them, y and a of a tuple as vectors.

        The first, the gradient of time, is -a f where times require a gradient.
        """
        y, a, *gradients = parts
        along = torch.zeros((), dtype=y.dtype, device=y.device)
        if self.setting.problem.t.requires_grad:
            along = along - (a.conj() * self.setting.field_later(y)(t, y)).real.sum()
        return along, y, a, *gradients

    def warn_of_trajectory(self, saved: Sequence[Tensor]) -> None:
        """Nothing is interpolated."""

    def warn_of_gradients(self, found: Gradients) -> None:
        """Nothing is interpolated."""


@dataclass(frozen=True)
class Discrete:
    """Saves checkpoints; `made` holds the record of the steps without them.

    `compiles` says whether torch compiles the transposes, as it does the steps.
    """

    setting: Setting
    memory: int | None
    compiles: bool = False
    made: list[StepRecord] = field(default_factory=list)

    def record(self, y0: Tensor) -> tuple[Tensor, ...]:
        """Solve forward: the states at output times, and those to be saved."""
        problem = self.setting.problem
        refuse_interpolation(problem, "discrete")
        options = problem.panel_options()
        memory = self.memory
        if memory is None and (self.compiles or is_implicit(problem.solver.method)):
            memory = max(KEPT, FEW * y0.nbytes)
        trajectory, record = record_steps(
            problem.field, problem.times, y0, memory=memory, **options
        )
        self.made[:] = [replace(record, states=(), stages=())]
        return trajectory.y, *record.states, *record.stages

    def panels(self, saved: Sequence[Tensor]) -> list[Panel]:
        """The trajectory again, at nodes."""
        return _panels(self.setting, saved[0])

    def gradients(self, saved: Sequence[Tensor], cotangents: list[Tensor]) -> Gradients:
        """Transpose the steps."""
        record = self.made[0]
        count = -(-(len(record.times) - 1) // record.stride)  # of states
        record = replace(record, states=tuple(saved[:count]), stages=tuple(saved[count:]))
        setting, wanted = self.setting, bool(self.setting.parameters)
        products = setting.products(saved[0], looks_always=True)
        implicit = is_implicit(record.method)
        # What func saves at many stages is no part of a budget.
        kernel = _at_once(products, wanted, implicit) if self.memory is None else None
        if self.compiles:
            products.look(record.times[0], saved[0])
            kernel = compiled_transpose(setting) or kernel
        return discrete(products.point, record, cotangents, parameters=wanted, kernel=kernel)

    def warn_of_trajectory(self, saved: Sequence[Tensor]) -> None:
        """Nothing is interpolated."""

    def warn_of_gradients(self, found: Gradients) -> None:
        """Nothing is interpolated."""


class _OneByOneError(Exception):
    """What torch.vmap can not do, or not in less time."""


def _at_once(products: Products, parameters: bool, implicit: bool) -> Callable[..., Undone | None]:
    """Transposes of many steps, while torch.vmap takes the field, and evaluations are small.

    A pass for each entry of the state, or of a sample, is more work than one; it takes less time
    while that of an evaluation is for calls, and not for bytes: up to so many are kept for all of
    the passes.
    """
    most = IMPLICIT if implicit else EXPLICIT
    looks = torch._C._autograd._saved_tensors_hooks_is_enabled()  # not with torch.func

    def linearize(t: Tensor, y: Tensor) -> tuple[Tensor, Pull]:
        nonlocal looks
        sample = y[0, 0] if implicit and y.ndim > 2 else y[0]
        passes = max(FEWEST, 1 + sample.numel())
        if looks and products.bytes_saved(t[0], y[0]) * passes > most:
            raise _OneByOneError
        looks = False
        with _no_loops():
            found = products.mapped(t, y)
        if found is None:
            raise _OneByOneError
        value, together = found

        def pull(a: Tensor, parameters: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
            try:
                return together(a, parameters)
            except RuntimeError as error:
                if left_vmap(error):  # a checkpoint inside of the field
                    raise _OneByOneError from error
                raise

        return value, pull

    kernel = steps_at_once(linearize, parameters=parameters)

    def attempted(*arguments: Any) -> Undone | None:
        try:
            return kernel(*arguments) if products.traced else None
        except _OneByOneError:
            return None

    return attempted


@contextmanager
def _no_loops() -> Iterator[None]:
    """Context in which torch.vmap refuses operations that it would repeat for each node."""
    before = torch._C._functorch._is_vmap_fallback_enabled()
    torch._C._functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        torch._C._functorch._set_vmap_fallback_enabled(before)


def _panels(setting: Setting, y0: Tensor) -> list[Panel]:
    problem, field = setting.problem, setting.field_later(y0)
    options = {k: v for k, v in problem.panel_options().items() if k != "observe"}
    return record_panels(field, problem.times, y0, inside=True, **options)[1]
