"""Sketched layers in place of exact ones, and back: the same modules, in another class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from torch_bridge._converted import SKETCHED, converted
from torch_bridge._convolution import is_pointwise
from torch_bridge._evaluation import require_module
from torch_bridge._kinds import require_flags
from torch_bridge._plan import SketchPlan
from torch_bridge._row_sketch import require_options
from torch_bridge._sketched_module import share_sketch

__all__ = ["apply", "revert"]

OPTIONS = ("_ratio", "sketch", "centred", "storage", "meter", "shared")


def apply(
    plan: SketchPlan,
    /,
    model: nn.Module | None = None,
    *,
    storage: torch.dtype | None = None,
    report: bool = False,
) -> nn.Module:
    """Sketch the layers of a model in place, as planned.

    The modules stay the very objects they are: parameters, ties between them, requires_grad, hooks,
    optimizers and the keys of state_dict are untouched. Layers that an earlier plan has sketched
    and this one leaves exact are exact again.

    Parameters
    ----------
    plan : SketchPlan
    model : Module, optional
        Another one with layers of these names; by default the one that was planned for.
    storage, report : optional
        As for `SketchedLinear`, for all layers.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    TypeError
        If the plan is no SketchPlan, the model no Module, or `report` no bool; if a planned layer
        is missing, or neither a `torch.nn.Linear` nor a `torch.nn.Conv2d` of kernel size 1; nothing
        is changed then.
    ValueError
        For another storage, or for `report` with one.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import plan, revert
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.Linear(32, 32)
    ... )
    >>> found = plan(model, torch.randn(64, 8), budget=0.7, loss=lambda y, x: y.square().mean())
    >>> type(apply(found)[2]).__name__, type(revert(model)[2]).__name__
    ('SketchedLinear', 'Linear')
    """
    if not isinstance(plan, SketchPlan):
        raise TypeError(
            f"`plan` must be a SketchPlan, got {type(plan).__name__}; make it by "
            "plan(model, batch, budget=), and give apply a model after it"
        )
    model = plan.model if model is None else model
    require_module(model)
    require_flags(report=report)  # before anything changes
    require_options(1.0, plan.sketch, storage, report)
    present = dict(model.named_modules())
    layers = {one.name: present.get(one.name) for one in plan.layers}
    planned = {one.name: one for one in plan.layers if one.ratio is not None}
    for name in planned:
        if not _can_be_sketched(layers[name]):
            raise TypeError(
                f"layer {name} must be a torch.nn.Linear, or a Conv2d of one pixel, got "
                f"{type(layers[name]).__name__}; plan for this model"
            )
    _restore([layer for layer in layers.values() if layer is not None])
    for name, one in planned.items():
        layer: Any = layers[name]
        layer._exact = type(layer)
        layer.__class__ = SKETCHED[type(layer)]
        layer.sketching(one.ratio, plan.sketch, plan.centred, storage, report)
    for name, one in planned.items():
        if one.with_ and name < min(one.with_):
            share_sketch(layers[name], *(layers[other] for other in one.with_))
    return model


def revert(model: nn.Module, /) -> nn.Module:
    """Make the layers of a model exact again that `apply` has sketched.

    Parameters
    ----------
    model : Module
        Layers that were made as sketched ones stay.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    TypeError
        If the model is no Module, or a layer was parametrized since; nothing is changed then.
    """
    require_module(model)
    _restore(model.modules())
    return model


def _restore(layers: Iterable[nn.Module]) -> None:
    sketched = converted(layers)
    for layer in sketched:
        if type(layer) is not SKETCHED[layer._exact]:
            raise TypeError(
                f"a sketched layer must not have changed its class, got {type(layer).__name__}: "
                "remove its parametrizations first"
            )
    for layer in sketched:
        layer.__class__ = layer._exact
        for name in ("_exact", *OPTIONS):
            delattr(layer, name)


def _can_be_sketched(layer: nn.Module | None) -> bool:
    exact = vars(layer).get("_exact", type(layer)) if layer is not None else None
    return exact is nn.Linear or (exact is nn.Conv2d and is_pointwise(layer))
