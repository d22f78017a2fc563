"""Which layers of a model to sketch, and how far, by what one training step keeps and varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_bridge._converted import exact_for_now
from torch_bridge._convolution import is_pointwise
from torch_bridge._evaluation import require_module
from torch_bridge._kinds import require_callable, require_flags
from torch_bridge._layer_groups import (
    Group,
    choose_by_bytes,
    choose_by_noise,
    groups_of,
    mean_noise,
)
from torch_bridge._layer_step import watched_step
from torch_bridge._numbers import is_number
from torch_bridge._sketched_module import SketchedModule
from torch_bridge._unknown_options import nearest, require_choice

__all__ = ["LayerPlan", "SketchPlan", "plan"]

PLANNED = ("uniform", "balanced")


@dataclass(frozen=True)
class LayerPlan:
    """What a plan says of one layer.

    Parameters
    ----------
    name : str
    ratio : float or None
        Of the rows to keep; None if the layer stays exact.
    rows, size : int
        B, and how many of them are kept; of the largest call, if it runs several times.
    bytes_now, bytes_planned : int
        What the step keeps because of this layer: its share, where several layers read a tensor.
    noise : float
        Sketch variance per mini-batch variance; 0 if exact.
    with_ : tuple of str
        Other layers that read the same tensor and share its sketch.
    reason : str
        Why the layer stays exact, empty if it does not.
    """

    name: str
    ratio: float | None
    rows: int
    size: int
    bytes_now: int
    bytes_planned: int
    noise: float
    with_: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class SketchPlan:
    """Sketches for the layers of a model; print it, then `apply` it.

    Parameters
    ----------
    layers : tuple of LayerPlan
    bytes_now, bytes_planned : int
        What autograd keeps of the step besides parameters, buffers and the batch.
    noise : float
        Mean over the layers that could be sketched of sketch variance per mini-batch variance.
    sketch : str
    centred : bool
    model : Module
    """

    layers: tuple[LayerPlan, ...]
    bytes_now: int
    bytes_planned: int
    noise: float
    sketch: str
    centred: bool
    model: nn.Module = field(repr=False)

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=5)
        lines = [f"{'layer':{width}s}  ratio  KiB now  planned  noise"]
        for one in self.layers:
            ratio = "exact" if one.ratio is None else f"{one.ratio:5.3f}"
            sizes = f"{one.bytes_now / 1024:8.0f} {one.bytes_planned / 1024:8.0f}"
            note = one.reason or (f"shared with {', '.join(one.with_)}" if one.with_ else "")
            lines.append(f"{one.name:{width}s}  {ratio} {sizes} {one.noise:6.3f}  {note}".rstrip())
        now, planned = self.bytes_now / 1024, self.bytes_planned / 1024
        share = planned / max(now, 1e-3)
        lines.append(
            f"the step keeps {now:.0f} KiB, planned {planned:.0f} ({share:.0%}); "
            f"mean noise {self.noise:.3f}"
        )
        return "\n".join(lines)


def plan(
    model: nn.Module,
    batch: Any,
    *,
    budget: float | None = None,
    noise: float | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    sketch: str = "uniform",
    centred: bool = False,
    units: str = "auto",
) -> SketchPlan:
    """Choose sketches for the linear layers of a model, from one training step.

    The step shows which inputs are kept by linear layers alone: a sketch never replaces what
    something else keeps as well, such as the input of a layer after ReLU, or the batch. Of the
    others, it minimises the noise of the gradients within a memory budget, or the memory within a
    bound on the noise.

    Parameters
    ----------
    model : Module
        Left as it is, gradients, buffers, attributes, modes, draws of solvers and random numbers
        included, but for what its own hooks do in the backward pass; other leaves keep their
        gradients too. Its `torch.nn.Linear` and `torch.nn.Conv2d` layers of kernel size 1 are
        considered, subclasses are not. Layers that an earlier plan has sketched are planned anew,
        as the exact ones that they were. What is compiled runs as it was written.
    batch : Tensor, tuple, list or mapping
        It is passed to the model: as it is, unpacked, or as keywords.
    budget : float, optional
        Bytes that the step may keep besides parameters, buffers and the batch; up to 1 it is the
        share of what it keeps now.
    noise : float, optional
        Instead of a budget: the largest mean over the layers of sketch variance per mini-batch
        variance. At 0.1 the gradients of a layer vary by 10 % more than those of a batch do anyway.
    loss : callable, optional
        loss(output, batch) is the scalar to differentiate; by default the output itself, or its
        attribute `loss`.
    sketch : {"uniform", "balanced"}, optional
        Dense sketches save nothing worth planning.
    centred : bool, optional
        As for `sketched_linear`.
    units : {"auto", "rows", "first"}, optional
        What is independent in a mini-batch: each row, or all rows of one entry of the first
        dimension, as the tokens of a sequence and the pixels of an image are. "auto" is the latter
        where an input has more than two dimensions.

    Returns
    -------
    SketchPlan
        Printable, with a reason for each layer that stays exact.

    Raises
    ------
    TypeError
        If the model is no Module.
    ValueError
        Unless one of budget and noise is given; for a budget that can not be reached; for a loss
        that is not a scalar with a gradient; for values that are not finite; for lazy layers that
        never ran.

    Notes
    -----
    Sizes p_l minimise sum_l v_l/p_l, v_l/p_l being the variance of the sketch per mini-batch
    variance up to a constant, by `odecore.sketching.optimal_ranks`. Layers that read the same
    tensor get one sketch together, which counts once. Where a layer runs several times in a step,
    its calls add up.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.Linear(32, 32)
    ... )
    >>> found = plan(model, torch.randn(64, 8), budget=0.7, loss=lambda y, x: y.square().mean())
    >>> [layer.reason for layer in found.layers]
    ['nothing is kept for it besides the batch and the parameters', '']
    """
    require_module(model)
    _require_choice(budget, noise, sketch, units)
    require_flags(centred=centred)
    if loss is not None:
        require_callable("loss", loss, "loss(output, batch)", 2)
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    if lazy:
        raise ValueError(
            f"`model` must have run once, as its lazy layers get their sizes then: {lazy[0]} has "
            "none; call model(batch) before"
        )
    # Compiled programs would not show their layers.
    with exact_for_now(model), torch.compiler.set_stance("force_eager"):
        layers, reasons = _candidates(model)
        step = watched_step(model, layers, lambda: _loss(model, batch, loss), batch)
    groups, more = groups_of(step, sketch, centred, units)
    reasons |= more
    seen = {call.layer for call in step.calls}
    reasons |= {name: "it did not run in this step" for name in layers if name not in seen}
    now = sum(step.sizes.values())
    others = now - sum(group.freed for group in groups)
    if not groups:
        pass  # nothing to choose: the reasons say why
    elif budget is None:
        choose_by_noise(groups, float(noise or 0.0))
    else:
        limit = budget * now if budget <= 1 else budget
        least = others + int(sum(group.least for group in groups))
        if limit < least:
            raise ValueError(
                f"`budget` is below what one row for each layer leaves: got {limit:.0f} bytes of "
                f"{now}, possible are {least}; checkpoint the rest of the model"
            )
        choose_by_bytes(groups, limit - others)
    found = [one for group in groups for one in _layer_plans(group)]
    found += [LayerPlan(name, None, 0, 0, 0, 0, 0.0, (), why) for name, why in reasons.items()]
    order = {name: k for k, (name, _) in enumerate(model.named_modules())}
    found.sort(key=lambda one: order[one.name])
    kept = others + sum(group.bytes for group in groups)
    return SketchPlan(tuple(found), now, kept, mean_noise(groups), sketch, centred, model)


def _layer_plans(group: Group) -> list[LayerPlan]:
    """The plans of a group's layers; what they share is divided evenly."""
    names, plans = list(group.moments), []
    ratio = None if group.exact else group.size / group.rows
    for name in names:
        plans.append(
            LayerPlan(
                name,
                ratio,
                group.rows,
                group.size,
                group.freed // len(names),
                group.bytes // len(names),
                group.noise(name),
                () if group.exact else tuple(other for other in names if other != name),
                "it fits the budget" if group.exact else "",
            )
        )
    return plans


def _candidates(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Layers that could be sketched, and for other linear ones why not."""
    layers, reasons = {}, {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        if isinstance(layer, SketchedModule):
            reasons[name] = "it is sketched already"
        elif type(layer) not in (nn.Linear, nn.Conv2d) or "forward" in vars(layer):
            reasons[name] = "it is a Linear or Conv2d of its own kind"
        elif isinstance(layer, nn.Conv2d) and not is_pointwise(layer):
            reasons[name] = "its kernel reads more than a pixel"
        elif not layer.weight.requires_grad:
            reasons[name] = "its weight is frozen"
        elif model.training and not layer.training:
            reasons[name] = "it is in evaluation mode"
        else:
            layers[name] = layer
    return layers, reasons


def _loss(model: nn.Module, batch: Any, loss: Callable[[Any, Any], Tensor] | None) -> Any:
    if isinstance(batch, Mapping):
        output = model(**batch)
    elif isinstance(batch, list | tuple):
        output = model(*batch)
    else:
        output = model(batch)
    if loss is not None:
        return loss(output, batch)
    return getattr(output, "loss", output)


def _require_choice(budget: float | None, noise: float | None, sketch: str, units: str) -> None:
    if (budget is None) == (noise is None):
        raise ValueError("give one of `budget` and `noise`; the other follows from it")
    for name, value in (("budget", budget), ("noise", noise)):
        if value is not None and not (is_number(value) and 0 < value < inf):
            raise ValueError(f"`{name}` must be a positive number, got {value!r}")
    if sketch not in PLANNED:
        hint = nearest(sketch, PLANNED) or ": others keep dense matrices, larger than they save"
        raise ValueError(f"`sketch` must be one of {', '.join(PLANNED)}, got {sketch!r}{hint}")
    require_choice("units", units, ("auto", "rows", "first"))
