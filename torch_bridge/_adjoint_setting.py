"""What every adjoint of a torch solve needs besides its saved tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from odecore.tableaux import Coefficients, tableau
from torch_bridge._adjoint_refusals import refuse_wrappers
from torch_bridge._captured import FieldLater
from torch_bridge._changed import Version, refuse_changes, versions_of
from torch_bridge._draws import unrecorded
from torch_bridge._frozen import Flag, flags_of, with_flags
from torch_bridge._held import held_by
from torch_bridge._methods import is_implicit
from torch_bridge._modes import Mode, in_modes, modes_of
from torch_bridge._odeint import Prepared
from torch_bridge._parametrized import cached_apart
from torch_bridge._products import Products
from torch_bridge._redrawn import generator_states, warn_of_draws
from torch_bridge._solver import Solver

__all__ = ["Setting"]


@dataclass(frozen=True)
class Setting:
    """A problem, its backward solver and its parameters.

    `field_later`, called in the backward pass, gives the field that `problem.field` was in the
    forward one; `versions`, `flags` and `modes` are those at its end, and `drawn` what
    `generator_states` are there, if it drew. `own_steps` says whether the backward steps have
    options of their own.
    """

    problem: Prepared
    field_later: FieldLater
    backward: Solver
    tolerances: dict[str, Any]
    parameters: tuple[Tensor, ...]
    adjoint_options: dict[str, Any]
    own_steps: bool
    versions: list[Version] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    drawn: list[bytes] = field(default_factory=list)

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Context that remembers, at its end, what `func` may read and what it has drawn."""
        device = self.problem.y0.device
        before = generator_states(device)
        with unrecorded(), cached_apart():
            yield
        after = generator_states(device)
        self.drawn[:] = after if after != before else []
        held = held_by(self.problem.func, self.parameters)
        refuse_wrappers(held.modules, self.parameters)
        self.versions[:], self.modes[:] = versions_of(held.tensors), modes_of(held.modules)
        self.flags[:] = flags_of(x for _, x in held.tensors)

    def refuse_lost(self, y: Tensor) -> None:
        """Raise ValueError if a solve that needs no gradient, and so has no backward pass to look
        in, uses a tensor that does.
        """
        held = held_by(self.problem.func, self.parameters)
        if not any(x.requires_grad for _, x in held.tensors):
            return
        found = self.products(self.problem.y0)
        for t, state in zip(self.problem.times, y, strict=True):
            found.look(t, state)

    @contextmanager
    def backward_pass(self) -> Iterator[None]:
        """Context with modules in their modes of the forward pass, and tensors frozen as there.

        Raises ChangedTensorError if `func` reads what has been changed since, and warns if it draws
        other random numbers.
        """
        with in_modes(self.modes), with_flags(self.flags), cached_apart(kept=False):
            self._refuse_changes()
            device = self.problem.y0.device
            before = generator_states(device) if self.drawn else []
            yield
            if self.drawn:
                warn_of_draws(self.drawn, before, device)

    def _refuse_changes(self) -> None:
        problem = self.problem
        y = problem.layout.state(problem.y0)

        def field(t: Any, y: Tensor) -> Any:
            return self.field_later(problem.y0)(t, y)

        refuse_changes(
            self.versions, problem.func, field, problem.times[0], y, problem.layout.vector
        )

    def products(self, like: Tensor, *, looks_always: bool = False) -> Products:
        """Linearizations of the field, in the backward pass."""

        def traced() -> Callable[[Any, Any], Any]:
            return self.field_later(like)

        # torch.vmap does not see autocast.
        batched = None if self.problem.autocast.enabled else traced
        func = self.problem.func
        modules = list(func.modules()) if isinstance(func, nn.Module) else []
        return Products(
            traced(), self.parameters, batched, looks_always=looks_always, modules=modules
        )

    @property
    def accuracy(self) -> dict[str, Any]:
        """Tolerances of the backward solve, where it has some, and the jumps of the problem."""
        jumps = self.problem.panel_options().get("jump_at")
        return self.tolerances if jumps is None else {**self.tolerances, "jump_at": jumps}

    @property
    def implicit_steps(self) -> dict[str, Any]:
        """Options of the steps where collocation fails, for a problem solved by implicit ones: its
        adjoint is as stiff, and explicit steps would be as many as stability asks for.
        """
        method = self.backward.method
        if not (isinstance(method, Coefficients) and is_implicit(method)):
            return {}
        if method.abscissae_outside or not self.backward.adaptive:
            method = tableau("kvaerno43").coefficients
        return {"method": method, "newton": self.backward.options["newton"]}

    def backward_options(self) -> dict[str, Any]:
        """Keyword arguments of the backward solve but for the norm."""
        found = self.backward.panel_options(self.problem.times, self._grid())
        return {**found, "observe": self.problem.observer("_adjoint")}

    @property
    def norm(self) -> Any:
        """What adaptive backward steps have now: "seminorm", a function of `parts`, or None."""
        return self.adjoint_options.get("norm") if self.backward.adaptive else None

    def parts(self, y: Tensor, a: Tensor, *gradients: Tensor) -> tuple[Tensor, ...]:
        """As torchdiffeq's norms expect them; the first, of time, is not in the state."""
        layout = self.problem.layout
        pair = (y, a) if layout.shapes is None else (*layout.state(y), *layout.state(a))
        return y.new_zeros(()), *pair, *gradients

    def _grid(self) -> list[float] | None:
        """The ends of given steps backward: those of the forward ones, unless they have options.

        The latter divide each interval, from its end, as torchdiffeq does.
        """
        problem, backward = self.problem, self.backward
        if backward.step_size is None and backward.grid_constructor is None:
            return None
        if not self.own_steps:
            return problem.grid
        ends = set(problem.panel_options().get("jump_at", ()) if backward.perturb else ())
        for k, (start, end) in enumerate(pairwise(problem.times)):
            backwards = problem.t[[k + 1, k]], [end, start]
            ends.update(backward.grid(problem.func, problem.given, *backwards) or ())
        return sorted(ends)
