"""Normalized weights that are frozen during a solve."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList

from torch_bridge._fields import inside_transform
from torch_bridge._one_solve import current_solve, one_solve

__all__ = ["WEIGHT_NORMALIZATIONS", "weight_normalization"]

WEIGHT_NORMALIZATIONS = ("none", "weight", "spectral")
Layer = TypeVar("Layer", bound=nn.Module)


def weight_normalization(module: Layer, name: str) -> Layer:
    """Normalize the `weight` of a layer, the same one during a whole solve.

    Parameters
    ----------
    module : Module
        Linear or convolutional; changed in place.
    name : {"none", "weight", "spectral"}
        "weight": w = g v / ||v|| with a length for each output. "spectral": w = v / sigma with the
        largest singular value, by power iteration.

    Returns
    -------
    Module
        The one given.

    Raises
    ------
    ValueError
        For another name.
    TypeError
        If the module has no `weight` of two axes or more.

    Notes
    -----
    These are torch's parametrizations, names in the state_dict included, with two differences. In
    a solve the weight is computed once (see `one_solve`). And in training the power iteration
    takes its step once for each change of the weight, such as a step of an optimizer, not at each
    call: two solves of the same batch agree exactly, and the backward pass sees the weights of the
    forward one. Two sums of the weight tell a change, since fused optimizers leave no other trace;
    on an accelerator this waits for the device, once a solve. In torch.func and in compiled
    functions it stays. A checkpoint belongs around a solve: inside a right-hand side, where only
    the first of its regions would compute the weight, torch refuses it.

    Examples
    --------
    >>> import torch
    >>> layer = weight_normalization(torch.nn.Linear(3, 4), "spectral")
    >>> torch.equal(layer(torch.ones(3)), layer(torch.ones(3)))
    True
    """
    if name not in WEIGHT_NORMALIZATIONS:
        known = ", ".join(WEIGHT_NORMALIZATIONS)
        raise ValueError(f"`name` must be one of {known}, got {name!r}")
    if name == "none":
        return module
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise TypeError(
            f"{type(module).__name__} has no `weight` of two axes or more to be normalized; give a "
            "linear or convolutional layer"
        )
    if name == "weight":
        parametrizations.weight_norm(module)
    else:
        parametrizations.spectral_norm(module)
    parametrized: Any = module.parametrizations
    parametrized.weight.__class__ = _Frozen
    if name == "spectral":
        parametrized.weight.seen = _sums(weight)  # torch has just iterated
    return module


class _Frozen(ParametrizationList):
    """Torch's list of parametrizations, evaluated once a solve; powers once for each weight."""

    seen: list[float] | None = None  # of powers only

    def forward(self) -> Tensor:
        """The weight."""
        if inside_transform():
            self[0].training = False
            return super().forward()
        tensors = tuple(self.parameters(recurse=False))
        solve = current_solve()
        self[0].training = False
        if self.training and self.seen is not None and (solve is None or solve.records):
            self._iterate_if_changed(tensors[-1], solve)
        return super().forward() if solve is None else solve.once(self, tensors, super().forward)

    def _iterate_if_changed(self, weight: Tensor, solve: one_solve | None) -> None:
        if solve is not None and (id(self), "looked at") in solve.computed:
            return
        sums = _sums(weight)
        self[0].training, self.seen = self.seen != sums, sums
        if solve is not None:
            solve.computed[id(self), "looked at"] = self


def _sums(weight: Tensor) -> list[float]:
    """Others after each change of the values."""
    if weight.device.type == "meta":
        return []
    with torch.no_grad():
        return [float(weight.sum()), float(torch.linalg.vector_norm(weight))]
