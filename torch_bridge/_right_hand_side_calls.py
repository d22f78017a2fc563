"""Calls of a right-hand side that leave no trace, and where two of them part."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn

from torch_bridge._dense_parts import dense_parts
from torch_bridge._one_solve import one_solve
from torch_bridge._own_derivatives import unwatched
from torch_bridge._right_hand_side_state import KeptBuffers, keep_attributes
from torch_bridge._time_batch_norm import TimeBatchNorm

__all__ = ["Calls", "deviation"]

ROUNDING = 100, 8  # units of an entry, and of the largest in its row, that two values may differ by
FEW = 4, 2  # in half precision, where a hundred would be most of a value


class Calls:
    """Context in which a right-hand side is called at one t and y, and put back afterwards."""

    def __init__(self, func: Any, t: Any, y: Any) -> None:
        self.func, self.y = func, y
        self.first = y[0] if isinstance(y, tuple) else y
        self.t = t
        self.modules = dict(func.named_modules()) if isinstance(func, nn.Module) else {}

    def __enter__(self) -> Self:
        self.buffers, self.put_back = KeptBuffers(self.modules), keep_attributes(self.modules)
        self.left: list[str] = []  # afterwards: what is not as it was
        with ExitStack() as stack:
            device = self.first.device
            stack.enter_context(self._forked())
            stack.enter_context(torch.inference_mode(False))
            # Gradients also where there are none: autocast keeps the weights that it converts.
            stack.enter_context(torch.enable_grad())
            stack.enter_context(unwatched())
            stack.enter_context(one_solve(records=False))
            dtype = self.first.dtype.to_real()
            self.t = torch.as_tensor(self.t, dtype=dtype, device=device).detach().clone()
            several = isinstance(self.y, tuple)
            given = self.y if several else (self.y,)
            # With a history, as reentrant checkpoints need one to record anything.
            parts = tuple(x.detach().clone().requires_grad_().clone() for x in given)
            self.kept = tuple(x.detach().clone() for x in parts)
            self.y = parts if several else parts[0]
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.left = [*self.buffers.put_back(), *self.put_back()]
        finally:
            self.stack.__exit__(*error)

    @property
    def in_training(self) -> bool:
        """Whether evaluation would be another mode."""
        return any(module.training for module in self.modules.values())

    def value(self, *, training: bool = True) -> Any:
        """The value, in the mode of the function or in evaluation."""
        modes = {module: module.training for module in self.modules.values()}
        try:
            for module in modes:
                if not training and not isinstance(module, TimeBatchNorm):
                    module.training = False
            return self.func(self.t, self.y)
        finally:
            for module, mode in modes.items():
                module.training = mode

    def draws(self) -> bool:
        """Whether calls agree that draw the same random numbers, and no others."""
        self._rewind()
        with self._forked():
            with self._forked():
                first = self.value()
            return deviation(first, self.value()) == 0 < deviation(first, self.value())

    def _rewind(self) -> None:
        """Back to the state of the first call, for what converges changes less at each further."""
        self.buffers.put_back()
        self.put_back()

    def _forked(self) -> AbstractContextManager[None]:
        """Context after which torch's generators are where they were."""
        device = self.first.device
        kind = "xpu" if device.type == "xpu" else "cuda"
        devices = [device.index or 0] if device.type == kind else []
        return torch.random.fork_rng(devices, device_type=kind)

    def changed(self) -> list[tuple[str, str]]:
        """Modules whose buffers are not what they were, with the names of these."""
        found: dict[str, list[str]] = {}
        made = {
            (path, name): None
            for path, module in self.modules.items()
            for name, buffer in module._buffers.items()
            if buffer is not None
        }
        for (path, name), kept in {**made, **self.buffers.kept}.items():
            now = self.modules[path]._buffers.get(name)
            if now is None or kept is None or deviation(now, kept.values) > 0:
                found.setdefault(path, []).append(name)
        parts = self.y if isinstance(self.y, tuple) else (self.y,)
        if any(deviation(*pair) > 0 for pair in zip(parts, self.kept, strict=True)):
            found.setdefault("", []).append("y, in place")
        return [(path, f"a call changes {', '.join(names)}") for path, names in found.items()]

    def parted(self, *, training: bool) -> list[tuple[str, float]]:
        """Modules that got the same input in two calls and gave two values, and how far apart.

        In the second call a module's value is replaced by that of the first, so that each module
        is judged alone.
        """
        known: list[tuple[str, Any, Any]] = []
        found: dict[str, float] = {}
        position = iter(range(0))

        def keep(path: str, given: Any, value: Any) -> None:
            known.append((path, given, value))

        def compare(path: str, given: Any, value: Any) -> Any:
            k = next(position, None)
            if k is None or known[k][0] != path or deviation(known[k][1], given) > 0:
                return None
            size = deviation(known[k][2], value)
            if size > 0:
                found[path] = max(size, found.get(path, 0.0))
            return known[k][2]

        self._rewind()
        self._watched(keep, training=True)
        position = iter(range(len(known)))
        self._watched(compare, training=training)
        return list(found.items())

    def _watched(self, hook: Any, *, training: bool) -> None:
        handles = [
            module.register_forward_hook(
                lambda _, given, value, path=path: hook(path, given, value)
            )
            for path, module in self.modules.items()
        ]
        try:
            self.value(training=training)
        finally:
            for handle in handles:
                handle.remove()


def deviation(one: Any, other: Any) -> float:
    """Largest difference of two entries relative to their size; 0 if rounding explains all.

    Sums of 1,000 terms in any order, in six layers, differ by up to 4 units of the largest entry
    beyond 100 of their own; in half precision by 1.5 beyond 4. Rows are samples.
    """
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return max(map(deviation, one, other), default=0.0)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.device.type == "meta":
        return 0.0
    if _kind(one) != _kind(other):
        return 1.0
    if one.is_nested or one.layout is not torch.strided:
        return deviation(dense_parts(one), dense_parts(other))
    a, b = one.detach(), other.detach()
    if not a.numel() or torch.equal(a, b):
        return 0.0
    exact = not (a.is_floating_point() or a.is_complex())
    eps = 0.0 if exact else torch.finfo(a.dtype).eps
    own, largest = (eps * units for units in (FEW if eps > 1e-4 else ROUNDING))
    kind = torch.complex128 if a.is_complex() else torch.float64
    a, b = (x.to("cpu").to(kind).reshape(len(x) if x.ndim > 1 else 1, -1) for x in (a, b))
    same = (a == b) | (a.isnan() & b.isnan())
    apart = torch.where(same, 0, a - b).abs().nan_to_num(nan=torch.inf)
    size = torch.maximum(a.abs(), b.abs()).nan_to_num(nan=0.0, posinf=0.0)
    differ = apart > own * size + largest * size.amax(1, keepdim=True)
    return float((apart / torch.where(size > 0, size, 1.0))[differ].max()) if differ.any() else 0.0


def _kind(x: Tensor) -> tuple[Any, ...]:
    return x.layout, x.is_nested, None if x.is_nested else x.shape
