"""A linear layer that keeps a sketch of its input for the weight gradient."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torch_bridge._draws import in_reentrant_checkpoint
from torch_bridge._kinds import require_flags, require_tensor
from torch_bridge._row_sketch import RowSketch, require_options
from torch_bridge._sketched_module import SketchedModule
from torch_bridge._sketched_product import layer_product, require_rows_of, rows_of

__all__ = ["SketchedLinear", "draws", "sketch_rows", "sketched_linear"]


def sketched_linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    ratio: float = 0.1,
    sketch: str = "uniform",
    centred: bool = False,
    storage: torch.dtype | None = None,
    rows: RowSketch | None = None,
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
    sketch : {"uniform", "balanced", "gaussian", "rademacher"}, optional
        "uniform": p rows drawn without replacement, stored with their indices, 4 bytes a kept row.
        "balanced": all rows, with random signs, added up in p buckets (BalancedCountSketch); 4
        bytes a row. "gaussian" and "rademacher": dense sketches, whose (p, B) matrix is stored as
        well, the signs of the latter in one byte each. They save memory only if that matrix and the
        p rows are smaller than the input.
    centred : bool, optional
        Whether the column means of the input are taken out, kept beside and multiplied exactly, as
        `odecore.sketching.Centred` does.
    storage : torch.dtype, optional
        torch.bfloat16 or torch.int8: store what is kept in fewer bits, rounded up or down at random
        so that the gradient stays unbiased. It adds variance; see the notes. None keeps the dtype.
    rows : RowSketch, optional
        From `sketch_rows(input, ...)`, for layers that read one tensor: they share what is kept.
        Of another tensor of its shape it is refused on the CPU, where a few columns are looked at;
        elsewhere, and under torch.func and torch.compile, that gives a wrong gradient. The other
        options are then those of the sketch. By default the layer makes its own.

    Returns
    -------
    (..., M) Tensor
        The exact output. The gradients of input and bias are exact; that of the weight is unbiased,
        with the variance of `odecore.sketching.variance`. Where the weight needs no gradient,
        nothing is drawn.

    Raises
    ------
    ValueError
        If shapes do not fit, the ratio is out of range, the sketch is unknown, `storage` is another
        dtype, or `rows` are seen to be of another input.
    TypeError
        If input or weight is complex or no tensor, they differ in dtype outside of autocast, or
        `rows` is not from `sketch_rows`.
    RuntimeError
        From the second derivative, which the sketch does not have.

    Notes
    -----
    Randomized matrix multiplication, arXiv 2201.13195. What was drawn is stored, where the
    published code replays a generator. Under autocast the product runs in the lower precision, as
    that of `torch.nn.functional.linear`. Each draw takes one number from torch's generator; so does
    the first pass of a reentrant checkpoint, for the draw in its second. Under torch.distributed,
    but not under torch.func, each process draws its own.

    With `storage` the rows r_k that are kept become r_k + e_k of mean r_k, and the variance of the
    estimate grows by w^2 sum_k E||e_k||^2 ||(R Y)_k||^2 for a given draw, where w is B/p for
    uniform rows, 1 for buckets and 1/p for dense sketches.
    """
    if rows is None:
        require_options(ratio, sketch, storage)
        require_flags(centred=centred)
    _require_shapes(input, weight, bias)
    if not draws(weight):
        return functional.linear(input, weight, bias)
    options = {"ratio": ratio, "sketch": sketch, "centred": centred, "storage": storage}
    if rows is None:
        rows = rows_of(input, weight, **options)
    else:
        require_rows_of(rows, input)
    return layer_product(input, weight, bias, rows)


def sketch_rows(
    input: Tensor,
    *,
    ratio: float = 0.1,
    sketch: str = "uniform",
    centred: bool = False,
    storage: torch.dtype | None = None,
) -> RowSketch:
    """Sketch an input once for all the layers that read it.

    Parameters
    ----------
    input : (..., N) Tensor
    ratio, sketch, centred, storage : optional
        As for `sketched_linear`.

    Returns
    -------
    RowSketch
        For `sketched_linear(input, ..., rows=)`. Where no gradient is recorded or all rows would be
        kept it holds nothing, and the layers are exact.

    Raises
    ------
    ValueError, TypeError
        As `sketched_linear`.

    Examples
    --------
    >>> import torch
    >>> x, w = torch.randn(32, 6), torch.randn(3, 4, 6, requires_grad=True)
    >>> rows = sketch_rows(x, ratio=0.25)
    >>> q, k, v = (sketched_linear(x, one, rows=rows) for one in w)
    """
    require_options(ratio, sketch, storage)
    require_flags(centred=centred)
    _require_tensor(input)
    if input.ndim == 0:
        raise ValueError("`input` must have shape (..., N), got a tensor without dimensions")
    if not input.is_floating_point():
        raise TypeError(f"`input` must hold real floating-point numbers, got {input.dtype}")
    if not (torch.is_grad_enabled() or in_reentrant_checkpoint()):
        return RowSketch.of_all(prod(input.shape[:-1]))
    return rows_of(input, input, ratio=ratio, sketch=sketch, centred=centred, storage=storage)


class SketchedLinear(SketchedModule, nn.Linear):
    """`torch.nn.Linear` that keeps a sketch of its input for the backward pass.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, optional
    ratio, sketch, centred, storage : optional
        As for `sketched_linear`. `ratio` may be set at any time.
    report : bool, optional
        Whether to measure the noise of the weight gradient in each backward pass, for
        `noise_report()`. It costs 4 bytes a row (8 if centred) and O(B M) operations, and works
        neither under torch.compile nor under torch.func. Passes that tell nothing are counted.
    device, dtype : optional
        As for `torch.nn.Linear`, whose state_dict this layer shares.

    Raises
    ------
    ValueError
        If the ratio is out of range, the sketch is unknown or `storage` another dtype; for `report`
        with a `storage`, whose rounding it would take for ||X^T Y||^2.

    Notes
    -----
    In evaluation mode it is `torch.nn.Linear`: nothing is drawn and the weight gradient is exact.
    Forward-mode derivatives, torch.fx and torch.jit do not know it. A compiled layer is compiled
    again for each ratio.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
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
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self.sketching(ratio, sketch, centred, storage, report)

    def forward(self, input: Tensor, rows: RowSketch | None = None) -> Tensor:
        """Apply the layer to `input` (..., in_features); `rows` as for `sketched_linear`."""
        weight, bias = self.weight, self.bias
        if not (self.training and draws(weight)):
            return functional.linear(input, weight, bias)
        _require_shapes(input, weight, bias)
        rows = self.rows_for(input, rows, lambda: rows_of(input, weight, **self.options()))
        return layer_product(input, weight, bias, rows, self.meter)


def draws(weight: Tensor) -> bool:
    """Whether a weight gradient is recorded now, or when a reentrant checkpoint repeats this."""
    if weight.requires_grad and torch.is_grad_enabled():
        return True
    # What a parametrization makes without gradients may have one then; parameters do not change.
    may = weight.requires_grad or not isinstance(weight, nn.Parameter)
    return may and in_reentrant_checkpoint()


def _require_tensor(input: Tensor) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"`input` must be a Tensor, got {type(input).__name__}; torch.as_tensor makes one"
        )
    if input.is_nested:
        raise TypeError(
            "`input` must be one dense tensor, got a nested one; call the layer with its `values()`"
        )
    if input.layout != torch.strided:
        raise TypeError(
            f"`input` must be one dense tensor, got layout {input.layout}; its `to_dense()` fits"
        )


def _require_shapes(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    _require_tensor(input)
    require_tensor("weight", weight)
    if bias is not None:
        require_tensor("bias", bias)
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
