"""Vector-Jacobian products of a torch field, which lose no gradient in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Products"]


class Products:
    """Vector-Jacobian products of a field by autograd, looking for gradients that would be lost."""

    def __init__(self, field: Callable[[Any, Any], Any], parameters: Sequence[Tensor]) -> None:
        self.field = field
        self.tensors = tuple(parameters)
        self.checked = False
        self.unlisted: dict[int, Tensor] = {}

    def state(self, t: Any, y: Tensor, a: Tensor) -> Tensor:
        """(df/dy)^T a."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            value = self.field(t, y)
            if not (self.checked and self.tensors):
                # Then at the nodes only, by `parameters`; without those here, every time.
                self._refuse_unlisted(value, (y, *self.tensors))
                self.checked = True
            return _pull_back(value, (y,), a)[0]

    def parameters(self, t: Any, y: Tensor, a: Tensor) -> tuple[Tensor, ...]:
        """(df/dtheta)^T a for each parameter."""
        with torch.enable_grad():
            value = self.field(t, y.detach())
            self._refuse_unlisted(value, self.tensors)
            return _pull_back(value, self.tensors, a)

    def _refuse_unlisted(self, value: Tensor, listed: Sequence[Tensor]) -> None:
        """Raise ValueError if the value depends on a leaf that would silently get no gradient.

        Leaves that `func` makes itself, to differentiate inside, are others at each call.
        """
        found = _unlisted(value, listed)
        lost = [leaf for key, leaf in found.items() if key in self.unlisted]
        if lost:
            raise ValueError(
                f"`func` uses a tensor of shape {tuple(lost[0].shape)} that requires a gradient "
                "and is not among `adjoint_params`, so its gradient would be lost; add it, or "
                "detach it"
            )
        self.unlisted = found


def _pull_back(value: Tensor, inputs: tuple[Tensor, ...], a: Tensor) -> tuple[Tensor, ...]:
    if not value.requires_grad:
        return tuple(map(torch.zeros_like, inputs))
    found = torch.autograd.grad(value, inputs, a, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
    )


def _unlisted(value: Tensor, listed: Sequence[Tensor]) -> dict[int, Tensor]:
    """The leaves that a value depends on besides those listed."""
    leaves, found = {id(x) for x in listed}, {}
    stack = [value.grad_fn]
    seen = {x.grad_fn for x in listed if x.grad_fn is not None}
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in leaves:
            found[id(leaf)] = leaf
        stack.extend(parent for parent, _ in node.next_functions)
    return found
