"""The steps of a forward solve, and states enough to make them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import comb
from typing import Any

from odecore._array import constant, copied, namespace
from odecore._times import are_floats, read_times, read_unordered
from odecore.adjoint._budget import budget, bytes_of
from odecore.adjoint._one_array import one_array
from odecore.adjoint._step_ends import ends_between
from odecore.solve import Accepted, Newton, Trajectory, solve_ivp
from odecore.tableaux import ButcherTableau, Coefficients, tableau

__all__ = ["StepRecord", "record_steps", "schedule"]

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class StepRecord:
    """The accepted steps of a forward solve, and enough of its states to make them again.

    Parameters
    ----------
    times : (n + 1,) tuple of float
        The ends of the n steps, the initial time first.
    method : Coefficients
    outputs : tuple of int
        Which of `times` are the output times.
    stride : int
    states : tuple of array
        Those before the steps 0, stride, 2 stride, ...
    capacity : int or None
        How many states may be kept at a time, in the backward pass too; None for all.
    newton : Newton, optional
        Of the forward solve, for implicit methods.
    jumps : frozenset of float
        Ends of steps at which the right-hand side jumps.
    stages : tuple of (s, ...) array
        The slopes of each step of an implicit method, where there is room for all.
    """

    times: tuple[float, ...]
    method: Coefficients
    outputs: tuple[int, ...]
    stride: int
    states: tuple[Any, ...]
    capacity: int | None = None
    newton: Newton | None = None
    jumps: frozenset[float] = frozenset()
    stages: tuple[Any, ...] = ()


def record_steps(
    fun: Field, times: Sequence[Any], y0: Any, /, *, memory: float | None = None, **options: Any
) -> tuple[Trajectory, StepRecord]:
    """Integrate forward in steps that land on the output times, and keep what undoes them.

    Parameters
    ----------
    fun, y0
        As for `odecore.solve.solve_ivp`; y0 an array.
    times : (n,) sequence of float
        Output times, the first that of `y0`; n >= 2. Arrays must be on the host.
    memory : int or infinity, optional
        A budget in bytes for states between the steps, at least two, here and in `discrete`. By
        default the state before each step is kept, with the stages of implicit ones; else the
        stages of all are dropped where the budget is full, then every second state whenever it is,
        and at the end while the backward pass takes less work with the room.
    **options
        Further options of `solve_ivp`, for a Runge-Kutta method; not `t_eval`, events,
        dense output and `throw`. Output times are added to a `grid`.

    Returns
    -------
    Trajectory
        At the output times.
    StepRecord

    Raises
    ------
    ValueError, TypeError
        If one of these rules is broken, or as `solve_ivp` does.
    SolveError
        If the forward solve fails.
    """
    refused = {"t_eval", "events", "dense", "throw"} & set(options)
    if refused:
        names = ", ".join(sorted(refused))
        raise ValueError(f"steps to be made again can not have {names}: leave it out")
    method = options["method"] = _runge_kutta(options.get("method", "dopri5"))
    outputs = _floats(times, "times")
    if len(outputs) < 2:
        raise ValueError(f"`times` must hold at least 2 times, got {len(outputs)}")
    jumps: frozenset[float] = frozenset()
    if options.get("jump_at") is not None:
        options["jump_at"] = _floats(options["jump_at"], "jump_at", read_unordered)
        jumps = frozenset(options["jump_at"])
    if options.get("grid") is not None:
        options["grid"] = _with_outputs(_floats(options["grid"], "grid"), outputs, jumps)
    elif options.get("steps") is None and options.get("step_size") is None:
        options["step_at"] = [*outputs, *read_unordered(options.get("step_at"), "step_at")]
    y0 = copied(one_array(y0))
    kept = _Kept(_capacity(memory, y0))
    observe = _beside(kept.take, options.pop("observe", None))
    span = (outputs[0], outputs[-1])
    trajectory = solve_ivp(fun, span, y0, t_eval=outputs, observe=observe, **options)
    while kept.repeated(2) < kept.repeated(1):
        kept.thin()
    ends = (*kept.times, outputs[-1])
    index = {t: k for k, t in enumerate(ends)}
    where = tuple(index[t] for t in outputs)
    states, stages, newton = tuple(kept.states), tuple(kept.stages), options.get("newton")
    kind = method, where, kept.stride
    return trajectory, StepRecord(ends, *kind, states, kept.capacity, newton, jumps, stages)


def _beside(take: Callable[..., None], observe: Any) -> Accepted:
    """An observer that is told of accepted steps, beside the user's."""
    told = observe if isinstance(observe, Accepted) else Accepted(None, observe)
    users = told.take
    if users is None:
        return Accepted(take, told.observe)

    def both(t: Any, y: Any, h: Any, stages: tuple[Any, ...]) -> None:
        take(t, y, h, stages)
        users(t, y, h, stages)

    return Accepted(both, told.observe)


def _with_outputs(grid: list[float], outputs: list[float], jumps: frozenset[float]) -> list[float]:
    """The grid that has the output times too; one that breaks a rule as it is, for the solver."""
    ordered = sorted(set(grid), reverse=outputs[-1] < outputs[0])
    if grid != ordered or grid[:1] != outputs[:1] or grid[-1:] != outputs[-1:]:
        return grid
    between = ends_between(grid, jumps)
    parts = [between(*interval) for interval in pairwise(outputs)]
    return [outputs[0], *(t for part in parts for t in part[1:])]


def _runge_kutta(method: Any) -> Coefficients:
    found = tableau(method) if isinstance(method, str) else method
    found = found.coefficients if isinstance(found, ButcherTableau) else found
    if isinstance(found, Coefficients):
        return found
    raise ValueError(
        f"the discrete adjoint needs a Runge-Kutta method, got {type(found).__name__}: choose one "
        "such as dopri5, or take the restored adjoint"
    )


def _floats(
    times: Any, label: str, read: Callable[[Any, str], list[Any]] = read_times
) -> list[float]:
    """Times as Python floats."""
    found = read(times, label)
    if are_floats(found):
        return found
    raise ValueError(f"`{label}` must be floats, or arrays on the host to read, got {times!r}")


def _capacity(given: float | None, y: Any) -> int | None:
    """How many states a budget in bytes holds."""
    memory = budget(given)
    if memory is None:
        return None
    size = max(1, bytes_of(y))
    if memory < 2 * size:
        raise ValueError(
            f"`memory` must hold at least 2 states of {size} bytes, got {memory}: give more, or "
            "leave it out to keep all states"
        )
    return memory // size


@dataclass
class _Kept:
    """The states that are kept while the number of steps is not known."""

    capacity: int | None
    times: list[float] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    stages: list[Any] = field(default_factory=list)
    stride: int = 1

    def take(self, t: Any, y: Any, h: Any, stages: tuple[Any, ...]) -> None:
        if len(self.states) == self.capacity and len(self.times) % self.stride == 0:
            self.thin()
        if len(self.times) % self.stride == 0:
            self.states.append(constant(y) if self.stride == 1 else copied(constant(y)))
        if stages and len(self.stages) == len(self.times):  # else they were dropped
            self.stages.append(namespace(y).stack([constant(k) for k in stages]))
            if self.capacity is not None and len(self.states) * (1 + len(stages)) > self.capacity:
                self.stages.clear()
        self.times.append(t)

    def thin(self) -> None:
        """Drop every second state; copies, for loops may give views of many states."""
        self.states, self.stride = [copied(y) for y in self.states[::2]], 2 * self.stride

    def repeated(self, factor: int) -> int:
        """Steps made again in the backward pass, with states this many times as far apart."""
        whole, rest = divmod(len(self.times), factor * self.stride)
        slots = 1 + (self.capacity or 2 * len(self.times)) - whole - (rest > 0)
        return whole * schedule(factor * self.stride, slots)[1] + schedule(rest, slots)[1]


def schedule(steps: int, slots: int) -> tuple[int, int]:
    """How far to go before the next state is stored, and how many steps are made again in all.

    The least, in going back over `steps` steps with room for `slots` states, the first included.
    """
    if slots == 1:
        return steps - 1, steps * (steps - 1) // 2
    r = 0  # how often a step is made again, at most
    while comb(slots + r, slots) < steps:
        r += 1
    if r == 0:
        return 1, 0
    least = comb(slots + r - 2, slots)
    return max(1, least, steps - comb(slots + r - 1, r)), r * steps - comb(slots + r, r - 1)
