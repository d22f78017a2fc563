"""Tensors that a right-hand side reads, changed in place between the passes: refused."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odecore.errors import ChangedTensorError
from torch_bridge._reads import reads
from torch_bridge._right_hand_side_calls import Calls
from torch_bridge._right_hand_side_state import OWN

__all__ = ["Version", "refuse_changes", "versions_of"]

DEEPEST = 4  # functions in closures of functions, containers in containers
LONGEST = 1000  # containers: what is longer is a record, which is not looked through


class Version(NamedTuple):
    """A tensor, how often it had been changed in place, and what it is called."""

    name: str
    tensor: weakref.ref[Tensor]  # what func no longer holds is not kept for this
    number: int

    def changed(self) -> Tensor | None:
        """The tensor, if it is another now."""
        x = self.tensor()
        return None if x is None or x._version == self.number else x


def versions_of(func: Any, /) -> list[Version]:
    """Of the tensors that a function may read.

    These are parameters, buffers and attributes of Modules and of other objects, what functions
    close over, and the globals that they name, also in lists, tuples and dictionaries of at most
    1000 entries.
    """
    return [
        Version(name, weakref.ref(x), x._version)
        for name, x in _tensors(func, "", 0, set())
        if not x.is_inference()
    ]


def refuse_changes(
    versions: Sequence[Version],
    func: Any,
    field: Callable[[Any, Any], Any],
    t: Any,
    y: Any,
    vector: Callable[[Any], Any],
) -> None:
    """Raise ChangedTensorError if a tensor was changed since and func reads it.

    Parameters
    ----------
    versions : sequence of Version
    func, t, y
        The user's function, and arguments for it, which it is called with only if one has changed.
    field : callable
        `func` as it was, of states as vectors.
    vector : callable
        Makes them.
    """
    for version in versions:
        changed = version.changed()
        if changed is None:
            continue
        now = changed._version  # evaluations may change it further
        with Calls(func, t, y) as calls, torch.compiler.set_stance("force_eager"):
            if not reads(lambda: field(calls.t, vector(calls.y)), changed):
                continue
        raise ChangedTensorError(
            f"a tensor that `func` reads must not be changed in place between the forward and the "
            f"backward pass, or the gradient is that of another function; `{version.name}` was "
            f"(version {now}, expected {version.number}): change it after the backward pass, or "
            "give each solve a tensor of its own"
        )


def _tensors(value: Any, name: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors that are found in a value, each once."""
    if id(value) in seen or depth > DEEPEST:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield name, value
        return
    for key, x in _inside(value):
        below = depth if isinstance(x, nn.Module) else depth + 1
        yield from _tensors(x, f"{name}.{key}" if name and key else name or key, below, seen)


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    """What a value refers to, with names."""
    if isinstance(value, FunctionType):
        found: Iterable[tuple[str, Any]] = _named_by(value)
    elif isinstance(value, MethodType):
        found = [("", value.__self__), ("", value.__func__)]
    elif isinstance(value, partial):
        found = [("", value.func), ("", value.args), ("", value.keywords)]
    elif isinstance(value, nn.Module):
        found = _of_module(value)
    elif isinstance(value, list | tuple | dict) and len(value) > LONGEST:
        found = ()
    elif isinstance(value, list | tuple):
        found = ((str(k), x) for k, x in enumerate(value))
    elif isinstance(value, dict):
        found = ((str(key), x) for key, x in value.items())
    elif callable(value) and hasattr(value, "__dict__") and not isinstance(value, type):
        found = [*vars(value).items(), ("", vars(type(value)).get("__call__"))]
    else:
        found = ()
    return found


def _of_module(module: nn.Module) -> list[tuple[str, Any]]:
    names = (module._parameters, module._buffers, module._modules)
    found = list(chain.from_iterable(d.items() for d in names))
    if not type(module).__module__.startswith("torch.nn"):
        found += [(k, x) for k, x in vars(module).items() if k not in OWN]
        found.append(("", getattr(type(module), "forward", None)))
    return found


def _named_by(function: FunctionType) -> list[tuple[str, Any]]:
    if (function.__module__ or "").startswith("torch."):
        return []
    code, known = function.__code__, function.__globals__
    found = [(name, known[name]) for name in code.co_names if name in known]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:  # not bound yet
            continue
    return found + [("", x) for x in function.__defaults__ or ()]
