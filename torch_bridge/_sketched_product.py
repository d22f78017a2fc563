"""The product of a layer, exact, whose weight gradient comes from a sketch of its input."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torch_bridge._counted_rows import counted
from torch_bridge._fields import Autocast, inside_transform, is_plain
from torch_bridge._once import once_only
from torch_bridge._row_sketch import RowSketch, estimated_product, fits, row_sketch

__all__ = ["as_rows", "layer_product", "require_rows_of", "rows_in", "rows_of"]

NO_SECOND_DERIVATIVE = (
    "a sketched weight gradient can not be differentiated: the input it depends on is not kept; "
    "use the exact layer, or eval(), where second derivatives are needed"
)


def layer_product(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: RowSketch,
    meter: Any = None,
    stride: tuple[int, ...] | None = None,
) -> Tensor:
    """`functional.linear`, or the convolution of one pixel with a stride; exact with all rows."""
    if rows.kept is None:
        if stride is None:
            return functional.linear(input, weight, bias)
        return functional.conv2d(input, weight, bias, stride)
    if meter is not None and inside_transform():
        raise RuntimeError(
            "the noise of a layer is not measured under torch.compile or torch.func: set report="
            "False"
        )
    autocast = Autocast.current(input.device)
    x = _lowered(input, autocast)
    if x.dtype != _lowered_dtype(weight, autocast):
        raise TypeError(
            f"`input` and `weight` must have one dtype, got {input.dtype} and {weight.dtype}; "
            "convert one of them, or use torch.autocast"
        )
    x = as_rows(x, None) if stride is None else x
    with autocast.suspended():
        y = _SketchedProduct.apply(x, weight, bias, rows.plain, meter, stride, *rows.tensors)
    return y.reshape(*input.shape[:-1], weight.shape[0]) if stride is None else y


def rows_of(
    input: Tensor, layer: Tensor, stride: tuple[int, ...] | None = None, **options: Any
) -> RowSketch:
    """The sketch of a layer's input, in the precision that autocast asks for."""
    leading = rows_in(input, stride)
    if input.numel() == 0:
        return RowSketch.of_all(prod(leading))
    autocast = Autocast.current(input.device)
    flat = as_rows(_lowered(input.detach(), autocast), stride)
    with autocast.suspended():
        return row_sketch(flat, layer, inside=counted(leading), **options)


def require_rows_of(rows: Any, input: Tensor, stride: tuple[int, ...] | None = None) -> None:
    """Raise ValueError unless rows that were made elsewhere are a sketch of this input.

    Its shape is looked at, and where values may be read at no cost a few of its columns are.
    """
    if not isinstance(rows, RowSketch):
        raise TypeError(
            f"`rows` must be a RowSketch, got {type(rows).__name__}; make it by sketch_rows(input)"
        )
    axis = -1 if stride is None else -3
    wanted = prod(rows_in(input, stride)), input.shape[axis]
    found = rows.total, input.shape[axis] if rows.kept is None else rows.kept.shape[-1]
    if found != wanted:
        raise ValueError(
            f"`rows` must be a sketch of this input, of shape {wanted} as rows, got one of "
            f"{found}; make it by sketch_rows(input)"
        )
    if rows.kept is None or not is_plain(input):
        return
    autocast, step = Autocast.current(input.device), max(1, input.shape[axis] // 3)
    some = input.detach()[..., ::step] if stride is None else input.detach()[..., ::step, :, :]
    with autocast.suspended():
        if not fits(rows, as_rows(_lowered(some, autocast), stride), step):
            raise ValueError(
                "`rows` must be a sketch of this input, got one of another tensor of its shape, or "
                "of what it was before a change in place; make it by sketch_rows(input)"
            )


def rows_in(x: Tensor, stride: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of the rows: (...) of (..., N), (batch, H', W') of pixels."""
    if stride is None:
        return tuple(x.shape[:-1])
    pixels = (-(-n // step) for n, step in zip(x.shape[-2:], stride, strict=True))
    return (*x.shape[:-3], *pixels)


def as_rows(x: Tensor, stride: tuple[int, ...] | None) -> Tensor:
    """(..., N) or, with a stride, the pixels of (..., N, H, W) that count, as (B, N)."""
    if stride is not None:
        x = _strided(x, stride).movedim(-3, -1)
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


class _SketchedProduct(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        plain: Any,
        meter: Any,
        stride: tuple[int, ...] | None,
        *tensors: Any,
    ) -> Tensor:
        weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
        if stride is None:
            return functional.linear(x, weight, bias)
        return _by_pixels(_strided(x, stride), weight[:, :, 0, 0], bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, ctx.plain, ctx.meter, ctx.stride, *tensors = inputs
        ctx.shapes = x.shape, weight.shape, weight.dtype, getattr(bias, "dtype", None)
        # As torch's own layers: not saved where nothing needs it.
        ctx.save_for_backward(weight if ctx.needs_input_grad[0] else None, *tensors)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *tensors = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *rest = ctx.needs_input_grad
        x_grad = weight_grad = bias_grad = None
        x_shape, shape, dtype, bias_dtype = ctx.shapes
        if needs_x and ctx.stride is None:
            x_grad = y_grad @ weight.to(y_grad.dtype)
        elif needs_x:
            x_grad = _by_pixels(y_grad, weight.to(y_grad.dtype)[:, :, 0, 0].mT, None)
            if ctx.stride != (1, 1):
                pixels, x_grad = x_grad, y_grad.new_zeros(x_shape)
                x_grad[..., :: ctx.stride[0], :: ctx.stride[1]] = pixels
        Y = as_rows(y_grad, None if ctx.stride is None else (1, 1))
        if needs_weight:
            rows = RowSketch(*tensors, *ctx.plain)
            product, estimate = estimated_product(rows, Y)
            if ctx.meter is not None:
                with torch.no_grad():
                    ctx.meter.add(rows, Y, product, estimate)
            weight_grad = product.view(shape).to(dtype)
            if not torch.compiler.is_compiling():  # which refuses second derivatives itself
                anchor = weight_grad.new_empty(0, requires_grad=True)
                weight_grad = once_only(weight_grad, anchor, NO_SECOND_DERIVATIVE)
        if needs_bias:
            bias_grad = Y.sum(0).to(bias_dtype)
        return x_grad, weight_grad, bias_grad, *(None for _ in rest)


def _strided(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The pixels that count; a slice of all is an alias, which batched backward passes lack."""
    return x if stride == (1, 1) else x[..., :: stride[0], :: stride[1]]


def _by_pixels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of one pixel as a matrix product: far faster on a CPU, and as exact."""
    if x.stride(-3) == 1:  # channels last
        return functional.linear(x.movedim(-3, -1), weight, bias).movedim(-1, -3)
    # Neither flatten nor unflatten: batched backward passes lack them.
    weights, pixels = weight.expand(x.shape[0], -1, -1), x.reshape(*x.shape[:-2], -1)
    if bias is None:
        product = torch.bmm(weights, pixels)
    else:
        product = torch.baddbmm(bias[:, None], weights, pixels)
    return product.reshape(*product.shape[:-1], *x.shape[-2:])


def _lowered(x: Tensor, autocast: Autocast) -> Tensor:
    """Cast as autocast does."""
    return x.to(_lowered_dtype(x, autocast))


def _lowered_dtype(x: Tensor, autocast: Autocast) -> torch.dtype:
    """That of autocast; float64 stays."""
    casts = autocast.enabled and x.is_floating_point() and x.dtype != torch.float64
    return autocast.dtype if casts else x.dtype
