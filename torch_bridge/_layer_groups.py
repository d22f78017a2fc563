"""Layers that read the same tensor, and the sketch sizes of all within one budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from odecore.sketching import Moments, minibatch_variance, moments, optimal_ranks
from torch_bridge._draws import SKETCHES
from torch_bridge._layer_step import Call, Step

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
        Rows to keep in all calls of one layer.
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
    def rows(self) -> int:
        """B of all calls of one layer together."""
        return sum(m.rows for m in next(iter(self.moments.values()))[0])

    @property
    def largest(self) -> int:
        """The largest size that saves anything."""
        useful = self.rows if self.masked else self.rows - 1
        return min(useful, (self.freed - self.fixed_bytes - 1) // self.row_bytes)

    @property
    def bytes(self) -> int:
        """What is kept for these layers."""
        return self.freed if self.exact else self.fixed_bytes + self.size * self.row_bytes

    def noise(self, name: str) -> float:
        """Sketch variance per mini-batch variance of a layer."""
        if self.exact or self.size == self.rows:
            return 0.0
        calls, minibatch = self.moments[name]
        share = self.size / self.rows
        kind = SKETCHES[self.sketch]
        found = (kind(max(1, ceil(share * m.rows - 1e-9))).variance_of(m) for m in calls)
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
                # Var(p) = Var(1) (B/p - 1)/(B - 1), and p is this call's share of the size.
                at_one = float(SKETCHES[self.sketch](1).variance_of(m))
                found += at_one * self.rows / max(m.rows - 1, 1) / minibatch
        return max(found, 0.0)


def groups_of(
    step: Step, sketch: str, centred: bool, units: str
) -> tuple[list[Group], dict[str, str]]:
    """The groups of a step that sketches make smaller, and for other layers why not."""
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in step.calls:
        calls[call.layer].append(call)
    readers: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, own in calls.items():
        readers[tuple(id(call.input) for call in own)].append(name)
    owners: dict[int, set[str]] = defaultdict(set)
    for names in readers.values():
        for address in _kept(calls, names):
            owners[address].add(names[0])
    groups, reasons = [], {}
    for names in readers.values():
        kept = _kept(calls, names)
        freed = sum(
            step.sizes[a] for a in kept if a not in step.elsewhere and owners[a] == {names[0]}
        )
        group = _group(calls, names, freed, sketch, centred, units)
        reason = ""
        if not kept:
            reason = "nothing is kept for it besides the batch and the parameters"
        elif not freed:
            reason = "something else keeps its input"
        elif group.largest < 1:
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
    costs = [group.row_bytes for group in groups]
    room = available - sum(group.fixed_bytes for group in groups)
    slopes, largest = [group.slope for group in groups], [group.largest for group in groups]
    for group, size in zip(groups, optimal_ranks(slopes, costs, room, largest), strict=True):
        group.size, group.exact = int(size), False
    left = available - sum(group.bytes for group in groups)
    for group in sorted(groups, key=lambda g: g.freed - g.bytes):
        # Beyond the largest size there is the exact layer, without noise.
        more = group.freed - group.bytes
        if group.size == group.largest and group.noise_left and more <= left:
            group.exact, left = True, left - more


def choose_by_noise(groups: list[Group], noise: float) -> None:
    """Set the sizes that keep least, with at most this noise in the mean over the layers."""
    too_few = sum(group.fixed_bytes + group.row_bytes for group in groups) - 1.0
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


def _kept(calls: dict[str, list[Call]], names: list[str]) -> set[int]:
    return {address for name in names for call in calls[name] for address in call.kept}


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
        rows = [call.rows() for call in calls[name]]
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


def _centred(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
    return X - X.mean(0), Y - Y.mean(0)


def _units(call: Call, units: str) -> np.ndarray | None:
    """An id for each row, by the entry of the first dimension it is in."""
    shape = call.input.shape
    if units == "rows" or (units == "auto" and len(shape) < 3):
        return None
    ids = np.arange(shape[0]).repeat(call.all_rows // max(shape[0], 1))
    return ids if call.inside is None else ids[call.inside.cpu().numpy()]
