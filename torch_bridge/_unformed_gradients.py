"""Gradients of linear layers' weights D^T X by their factors, where forming them costs more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

__all__ = ["UnformedWeight", "unformed_weights"]

#: What reading a number for the Gramian costs, and a factorization, in multiplications of a matrix
#: product: measured on a CPU, as is the least number of weights for which looking pays.
_READ, _FACTORIZATION, _LEAST = 100, 3, 1 << 16


@dataclass(frozen=True)
class UnformedWeight:
    """The weight of a linear layer, through its output's gradient D (rows, out).

    Parameters
    ----------
    output : GradientEdge
        Where autograd finds D; hooks of the output may change it.
    X : (rows, in) Tensor
        The layer's input: the weight's gradient is D^T X.
    """

    output: GradientEdge
    X: Tensor

    def formed(self, D: Tensor) -> Tensor:
        """The weight's gradient (out, in)."""
        return D.mT @ self.X

    def reduced(self, column: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Matrices (rows, out) with the inner products that the gradients have among themselves.

        With X^T = Q R, D_i^T X and R D_i have the same: X X^T would square what rounding loses.
        """
        R = torch.linalg.qr(self.X.mT, mode="r").R
        return [None if D is None else R @ D for D in column]


def unformed_weights(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], count: int
) -> dict[int, UnformedWeight]:
    """Those parameters, by position, for whose `count` gradients factors are cheaper.

    They are weights of `nn.Linear` alone, used once; with hooks, of the weight or of the layer's
    nodes in the graph, which would see the gradient, or a layer's input that is not simply at hand,
    as under checkpointing, they are formed.
    """
    large = {
        id(p): k
        for k, p in enumerate(parameters)
        if p.ndim == 2 and p.numel() >= _LEAST and _plain(p) and not p._backward_hooks
    }
    if count == 1 or not large:
        return {}
    found: dict[int, UnformedWeight] = {}
    users = _users(outputs)
    for node in list(users):
        k = large.get(id(getattr(node, "variable", None)))
        if k is None or len(users[node]) != 1:
            continue
        transpose = users[node][0][0]
        if transpose.name() == "TBackward0" and len(users.get(transpose, ())) == 1:
            product, place = users[transpose][0]
            layer = _layer(product, place, parameters[k], count)
            if layer is not None and not (_hooked(product) or _hooked(transpose)):
                found[k] = layer
    return found


def _plain(x: Tensor) -> bool:
    real = x.dtype in (torch.float32, torch.float64)
    return real and x.layout is torch.strided and x.device.type == "cpu"


def _users(outputs: Sequence[Tensor]) -> dict[Any, list[tuple[Any, int]]]:
    """For each node of the graph those it passes its result to, and at which place."""
    users: dict[Any, list[tuple[Any, int]]] = {
        x.grad_fn: [] for x in outputs if x.grad_fn is not None
    }
    waiting = list(users)
    while waiting:
        node = waiting.pop()
        for place, (used, _) in enumerate(node.next_functions):
            if used is not None:
                if used not in users:
                    users[used] = []
                    waiting.append(used)
                users[used].append((node, place))
    return users


def _layer(node: Any, place: int, weight: Tensor, count: int) -> UnformedWeight | None:
    """The layer that this node of the graph is, if its factors are cheaper."""
    if node.name() == "AddmmBackward0" and place == 2 and node._saved_alpha == 1:
        name = "mat1"
    elif node.name() == "MmBackward0" and place == 1:
        name = "self"
    else:
        return None
    rows = getattr(node, f"_saved_{name}_sym_sizes")[0]
    saved = getattr(node, f"_raw_saved_{name}")
    if not _pays(count, rows, *weight.shape) or saved.unpack_hook is not None:
        return None
    try:
        X = getattr(node, f"_saved_{name}")
    except RuntimeError:
        return None  # freed or changed in place: the backward pass says so
    if X is None or not _plain(X) or type(X) is not Tensor:
        return None
    return UnformedWeight(GradientEdge(node, 0), X.detach())


def _hooked(node: Any) -> bool:
    """Whether hooks see the gradients of this node, which does not show them.

    Registering one more shows the dictionary of all.
    """
    counts = []
    for register in (node.register_prehook, node.register_hook):
        handle = register(lambda *_: None)
        counts.append(len(handle.hooks_dict_ref()))
        handle.remove()
    return max(counts) > 1


def _pays(count: int, rows: int, outputs: int, inputs: int) -> bool:
    """Whether factors need fewer operations than gradients that are formed, read and combined."""
    if not 0 < rows < inputs:
        return False
    by_factors = rows * (
        _FACTORIZATION * rows * inputs + count * outputs * (rows + _READ) + inputs * outputs
    )
    return by_factors < count * inputs * outputs * (rows + 1.4 * _READ)
