"""Transposed steps of an explicit method, compiled by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from array_api_compat import torch as xp
from torch import Tensor, nn

from odecore.adjoint import Pull, StepRecord, Undone, transposed_run
from odecore.tableaux import Coefficients
from torch_bridge._adjoint_setting import Setting
from torch_bridge._compile_history import history_of
from torch_bridge._compiled import MOST, RECORDED, in_torch_loop, on_host, room_for
from torch_bridge._fields import as_field, is_batched
from torch_bridge._program import attempted
from torch_bridge._states import Layout

__all__ = ["compiled_transpose"]

FEW = 8  # large states that are stacked at a time


def compiled_transpose(setting: Setting) -> Callable[..., Undone | None] | None:
    """The `kernel` of `odecore.adjoint.discrete`, or None where there is none.

    torch's loop records nothing for autograd, only for torch.func, to which the parameters of a
    Module can be given: a function that holds them otherwise is transposed uncompiled.
    """
    func, problem = setting.problem.func, setting.problem
    if not isinstance(func, nn.Module) or not setting.field_later.is_own:
        return None
    history_of(func).begin(func)
    places = {id(p): k for k, p in enumerate(setting.parameters)}
    named = func.named_parameters(remove_duplicate=False)
    names = tuple((name, places[id(p)]) for name, p in named if id(p) in places)
    if len({k for _, k in names}) < len(places):
        return None
    pinned = _of_parameters(func, names, problem.layout)

    def kernel(
        method: Coefficients, record: StepRecord, end: int, a: Tensor, cotangents: dict[int, Tensor]
    ) -> Undone | None:
        if method.has_arrays or is_batched(a):
            return None
        field = as_field(pinned, a, problem.autocast)
        _ = method.terms  # made here: what is made once a compiler does not trace
        most = MOST if a.nbytes <= RECORDED else FEW
        n = min(most, end)
        start, times = end - n, record.times
        filled = on_host([*times[start : end + 1], *[times[end]] * (most - n)])
        rows = room_for(a, most), None
        torch.stack(record.states[start:end], out=rows[0][:n])
        if len(record.outputs) > 2:  # some on the way; one program for all parts of it
            rows = rows[0], room_for(a, most).zero_()
            for k in range(start + 1, end):
                if k in cotangents:
                    rows[1][k - start] = cotangents[k]
        count = torch.tensor([n], device="cpu")
        found = attempted(
            func, _transposed, field, method, filled, count, a.contiguous(), *rows,
            setting.parameters,
        )  # fmt: skip
        if found is None:
            return None
        before, gradients = found
        if start in cotangents:
            before = before + cotangents[start]
        return Undone(before, gradients, n)

    return kernel


def _of_parameters(
    func: nn.Module, names: tuple[tuple[str, int], ...], layout: Layout
) -> Callable[[Any, Any], Any]:
    """The function of the pair of a state, as a vector, and the tuple of parameters."""

    def pinned(t: Tensor, pair: tuple[Tensor, tuple[Tensor, ...]]) -> Tensor:
        y, parameters = pair
        given = {name: parameters[k] for name, k in names}
        value = torch.func.functional_call(func, given, (t, layout.state(y)), tie_weights=False)
        return layout.vector(value)

    return pinned


def _transposed(
    field: Callable[..., Any],
    method: Coefficients,
    times: Tensor,
    count: Tensor,
    a: Tensor,
    states: Tensor,
    cotangents: Tensor | None,
    parameters: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    def linearize(t: Tensor, y: Tensor) -> tuple[Tensor, Pull]:
        def value(y: Tensor, *parameters: Tensor) -> Tensor:
            found: Tensor = field(t, (y, parameters))
            return found

        value, pull = torch.func.vjp(value, y, *parameters)

        def pulled(a: Tensor, wanted: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
            state, *rest = pull(a)
            return state, tuple(rest)

        return value, pulled

    zeros = tuple(torch.zeros_like(p) for p in parameters)
    return transposed_run(
        in_torch_loop, linearize, method, times, count, states, a, zeros, xp, cotangents
    )
