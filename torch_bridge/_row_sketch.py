"""What a layer keeps of its input instead of the input, and the weight gradient from it."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from torch_bridge._draws import (
    DENSE,
    SKETCHES,
    draw,
    product_weight,
    project,
    sketch_generator,
    sketch_size,
)
from torch_bridge._row_storage import decoded, encoded, require_storage
from torch_bridge._unknown_options import require_choice

__all__ = [
    "RowSketch", "estimated_product", "fits", "require_options", "row_lengths", "row_sketch",
]  # fmt: skip

ROUNDINGS = 32  # between sums of the same numbers
FEW = 16  # rows of a sketch that show whether it is of a matrix


class RowSketch(NamedTuple):
    """A sketch of the rows of a matrix X (B, N), and what was drawn for it.

    Parameters
    ----------
    kept : (p, N) Tensor or None
        R X, of the centred X where `mean` is given. None stands for all rows: layers are exact.
    scale : (p, 1) Tensor, optional
        Of rows that are stored as int8.
    drawn : Tensor or None
        What R is made of, as `draw` returns it.
    mean : (N,) Tensor, optional
        The mean of the rows that count.
    inside : (n,) Tensor, optional
        Indices of the rows that count, where not all do.
    lengths : (1 or 2, n) Tensor, optional
        ||x_k|| and, if centred, ||x_k - mean||, for the report of the layer.
    sketch : str
    size, rows, total : int
        p, the number of rows that count, and that of all rows.
    """

    kept: Tensor | None
    scale: Tensor | None
    drawn: Tensor | None
    mean: Tensor | None
    inside: Tensor | None
    lengths: Tensor | None
    sketch: str
    size: int
    rows: int
    total: int

    @classmethod
    def of_all(cls, rows: int) -> RowSketch:
        """No sketch: the layers that get it are exact."""
        return cls(None, None, None, None, None, None, "uniform", rows, rows, rows)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """What a backward pass has to save."""
        return self[:6]

    @property
    def plain(self) -> tuple[str, int, int, int]:
        """What is not a tensor."""
        return self[6:]


def require_options(
    ratio: float, sketch: str, storage: torch.dtype | None = None, report: bool = False
) -> None:
    """Raise ValueError unless rows can be sketched, and their noise reported, like this."""
    if not isinstance(ratio, Real) or ratio is True or not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must satisfy 0 < ratio <= 1, got {ratio!r}")
    require_choice("sketch", sketch, SKETCHES)
    require_storage(storage)
    if report and storage is not None:
        raise ValueError(
            "`report` would take the rounding of a `storage` for part of the gradient: leave one "
            "of them out"
        )


def row_sketch(
    X: Tensor,
    layer: Tensor,
    *,
    ratio: float,
    sketch: str,
    centred: bool = False,
    storage: torch.dtype | None = None,
    inside: Tensor | None = None,
    measured: bool = False,
) -> RowSketch:
    """Sketch the rows of X (B, N); `of_all` where all would be kept.

    Parameters
    ----------
    X : (B, N) Tensor
    layer : Tensor
        Something that tells this layer from others, such as its weight; see `draw`.
    ratio, sketch, centred, storage : optional
        As for `sketched_linear`.
    inside : (n,) int32 Tensor, optional
        Indices of the rows that count; by default all do.
    measured : bool, optional
        Whether to keep the lengths of the rows, if the sketch tells anything.
    """
    X = X.detach()
    rows = X.shape[0] if inside is None else inside.shape[0]
    size = sketch_size(rows, ratio)
    if size >= X.shape[0]:
        return RowSketch.of_all(X.shape[0])
    size = max(1, size)
    if size == rows:
        sketch = "uniform"  # all that count: exact
    measured = measured and rows > 1 and (size > 1 or sketch != "uniform")
    generator = sketch_generator(X.device)
    if not torch.is_grad_enabled():  # it is drawn where a reentrant checkpoint repeats this pass
        return RowSketch.of_all(X.shape[0])
    mean = lengths = None
    with torch.no_grad():
        counted = X if inside is None or not (centred or measured) else X.index_select(0, inside)
        if centred:
            mean = counted.mean(0) if rows else X.new_zeros(X.shape[1])
        if measured:
            both = (counted,) if mean is None else (counted, counted - mean)
            lengths = torch.stack([row_lengths(Z) for Z in both])
        drawn = draw(sketch, size, X, layer, inside, generator)
        kept = project(sketch, drawn, X, size)
        if mean is not None:
            kept = kept - _ones(sketch, drawn, X, size) * mean
        kept, scale = encoded(kept, storage, generator)
    saved_inside = inside if centred or measured else None
    plain = (sketch, size, rows, X.shape[0])
    return RowSketch(kept, scale, drawn, mean, saved_inside, lengths, *plain)


def estimated_product(s: RowSketch, Y: Tensor) -> tuple[Tensor, Tensor]:
    """Y^T X (M, N) for Y (B, M), estimated; and that part of it which is an estimate."""
    y = project(s.sketch, s.drawn, Y, s.size)
    total = None
    if s.mean is not None:
        total = (Y if s.inside is None else Y.index_select(0, s.inside)).sum(0)
        y = y - _ones(s.sketch, s.drawn, Y, s.size) * (total / max(s.rows, 1))
    weight, kept = product_weight(s.sketch, s.rows, s.size), decoded(s.kept, s.scale, Y.dtype)
    if s.sketch in DENSE:
        # The sums of all rows, and these of products, may leave half precision: each side gets its
        # 1/sqrt(p), with which it is about as large as its rows.
        root, weight = weight**0.5, 1.0
        y, kept = root * y, root * kept
    estimate = weight * (y.mT @ kept)
    if total is None:
        return estimate, estimate
    return estimate + total[:, None] * s.mean, estimate


@torch.no_grad()
def fits(s: RowSketch, columns: Tensor, step: int) -> bool:
    """Whether every `step`-th column (B, m) of a matrix may be those that were sketched.

    Up to rounding, of values and of stored rows; NaN may be anything.
    """
    few = slice(None) if s.sketch == "balanced" else slice(FEW)  # whose sums need all draws
    drawn, scale = s.drawn[few], None if s.scale is None else s.scale[few]
    kept = decoded(s.kept[few, ::step], scale, torch.promote_types(columns.dtype, torch.float32))
    wanted = project(s.sketch, drawn, columns, s.size)
    slack = wanted.abs()
    if s.sketch != "uniform":  # roundings of the terms of sums that may cancel
        slack = slack + torch.linalg.vector_norm(columns, dim=0, dtype=kept.dtype) / 8
    if s.mean is not None:
        shift = _ones(s.sketch, drawn, columns, s.size) * s.mean[::step]
        wanted, slack = wanted - shift, slack + shift.abs()
    # Integers may stand for numbers that were sketched in less precision.
    stored = torch.bfloat16 if s.kept.dtype is torch.int8 else s.kept.dtype
    eps = max(torch.finfo(dtype).eps for dtype in (columns.dtype, stored))
    slack = ROUNDINGS * eps * slack.amax()
    return not bool(((wanted - kept).abs() > (slack if scale is None else slack + scale)).any())


def row_lengths(X: Tensor) -> Tensor:
    """||x_k|| of each row, in float32 at least."""
    dtype = torch.promote_types(X.dtype, torch.float32)
    return torch.linalg.vector_norm(X, dim=1, dtype=dtype)


def _ones(sketch: str, drawn: Tensor, like: Tensor, size: int) -> Tensor:
    """R 1, (p, 1): what the mean of all rows is multiplied by in each row that is kept."""
    return project(sketch, drawn, like.new_ones(like.shape[0], 1), size)
