"""What modules hold, kept and put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge._dense_parts import dense_parts

__all__ = ["OWN", "KeptBuffers", "keep_attributes"]

Back = Callable[[], bool]  # puts contents back; false where they have changed and stay so
OWN = frozenset(vars(nn.Module()))  # torch's attributes: registers, hooks, the mode
DEEPEST = 2  # what containers in attributes hold, but not what containers in those do


def keep_attributes(modules: Mapping[str, nn.Module]) -> Callable[[], list[str]]:
    """Remember the attributes of modules; the result puts them back and names what it can not.

    An attribute that was bound again is bound as before, and a new one is removed. Tensors, torch's
    generators, lists, deques, sets and dictionaries hold again what they held. Parameters changed
    in place, and other objects whose attributes have changed, are named. Of torch's own modules
    numbers alone are looked at: distributed ones keep the rest of their state elsewhere too.
    """
    backs = [
        back
        for path, module in modules.items()
        for back in (_of_parameters(path, module), _of_attributes(path, module))
    ]
    return lambda: [name for back in backs for name in back()]


def _of_parameters(path: str, module: nn.Module) -> Callable[[], list[str]]:
    versions = [
        (joined(path, name), p, p._version)
        for name, p in module._parameters.items()
        if type(p) is nn.Parameter and not p.is_inference()
    ]
    return lambda: [name for name, p, version in versions if p._version != version]


def _of_attributes(path: str, module: nn.Module) -> Callable[[], list[str]]:
    if type(module).__module__.startswith("torch."):
        numbers = {k: v for k, v in vars(module).items() if type(v) in (bool, int, float)}
        return lambda: vars(module).update(numbers) or []
    bound = {name: value for name, value in vars(module).items() if name not in OWN}
    contents = {name: _contents(value) for name, value in bound.items()}

    def put_back() -> list[str]:
        now = vars(module)
        for name in now.keys() - bound.keys() - OWN:
            del now[name]
        now.update(bound)
        return [joined(path, name) for name, back in contents.items() if not back()]

    return put_back


def _contents(value: Any, depth: int = 0) -> Back:
    """Remember what a value holds."""
    if isinstance(value, Tensor):
        return Kept(value).put_back
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state) is not None
    if isinstance(value, list | deque | set | dict | tuple) and depth < DEEPEST:
        return _of_container(value, depth)
    if isinstance(value, nn.Module | type) or not hasattr(value, "__dict__"):
        return lambda: True
    before = dict(vars(value))
    return lambda: all(vars(value).get(name) is kept for name, kept in before.items())


class Kept:
    """The values of a tensor of any layout, remembered."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.values = tensor, tensor.detach().clone()
        self.version = _version(tensor)

    def put_back(self) -> bool:
        """Give the tensor these values; false where it has changed and stays so."""
        if _version(self.tensor) == self.version and _same(self.tensor, self.values):
            return True
        try:
            with torch.no_grad():
                self.tensor.copy_(self.values)
        except RuntimeError:  # entries that share memory, or of another shape now
            return False
        return True


class KeptBuffers:
    """The buffers of modules, which there are and their values, remembered."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.kept = {
            (path, name): Kept(buffer)
            for path, module in modules.items()
            for name, buffer in module._buffers.items()
            if buffer is not None
        }
        self.registered = [
            (module, dict(module._buffers), set(module._non_persistent_buffers_set))
            for module in modules.values()
        ]

    def put_back(self) -> list[str]:
        """Give the modules these buffers, and name those whose values stay changed."""
        for module, buffers, transient in self.registered:
            module._buffers.clear()
            module._buffers.update(buffers)
            module._non_persistent_buffers_set = transient
        return [joined(*place) for place, values in self.kept.items() if not values.put_back()]


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def _same(x: Tensor, kept: Tensor) -> bool:
    """Whether all values are equal, or can not be compared; NaN is equal to NaN."""
    try:
        pairs = list(zip(dense_parts(x), dense_parts(kept), strict=True))
        return all(torch.equal(a, b) or _same_with_nan(a, b) for a, b in pairs)
    except (RuntimeError, TypeError):  # a device without values, a class of the user's own
        return True


def _same_with_nan(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _of_container(value: Any, depth: int) -> Back:
    kept = dict(value) if isinstance(value, dict) else list(value)
    items = _items(kept)
    backs = [_contents(item, depth + 1) for item in items]

    def put_back() -> bool:
        done = [back() for back in backs]
        now = _items(value)
        if len(now) != len(items) or any(a is not b for a, b in zip(now, items, strict=True)):
            try:
                value.clear()
                (value.extend if isinstance(value, list | deque) else value.update)(kept)
            except Exception:  # a class of the user's own, which refuses it
                return False
        return all(done)

    return put_back


def _items(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else list(value)


def joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
