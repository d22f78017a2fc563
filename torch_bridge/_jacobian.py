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
from torch_bridge._one_solve import one_solve
from torch_bridge._own_derivatives import unwatched
from torch_bridge._parametrized import cached_apart

__all__ = ["newton_of", "require_seen"]

LARGEST_BLOCK = 16  # entries of a sample of a large state, each of which costs a pass
NUMBERS = 2**23  # in the products with all blocks
ROUNDING = 1e3  # in units of the last place of what two ways to one product may differ by


def newton_of(field: Callable[[Any, Any], Any], y0: Tensor, times: Sequence[Any]) -> Newton:
    """Newton's method with the derivatives that autograd finds, for a solve through these times.

    Samples along the first axis that do not see each other have a block each. Another Jacobian of
    many entries would be large: there are products, but for what torch.func transforms, whose
    values GMRES can not have, as the first value of the field says, and in forward mode.

    Raises
    ------
    ValueError
        There, for a state that is too large for matrices.
    """
    entries = y0.numel() * (2 if y0.is_complex() else 1)
    jacobian = _Jacobian(field)
    if not Newton().direct(entries):
        if not _begins_transformed(field, y0, times):
            jacobian.whole = False
            with one_solve(records=False), cached_apart():
                apart = jacobian.seems_apart(times[0], y0)
            if not apart:
                return Newton(differentiate=differentiated_stages)
        elif not Newton().may_change(entries):
            raise ValueError(
                "under torch.func and in forward mode implicit methods form matrices, which a "
                f"state of {entries} entries is too large for: use torch.autograd, or "
                "`odeint_adjoint`, or an explicit method"
            )
    return Newton(jacobian=jacobian, differentiate=differentiated_stages)


def require_seen(newton: Any) -> None:
    """Raise ValueError for a Newton without matrices where derivatives are not autograd's own."""
    krylov = getattr(newton, "linear_solver", None) == "krylov"
    if krylov and (inside_torch_func() or forward_ad._current_level >= 0):
        raise ValueError(
            "derivatives of implicit steps without matrices are autograd's own, backward, and "
            "torch.func or forward mode runs here: leave Newton(linear_solver='krylov') out"
        )


class _Jacobian:
    """The matrix of derivatives of a field, real and imaginary parts of complex states apart.

    It is (m, n/m, n/m) for m samples along the first axis, until they are seen to see each other,
    and then one matrix, or None where this would be large.
    """

    def __init__(self, field: Callable[[Any, Any], Any]) -> None:
        self.field, self.whole = field, True
        self.apart = True

    def __call__(self, t: Any, y: Tensor) -> Tensor | None:
        blocks = self.of_samples(t, y)
        if blocks is not None or not self.whole:
            return blocks
        shape, is_complex = y.shape, y.is_complex()

        def flat(v: Tensor) -> Tensor:
            if is_complex:
                v = torch.complex(*v.chunk(2))
            value = self.field(t, v.reshape(shape)).reshape(-1)
            return torch.cat([value.real, value.imag]) if is_complex else value

        start = y.detach().reshape(-1)
        if is_complex:
            start = torch.cat([start.real, start.imag])
        ways = [torch.func.jacrev(flat), partial(_one_row_after_another, flat)]
        if _recorded_by_autograd(y):
            ways = [partial(_all_rows, flat), *reversed(ways)]
        for way in ways[:-1]:
            try:
                return way(start).detach()
            except RuntimeError:  # something in the field can not be batched, or recorded
                continue
        return ways[-1](start).detach()

    def seems_apart(self, t: Any, y: Tensor) -> bool:
        """Whether there may be blocks: one product shows what most samples that see others see."""
        if not _has_samples(y):
            return False
        even = torch.ones_like(y, requires_grad=False)
        even[1::2] = 0
        try:
            row = _pulled(lambda x: self.field(t, x).reshape(y.shape), y, even[None])[0]
        except RuntimeError:
            return False
        return not bool((row[1::2].abs() > 0).any())

    def of_samples(self, t: Any, y: Tensor) -> Tensor | None:
        """A block for each sample, if they do not see each other."""
        if not (self.apart and _has_samples(y)):
            return None
        m, n = y.shape[0], y[0].numel()
        # With n rows for the blocks, and one that all samples are in with different weights.
        weights = torch.randn(
            m, n, generator=torch.Generator().manual_seed(0), dtype=y.dtype, device="cpu"
        ).to(y.device)
        units = torch.eye(n, dtype=y.dtype, device=y.device)[:, None].expand(n, m, n)
        try:
            rows = _pulled(
                lambda x: self.field(t, x).reshape(m, n), y, torch.cat([units, weights[None]])
            ).reshape(n + 1, m, n)
        except RuntimeError:
            rows = None
        if rows is None:
            self.apart = False
            return None
        blocks = rows[:n].transpose(0, 1)
        terms = weights[:, :, None] * blocks
        gap, size = (rows[n] - terms.sum(1)).norm(dim=1), terms.norm(dim=(1, 2))
        # Where derivatives are not finite, this is for Newton's method to see.
        self.apart = not bool((gap > ROUNDING * torch.finfo(y.dtype).eps * size).any())
        return blocks if self.apart else None


def _has_samples(y: Tensor) -> bool:
    """Whether a state may be one of samples, with blocks that are not too large."""
    m, n = (y.shape[0], y[0].numel()) if y.ndim > 1 and len(y) > 1 else (1, 0)
    pays = n <= LARGEST_BLOCK or Newton().direct(m * n)
    fits = n > 0 and pays and (n + 1) * m * n <= NUMBERS
    real = y.is_floating_point() and y.element_size() >= 4
    return fits and real and _recorded_by_autograd(y)


def _recorded_by_autograd(y: Tensor) -> bool:
    """Whether autograd may differentiate what a field makes, and its values can be read: tensors of
    inference mode in it are for torch.func alone.
    """
    elsewhere = torch.is_inference_mode_enabled() or torch.compiler.is_compiling()
    return not (inside_torch_func() or elsewhere or y.is_meta)


def _all_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Jacobian at a vector, in half of the time of torch.func.jacrev for few entries."""
    return _pulled(function, x, torch.eye(len(x), dtype=x.dtype, device=x.device))


def _pulled(function: Callable[[Tensor], Tensor], x: Tensor, cotangents: Tensor) -> Tensor:
    """The transposed derivative of many cotangents, in one batched pass."""
    with torch.enable_grad(), unwatched():
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        value = function(x)
    zeros = x.new_zeros(len(cotangents), *x.shape)
    if not value.requires_grad:
        return zeros
    (rows,) = torch.autograd.grad(value, x, cotangents, is_grads_batched=True, allow_unused=True)
    return zeros if rows is None else rows


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
