"""Normalized weights that are frozen during a solve."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList

from torch_bridge._fields import inside_transform
from torch_bridge._one_solve import current_solve, in_own_program, one_solve
from torch_bridge._unknown_options import require_choice

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
        "weight": w = g v / ||v|| with a length for each output, each output channel of a
        convolution, transposed ones and groups included. "spectral": w = v / sigma with the largest
        singular value, by power iteration, of the matrix that has these outputs as rows; of a
        transposed convolution with groups, those of all groups beside each other.

    Returns
    -------
    Module
        The one given.

    Raises
    ------
    ValueError
        For another name, and "weight" of a layer whose weight is parametrized already: it goes
        before "spectral", and once.
    TypeError
        If the module has no `weight` of two axes or more.

    Notes
    -----
    These are torch's parametrizations, names in the state_dict included, with `dim=1` for
    transposed convolutions, and lengths of their own for groups of these. There are two
    differences. In a solve the weight is computed once (see `one_solve`). And in training the power
    iteration takes its step once for each change of the weight, such as a step of an optimizer, not
    at each call: two solves of the same batch agree exactly, and the backward pass sees the weights
    of the forward one, also where both normalizations stand on one layer, and after a
    `load_state_dict`. Two sums of the weight tell a change, since fused optimizers leave no other
    trace; on an accelerator this waits for the device, once a solve. A compiler leaves its graph
    here in training. Functions of torch.func have no side effects: there the powers stay, so that a
    training by `torch.func.grad` must call the layer once after each step. A checkpoint belongs
    around a solve: inside a right-hand side, where only the first of its regions would compute the
    weight, torch refuses it.

    Examples
    --------
    >>> import torch
    >>> layer = weight_normalization(torch.nn.Linear(3, 4), "spectral")
    >>> torch.equal(layer(torch.ones(3)), layer(torch.ones(3)))
    True
    """
    require_choice("name", name, WEIGHT_NORMALIZATIONS)
    if name == "none":
        return module
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise TypeError(
            f"{type(module).__name__} has no `weight` of two axes or more to be normalized; give a "
            "linear or convolutional layer"
        )
    if name == "weight" and parametrize.is_parametrized(module, "weight"):
        known: Any = module.parametrizations
        names = ", ".join(type(one).__name__.lstrip("_") for one in known.weight)
        raise ValueError(
            f'`weight` of this {type(module).__name__} has parametrizations, {names}, and "weight" '
            'must be the first of them, once: leave it out, or apply it before "spectral"'
        )
    transposed = getattr(module, "transposed", False)
    if name == "weight" and transposed and module.groups > 1:
        norm = _GroupedWeightNorm(module.groups)
        parametrize.register_parametrization(module, "weight", norm, unsafe=True)
    elif name == "weight":
        parametrizations.weight_norm(module, dim=int(transposed))
    else:
        parametrizations.spectral_norm(module)
    parametrized: Any = module.parametrizations
    parametrized.weight.__class__ = _Frozen
    return module


class _Frozen(ParametrizationList):
    """Torch's list of parametrizations, evaluated once a solve; powers once for each weight."""

    seen: list[float] | None = None  # sums when powers were looked at; None before, and once loaded

    def forward(self) -> Tensor:
        """The weight."""
        powers = [one for one in self if isinstance(one, _SpectralNorm)]
        compiling = torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()
        if powers and self.training and compiling and not in_own_program():
            return self._uncompiled()
        for one in powers:
            one.training = False
        if inside_transform():
            return super().forward()
        tensors = tuple(self.parameters(recurse=False))
        solve = current_solve()
        if powers and self.training and (solve is None or solve.records):
            self._iterate_if_changed(powers, tensors, solve)
        return super().forward() if solve is None else solve.once(self, tensors, super().forward)

    @torch.compiler.disable(
        reason="values of a spectrally normalized weight tell whether it has changed since its "
        "last power iteration; leave fullgraph=True out, or compile in evaluation"
    )
    def _uncompiled(self) -> Tensor:
        return self.forward()

    def _iterate_if_changed(
        self, powers: list[Any], tensors: tuple[Tensor, ...], solve: one_solve | None
    ) -> None:
        if solve is not None and (id(self), "looked at") in solve.computed:
            return
        sums = [number for x in tensors for number in _sums(x)]
        known = self.seen == sums or (self.seen is None and self._iterated(tensors))
        self.seen = sums
        for one in powers:
            one.training = not known
        if solve is not None:
            solve.computed[id(self), "looked at"] = self

    @torch.no_grad()
    def _iterated(self, tensors: tuple[Tensor, ...]) -> bool:
        """Whether the vectors of the powers are those of an iteration with these weights.

        Its last step is v = W^T u / |W^T u|. So a loaded model goes on as the saved one would.
        """
        for one in self:
            if isinstance(one, _SpectralNorm) and tensors[0].device.type != "meta":
                matrix = one._reshape_weight_to_matrix(tensors[0])
                v = normalize(torch.mv(matrix.H, one._u), dim=0, eps=one.eps)
                rounding = 16 * torch.finfo(v.dtype).eps
                if float(torch.linalg.vector_norm(v - one._v)) > rounding:
                    return False
            tensors = (one(*tensors),)
        return True

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.seen = None


class _GroupedWeightNorm(nn.Module):
    """A length for each output of a transposed convolution (inputs, outputs / groups, ...)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, length: Tensor, v: Tensor) -> Tensor:
        w = torch._weight_norm(self._outputs_first(v), length, 0)
        w = w.unflatten(0, (self.groups, -1)).transpose(1, 2)
        return w.flatten(0, 1)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.norm_except_dim(self._outputs_first(weight), 2, 0), weight

    def _outputs_first(self, weight: Tensor) -> Tensor:
        """As of a convolution, (outputs, inputs / groups, ...)."""
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)


def _sums(weight: Tensor) -> list[float]:
    """Others after each change of the values."""
    if weight.device.type == "meta":
        return []
    with torch.no_grad():
        # In half precision a sum of many weights would be the same after most steps.
        wide = torch.promote_types(weight.dtype, torch.float32)
        return [float(weight.sum(dtype=wide)), float(torch.linalg.vector_norm(weight))]
