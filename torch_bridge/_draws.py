"""Random draws of sketches on a layer's own device, as tensors that a backward pass can keep."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

from odecore.sketching import (
    BalancedCountSketch,
    GaussianSketch,
    RademacherSketch,
    UniformRows,
)
from torch_bridge._fields import inside_torch_func, inside_transform

__all__ = [
    "DENSE",
    "SKETCHES",
    "backward_pass",
    "draw",
    "in_backward",
    "in_reentrant_checkpoint",
    "product_weight",
    "project",
    "sketch_generator",
    "sketch_size",
    "unrecorded",
]

#: The sketches of layers by name, with the one of the core that says their variance.
SKETCHES = {
    "uniform": UniformRows,
    "balanced": BalancedCountSketch,
    "gaussian": GaussianSketch,
    "rademacher": RademacherSketch,
}

#: Those that sum all rows for each that is kept.
DENSE = ("gaussian", "rademacher")

_thread = threading.local()


def sketch_size(rows: int, ratio: float) -> int:
    """Return p = ceil(ratio rows), between 1 and the number of rows."""
    # The slack keeps ceil(0.2 * 5), which is 1.0000000000000002 in floats, at one row.
    size = min(rows, max(1, ceil(ratio * rows * (1 - 1e-12))))
    # A compiler must know that one row is one: it has a matrix product of its own for that.
    return 1 if size == 1 else size


def draw(
    sketch: str,
    size: int,
    like: Tensor,
    layer: Tensor,
    inside: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw for the rows of a matrix (B, N), or for those of them whose indices are in `inside`.

    Returns
    -------
    Tensor
        "uniform": int32 indices of the rows that are kept, (p,). "balanced": int32 indices of all
        rows in the order of their buckets, complemented where the sign is negative. "gaussian" and
        "rademacher": the dense sketch times sqrt(p), (p, B), signs as int8.

    Notes
    -----
    A compiler may draw random numbers again in the backward pass rather than keep them, so that
    the two passes see different sketches and the gradient is biased. Inside a compiled region the
    draw is therefore an operator of its own, which can not be recomputed. Nor may the draws of two
    layers be merged into one: they differ in the argument `layer`, the weight.
    """
    if torch.compiler.is_compiling():
        return _drawn(like.detach(), layer.detach(), inside, sketch, size)
    return _draw(like.detach(), inside, sketch, size, generator)


def project(sketch: str, drawn: Tensor, matrix: Tensor, size: int) -> Tensor:
    """R times a matrix (B, M), (p, M)."""
    if sketch == "uniform":
        return matrix.index_select(0, drawn)
    if sketch == "balanced":
        return _bucket_sums(matrix, drawn, size)
    return drawn.to(matrix.dtype) @ matrix


def product_weight(sketch: str, rows: int, size: int) -> float:
    """W in the estimate w (R X)^T (R Y)."""
    return {"uniform": rows / size, "balanced": 1.0}.get(sketch, 1 / size)


def backward_pass() -> int:
    """The number of the backward pass that is running here, -1 outside of one."""
    return int(torch._C._current_graph_task_id())


def in_backward() -> bool:
    """Whether a backward pass is running here, so that this forward pass is a checkpoint's."""
    return backward_pass() != -1


def in_reentrant_checkpoint() -> bool:
    """Whether this pass is, or may be, one of the two of a reentrant checkpoint.

    The first is that of an autograd function, which alone switches forward derivatives off with the
    gradients; the second runs in the backward pass of that function. Both must take the same
    random numbers, though only the second draws.
    """
    if inside_transform() or getattr(_thread, "unrecorded", False):
        return False
    if not (torch.is_grad_enabled() or forward_ad._is_fwd_grad_enabled()):
        return not torch.is_inference_mode_enabled()
    node = torch._C._current_autograd_node() if in_backward() else None
    return node is not None and node.name() == "CheckpointFunctionBackward"


@contextmanager
def unrecorded() -> Iterator[None]:
    """Context of a pass that is not repeated and has no gradient, as the forward one of an adjoint.

    It looks like the first of a reentrant checkpoint, but nothing needs to be drawn in it.
    """
    before = getattr(_thread, "unrecorded", False)
    _thread.unrecorded = True
    try:
        yield
    finally:
        _thread.unrecorded = before


def sketch_generator(device: torch.device) -> torch.Generator | None:
    """A generator of one draw, which takes one number from torch's own, whatever is drawn.

    The processes of a distributed run differ by their rank, even with one seed. None under
    torch.func, which draws for all samples itself, in compiled regions and without data, as on
    "meta" and of the fake tensors that estimators of memory run.
    """
    if inside_transform() or device.type == "meta":
        return None
    number = torch.randint(2**62, (), device="cpu")
    if isinstance(number, FakeTensor):
        return None
    seed = int(number)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        seed = (seed + 0x9E3779B97F4A7C15 * torch.distributed.get_rank()) % 2**62
    return torch.Generator(device).manual_seed(seed)


def _draw(
    like: Tensor,
    inside: Tensor | None,
    sketch: str,
    size: int,
    generator: torch.Generator | None,
) -> Tensor:
    rows, device = like.shape[0] if inside is None else inside.shape[0], like.device
    if sketch in ("uniform", "balanced"):
        order = torch.randperm(rows, device=device, generator=generator)
        if sketch == "uniform":
            order = order[:size]
        # Converted, hence copied: a slice would keep the storage of the whole permutation alive.
        order = order.to(torch.int32) if inside is None else inside.index_select(0, order)
        if sketch == "balanced":
            signs = torch.randint(0, 2, (rows,), device=device, generator=generator)
            order = order ^ -signs.to(torch.int32)  # ^ -1 is the complement
        return order
    shape = (size, like.shape[0])
    if sketch == "gaussian":
        dense = torch.randn(shape, dtype=like.dtype, device=device, generator=generator)
    else:
        dense = torch.randint(0, 2, shape, dtype=torch.int8, device=device, generator=generator)
        dense = 2 * dense - 1
    if inside is None:
        return dense
    return dense * dense.new_zeros(like.shape[0]).index_fill(0, inside.long(), 1)


def _bucket_sums(matrix: Tensor, drawn: Tensor, size: int) -> Tensor:
    """Signed sums of the rows in each bucket: runs of `drawn`, the longer ones first."""
    negative = drawn < 0
    order = torch.where(negative, ~drawn, drawn)
    signs = torch.where(negative, -1.0, 1.0).to(matrix.dtype)
    full, larger = drawn.shape[0] // size, drawn.shape[0] % size
    if not inside_torch_func():
        buckets = torch.arange(size, device=drawn.device)
        starts = (buckets * full + buckets.clamp(max=larger)).to(torch.int32)
        return torch.embedding_bag(matrix, order, starts, False, 0, False, signs)[0]
    # torch.vmap knows no rule for bags.
    rows = matrix.index_select(0, order) * signs[:, None]
    runs = rows.split([larger * (full + 1), (size - larger) * full])
    counts = (larger, full + 1), (size - larger, full)
    sums = [run.unflatten(0, n).sum(1) for run, n in zip(runs, counts, strict=True) if n[0]]
    return torch.cat(sums)


@torch.library.custom_op(
    "torch_bridge::drawn", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def _drawn(like: Tensor, layer: Tensor, inside: Tensor | None, sketch: str, size: int) -> Tensor:
    return _draw(like, inside, sketch, size, sketch_generator(like.device))


@_drawn.register_fake
def _(like: Tensor, layer: Tensor, inside: Tensor | None, sketch: str, size: int) -> Tensor:
    if sketch == "uniform":
        return like.new_empty(size, dtype=torch.int32)
    if sketch == "balanced":
        rows = like.shape[0] if inside is None else inside.shape[0]
        return like.new_empty(rows, dtype=torch.int32)
    dtype = like.dtype if sketch == "gaussian" else torch.int8
    return like.new_empty((size, like.shape[0]), dtype=dtype)
