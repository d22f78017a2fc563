"""What a function may read: the tensors and Modules that it holds, closes over or names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from torch_bridge._right_hand_side_state import OWN

__all__ = ["held_by"]

DEEPEST = 4  # functions in closures of functions, containers in containers
LONGEST = 1000  # containers: what is longer is a record, which is not looked through


def held_by(
    func: Any, adjoint_params: Sequence[Tensor], /
) -> Iterator[tuple[str, Tensor | nn.Module]]:
    """Names, tensors and Modules that a function may read, and its parameters, each once.

    These are parameters, buffers and attributes of Modules and of other objects, what functions
    close over, and the globals that they name, also in lists, tuples and dictionaries of at most
    1000 entries.
    """
    seen: set[int] = set()
    yield from _held(func, "", 0, seen)
    for k, x in enumerate(adjoint_params):
        yield from _held(x, f"adjoint_params.{k}", 0, seen)


def _held(
    value: Any, name: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, Tensor | nn.Module]]:
    if id(value) in seen or depth > DEEPEST:
        return
    seen.add(id(value))
    if isinstance(value, Tensor | nn.Module):
        yield name, value
    for key, x in _inside(value):
        below = depth if isinstance(x, nn.Module) else depth + 1
        yield from _held(x, f"{name}.{key}" if name and key else name or key, below, seen)


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
