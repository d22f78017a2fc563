"""What of a user's function a backward pass needs: its parameters, and itself as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_bridge._fields import Autocast, as_field
from torch_bridge._parametrized import cached_apart
from torch_bridge._states import Layout

__all__ = ["FieldLater", "give_shapes", "parameters_of", "tensors_of"]


@dataclass(frozen=True)
class FieldLater:
    """The field of a forward pass for a backward pass, which may run without its parameters and
    its autocast state.

    `torch.func.functional_call` has put a module's own parameters back by then.
    """

    func: Callable[[Any, Any], Any]
    layout: Layout
    autocast: Autocast
    kept: dict[str, Tensor]

    @classmethod
    def of(cls, func: Callable[[Any, Any], Any], layout: Layout, autocast: Autocast) -> FieldLater:
        """Remember the tensors of a Module."""
        kept = tensors_of(func) if isinstance(func, nn.Module) else {}
        return cls(func, layout, autocast, kept)

    def __call__(self, like: Tensor) -> Callable[[Any, Any], Any]:
        """The field for states like this one."""
        func = self.func if self.is_own else self._pinned
        return as_field(func, like, self.autocast, self.layout)

    @property
    def is_own(self) -> bool:
        """Whether a Module has the tensors that it had."""
        if not isinstance(self.func, nn.Module):
            return True
        return all(x is self.kept.get(name) for name, x in tensors_of(self.func).items())

    def _pinned(self, t: Tensor, y: Any) -> Any:
        return torch.func.functional_call(self.func, self.kept, (t, y), tie_weights=False)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return {
        f"{place}.{name}" if place else name: x
        for place, part in module.named_modules(remove_duplicate=False)
        for tensors in (part._parameters, part._buffers)
        for name, x in tensors.items()
        if x is not None
    }


def give_shapes(
    func: Any, adjoint_params: Iterable[Tensor] = (), call: Callable[[], Any] | None = None
) -> None:
    """Let lazy tensors of a module, and those listed, get their shapes, by one call of it as in
    torch's dry runs.

    Raises
    ------
    ValueError
        If one has no shape afterwards.
    """
    named = tensors_of(func) if isinstance(func, nn.Module) else {}
    listed = (("adjoint_params", x) for x in adjoint_params)
    lazy = [(name, x) for name, x in (*named.items(), *listed) if is_lazy(x)]
    if lazy and call is not None:
        with torch.no_grad(), cached_apart():
            call()
    for name, x in lazy:
        if is_lazy(x):  # materialized in place otherwise
            raise ValueError(
                f"an adjoint needs the parameters of `func`, and {name!r} has no shape yet: call "
                "its module once before the solve"
            )


def parameters_of(func: Any, adjoint_params: Iterable[Tensor] | None) -> tuple[Tensor, ...]:
    """The tensors that receive a gradient, each once."""
    if adjoint_params is None:
        if not isinstance(func, nn.Module):
            raise ValueError(
                "`func` is not a Module, so its parameters are unknown; give `adjoint_params`, the "
                "tensors that need a gradient, or () for none"
            )
        adjoint_params = func.parameters()
        if getattr(func, "_is_replica", False):  # of DataParallel, without parameters of its own
            parts = (x for module in func.modules() for x in vars(module).values())
            adjoint_params = [x for x in parts if isinstance(x, Tensor)]
    if isinstance(adjoint_params, Tensor) or not isinstance(adjoint_params, Iterable):
        raise TypeError(
            "`adjoint_params` must hold tensors, such as `func.parameters()` or (x,), got "
            f"{type(adjoint_params).__name__}; put a single tensor into a tuple"
        )
    parameters = tuple(adjoint_params)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"`adjoint_params` must hold tensors, got {type(p).__name__}")
    return tuple({id(p): p for p in parameters if p.requires_grad}.values())
