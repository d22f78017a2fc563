"""A layer's report on its own noise, from row lengths and the sketched product."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from odecore.sketching import Moments, unsketched_moments
from torch_bridge._draws import SKETCHES
from torch_bridge._fields import is_batched
from torch_bridge._row_sketch import RowSketch, row_lengths

__all__ = ["NoiseMeter", "NoiseReport"]


@dataclass(frozen=True)
class NoiseReport:
    """What a layer measured of its weight gradient, averaged over backward passes.

    Means weigh passes by the square of the loss, and so of a loss scale that changes.

    Parameters
    ----------
    passes, skipped : int
        Over how many backward passes, and how many told nothing: of one row, or not finite, as the
        first ones of a GradScaler are, or several batched into one by vmap. Passes that keep all
        rows are neither.
    variance : float
        D_RMM^2 = E||estimate - G||_F^2, what the sketch adds.
    minibatch_variance : float
        D_SGD^2 = (B T - ||G||^2)/(B - 1), what is there anyway if rows are independent.
    alpha, tau : float
        ||G||^2/(||X||^2 ||Y||^2) and B T/(||X||^2 ||Y||^2); see `odecore.sketching.Alignment`.
    """

    passes: int
    skipped: int
    variance: float
    minibatch_variance: float
    alpha: float
    tau: float

    @property
    def ratio(self) -> float:
        """Sketch noise per mini-batch noise; 1 doubles the variance of the gradient."""
        return self.variance / self.minibatch_variance if self.minibatch_variance else inf


class NoiseMeter:
    """Running means of unbiased estimates; on the layer's device, read only when asked."""

    def __init__(self) -> None:
        self.seen = 0
        self.sums: Tensor | None = None

    def add(self, s: RowSketch, Y: Tensor, product: Tensor, estimate: Tensor) -> None:
        """Add one backward pass: Y (B, M), the product and that part of it that is an estimate."""
        self.seen += 1
        if s.lengths is None or is_batched(Y):
            return
        counted = Y if s.inside is None else Y.index_select(0, s.inside)
        y, x = row_lengths(counted).double(), s.lengths[0].double()
        size = _square(product)
        plain = _moments(x, y, size)
        sketched = plain
        if s.mean is not None:
            y_rest = row_lengths(counted - counted.mean(0)).double()
            sketched = _moments(s.lengths[1].double(), y_rest, _square(estimate))
        kind = SKETCHES[s.sketch](s.size)
        told = unsketched_moments(kind, sketched)
        # The means' product is exact, so what the squares are too large by is the same.
        g = size - (sketched.product - told.product)
        B = plain.rows
        minibatch = (B * plain.rowwise - g) / max(B - 1, 1)
        one = torch.ones_like(g)
        found = torch.stack(
            [one, kind.variance_of(told), minibatch, g, B * plain.rowwise, plain.x * plain.y]
        )
        found = torch.where(found.isfinite().all(), found, 0.0)
        self.sums = found if self.sums is None else self.sums + found

    def report(self) -> NoiseReport:
        """Read the means; RuntimeError before the first backward pass."""
        passes, *sums = [0.0] if self.sums is None else self.sums.tolist()
        if not passes:
            raise RuntimeError(
                "no noise was measured yet: run a backward pass of more than one row that keeps "
                f"part of them; {self.seen} told nothing"
            )
        variance, minibatch, g, rowwise, both = (x / passes for x in sums)
        both = both or 1.0
        skipped = self.seen - int(passes)
        noise = max(variance, 0.0), max(minibatch, 0.0)
        return NoiseReport(int(passes), skipped, *noise, max(g, 0.0) / both, rowwise / both)


def _moments(x: Tensor, y: Tensor, product: Tensor) -> Moments:
    x, y = x.square(), y.square()
    return Moments(len(x), x.sum(), y.sum(), product, (x * y).sum())


def _square(G: Tensor) -> Tensor:
    dtype = torch.promote_types(G.dtype, torch.float32)
    return torch.linalg.vector_norm(G, dtype=dtype).double() ** 2
