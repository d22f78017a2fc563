"""What a solve is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from odecore.solve._controllers import AdaptiveSteps, GivenSteps
from odecore.solve._dense_output import DenseStep
from odecore.solve._events import Event
from odecore.solve._explicit_step import Attempt
from odecore.solve._kernels import Kernels
from odecore.solve._problem import Stop
from odecore.tableaux import ContinuousExtension

__all__ = ["Plan"]

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Plan:
    """What a solve is asked to do.

    Parameters
    ----------
    fun : callable
    step : callable
        `step(fun, t, y, h, first_stage, t_new)` gives an `Attempt`.
    extension : callable
        Gives the polynomial of the method, called if it is needed; None where the state inside a
        step is that of a step of the method that ends there.
    controller : AdaptiveSteps or GivenSteps
    stops : sequence of Stop
        Times at which steps end, in order.
    outputs : sequence of float
        Times to record that need not be stops, in order.
    every_step : bool
        Whether the end of each step is recorded.
    accepted : callable, optional
        `accepted(t, y, h, stages)` is told of each accepted step from (t, y), in order, by compiled
        loops when they end; `stages` are those of implicit steps.
    """

    fun: Field
    step: Callable[..., Attempt]
    extension: Callable[[], ContinuousExtension | None]
    controller: AdaptiveSteps | GivenSteps
    stops: Sequence[Stop]
    outputs: Sequence[float] = ()
    every_step: bool = False
    first_step: float | None = None
    max_steps: int = 100_000
    events: tuple[Event, ...] = ()
    dense: bool | Callable[[DenseStep], None] = False
    jump_at_start: bool = False
    observe: Callable[[str, Any, Any, Any], None] | None = None
    accepted: Callable[[Any, Any, Any, tuple[Any, ...]], None] | None = None
    report: Callable[[float], None] | None = None
    kernels: Kernels = field(default_factory=Kernels)

    @cached_property
    def passive(self) -> bool:
        """Whether nothing is wanted from the inside of a step."""
        return not (self.outputs or self.events or self.dense)

    @cached_property
    def wants_steps(self) -> bool:
        """Whether the state after each step is wanted."""
        return self.every_step or self.accepted is not None

    @cached_property
    def passes_steps(self) -> bool:
        """Whether nothing is to be done at each step, so that many may be taken at once."""
        jumps = self.jump_at_start or any(stop.jump for stop in self.stops)
        return not (self.events or self.dense or self.observe or jumps)
