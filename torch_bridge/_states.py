"""Tuples of tensors as one vector, and what users attach to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_bridge._fields import require_state
from torch_bridge._numbers import are_numbers

__all__ = ["Layout", "layout_of"]


@dataclass(frozen=True)
class Layout:
    """How the state of a solve is made from the user's: itself, or the entries of a tuple.

    Parameters
    ----------
    shapes : tuple of torch.Size, or None
        Of the tensors of a tuple; None for a single tensor.
    kind : type
        Of the tuple, which may be a named one.
    """

    shapes: tuple[torch.Size, ...] | None
    kind: type = tuple

    def vector(self, y: Any) -> Tensor:
        """The user's state as one tensor."""
        if self.shapes is None:
            return y
        found = tuple(part.shape for part in y) if isinstance(y, tuple | list) else type(y)
        if found != self.shapes and not self._fits(found):
            found = list(map(tuple, found)) if isinstance(found, tuple) else found
            raise ValueError(
                "`func` must return a tuple of tensors with the shapes of the state, "
                f"{[tuple(shape) for shape in self.shapes]}, got {found}"
            )
        return torch.cat([part if part.ndim == 1 else part.reshape(-1) for part in y])

    def _fits(self, found: Any) -> bool:
        """Whether these are the shapes of the state, but for dimensions of one."""
        wanted = list(map(_without_ones, self.shapes or ()))
        return isinstance(found, tuple) and list(map(_without_ones, found)) == wanted

    def state(self, vector: Tensor) -> Any:
        """The user's state from one tensor, whose leading dimensions are kept, as views."""
        if self.shapes is None:
            return vector
        parts, start, leading = [], 0, tuple(vector.shape[:-1])
        for shape in self.shapes:
            size = shape.numel()
            part = vector.narrow(-1, start, size)
            parts.append(part if len(shape) == 1 else part.view(leading + tuple(shape)))
            start += size
        return self.rebuilt(parts)

    def at(self, states: Any, number: int) -> Any:
        """One of the user's states (n, ...) at several times."""
        if self.shapes is None:
            return states[number]
        return self.rebuilt(part[number] for part in states)

    def rebuilt(self, parts: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """A tuple of the user's kind."""
        return tuple(parts) if self.kind is tuple else self.kind(*parts)

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The user's function of (t, y) as one of (t, vector), with the value as it is."""
        if self.shapes is None:
            return function
        return lambda t, y: function(t, self.state(y))

    def field(self, func: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The user's right-hand side on vectors."""
        if self.shapes is None:
            return func
        return lambda t, y: self.vector(func(t, self.state(y)))

    def tolerance(self, value: Any, label: str, like: Tensor) -> Any:
        """A number, or a tensor with one tolerance for each entry; one for each part is spread."""
        if value is None or isinstance(value, str):
            raise TypeError(f"`{label}` must be a number, got {value!r}")
        if self.shapes is None:
            return value
        if isinstance(value, Tensor) and value.shape == (len(self.shapes),):
            value = list(value)
        if not isinstance(value, Sequence):
            return value
        if len(value) != len(self.shapes):
            raise ValueError(
                f"`{label}` must be one number or one for each of the {len(self.shapes)} tensors "
                f"of the state, got {len(value)}"
            )
        if not are_numbers(list(value)):
            raise TypeError(
                f"`{label}` must hold numbers for the tensors of the state, got {value!r}"
            )
        real = like.dtype.to_real()
        parts = [
            torch.as_tensor(v, dtype=real, device=like.device).expand(shape).reshape(-1)
            for v, shape in zip(value, self.shapes, strict=True)
        ]
        return torch.cat(parts)

    def norm(self, norm: Callable[[Any], Any] | None) -> Callable[[Tensor], Any] | None:
        """The user's norm on vectors; by default the largest root mean square of the parts."""
        if self.shapes is None:
            return norm
        if norm is not None:
            return lambda error: norm(self.state(error))
        largest = self.tensor_norm(None)
        return None if largest is None else lambda error: float(largest(error))

    def tensor_norm(self, norm: Callable[[Any], Any] | None) -> Callable[[Tensor], Any] | None:
        """The same norms with values that are tensors; None for the root mean square of all."""
        if norm is not None:
            return lambda error: torch.as_tensor(norm(self.state(error)), device=error.device)
        if self.shapes is None or not any(shape.numel() for shape in self.shapes):
            return None

        def largest(error: Tensor) -> Tensor:
            squares = self.state(error.abs().square())
            return torch.stack([part.mean() for part in squares if part.numel()]).amax().sqrt()

        return largest


def layout_of(y0: Any) -> Layout:
    """The layout of a state.

    Raises
    ------
    TypeError
        Unless the state is a floating-point tensor or a tuple of such on one device.
    """
    if not isinstance(y0, tuple):
        if not isinstance(y0, Tensor):
            raise TypeError(
                f"`y0` must be a tensor or a tuple of tensors, got {type(y0).__name__}; put a list "
                "or a dict into a tuple, which may be a named one"
            )
        require_state(y0)
        return Layout(None)
    if not y0:
        raise TypeError("`y0` must be a tensor or a tuple of tensors, got an empty tuple")
    for part in y0:
        require_state(part)
    devices = {str(part.device) for part in y0}
    if len(devices) > 1:
        raise TypeError(
            f"all tensors of `y0` must be on one device, got {', '.join(sorted(devices))}"
        )
    kind = type(y0) if hasattr(y0, "_fields") else tuple
    return Layout(tuple(part.shape for part in y0), kind)


def _without_ones(shape: Sequence[int]) -> list[int]:
    """(n, 1) for (n,): the trace of a flow comes in either."""
    return [n for n in shape if n != 1]
