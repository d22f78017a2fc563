"""A convolution of one pixel, a linear layer over channels, that keeps a sketch of its input."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge._kinds import require_flags
from torch_bridge._linear import draws
from torch_bridge._row_sketch import RowSketch
from torch_bridge._sketched_module import SketchedModule
from torch_bridge._sketched_product import layer_product, rows_of

__all__ = ["SketchedConv2d", "is_pointwise"]


class SketchedConv2d(SketchedModule, nn.Conv2d):
    """`torch.nn.Conv2d` of kernel size 1 that keeps a sketch of its input for the backward pass.

    The rows of the product are the pixels that the stride leaves, (batch * H' * W', in_channels).

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int or pair of int, optional
    bias : bool, optional
    ratio, sketch, centred, storage : optional
        As for `sketched_linear`. `ratio` may be set at any time.
    report : bool, optional
        As for `SketchedLinear`.
    device, dtype : optional
        As for `torch.nn.Conv2d`, whose state_dict this layer shares.

    Raises
    ------
    ValueError
        As `SketchedLinear`, and if the stride is not positive.

    Notes
    -----
    A larger kernel reads each pixel several times, so its rows would be larger than its input: a
    sketch of them saves nothing at moderate ratios.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int | tuple[int, int] = 1,
        bias: bool = True,
        *,
        ratio: float = 0.1,
        sketch: str = "uniform",
        centred: bool = False,
        storage: torch.dtype | None = None,
        report: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        require_flags(bias=bias)
        both = tuple(stride) if isinstance(stride, tuple | list) else (stride, stride)
        if len(both) != 2 or not all(isinstance(n, Integral) and n >= 1 for n in both):
            raise ValueError(f"`stride` must be positive, an int or a pair of int, got {stride!r}")
        super().__init__(
            in_channels, out_channels, 1, stride=both, bias=bias, device=device, dtype=dtype
        )
        self.sketching(ratio, sketch, centred, storage, report)

    def forward(self, input: Tensor, rows: RowSketch | None = None) -> Tensor:
        """Apply the layer to `input` (batch, channels, H, W); `rows` as for `sketched_linear`."""
        weight, stride = self.weight, tuple(self.stride)
        # Where it does not fit, torch's own error is right.
        fits = isinstance(input, Tensor) and input.ndim == 4 and input.shape[1] == weight.shape[1]
        if not fits or input.is_complex() or not (self.training and draws(weight)):
            return super().forward(input)
        rows = self.rows_for(
            input, rows, lambda: rows_of(input, weight, stride, **self.options()), stride
        )
        return layer_product(input, weight, self.bias, rows, self.meter, stride)


def is_pointwise(layer: nn.Conv2d) -> bool:
    """Whether each output pixel is a linear function of one input pixel."""
    return layer.kernel_size == (1, 1) and layer.padding in ((0, 0), "valid") and layer.groups == 1
