"""Steps compiled by torch: whole adaptive solves, chunks of given steps, single steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from array_api_compat import torch as xp
from torch import Tensor

from odecore.solve import (
    Attempt,
    Kernels,
    Leap,
    StepControl,
    adaptive_leap,
    adaptive_step,
    explicit_step,
    given_run,
    given_steps,
)
from odecore.tableaux import Coefficients
from torch_bridge._compile_history import history_of
from torch_bridge._program import attempted
from torch_bridge._states import Layout

__all__ = [
    "MOST",
    "RECORDED",
    "compilable",
    "compiled_kernels",
    "in_torch_loop",
    "on_host",
    "room_for",
]

RECORDED = 2**17  # bytes of a state, of larger ones neither given steps nor stages are recorded
MOST = 64  # steps in one loop that records them
ROOM = 2**24  # bytes for what adaptive ones record; if these are fewer than
LEAST = 4  # they are compiled one at a time
CHUNK = 8  # steps; twice as many take twice as long to compile


def compilable(method: Any) -> Coefficients:
    """The method, of which steps can be compiled; ValueError for another."""
    if not isinstance(method, Coefficients) or not method.is_explicit:
        raise ValueError(
            "`compile` needs an explicit Runge-Kutta method; choose another method, or leave "
            "`compile` out"
        )
    return method


def compiled_kernels(
    func: Callable[..., Any],
    method: Coefficients,
    layout: Layout,
    like: Tensor,
    user_norm: Callable[[Any], Any] | None,
) -> Kernels:
    """Steps of a method, compiled when they are needed.

    What can not be compiled is done without, with one CompileWarning for each function, or, where
    the norm may be why, for each norm of it.

    Parameters
    ----------
    func : callable
        The user's function, to remember what could not be compiled.
    method : Coefficients
        Of an explicit method.
    layout : Layout
        Of the state.
    like : Tensor
        The state.
    user_norm : callable or None
        From the error in units of the tolerance to a number; by default its root mean square.
    """
    norm = layout.tensor_norm(user_norm) or _root_mean_square
    history = history_of(func)
    history.begin(func)
    with_norm = partial(attempted, func, user_norm=user_norm)

    def leap(
        fun: Any, law: StepControl, tolerances: Any, y: Tensor, slope: Any, numbers: list[float],
        every: bool = False, stages: bool = False,
    ) -> Leap | None:  # fmt: skip
        large = every and y.nbytes > ROOM // LEAST
        if large or _differentiated(y, slope):  # torch's loop operator has no gradient
            return None
        y = y.contiguous()  # as all states of the loop
        known = torch.empty_like(y) if slope is None else slope.contiguous()
        kept = _room_for_steps(y, stages * len(method.b)) if every or stages else None
        attempts = numbers[-1] if kept is None else min(numbers[-1], len(kept[0]))
        given = on_host([*numbers[:-1], attempts]), _tensors(tolerances, y)
        found = with_norm(_leap, fun, method, law, norm, y, known, *given, kept, stages)
        if found is None or kept is None:
            return found
        times, each = kept
        each = each if stages else _written(each, int(found.numbers[4]))
        return found._replace(times=times, each=each)

    def chunk(fun: Any, times: Sequence[Any], y: Tensor, slope: Tensor | None) -> Any:
        known = slope if method.last_stage_is_first else None
        return attempted(func, given_steps, fun, method, _stacked(times), y, known)

    def run(
        fun: Any, times: Sequence[float], y: Tensor, slope: Tensor | None, every: bool = False
    ) -> Any:
        if _differentiated(y, slope) or (every and y.nbytes > RECORDED):
            return None
        filled = on_host([*times, *[times[-1]] * (MOST + 1 - len(times))])
        count = torch.tensor([len(times) - 1], device="cpu")
        reuses = method.last_stage_is_first
        known = slope.contiguous() if reuses and slope is not None else None
        states = room_for(y) if every else None
        found = attempted(func, _run, fun, method, filled, count, y.contiguous(), known, states)
        if found is None:
            return None
        made = len(times) - 1
        evaluations = made * (len(method.b) - reuses) + (reuses and known is None)
        return found[0] if states is None else _written(states, made), found[1], evaluations

    def step(
        fun: Any, t: Any, y: Tensor, h: Any, slope: Any, t_new: Any, tolerances: Any
    ) -> Attempt | None:
        tol = None if tolerances is None else _tensors(tolerances, y)
        found = with_norm(_step, fun, method, norm, _stacked([t, t_new]), y, slope, tol)
        return found and _attempt(*found, known=slope is not None, method=method)

    def begins(adaptive: bool) -> bool:  # gradients show in the first evaluation, errors of `func`
        same = adaptive or not method.last_stage_is_first  # a run with a slope is another program
        ran = history.compiled[_leap if adaptive else _run] > 0
        return same and ran and not torch.is_grad_enabled()

    kept = {"records": _is_kept(like), "stages": _is_kept(like) and like.nbytes <= RECORDED}
    return Kernels(step, leap, begins, chunk, CHUNK, run, MOST, **kept)


def _is_kept(y: Tensor) -> bool:
    """Whether loops write states down: inductor can not write complex rows from inside of one."""
    return not y.is_complex()


def _attempt(
    y: Tensor, ratio: Tensor | None, *stages: Tensor, known: bool, method: Coefficients
) -> Attempt:
    """A step, whose first stage may have been known."""
    last = stages[-1] if method.last_stage_is_first else None
    return Attempt(y, None, stages[0], last, len(stages) - known, stages, ratio=ratio)


def _leap(
    fun: Any,
    method: Coefficients,
    law: StepControl,
    norm: Any,
    y: Tensor,
    slope: Tensor,
    numbers: Tensor,
    tol: tuple[Tensor, Tensor],
    kept: tuple[Tensor, Tensor] | None,
    stages: bool,
) -> Leap:
    fun, record = _in_a_loop(fun), kept and _step_writer(*kept, stages)
    return adaptive_leap(in_torch_loop, fun, method, law, norm, y, slope, numbers, tol, xp, record)


def _run(
    fun: Any,
    method: Coefficients,
    times: Tensor,
    count: Tensor,
    y: Tensor,
    slope: Tensor | None,
    states: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    record = None if states is None else _writer(states)
    return given_run(in_torch_loop, _in_a_loop(fun), method, times, count, y, slope, xp, record)


def _writer(*rows: Tensor) -> Callable[..., None]:
    """Writes entries of rows, into which torch's loop may write as it does not carry them."""

    def record(k: Tensor, *entries: Tensor) -> None:
        for row, entry in zip(rows, entries, strict=True):
            row.index_copy_(0, k.to(row.device), entry[None])

    return record


def _step_writer(times: Tensor, each: Tensor, stages: bool) -> Callable[..., None]:
    """Writes down steps, with their stages if these are wanted."""
    write = _writer(times, each)
    return lambda k, t, y, ks: write(k, t, torch.cat([y[None], ks]) if stages else y)


def room_for(y: Tensor, most: int = MOST) -> Tensor:
    """Room for as many states as a loop takes steps."""
    return torch.empty((most, *y.shape), dtype=y.dtype, device=y.device)


def _room_for_steps(y: Tensor, stages: int) -> tuple[Tensor, Tensor]:
    """Room for the times of steps and for the states, each with so many stages."""
    row = y.expand(1 + stages, *y.shape) if stages else y
    most = min(MOST, ROOM // (row.numel() * row.itemsize))
    return on_host([0.0] * most), room_for(row, most)


def _written(states: Tensor, count: int) -> Tensor:
    """The rows that a loop has written; few of them do not keep the rest alive."""
    return states[:count] if 2 * count > len(states) else states[:count].clone()


def _in_a_loop(fun: Any) -> Callable[[Any, Any], Any]:
    """The function with values that torch's loop may carry: contiguous, and no argument itself."""
    return lambda t, y: fun(t, y).clone(memory_format=torch.contiguous_format)


def _step(
    fun: Any, method: Coefficients, norm: Any, times: Tensor, y: Tensor, slope: Any, tol: Any
) -> tuple[Tensor | None, ...]:
    t, t_new = times.unbind()
    if tol is None:
        found = explicit_step(fun, t, y, t_new - t, method, first_stage=slope, t_new=t_new)
        return (found.y, None, *found.stages)

    def size(error: Tensor) -> Tensor:
        return norm(error.detach())

    found, ratio = adaptive_step(fun, method, size, t, t_new, y, slope, tol, xp)
    return (found.y, ratio, *found.stages)


def in_torch_loop(condition: Any, body: Any, carried: Any) -> Any:
    from torch._higher_order_ops import while_loop

    return while_loop(lambda *parts: condition(parts), lambda *parts: body(parts), carried)


def _root_mean_square(error: Tensor) -> Tensor:
    return torch.linalg.vector_norm(error) / error.numel() ** 0.5


def _differentiated(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def on_host(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def _stacked(times: Sequence[Any]) -> Tensor:
    if all(isinstance(t, float) for t in times):
        return on_host(times)
    like = next(t for t in times if isinstance(t, Tensor))
    return torch.stack([torch.as_tensor(t, dtype=like.dtype, device=like.device) for t in times])


def _tensors(tolerances: tuple[Any, Any], y: Tensor) -> tuple[Tensor, Tensor]:
    dtype, device = y.dtype.to_real(), y.device
    rtol, atol = (
        torch.scalar_tensor(x, dtype=dtype, device=device)  # in less time than by the other
        if isinstance(x, float)
        else torch.as_tensor(x, dtype=dtype, device=device)
        for x in tolerances
    )
    return rtol, atol
