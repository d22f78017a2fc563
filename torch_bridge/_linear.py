"""A linear layer that keeps a sketch of its input for the weight gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torch_bridge._draws import SKETCHES, draw, project, sketch_size
from torch_bridge._fields import Autocast
from torch_bridge._once import once_only

__all__ = ["SketchedLinear", "sketched_linear"]

NO_SECOND_DERIVATIVE = (
    "a sketched weight gradient can not be differentiated: the input it depends on is not kept; "
    "use torch.nn.Linear where second derivatives are needed"
)


def sketched_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    ratio: float = 0.1,
    sketch: str = "uniform",
) -> Tensor:
    """Apply `torch.nn.functional.linear` with a weight gradient estimated from a sketch.

    Parameters
    ----------
    input : (..., N) Tensor
        Its B leading entries in all are the rows.
    weight : (M, N) Tensor
    bias : (M,) Tensor, optional
    ratio : float, optional
        0 < ratio <= 1. Of B rows a sketch of p = ceil(ratio B) is kept; with p = B all is exact.
    sketch : {"uniform", "gaussian"}, optional
        "uniform": p rows drawn without replacement, stored with their indices. "gaussian": a dense
        sketch; its (p, B) matrix is stored as well, which saves memory only if p (N + B) < B N.

    Returns
    -------
    (..., M) Tensor
        The exact output. The gradients of input and bias are exact; that of the weight is unbiased,
        with the variance of `odecore.sketching.variance`. Where the weight needs no gradient,
        nothing is drawn.

    Raises
    ------
    ValueError
        If shapes do not fit, the ratio is out of range, or the sketch is unknown.
    TypeError
        If input or weight is complex.
    RuntimeError
        From the second derivative, which the sketch does not have.

    Notes
    -----
    Randomized matrix multiplication, arXiv 2201.13195. What was drawn is stored, where the
    published code replays a generator. Under autocast the product runs in the lower precision, as
    that of `torch.nn.functional.linear`.
    """
    _require_options(ratio, sketch)
    if input.ndim == 0 or weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            "`input` (..., N) and `weight` (M, N) must agree in N, got shapes "
            f"{tuple(input.shape)} and {tuple(weight.shape)}"
        )
    if input.is_complex() or weight.is_complex():
        raise TypeError(f"`input` and `weight` must be real, got {input.dtype} and {weight.dtype}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"`bias` must have shape {tuple(weight.shape[:1])}, got {tuple(bias.shape)}"
        )
    rows = input.numel() // input.shape[-1] if input.shape[-1] else 0
    size = sketch_size(rows, ratio) if rows else 0
    if size == rows or not (torch.is_grad_enabled() and weight.requires_grad):
        return functional.linear(input, weight, bias)
    autocast = Autocast.current(input.device)
    if autocast.enabled:
        input, weight = _lowered(input, autocast.dtype), _lowered(weight, autocast.dtype)
        bias = None if bias is None else _lowered(bias, autocast.dtype)
    flat = input.reshape(rows, input.shape[-1])
    with autocast.suspended():
        output = _SketchedProduct.apply(flat, weight, bias, draw(sketch, size, flat, weight))
    return output.reshape(*input.shape[:-1], weight.shape[0])


class SketchedLinear(nn.Linear):
    """`torch.nn.Linear` that keeps a sketch of its input for the backward pass.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, optional
    ratio, sketch : optional
        As for `sketched_linear`.
    device, dtype : optional
        As for `torch.nn.Linear`, whose state_dict this layer shares.

    Raises
    ------
    ValueError
        If the ratio is out of range or the sketch is unknown.

    Notes
    -----
    In evaluation mode it is `torch.nn.Linear`: nothing is drawn and the weight gradient is exact.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        ratio: float = 0.1,
        sketch: str = "uniform",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _require_options(ratio, sketch)
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.ratio = ratio
        self.sketch = sketch

    @property
    def ratio(self) -> float:
        """The share of rows that is kept; may be set at any time."""
        # A compiler takes a float attribute for a variable; the size of a sketch is a constant.
        return float(self._ratio)

    @ratio.setter
    def ratio(self, ratio: float) -> None:
        _require_options(ratio, SKETCHES[0])
        self._ratio = repr(float(ratio))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to (..., in_features)."""
        if not self.training:
            return super().forward(input)
        return sketched_linear(input, self.weight, self.bias, ratio=self.ratio, sketch=self.sketch)

    def extra_repr(self) -> str:
        """Show the sketch beside the sizes."""
        return f"{super().extra_repr()}, ratio={self.ratio}, sketch={self.sketch!r}"


class _SketchedProduct(torch.autograd.Function):
    """X W^T + b, keeping S^T X instead of X."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, drawn: Tensor) -> Tensor:
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, drawn = inputs
        # Kept rows carry sqrt(B/p) on each side; a dense sketch has its scale inside.
        ctx.scale = x.shape[0] / drawn.shape[0] if drawn.ndim == 1 else 1.0
        ctx.save_for_backward(project(drawn, x), weight, drawn)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        sketched, weight, drawn = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        x_grad = y_grad @ weight if needs_x else None
        weight_grad = None
        if needs_weight:
            estimate = ctx.scale * (project(drawn, y_grad).mT @ sketched)
            weight_grad = once_only(estimate, weight, NO_SECOND_DERIVATIVE)
        return x_grad, weight_grad, y_grad.sum(0) if needs_bias else None, None


def _lowered(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast as autocast does: float64 stays."""
    return x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x


def _require_options(ratio: float, sketch: str) -> None:
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must satisfy 0 < ratio <= 1, got {ratio!r}")
    if sketch not in SKETCHES:
        raise ValueError(f"`sketch` must be one of {', '.join(SKETCHES)}, got {sketch!r}")
