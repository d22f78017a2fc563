"""The collocated adjoint of a panel, compiled by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from array_api_compat import torch as xp
from torch import Tensor

from odecore.adjoint import AtOnce, Linearize, Pull, Rules, cross_at_once
from torch_bridge._compile_history import history_of
from torch_bridge._program import attempted

__all__ = ["compiled_adjoint"]

PASSES = (6, 10, 16)  # of GMRES; each number is a program of its own

Field = Callable[[Any, Any], Any]


def compiled_adjoint(
    func: Callable[..., Any], field: Field, parameters: Sequence[Tensor]
) -> Callable[..., AtOnce | None]:
    """The `kernel` of `odecore.adjoint.collocated`.

    Parameters
    ----------
    func : callable
        The user's function, to remember what could not be compiled, and how many passes it needs.
    field : callable
    parameters : sequence of Tensor
    """
    history = history_of(func)

    def kernel(
        t: Tensor, y: Tensor, end: Tensor, length: float, tolerances: Any, rules: Rules
    ) -> AtOnce | None:
        given = (
            torch.tensor(length, dtype=torch.float64, device="cpu"),
            tuple(
                torch.as_tensor(x, dtype=end.dtype.to_real(), device=end.device) for x in tolerances
            ),
        )
        found = None
        for passes in (p for p in PASSES if p >= history.passes):
            with torch._dynamo.config.patch(trace_autograd_ops=True):
                found = attempted(
                    func, _cross, field, tuple(parameters), t, y, end, *given, rules, passes
                )
            if found is None or found.is_solved():
                break
            history.passes = min(p for p in (*PASSES, inf) if p > passes)
        return found

    return kernel


def _cross(
    field: Field,
    parameters: tuple[Tensor, ...],
    t: Tensor,
    y: Tensor,
    end: Tensor,
    length: Tensor,
    tolerances: tuple[Tensor, Tensor],
    rules: Rules,
    passes: int,
) -> AtOnce:
    linearize = _at_nodes(field, parameters)
    return cross_at_once(
        linearize, bool(parameters), t, y, end, length, tolerances, rules, passes, xp
    )


def _at_nodes(field: Field, parameters: tuple[Tensor, ...]) -> Linearize:
    def linearize(t: Tensor, y: Tensor) -> tuple[Tensor, Pull]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            value = torch.func.vmap(field)(t, y)

        def pull(a: Tensor, wanted: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
            inputs = (y, *parameters) if wanted else (y,)
            if not value.requires_grad:
                state, *rest = map(torch.zeros_like, inputs)
                return state, tuple(rest)
            state, *rest = torch.autograd.grad(
                value, inputs, a, retain_graph=True, materialize_grads=True
            )
            return state, tuple(rest)

        return value.detach(), pull

    return linearize
