"""From the outputs of a model in ever finer steps to a bound of what finer steps still change."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from torch_bridge._observed_order import SHORT

__all__ = ["LadderBound", "ladder_bound", "without_masks"]

FASTEST_TAIL = 0.9  # ratio of changes from which on their sum is not bounded
ROUNDING = 16  # units of rounding and root of the steps: below, a change is not one of them
STAGNATION = 4  # the same, and step, where increments are rounded alike
FEW = 32  # units of rounding in an increment below which its errors are not independent


class LadderBound(NamedTuple):
    """What a ladder says of each sample.

    Parameters
    ----------
    changes : (K, n) Tensor
        float64: largest change of an entry from one rung to the next.
    bound : (n,) Tensor
        Of the distance to the flow's output, infinite where the changes do not fall.
    resolved : (n,) Tensor
        The same where a change that may be rounding counts as none: what the steps are seen to
        change. Certifies nothing.
    orders : (K - 1, n) Tensor
        log2 of the ratio of each two consecutive changes, NaN where rounding may hide it.
    """

    changes: Tensor
    bound: Tensor
    resolved: Tensor
    orders: Tensor

    def hidden(self, room: Tensor | float) -> Tensor:
        """Samples whose bound exceeds their room by rounding alone, (n,) flags."""
        return ~(self.bound < room) & ((self.resolved < room) | (self.resolved == 0))


def ladder_bound(
    outputs: list[Tensor],
    order: float,
    steps: int = 1,
    eps: float = 0.0,
    unit: Tensor | float = 0.0,
) -> LadderBound:
    """Bound the distance of the first output to the limit of the ladder.

    E = sum_k d_k + d_(K-1) r / (1 - r) with the changes d_k from rung to rung, each of twice as
    many steps, and r = max(2^-p, d_(K-1) / d_(K-2)): beyond the last rung changes are taken to fall
    no faster than they did last, nor than the order allows. Without a bound where r >= 0.9.

    Parameters
    ----------
    outputs : list of (n, ...) Tensor
        At least three.
    order : float
        p, of the solver.
    steps : int, optional
        Of the first output: rounding adds up like the root of the last one's.
    eps : float, optional
        Of what the outputs were computed in, where that is coarser than they are.
    unit : (n,) Tensor, optional
        What a unit of rounding of the states changes of the output, where it is known: above eps of
        the largest entry where states are larger than what is left of them in the output.

    Notes
    -----
    Two rungs alone (Richardson's estimate d_0 / (1 - 2^-p)) rely on the order before it shows. The
    bound relies on it beyond the last rung only, and is no proof: a model can be made that changes
    its mind at the next. Changes of under 16 sqrt(N) units of rounding, N the last steps, are
    rounding, whose errors in N steps add up like sqrt(N) as a rule of thumb (Higham 2002); they
    count as that large, and their ratio as the order's. A unit is eps of the largest entry, or
    `unit`; that at most sqrt(eps) of the largest entry of all samples: beyond, it is no rounding
    but a model that tells apart what hardly differs. The rule takes errors for independent: where
    N eps > 1/32, as in half precision, increments of y / N have few digits, are rounded alike, and
    errors add up like N. There changes of under 4 N units are rounding too; and so they are where
    they do not fall (r >= 0.9), as of large states that change little from step to step.
    """
    flat = [y.detach().reshape(len(y), -1) for y in without_masks(outputs)]
    eps = max(eps, torch.finfo(flat[0].dtype).eps)
    changes = torch.stack([_largest(b.double() - a.double()) for a, b in pairwise(flat)])
    last, before = changes[-1], changes[-2]
    finest = steps * 2 ** len(changes)
    largest = torch.stack([_largest(y) for y in flat]).amax(0).double()
    most = eps**0.5 * torch.where(torch.isfinite(largest), largest, 0.0).max()
    known = torch.as_tensor(unit, dtype=largest.dtype, device=largest.device)
    unit = torch.maximum(eps * largest, known.clamp(max=most))
    alike = max(ROUNDING * finest**0.5, STAGNATION * finest) * unit
    steady = (last >= FASTEST_TAIL * before) & (last <= alike)
    floor = torch.where(steady, alike, ROUNDING * finest**0.5 * unit)
    if finest * eps * FEW > 1:
        floor = alike
    rounding = last <= floor
    least = 2.0**-order
    ratio = torch.where(rounding, least, last / before.clamp_min(1e-300)).clamp_min(least)
    tail = ratio / (1 - ratio)
    size = torch.maximum(changes, floor)
    bound = size.sum(0) + size[-1] * tail
    seen = torch.where(changes > floor, changes, 0.0)
    resolved = seen.sum(0) + seen[-1] * tail
    known = torch.isfinite(changes).all(0) & (ratio < FASTEST_TAIL)
    bound, resolved = (torch.where(known, x, float("inf")) for x in (bound, resolved))
    return LadderBound(changes, bound, resolved, _orders(changes, floor, order))


def _orders(changes: Tensor, floor: Tensor, order: float) -> Tensor:
    """log2(a / b) of changes a, b in turn, where one is too large for rounding to hide it.

    Pairs are not taken by b where it is the smaller one: those with a large b by chance, and so a
    low order, would be. With A, B for a, b without rounding, up to f = `floor` in each, A / B = 2^p
    gives a / b >= 2^(p - s), s = `SHORT`, where A - f >= 2^(p - s) (A / 2^p + f), or
    A >= (1 + 2^(p - s)) f / (1 - 2^-s), so that an order p never looks short by rounding. Such an a
    is above 2^p f: where b may be rounding alone, the order is above p, and counts as p.
    """
    least = ((1 + 2.0 ** (order - SHORT)) / (1 - 2.0**-SHORT) + 1) * floor
    rows = []
    for a, b in pairwise(changes):
        shows = (torch.maximum(a, b) >= least) & torch.isfinite(a + b)
        found = torch.where(b > floor, torch.log2(torch.maximum(a, floor) / b), order)
        rows.append(torch.where(shows, found, torch.nan))
    return torch.stack(rows)


def without_masks(outputs: list[Tensor]) -> list[Tensor]:
    """Outputs with 0 for entries that are -inf in all, as of a mask: those do not change."""
    masked = reduce(torch.logical_and, (y == -float("inf") for y in outputs))
    return [y.masked_fill(masked, 0.0) for y in outputs] if masked.any() else outputs


def _largest(x: Tensor) -> Tensor:
    return x.abs().amax(1)
