"""Sketched layers in place of exact ones, and back: the same modules, in another class."""

from __future__ import annotations

from typing import Any

from torch import nn

from torch_bridge._convolution import SketchedConv2d
from torch_bridge._linear import SketchedLinear
from torch_bridge._plan import SketchPlan
from torch_bridge._sketched_module import SketchedModule, share_sketch

__all__ = ["apply", "revert"]

SKETCHED = {nn.Linear: SketchedLinear, nn.Conv2d: SketchedConv2d}
OPTIONS = ("_ratio", "sketch", "centred", "storage", "meter", "shared")


def apply(plan: SketchPlan, /, model: nn.Module | None = None, **options: Any) -> nn.Module:
    """Sketch the layers of a model in place, as planned.

    The modules stay the very objects they are: parameters, ties between them, requires_grad, hooks,
    optimizers and the keys of state_dict are untouched.

    Parameters
    ----------
    plan : SketchPlan
    model : Module, optional
        Another one with layers of these names; by default the one that was planned for.
    **options
        `storage` and `report` of `SketchedLinear`, for all layers.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    TypeError
        If a layer is not a `torch.nn.Linear` or `torch.nn.Conv2d`, or sketched by a plan before;
        nothing is changed then.

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
    model = plan.model if model is None else model
    planned = {one.name: one for one in plan.layers if one.ratio is not None}
    layers = {name: model.get_submodule(name) for name in planned}
    for name, layer in layers.items():
        if type(layer) not in SKETCHED and "_exact" not in vars(layer):
            raise TypeError(
                f"layer {name} must be a torch.nn.Linear or Conv2d, got {type(layer).__name__}; "
                "plan for this model"
            )
    for name, layer in layers.items():
        _restore(layer)
        layer._exact = type(layer)
        layer.__class__ = SKETCHED[type(layer)]
        layer.sketching(planned[name].ratio, plan.sketch, plan.centred, **options)
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
    """
    for layer in model.modules():
        _restore(layer)
    return model


def _restore(layer: nn.Module) -> None:
    if isinstance(layer, SketchedModule) and "_exact" in vars(layer):
        layer.__class__ = layer._exact
        for name in ("_exact", *OPTIONS):
            delattr(layer, name)
