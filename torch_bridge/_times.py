"""How a flow depends on its times: the values stay, derivatives are those of the flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from odecore.tableaux import tableau
from torch_bridge._fields import inside_torch_func, nested_passes
from torch_bridge._once import once_only
from torch_bridge._parametrized import cached_apart

__all__ = ["only_output", "shifted", "shifted_outputs", "shifted_start"]

STEPS = {2: "midpoint", 3: "kutta3", 4: "classic"}
NO_SECOND_DERIVATIVE = (
    "a gradient with respect to times can not be differentiated again; detach the times, nest "
    "torch.func (hessian), or write the problem in a rescaled time whose end is a parameter of func"
)


def shifted_start(y0: Tensor, t: Tensor, field: Callable[[Any, Any], Any]) -> Tensor:
    """Attach the dependence on the first time: y(t; t0, y0) moves with t0 as y0 with -f(t0, y0)."""
    if not _differentiated(t):
        return y0
    if _order(t) > 1:
        return _stepped(y0, t[0], -1, field)
    with torch.no_grad(), cached_apart():
        slope = field(t[0].detach(), y0.detach()).detach()
    return _Shifted.apply(y0, t[0].to(y0.dtype.to_real()), -slope)


def only_output(y0: Tensor, t: Tensor) -> Tensor:
    """The states (1, ...) at the first time alone: y0, copied, which does not move with it."""
    return (y0 + t[:0].sum().to(y0) if _differentiated(t) else y0.clone())[None]


def shifted_outputs(y: Tensor, y0: Tensor, t: Tensor, field: Callable[[Any, Any], Any]) -> Tensor:
    """Attach the dependence on the later times, dy/dt_i = f(t_i, y_i)."""
    return torch.cat([y0[None], shifted(y[1:], t[1:], field)]) if _differentiated(t) else y


def shifted(y: Tensor, t: Tensor, field: Callable[[Any, Any], Any]) -> Tensor:
    """Attach the dependence of states (n, ...) on their times (n,), or of one on its 0-d time."""
    if not _differentiated(t):
        return y
    if t.ndim:
        pairs = zip(y, t, strict=True)
        return torch.stack([shifted(*pair, field) for pair in pairs]) if len(t) else y
    if _order(t) > 1:
        return _stepped(y, t, 1, field)
    with torch.no_grad(), cached_apart():
        slope = field(t.detach(), y.detach()).detach()
    return _Shifted.apply(y, t.to(y.dtype.to_real()), slope)


def _stepped(y: Tensor, t: Tensor, sign: int, field: Callable[[Any, Any], Any]) -> Tensor:
    """Let a state move with its 0-d time, for derivatives within derivatives.

    A step of a Runge-Kutta method of order p from the time's value to the time (sign 1), or back
    (-1), has the length zero and the first p derivatives of the flow.
    """
    order = _order(t)
    if order not in STEPS:
        raise RuntimeError(f"times are differentiated at most {max(STEPS)} times, got {order}")
    method, value = tableau(STEPS[order]), t.detach()
    start, h = (value, t - value) if sign > 0 else (t, value - t)
    step = h.to(y.dtype.to_real())
    slopes: list[Tensor] = []
    for c, row in zip(method.c, method.A, strict=True):
        at = y + step * sum(float(a) * k for a, k in zip(row, slopes, strict=False) if a)
        slopes.append(field(start + float(c) * h, at))
    return y + step * sum(float(b) * k for b, k in zip(method.b, slopes, strict=True))


def _order(t: Tensor) -> int:
    """How often times are differentiated: by passes of torch.func, and by autograd around them."""
    passes = nested_passes("Grad", "Jvp")
    while passes and torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    return passes + t.requires_grad if passes else 0


def _differentiated(t: Tensor) -> bool:
    if t.requires_grad and torch.is_grad_enabled():
        return True
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(t).tangent is not None:
        return True
    if torch.compiler.is_compiling() or not inside_torch_func():
        return False
    # A transformation may differentiate the times, or leave them as they are.
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(t))


class _Shifted(torch.autograd.Function):
    """The value of y; its derivative with respect to the 0-d time t is the slope."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, t: Tensor, slope: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        y, t, slope = inputs
        ctx.set_materialize_grads(False)  # a tangent that is none depends on nothing
        ctx.save_for_backward(t, slope, y if ctx.needs_input_grad[0] else None)
        ctx.save_for_forward(t, slope, y)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        t, slope, y = ctx.saved_tensors
        if y_grad is None or not ctx.needs_input_grad[1]:
            return y_grad, None, None
        # Autograd conjugates: for complex states the real part of conj(slope) y_grad.
        t_grad = (slope.conj() * y_grad).real if slope.is_complex() else slope * y_grad
        t_grad = t_grad.sum().to(t.device, t.dtype)
        depends_on = (t,) if y is None else (t, y)  # the slope does, by func
        return y_grad, once_only(t_grad, depends_on, NO_SECOND_DERIVATIVE), None

    @staticmethod
    def jvp(ctx: Any, y_tangent: Any, t_tangent: Any, _: Any) -> Tensor:
        t, slope, y = ctx.saved_tensors
        if t_tangent is None:  # the tangent of y moves with the time as well
            still = torch.zeros_like(y_tangent)
            return y_tangent + once_only(still, (t,), NO_SECOND_DERIVATIVE)
        moved = once_only(slope * t_tangent, (t, y), NO_SECOND_DERIVATIVE)
        return moved if y_tangent is None else y_tangent + moved
