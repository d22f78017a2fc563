"""Layers that read the same tensor, and the sketch sizes of all within one budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import frexp, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odecore.sketching import Moments, minibatch_variance, moments, optimal_ranks
from torch_bridge._draws import SKETCHES, sketch_size
from torch_bridge._layer_step import Call, Step, stride_of

__all__ = ["Group", "choose_by_bytes", "choose_by_noise", "groups_of", "mean_noise"]


@dataclass
class Group:
    """Layers that read the same tensors, so that one sketch serves all.

    Parameters
    ----------
    moments : dict
        For each layer those of its calls, and the mini-batch variance of all calls.
    masked : bool
        Whether some rows do not count: a sketch of all that do is then exact, and smaller.
    freed : int
        Bytes that nothing keeps once these layers are sketched.
    row_bytes, fixed_bytes : int
        What a sketch keeps for each row in it, and besides.
    size : int
        Rows to keep in the largest call; the others keep the same share.
    exact : bool
        Whether the layers are left as they are.
    """

    sketch: str
    moments: dict[str, tuple[list[Moments], float]]
    masked: bool
    freed: int
    row_bytes: int
    fixed_bytes: int
    size: int = 1
    exact: bool = False

    @property
    def counts(self) -> list[int]:
        """B of each call of one layer."""
        return [m.rows for m in next(iter(self.moments.values()))[0]]

    @property
    def rows(self) -> int:
        """B of the largest call."""
        return max(self.counts)

    @property
    def cost(self) -> float:
        """Bytes for each row of the size."""
        return self.row_bytes * sum(self.counts) / self.rows

    @property
    def least(self) -> float:
        """Bytes of the smallest sketch."""
        return self.fixed_bytes + self.row_bytes * len(self.counts)

    @property
    def largest(self) -> int:
        """The largest size that saves anything."""
        useful = self.rows if self.masked else self.rows - 1
        return min(useful, int((self.freed - self.fixed_bytes - 1) / self.cost))

    @property
    def bytes(self) -> int:
        """What is kept for these layers."""
        if self.exact:
            return self.freed
        return self.fixed_bytes + self.row_bytes * sum(self._size_of(B) for B in self.counts)

    def noise(self, name: str) -> float:
        """Sketch variance per mini-batch variance of a layer."""
        if self.exact or self.size == self.rows:
            return 0.0
        calls, minibatch = self.moments[name]
        kind = SKETCHES[self.sketch]
        found = (kind(self._size_of(m.rows)).variance_of(m) for m in calls)
        return max(0.0, float(sum(found))) / minibatch

    @property
    def noise_left(self) -> bool:
        """Whether the layers would be less noisy as they are."""
        return any(self.noise(name) > 0 for name in self.moments)

    @property
    def slope(self) -> float:
        """V in the noise of all its layers, v/size and a constant."""
        found = 0.0
        for calls, minibatch in self.moments.values():
            for m in calls:
                # Var(p) = Var(1) (B/p - 1)/(B - 1), and B/p is the same for all calls.
                at_one = float(SKETCHES[self.sketch](1).variance_of(m))
                found += at_one * self.rows / max(m.rows - 1, 1) / minibatch
        return max(found, 0.0)

    def _size_of(self, rows: int) -> int:
        return sketch_size(rows, self.size / self.rows)


def groups_of(
    step: Step, sketch: str, centred: bool, units: str
) -> tuple[list[Group], dict[str, str]]:
    """The groups of a step that sketches make smaller, and for other layers why not."""
    calls, reasons = _calls_of(step)
    readers: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, own in calls.items():
        readers[tuple((id(c.input), stride_of(c.module)) for c in own)].append(name)
    owners: dict[int, set[str]] = defaultdict(set)
    for names in readers.values():
        for address in _saved(calls, names, casts=True):
            owners[address].add(names[0])

    def freed(names: list[str], casts: bool) -> int:
        alone = {names[0]}
        return sum(
            step.sizes[a]
            for a in _saved(calls, names, casts)
            if a not in step.elsewhere and owners[a] == alone
        )

    groups = []
    for names in readers.values():
        reason = _why_not(calls, names, freed(names, casts=False), units)
        if not reason:
            group = _group(calls, names, freed(names, casts=True), sketch, centred, units)
            if group.largest < 1 or group.least >= group.freed:
                reason = "its input is too small to gain"
            elif not all(noise > 0 for _, noise in group.moments.values()):
                reason = "its gradient has no mini-batch noise that a sketch could be small against"
        if reason:
            reasons |= dict.fromkeys(names, reason)
        else:
            groups.append(group)
    return groups, reasons


def choose_by_bytes(groups: list[Group], available: float) -> None:
    """Set the sizes that make the sum of all noises smallest, within these bytes."""
    costs = [group.cost for group in groups]
    room = available - sum(group.fixed_bytes for group in groups)
    slopes, largest = [group.slope for group in groups], [group.largest for group in groups]
    for group, size in zip(
        groups, optimal_ranks(slopes, costs, max(room, sum(costs)), largest), strict=True
    ):
        group.size, group.exact = int(size), False
    left = available - sum(group.bytes for group in groups)
    for group in groups:
        # Each of several calls rounds its rows up.
        while left < 0 and group.size > 1 and len(group.counts) > 1:
            before = group.bytes
            group.size -= 1
            left += before - group.bytes
    for group in sorted(groups, key=lambda g: g.freed - g.bytes):
        # Beyond the largest size there is the exact layer, without noise.
        more = group.freed - group.bytes
        if group.size == group.largest and group.noise_left and more <= left:
            group.exact, left = True, left - more


def choose_by_noise(groups: list[Group], noise: float) -> None:
    """Set the sizes that keep least, with at most this noise in the mean over the layers."""
    too_few = sum(group.least for group in groups) - 1.0
    enough = float(sum(group.freed for group in groups))
    while enough - too_few > min(group.row_bytes for group in groups):
        middle = (too_few + enough) / 2
        choose_by_bytes(groups, max(middle, too_few + 1))
        if mean_noise(groups) <= noise:
            enough = middle
        else:
            too_few = middle
    choose_by_bytes(groups, enough)


def mean_noise(groups: Iterable[Group]) -> float:
    """Mean over the layers."""
    found = [group.noise(name) for group in groups for name in group.moments]
    return float(np.mean(found)) if found else 0.0


def _calls_of(step: Step) -> tuple[dict[str, list[Call]], dict[str, str]]:
    """The calls of each layer that have rows and that the loss depends on."""
    calls: dict[str, list[Call]] = defaultdict(list)
    reasons = {}
    for call in step.calls:
        if call.output_grad is not None and prod(call.leading):
            calls[call.layer].append(call)
        else:
            reasons[call.layer] = (
                "the loss does not depend on it, or it has no rows"
                if call.recorded
                else "it runs without autograd (no_grad, adjoint, reentrant checkpoint)"
            )
            step.elsewhere.update(call.kept)
    return calls, {name: why for name, why in reasons.items() if name not in calls}


def _why_not(calls: dict[str, list[Call]], names: list[str], freed: int, units: str) -> str:
    """Why layers that read one tensor are better left exact, as far as their calls show."""
    if not _saved(calls, names, casts=False):
        return "nothing is kept for it besides the batch and the parameters"
    if not freed:
        return "something else keeps its input"
    if any(_unit_count(call, units) < 2 for name in names for call in calls[name]):
        return "it has a single row or unit, and so no mini-batch noise to compare with"
    return ""


def _saved(calls: dict[str, list[Call]], names: list[str], casts: bool) -> set[int]:
    own = [call for name in names for call in calls[name]]
    return {a for call in own for a in (*call.kept, *(call.casts if casts else ()))}


def _group(
    calls: dict[str, list[Call]],
    names: list[str],
    freed: int,
    sketch: str,
    centred: bool,
    units: str,
) -> Group:
    first = calls[names[0]]
    measured = {}
    for name in names:
        rows = _in_units([_finite_rows(call) for call in calls[name]])
        noise = sum(
            float(minibatch_variance(X, Y, units=_units(call, units)))
            for call, (X, Y) in zip(calls[name], rows, strict=True)
        )
        both = [_centred(*pair) if centred else pair for pair in rows]
        measured[name] = [moments(X, Y) for X, Y in both], noise
    row = first[0].module.weight.shape[1] * torch.empty((), dtype=first[0].dtype).element_size()
    fixed = 0
    for call, m in zip(first, measured[names[0]][0], strict=True):
        fixed += 4 * m.rows if sketch == "balanced" else 0
        fixed += row if centred else 0
        fixed += 4 * m.rows if centred and call.inside is not None else 0
    index = 4 if sketch == "uniform" else 0
    masked = any(call.inside is not None for call in first)
    return Group(sketch, measured, masked, freed, row + index, fixed)


def _finite_rows(call: Call) -> tuple[Tensor, Tensor]:
    X, Y = call.rows()
    if not (bool(X.isfinite().all()) and bool(Y.isfinite().all())):
        raise ValueError(
            f"the step must be finite, got NaN or infinity at the layer {call.layer}: plan with "
            "another batch, or without a loss scale"
        )
    return X, Y


def _in_units(rows: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Scaled by powers of 2, alike in all calls: noises are ratios, and fourth powers have room."""
    scaled = []
    for side in zip(*rows, strict=True):
        sizes = [float(x.abs().amax()) for x in side if x.numel()]
        largest = max(sizes, default=0.0)
        exponent = frexp(max(largest, torch.finfo(torch.float32).smallest_normal))[1] - 2
        scaled.append([x * 2.0**-exponent for x in side])
    return list(zip(*scaled, strict=True))


def _centred(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    return X - X.mean(0), Y - Y.mean(0)


def _units(call: Call, units: str) -> np.ndarray | None:
    """An id for each row, by the entry of the first dimension it is in."""
    shape = call.input.shape
    if units == "rows" or (units == "auto" and len(shape) < 3):
        return None
    ids = np.arange(shape[0]).repeat(prod(call.leading) // shape[0])
    return ids if call.inside is None else ids[call.inside.cpu().numpy()]


def _unit_count(call: Call, units: str) -> int:
    ids = _units(call, units)
    if ids is not None:
        return len(np.unique(ids))
    return prod(call.leading) if call.inside is None else len(call.inside)
