"""Gradients of several losses, their Gramian, and their combination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from odecore.errors import FreedGraphError
from torch_bridge._hooks import gradients_after_hooks
from torch_bridge._processes import processes, require_alike
from torch_bridge._unformed_gradients import UnformedWeight

__all__ = [
    "Rows",
    "check_row",
    "differentiated",
    "gramian_of",
    "marked",
    "naming_cause",
    "naming_limits_of_vmap",
]

Row = tuple[Tensor | None, ...]

#: Numbers that are held in float64 at once: on a CPU they stay in its cache.
_BUFFER = {"cpu": 1 << 17}
_DEVICE_BUFFER = 1 << 24

#: What torch says where it can not batch a backward pass.
_NOT_BY_VMAP = (
    "random operation",
    "vmap",
    "Batching rule",
    "BatchedTensor",
    "have storage",
    "is_grads_batched",
)

_SPARSE = "{} has sparse gradients, which are not supported; make the embedding with sparse=False"


@dataclass
class Rows:
    """One row of gradients for each loss.

    Parameters
    ----------
    gradients : list of tuples
        None where a loss does not touch a parameter.
    parameters : tuple of Tensor
        First those that share the direction, then those that belong to one loss.
    shared : int
        How many share the direction.
    scale : float
        What the losses were multiplied by.
    unformed : dict
        By position, weights of which a row holds the gradient at their layer's output instead.
    """

    gradients: list[Row]
    parameters: tuple[Tensor, ...]
    shared: int
    scale: float = 1.0
    unformed: dict[int, UnformedWeight] = field(default_factory=dict)

    def gramian(self) -> Tensor:
        """Inner products of the shared gradients, in float64."""
        columns = [[row[k] for row in self.gradients] for k in range(self.shared)]
        for k, weight in self.unformed.items():
            columns[k] = weight.reduced(columns[k])
        return gramian_of(list(zip(*columns, strict=True)), self.shared)

    def add(self, other: Rows) -> None:
        """Accumulate, as over micro-batches of one step."""
        if len(other.gradients) != len(self.gradients):
            raise ValueError(
                f"accumulated losses must keep their number, {len(self.gradients)}; got "
                f"{len(other.gradients)}; take a step or call `zero_grad` first"
            )
        before, now = ([id(p) for p in rows.parameters] for rows in (self, other))
        if before != now or self.shared != other.shared:
            raise ValueError(
                "accumulated losses must keep their parameters, also in `requires_grad`; of those "
                f"before {len(set(before) - set(now))} are gone, {len(set(now) - set(before))} "
                "are new; take a step or call `zero_grad` first"
            )
        factor = self.scale / other.scale
        for i, (mine, theirs) in enumerate(zip(self.gradients, other.gradients, strict=True)):
            self.gradients[i] = tuple(_sum(a, b, factor) for a, b in zip(mine, theirs, strict=True))

    def rescale(self, scale: float) -> None:
        """To losses that are multiplied by this."""
        if scale != self.scale:
            factor, self.scale = scale / self.scale, scale
            self.gradients = [tuple(_sum(None, g, factor) for g in row) for row in self.gradients]

    def synchronize(self) -> None:
        """Average over the processes, where there are several; one reduction for a parameter."""
        count = processes()
        if count == 1:
            return
        require_alike(len(self.gradients), len(self.parameters), self.parameters[0].device)
        columns: list[Sequence[Tensor | None]] = []
        for k, touched in enumerate(self._touched_anywhere()):
            if not touched:
                columns.append([None] * len(self.gradients))
                continue
            zero = torch.zeros_like(self.parameters[k])
            J = torch.stack([zero if row[k] is None else row[k] for row in self.gradients])
            torch.distributed.all_reduce(J)
            columns.append(J.div_(count))
        self.gradients = [tuple(J[i] for J in columns) for i in range(len(self.gradients))]

    def _touched_anywhere(self) -> list[bool]:
        """Of each parameter, whether a loss of some process touches it."""
        here = [
            any(row[k] is not None for row in self.gradients) for k in range(len(self.parameters))
        ]
        found = torch.tensor(here, dtype=torch.int32, device=self.parameters[0].device)
        torch.distributed.all_reduce(found)
        return [count > 0 for count in found.tolist()]

    @torch.no_grad()
    def put(self, weights: Sequence[float]) -> None:
        """Add the combination to `.grad`, one loss's own parameters with weight 1.

        What no loss touches keeps its `.grad`, as in `backward`: zeros, where there was none, would
        let weight decay and momentum move it.
        """
        for k, parameter in enumerate(self.parameters):
            factors = weights if k < self.shared else [1.0] * len(self.gradients)
            column = [row[k] for row in self.gradients]
            if all(g is None for g in column):
                continue
            terms = [(w, g) for w, g in zip(factors, column, strict=True) if g is not None and w]
            total = torch.zeros_like(parameter) if not terms else _combined(terms)
            if terms and k in self.unformed:
                total = self.unformed[k].formed(total)
            if parameter.grad is None:
                parameter.grad = total
            else:
                parameter.grad.add_(total)

    @torch.no_grad()
    def decrease(self, moved: Sequence[Tensor]) -> list[float]:
        """Decrease of each loss at first order where the parameters moved from these values.

        Zero where they did not, whatever the gradients are: as in a step that a scaler skips.
        """
        steps = [old - p for old, p in zip(moved, self.parameters, strict=True)]
        if not any(step.any() for step in steps):
            return [0.0] * len(self.gradients)
        found = []
        for row in self.gradients:
            terms = [
                torch.sum(_real(g).double() * _real(s).double())
                for g, s in zip(row, steps, strict=True)
                if g is not None
            ]
            found.append(float(sum(terms)) / self.scale)
        return found


def _sum(a: Tensor | None, b: Tensor | None, factor: float) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b * factor
    return a.add(b, alpha=factor)


def _combined(terms: list[tuple[float, Tensor]]) -> Tensor:
    """Sum of w g; of half precision in float32, and in float64 where that does not hold a w."""
    weight, first = terms[0]
    dtype = torch.float32 if first.dtype in (torch.float16, torch.bfloat16) else first.dtype
    info = torch.finfo(dtype)
    if not all(info.tiny <= w <= info.max for w, _ in terms):
        dtype = torch.promote_types(dtype, torch.float64)
    total = first.to(dtype) * weight
    for w, g in terms[1:]:
        total.add_(g.to(dtype), alpha=w)
    return total.to(first.dtype)


def differentiated(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor | GradientEdge],
    *,
    retain_graph: bool,
    chunk: int = 1,
) -> list[Row]:
    """Gradients of each scalar, in a pass each or `chunk` of them at once by vmap."""
    rows: list[Row] = []
    for start in range(0, len(outputs), chunk):
        some = outputs[start : start + chunk]
        keep = retain_graph or start + chunk < len(outputs)
        last = start + len(some) - 1
        with naming_cause(f"losses[{start}]" + (f" to losses[{last}]" if last > start else "")):
            found = _one_pass(some, inputs, keep)
        for i, row in enumerate(found, start):
            check_row(row, f"losses[{i}]")
        rows += found
    return rows


def _one_pass(
    some: Sequence[Tensor], inputs: Sequence[Tensor | GradientEdge], keep: bool
) -> list[Row]:
    if len(some) == 1:
        return [gradients_after_hooks(some[0], inputs, retain_graph=keep, allow_unused=True)]
    stacked = torch.stack(tuple(some))
    each = torch.eye(len(some), dtype=stacked.dtype, device=stacked.device)
    with naming_limits_of_vmap():
        grads = torch.autograd.grad(
            stacked, inputs, each, retain_graph=keep, allow_unused=True, is_grads_batched=True
        )
    return [tuple(g if g is None else g[i] for g in grads) for i in range(len(some))]


@contextmanager
def naming_limits_of_vmap() -> Iterator[None]:
    """Say what to do where a backward pass can not be made for several losses at once."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _NOT_BY_VMAP):
            raise
        raise ValueError(
            "the losses can not be differentiated at once here: the backward pass draws, as "
            "checkpoints with dropout do, was compiled, is a restored or reversed adjoint, is "
            "looked through by anomaly detection, or has a function that leaves torch, none of "
            "which vmap can do; give `chunk=1`"
        ) from error


@contextmanager
def naming_cause(label: str) -> Iterator[None]:
    """Say whose graph it was, where it was freed by an earlier pass or has sparse gradients."""
    try:
        yield
    except RuntimeError as error:
        if "sparse" in str(error).lower():
            raise ValueError(_SPARSE.format(label)) from error
        if "second time" not in str(error):
            raise
        raise FreedGraphError(
            f"losses must have their graphs; that of {label} was freed by an earlier pass, and can "
            "not be gone through a second time; compute the losses again, or keep their graph with "
            "`retain_graph=True` in the earlier call"
        ) from error


def check_row(row: Row, label: str) -> None:
    """Refuse gradients that are sparse."""
    if any(g is not None and g.layout is not torch.strided for g in row):
        raise ValueError(_SPARSE.format(label))


@torch.no_grad()
def gramian_of(gradients: Sequence[Row], shared: int) -> Tensor:
    """Inner products of the gradients in float64, through a buffer that stays in the cache."""
    m = len(gradients)
    columns = [[row[k] for row in gradients] for k in range(shared)]
    columns = [column for column in columns if any(g is not None for g in column)]
    devices = list(dict.fromkeys(g.device for c in columns for g in c if g is not None))
    total = torch.zeros(m, m, dtype=torch.float64, device=devices[0])
    for device in devices:
        here = [c for c in columns if next(g for g in c if g is not None).device == device]
        total += _on_one_device(here, m, device).to(total.device)
    return total


@torch.no_grad()
def marked(G: Tensor, gradients: Sequence[Row]) -> Tensor:
    """G with NaN on its diagonal for each row whose other gradients are not finite."""
    for i, row in enumerate(gradients):
        for g in row:
            if g is not None:
                size = torch.linalg.vector_norm(_real(g), dtype=torch.float64)
                G[i, i] += 0.0 * size.to(G.device)
    return G


def _on_one_device(columns: list[list[Tensor | None]], m: int, device: torch.device) -> Tensor:
    flat = [[None if g is None else _real(g).reshape(-1) for g in c] for c in columns]
    sizes = [next(g.numel() for g in c if g is not None) for c in flat]
    size = min(max(_BUFFER.get(device.type, _DEVICE_BUFFER) // m, 1024), sum(sizes))
    buffer = torch.empty(m, size, dtype=torch.float64, device=device)
    rows = buffer.unbind()
    total = torch.zeros(m, m, dtype=torch.float64, device=device)
    filled = 0
    for column, count in zip(flat, sizes, strict=True):
        start = 0
        while start < count:
            taken = min(size - filled, count - start)
            for row, g in zip(rows, column, strict=True):
                piece = row[filled : filled + taken]
                piece.zero_() if g is None else piece.copy_(g[start : start + taken])
            filled, start = filled + taken, start + taken
            if filled == size:
                total.addmm_(buffer, buffer.mT)
                filled = 0
    return total.addmm_(buffer[:, :filled], buffer[:, :filled].mT)


def _real(gradient: Tensor) -> Tensor:
    """A complex gradient as pairs of real numbers."""
    return torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
