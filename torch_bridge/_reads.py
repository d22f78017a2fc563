"""Whether what a function computes depends on a tensor's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["reads"]

STATISTICS = ("running_mean", "running_var")
LEAVING = ("tolist", "numpy", "__array__", "__dlpack__", "data_ptr")  # without an operation


def reads(compute: Callable[[], Any], tensor: Tensor, /) -> bool:
    """Whether values of the tensor go into what is computed, or to the host.

    What is written into the tensor alone, such as a count, does not read it; nor does a batch
    normalization in training, which moves its statistics only. Each operation's results are taken
    to depend on all its arguments.
    """
    trace = _Trace()
    trace.add(tensor)
    with _Leaving(trace), _Operations(trace):
        found = compute()
    return trace.left or any(trace.has(x) for x in tree_leaves(found))


class _Trace:
    """The storages that depend on the tensor, kept so that no address comes again."""

    def __init__(self) -> None:
        self.storages: dict[int, Any] = {}
        self.left = False  # whether values went to the host

    def add(self, x: Any) -> None:
        if isinstance(x, Tensor):
            storage = x.untyped_storage()
            self.storages[storage._cdata] = storage
        elif isinstance(x, bool | int | float | complex):
            self.left = True

    def has(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.untyped_storage()._cdata in self.storages


class _Operations(TorchDispatchMode):
    def __init__(self, trace: _Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        trace, kwargs = self.trace, kwargs or {}
        given = {a.name: x for a, x in zip(func._schema.arguments, args, strict=False)} | kwargs
        training = given.get("training") or "with_update" in func._schema.name
        read = {k: x for k, x in given.items() if not (training and k in STATISTICS)}
        if func is torch.ops.aten.copy_.default:
            read = {"src": given["src"]}
        depends = any(trace.has(x) for x in tree_leaves(read))
        found = func(*args, **kwargs)
        if depends:
            writes = [
                given.get(a.name)
                for a in func._schema.arguments
                if a.alias_info is not None and a.alias_info.is_write
            ]
            for x in tree_leaves((found, writes)):
                trace.add(x)
        elif func is torch.ops.aten.copy_.default and _is_whole(args[0]):
            trace.storages.pop(args[0].untyped_storage()._cdata, None)
        return found


class _Leaving(TorchFunctionMode):
    def __init__(self, trace: _Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in LEAVING and any(map(self.trace.has, args)):
            self.trace.left = True
        return func(*args, **(kwargs or {}))


def _is_whole(x: Tensor) -> bool:
    return x.numel() * x.element_size() == x.untyped_storage().nbytes()
