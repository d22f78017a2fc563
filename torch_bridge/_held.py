"""What a function may read: the tensors and Modules that it holds, closes over or names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from torch import Tensor, nn

from torch_bridge._right_hand_side_state import OWN

__all__ = ["Held", "held_by", "named_by"]

DEEPEST = 4  # functions in closures of functions, containers in containers
LONGEST = 1000  # containers: what is longer is a record, which is not looked through


class Held(NamedTuple):
    """Tensors by name, and Modules, each once."""

    tensors: list[tuple[str, Tensor]]
    modules: list[nn.Module]


def held_by(func: Any, adjoint_params: Sequence[Tensor], /) -> Held:
    """What a function may read, and its parameters.

    These are parameters, buffers and attributes of Modules and of other objects, what functions
    close over, and the globals that they name, also in lists, tuples and dictionaries of at most
    1000 entries.
    """
    found, seen = Held([], []), set[int]()
    _add(found, func, "", 0, seen)
    for k, x in enumerate(adjoint_params):
        _add(found, x, f"adjoint_params.{k}", 0, seen)
    return found


def _add(found: Held, value: Any, name: str, depth: int, seen: set[int]) -> None:
    if id(value) in seen or depth > DEEPEST:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        found.tensors.append((name, value))
        return
    if isinstance(value, nn.Module):
        found.modules.append(value)
    for key, x in _inside(value):
        below = depth if isinstance(x, nn.Module) else depth + 1
        _add(found, x, f"{name}.{key}" if name and key else name or key, below, seen)


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    """What a value refers to, with names."""
    if isinstance(value, FunctionType):
        found: Iterable[tuple[str, Any]] = named_by(value)
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


def named_by(function: FunctionType) -> list[tuple[str, Any]]:
    """What a function's code names outside of it, as far as it is bound, and its defaults."""
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
