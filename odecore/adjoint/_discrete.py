"""The discrete adjoint: the exact transpose of the steps of a Runge-Kutta method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import comb
from typing import Any

from odecore._array import constant, copied, namespace
from odecore._times import are_floats, read_times
from odecore.adjoint._budget import budget, bytes_of
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize
from odecore.adjoint._one_array import one_array
from odecore.adjoint._step_ends import ends_between
from odecore.adjoint._transposed_step import ExplicitTranspose, transpose_of
from odecore.adjoint._unit import in_their_unit
from odecore.solve import Newton, Statistics, Trajectory, solve_ivp
from odecore.tableaux import ButcherTableau, Coefficients, tableau

__all__ = ["StepRecord", "discrete", "record_steps"]

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
    """

    times: tuple[float, ...]
    method: Coefficients
    outputs: tuple[int, ...]
    stride: int
    states: tuple[Any, ...]
    capacity: int | None = None
    newton: Newton | None = None
    jumps: frozenset[float] = frozenset()


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
        default the state before each step is kept; else every second is dropped whenever the
        budget is full, and at the end while the backward pass takes less work with the room.
    **options
        Further options of `solve_ivp`, for a Runge-Kutta method; not `t_eval`, events,
        dense output, `kernels` and `throw`. Output times are added to a `grid`.

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
    refused = {"t_eval", "events", "dense", "kernels", "throw"} & set(options)
    if refused:
        names = ", ".join(sorted(refused))
        raise ValueError(f"steps to be made again can not have {names}: leave it out")
    method = options["method"] = _runge_kutta(options.get("method", "dopri5"))
    outputs = _floats(times, "times")
    if len(outputs) < 2:
        raise ValueError(f"`times` must hold at least 2 times, got {len(outputs)}")
    if options.get("grid") is not None:
        options["grid"] = _with_outputs(_floats(options["grid"], "grid"), outputs)
    elif options.get("steps") is None and options.get("step_size") is None:
        extra = options.get("step_at")
        options["step_at"] = [*outputs, *([] if extra is None else extra)]
    jumps: frozenset[float] = frozenset()
    if options.get("jump_at") is not None:
        options["jump_at"] = _floats(options["jump_at"], "jump_at")
        jumps = frozenset(options["jump_at"])
    y0 = copied(one_array(y0))
    kept = _Kept(_capacity(memory, y0), options.pop("observe", None))
    span = (outputs[0], outputs[-1])
    trajectory = solve_ivp(fun, span, y0, t_eval=outputs, observe=kept.observe, **options)
    while kept.repeated(2) < kept.repeated(1):
        kept.thin()
    ends = (*kept.times, outputs[-1])
    index = {t: k for k, t in enumerate(ends)}
    where = tuple(index[t] for t in outputs)
    states, newton = tuple(kept.states), options.get("newton")
    record = StepRecord(ends, method, where, kept.stride, states, kept.capacity, newton, jumps)
    return trajectory, record


def _with_outputs(grid: list[float], outputs: list[float]) -> list[float]:
    """The grid that has the output times too; one that breaks a rule as it is, for the solver."""
    ordered = sorted(set(grid), reverse=outputs[-1] < outputs[0])
    if grid != ordered or grid[:1] != outputs[:1] or grid[-1:] != outputs[-1:]:
        return grid
    between = ends_between(grid)
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


def _floats(times: Any, label: str) -> list[float]:
    """Times as Python floats."""
    found = read_times(times, label)
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
    user: Callable[[str, Any, Any, Any], None] | None
    times: list[float] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    stride: int = 1

    def observe(self, what: str, t: Any, y: Any, h: Any) -> None:
        if what == "accept":
            if len(self.states) == self.capacity and len(self.times) % self.stride == 0:
                self.thin()
            if len(self.times) % self.stride == 0:
                self.states.append(constant(y))
            self.times.append(t)
        if self.user is not None:
            self.user(what, t, y, h)

    def thin(self) -> None:
        self.states, self.stride = self.states[::2], 2 * self.stride

    def repeated(self, factor: int) -> int:
        """Steps made again in the backward pass, with states this many times as far apart."""
        whole, rest = divmod(len(self.times), factor * self.stride)
        slots = 1 + (self.capacity or 2 * len(self.times)) - whole - (rest > 0)
        return whole * _schedule(factor * self.stride, slots)[1] + _schedule(rest, slots)[1]


def _schedule(steps: int, slots: int) -> tuple[int, int]:
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


def discrete(
    linearize: Linearize, record: StepRecord, cotangents: Sequence, /, *, parameters: bool = True
) -> Gradients:
    r"""Go back over the recorded steps with the transpose of each.

    Parameters
    ----------
    linearize : callable
        `linearize(t, y)` returns f(t, y), as in the forward solve, and `pull`: `pull(a,
        parameters)` returns (df/dy)^T a and, if `parameters`, the tuple of (df/dtheta)^T a.
    record : StepRecord
        From `record_steps`; it may be used more than once.
    cotangents : sequence of arrays
        dL/dy at each output time, the initial one included.
    parameters : bool, optional
        Whether derivatives with respect to parameters are wanted.

    Returns
    -------
    Gradients
        Of the computed states, with the steps held constant. `tail` is 0: nothing is interpolated.
        `statistics.evaluations` counts calls of `linearize`, in steps made again too.

    Raises
    ------
    ValueError, TypeError
        If there is not one cotangent for each output time, an array does not fit the state, or the
        record is none.
    NewtonFailedError
        If the stages of an implicit step, or their transposed equations, are not solved.

    Notes
    -----
    In a step with Jacobians :math:`J_i` at its stages, for i = s, ..., 1,

    .. math:: \mu_i = h b_i \lambda + h \sum_j a_{ji} q_j, \qquad q_i = J_i^T \mu_i.

    The cotangent before the step is :math:`\lambda + \sum_i q_i`, and a parameter gains
    :math:`\sum_i (\partial f_i / \partial \theta)^T \mu_i` (Hager 2000, Numer. Math. 87). The
    coefficients are real: for complex states the pulls alone decide what is conjugated. In an
    explicit method :math:`\mu_i` needs later :math:`q_j` only. In an implicit one the sum holds
    :math:`q_i` too, and in a fully implicit one all of them: GMRES solves these linear equations to
    rounding, and `residual` is the largest that it leaves. Stages of implicit steps are found again
    by Newton's method, to rounding, so that the transpose is that of exactly solved stages.

    Steps whose states were dropped are made again, explicit ones bit for bit, with states stored in
    the rest of the budget where they save most. With room for c, the kept one before included, at
    most r n of n steps are if n <= (c + r over r) (Griewank and Walther 2000, Algorithm 799). The
    two ends and the stages of the step at hand come on top of the budget.

    Gradients are homogeneous in the cotangents, and NaN where one of them is not finite.
    """
    if not isinstance(record, StepRecord):
        raise TypeError(
            "`record` must be a StepRecord, the second of the two things that `record_steps` "
            f"returns, got {type(record).__name__}"
        )
    y = record.states[0]
    step = transpose_of(linearize, record.method, parameters, record.newton, record.jumps)
    xp = namespace(y)
    none = xp.sum(xp.zeros_like(xp.abs(y)))

    def solve(cotangents: Sequence[Any], _: Any) -> Gradients:
        a = _back(record, step, dict(zip(record.outputs, cotangents, strict=True)))
        counts = Statistics(step.evaluations, accepted=len(record.times) - 1, newton=step.passes)
        return Gradients(a, step.total, none, counts, residual=max(step.residuals))

    return in_their_unit(solve, cotangents, len(record.outputs), y)


def _back(record: StepRecord, step: ExplicitTranspose, cotangents: dict[int, Any]) -> Any:
    """From the cotangents after some steps to that of the initial state."""
    end = len(record.times) - 1
    a = cotangents[end]
    for position in reversed(range(len(record.states))):
        stored = [(position * record.stride, record.states[position])]
        while stored:
            k, y = stored[-1]
            slots = (record.capacity or 0) - len(record.states) - len(stored) + 2
            ahead = _schedule(end - k, slots)[0] if k < end - 1 else 0
            for _ in range(ahead):
                y = step.made(record.times[k], record.times[k + 1], y)
                k += 1
            if ahead and slots > 1:
                stored.append((k, y))
                continue
            if not ahead:
                stored.pop()
            end, a = k, step.undone(record.times[k], record.times[k + 1], y, a)
            a = a + cotangents[end] if end in cotangents else a
    return a
