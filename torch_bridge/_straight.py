"""Compiled solves that go straight to their end, without the checks of a long one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, pairwise
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor

from odecore.solve import Kernels, Newton, StepControl, solve_ivp
from odecore.tableaux import Coefficients
from torch_bridge._callbacks import observer_of
from torch_bridge._compiled import compiled_kernels
from torch_bridge._fields import Autocast, as_field, is_plain
from torch_bridge._methods import Method, solver_of
from torch_bridge._one_solve import one_solve
from torch_bridge._solver import Solver
from torch_bridge._states import layout_of

__all__ = ["straight"]

LAW = StepControl()
DTYPES = (torch.float32, torch.float64)
SPACED = 1e-9  # of times, whose largest is 1; rounding plays no part


def straight(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Any,
    rtol: Any,
    atol: Any,
    method: Method,
    options: Any,
    records: bool = False,
) -> Any:
    """What `odeint(compile=True)` gives, or None where it has to be asked.

    Its checks take longer than a small compiled solve does. Fewer will do for usual arguments: no
    gradients, a method by its name, no option but how steps are given, numbers as tolerances, and a
    program that ran before. The steps are the same; where they go wrong `odeint` takes them again,
    and says why. With `records` the program is that of an adjoint, which records its steps.
    """
    usual = type(rtol) is type(atol) is float and isinstance(method, str | None)
    if torch.is_grad_enabled() or not usual or not _gives_steps(options):
        return None
    solver, times = solver_of(method, options, rtol, atol, Newton), _times(t)
    if times is None or not (isinstance(solver.method, Coefficients) and solver.method.is_explicit):
        return None
    layout = layout_of(y0)
    y = layout.vector(y0)
    autocast = Autocast.current(y.device)
    usual = is_plain(y) and y.dtype in DTYPES and y.numel() > 0 and not autocast.enabled
    suffixes = ("", "_adjoint") if records else ("",)
    called = any(observer_of(func, layout.state, suffix) for suffix in suffixes)
    if called or not (usual and callable(func)):
        return None
    kernels = compiled_kernels(func, solver.method, layout, y, None)
    if kernels.begins is None or not kernels.begins(solver.adaptive):
        return None
    field = as_field(func, y, autocast, layout)
    with one_solve():
        if solver.adaptive:
            found = _adaptive(kernels, field, y, times, rtol, atol, records)
        else:
            ends = _ends(solver, t, times)
            found = ends and _given(kernels, field, y, times, ends, records)
    if found is None or not isfinite(torch.linalg.vector_norm(found)):
        return None
    return layout.state(found)


def _gives_steps(options: Any) -> bool:
    """Whether there are no options but for a number or a size of steps."""
    if type(options) is not dict or not options:
        return options is None or type(options) is dict
    name, value = next(iter(options.items()))
    given = (name, type(value)) in (("steps", int), ("step_size", float))
    return given and len(options) == 1 and value > 0


def _times(t: Any) -> list[float] | None:
    """Times on the host, in one direction and not too near to each other."""
    if not (isinstance(t, Tensor) and is_plain(t) and t.is_floating_point() and t.ndim == 1):
        return None
    times: list[float] = t.tolist()
    least = SPACED * max(map(abs, times), default=inf)
    lengths = [b - a for a, b in pairwise(times)] or [0.0]
    far = all(h > least for h in lengths) or all(h < -least for h in lengths)
    return times if far and least < inf else None


def _adaptive(
    kernels: Kernels,
    field: Any,
    y: Tensor,
    times: list[float],
    rtol: float,
    atol: float,
    records: bool,
) -> Tensor | None:
    """The first and the last state, by one loop, or as many as record their steps."""
    if rtol >= 1 or max(rtol, atol) < torch.finfo(y.dtype).eps or len(times) > 2:
        return None
    (t, end), left = times, (solve_ivp.__kwdefaults__ or {})["max_steps"]
    more, state, slope, moved = {"every": True} if records else {}, y, None, True
    h, ratio, before, rejects, direction = 0.0, 1.0, 1.0, 0.0, 1.0 if end > t else -1.0
    while t != end and moved and rejects < inf and left > 0:
        numbers = [t, h, ratio, before, rejects, direction, end, end, 0.0, inf, left]
        found = kernels.leap(field, LAW, (rtol, atol), state, slope, numbers, **more)
        if found is None:
            return None
        t, h, ratio, before, accepted, rejected, rejects, *_ = found.numbers.tolist()
        state, slope, moved = found.y, found.slope, accepted + rejected > 0
        left -= accepted + rejected
    return torch.stack([y, state]) if t == end else None


def _ends(solver: Solver, t: Tensor, times: list[float]) -> list[float] | None:
    """The ends of given steps: of a size between two times, or equally many between any two."""
    if solver.step_size is not None:
        return solver.grid(None, None, t, times) if len(times) == 2 else None
    n = solver.options["steps"]
    inside = ([*(a + (b - a) * (k / n) for k in range(1, n)), b] for a, b in pairwise(times))
    return [times[0], *chain.from_iterable(inside)]


def _given(
    kernels: Kernels, field: Any, y: Tensor, times: list[float], ends: list[float], records: bool
) -> Tensor | None:
    """The states at the times, equally many steps apart, in the loops of `solve_ivp`."""
    count = len(ends) - 1
    between = count // (len(times) - 1)
    every = records or between < kernels.length  # state is recorded
    length = count if every else between
    if 0 < length % kernels.most < kernels.length:
        return None
    states, more = [y[None]], {"every": True} if every else {}
    for first, last in pairwise(range(0, count + 1, length)):
        for k in range(first, last, kernels.most):
            stop = min(k + kernels.most, last)
            made = kernels.run(field, ends[k : stop + 1], y, None, **more)
            if made is None:
                return None
            found = made[0] if every else made[0][None]
            y = found[-1]
            states += [found] if every or stop == last else []
    return torch.cat(states)[:: between if every else 1]
