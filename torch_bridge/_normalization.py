"""Normalization layers by name, for the right-hand side of a neural ODE."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from torch import Tensor, nn

from torch_bridge._numbers import require_whole
from torch_bridge._time_batch_norm import TimeBatchNorm
from torch_bridge._unknown_options import keywords_of, refuse_unknown, require_choice

__all__ = ["NORMALIZATIONS", "normalization", "normalized"]

NORMALIZATIONS = ("none", "layer", "group", "instance", "batch", "time batch")


def normalization(
    name: str, channels: int, *, groups: int = 4, dimensions: int = 0, **options: Any
) -> nn.Module:
    """Make a normalization layer for features of shape (batch, channels, ...).

    Parameters
    ----------
    name : {"none", "layer", "group", "instance", "batch", "time batch"}
        "layer" is GroupNorm with one group, "instance" with one for each channel. "batch" changes
        its statistics at every evaluation of the right-hand side, and evaluation uses one mean for
        all times: it is here to be compared, not recommended (arXiv 2004.09222). "time batch" is
        `TimeBatchNorm`, which is called with the time, as layer(t, x).
    channels : int
    groups : int, optional
        For "group"; must divide `channels`.
    dimensions : {0, 1, 2, 3}, optional
        Number of axes after the channels; BatchNorm has a class for each, and "instance" needs one.
    **options
        Of `TimeBatchNorm`.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        For another name, groups that do not divide the channels, groups of a single number, unknown
        dimensions, or options that nobody or that layer does not have.
    """
    require_choice("name", name, NORMALIZATIONS)
    refuse_unknown(options, keywords_of(normalization, TimeBatchNorm), "a normalization")
    if options and name != "time batch":
        raise ValueError(f"{', '.join(options)}: options of 'time batch', not of {name!r}")
    if not isinstance(dimensions, Integral) or dimensions not in range(4):
        raise ValueError(f"`dimensions` must be 0, 1, 2 or 3, got {dimensions!r}")
    require_whole(channels=channels, groups=groups)
    if name == "none":
        return nn.Identity()
    if name == "time batch":
        return TimeBatchNorm(channels, **options)
    if name == "batch":
        return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions](
            channels
        )
    groups = {"layer": 1, "instance": channels}.get(name, groups)
    if channels % groups:
        raise ValueError(f"`groups` must divide the {channels} channels, got {groups}")
    if groups == channels and not dimensions:
        raise ValueError(
            f"{name!r} with {groups} groups of {channels} channels needs axes after these, and "
            "`dimensions`, their number: of one number nothing is left; take fewer groups"
        )
    return nn.GroupNorm(groups, channels)


def normalized(layer: nn.Module, t: Tensor, x: Tensor) -> Tensor:
    """Call a normalization layer, with the time if that is what it needs."""
    found: Tensor = layer(t, x) if isinstance(layer, TimeBatchNorm) else layer(x)
    return found
