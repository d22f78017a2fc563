"""Jacobians of a torch right-hand side for the Newton iterations of implicit methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from odecore.solve import Newton
from torch_bridge._fields import inside_torch_func
from torch_bridge._implicit_stages import differentiated_stages
from torch_bridge._own_derivatives import unwatched
from torch_bridge._parametrized import cached_apart

__all__ = ["newton_of", "require_seen"]


def newton_of(field: Callable[[Any, Any], Any], y0: Tensor, times: Sequence[Any]) -> Newton:
    """Newton's method with the derivatives that autograd finds, for a solve through these times.

    A Jacobian of many entries, say of a batch, would be large and mostly zero: there are products,
    but for what torch.func transforms, whose values GMRES can not have, as the first value of the
    field says, and in forward mode.

    Raises
    ------
    ValueError
        There, for a state that is too large for matrices.
    """
    entries = y0.numel() * (2 if y0.is_complex() else 1)
    if not Newton().direct(entries):
        if not _begins_transformed(field, y0, times):
            return Newton(differentiate=differentiated_stages)
        if not Newton().may_change(entries):
            raise ValueError(
                "under torch.func and in forward mode implicit methods form matrices, which a "
                f"state of {entries} entries is too large for: use torch.autograd, or "
                "`odeint_adjoint`, or an explicit method"
            )

    return Newton(jacobian=partial(_jacobian, field), differentiate=differentiated_stages)


def require_seen(newton: Any) -> None:
    """Raise ValueError for a Newton without matrices where derivatives are not autograd's own."""
    krylov = getattr(newton, "linear_solver", None) == "krylov"
    if krylov and (inside_torch_func() or forward_ad._current_level >= 0):
        raise ValueError(
            "derivatives of implicit steps without matrices are autograd's own, backward, and "
            "torch.func or forward mode runs here: leave Newton(linear_solver='krylov') out"
        )


def _jacobian(field: Callable[[Any, Any], Any], t: Any, y: Tensor) -> Tensor:
    """The matrix of derivatives of the field, real and imaginary parts of complex states apart."""
    shape, is_complex = y.shape, y.is_complex()

    def flat(v: Tensor) -> Tensor:
        if is_complex:
            v = torch.complex(*v.chunk(2))
        value = field(t, v.reshape(shape)).reshape(-1)
        return torch.cat([value.real, value.imag]) if is_complex else value

    start = y.detach().reshape(-1)
    if is_complex:
        start = torch.cat([start.real, start.imag])
    ways = [torch.func.jacrev(flat), partial(_one_row_after_another, flat)]
    if not (inside_torch_func() or torch.is_inference_mode_enabled()):
        # Tensors of inference mode in the field are for torch.func alone.
        ways = [partial(_all_rows, flat), *reversed(ways)]
    for way in ways[:-1]:
        try:
            return way(start).detach()
        except RuntimeError:  # something in the field can not be batched, or recorded
            continue
    return ways[-1](start).detach()


def _all_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Jacobian at a vector, in half of the time of torch.func.jacrev for few entries."""
    with torch.enable_grad(), unwatched():
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        value = function(x)
    units = torch.eye(len(value), dtype=value.dtype, device=value.device)
    if not value.requires_grad:
        return torch.zeros_like(units)
    (rows,) = torch.autograd.grad(value, x, units, is_grads_batched=True, allow_unused=True)
    return torch.zeros_like(units) if rows is None else rows


def _one_row_after_another(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with unwatched():
        found: Tensor = torch.autograd.functional.jacobian(function, x)
    return found


def _begins_transformed(field: Callable[[Any, Any], Any], y0: Tensor, times: Sequence[Any]) -> bool:
    if forward_ad._current_level >= 0:  # a tangent that comes later would be lost in products
        return True
    if not inside_torch_func():
        return False
    with torch.no_grad(), cached_apart():
        return any(map(_is_transformed, (times[0], y0, field(times[0], y0))))


def _is_transformed(x: Any) -> bool:
    """Whether torch.func maps over or differentiates a tensor."""
    return isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x)
