"""Normalization layers by name, for the right-hand side of a neural ODE."""

from __future__ import annotations

from torch import nn

__all__ = ["NORMALIZATIONS", "normalization"]

NORMALIZATIONS = ("none", "layer", "group", "batch")


def normalization(name: str, channels: int, *, groups: int = 4, dimensions: int = 0) -> nn.Module:
    """Make a normalization layer for features of shape (batch, channels, ...).

    Parameters
    ----------
    name : {"none", "layer", "group", "batch"}
        "layer" is GroupNorm with one group. "batch" changes its statistics at every evaluation of
        the right-hand side, so that two solves of one batch differ and evaluation uses one mean for
        all times: it is here to be compared, not recommended (arXiv 2004.09222).
    channels : int
    groups : int, optional
        For "group"; must divide `channels`.
    dimensions : {0, 1, 2, 3}, optional
        Number of axes after the channels; BatchNorm has a class for each.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        For another name, groups that do not divide the channels, or unknown dimensions.
    """
    if name not in NORMALIZATIONS:
        raise ValueError(f"`name` must be one of {', '.join(NORMALIZATIONS)}, got {name!r}")
    if name == "none":
        return nn.Identity()
    if name == "batch":
        kinds = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        if dimensions not in range(len(kinds)):
            raise ValueError(f"`dimensions` must be 0, 1, 2 or 3, got {dimensions!r}")
        return kinds[dimensions](channels)
    groups = 1 if name == "layer" else groups
    if groups < 1 or channels % groups:
        raise ValueError(f"`groups` must divide the {channels} channels, got {groups}")
    return nn.GroupNorm(groups, channels)
