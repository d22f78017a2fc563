"""What is known of a user's function that is compiled: what it changes, and what was tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules import module

from torch_bridge._held import held_by, named_by

__all__ = ["History", "history_of"]

HOOKS_OF_ALL = (
    module._global_forward_pre_hooks,
    module._global_forward_hooks,
    module._global_backward_pre_hooks,
    module._global_backward_hooks,
)


@dataclass
class History:
    """What is known of a user's function: how often what of it was compiled, and what can not be.

    What is refused is for all norms of errors, or with the code of a user's norm, which may be why.
    `passes` is what its collocated adjoint needs at least; infinite where it is given up. `numbers`
    are those it had before the first solve, with which nothing is compiled where they change, and
    `hooks` those of its modules in this solve.
    """

    compiled: Counter[Any] = field(default_factory=Counter)
    refused: set[Any] = field(default_factory=set)
    passes: float = 0
    numbers: dict[str, Any] | None = None
    counts: bool = False
    hooks: tuple[int, ...] = ()

    def begin(self, func: Any) -> None:
        """Look at the function before a solve."""
        self.numbers = None if self.compiled else _numbers(func)
        self.hooks = _hooks(func)

    def refuses(self, function: Any, norm: Any) -> bool:
        """Whether this was refused, with any norm or one of the same code."""
        return not self.refused.isdisjoint((function, _with_norm(function, norm)))

    def refuse(self, function: Any, norm: Any) -> None:
        """Remember that this can not be compiled, with such a norm if it is the user's."""
        self.refused.add(_with_norm(function, norm))

    def changed(self, func: Any) -> str | None:
        """A number or list of its own that the function has changed since, by name."""
        if self.numbers is None:
            return None
        now = _numbers(func)
        names = (name for name, value in self.numbers.items() if now.get(name) != value)
        return next(names, None)


_histories: WeakKeyDictionary[Any, History] = WeakKeyDictionary()


def history_of(func: Any) -> History:
    """Of a function, of a method's function, or, where neither can be a key, of its class."""
    key = func.__func__ if isinstance(func, MethodType) else func
    try:
        found = _histories.get(key)
    except TypeError:  # not hashable, as many dataclasses, or without weak references
        key = type(func)
        found = _histories.get(key)
    if found is None:
        found = _histories[key] = History()
    return found


def _with_norm(function: Any, norm: Any) -> Any:
    """A key of both, the same for norms that are made anew at each solve."""
    code = getattr(getattr(norm, "__func__", norm), "__code__", type(norm))
    return function if norm is None else (function, code)


def _numbers(func: Any) -> dict[str, Any]:
    """What a function may count with, or keep a record in: numbers, and lists by their length and
    first entry, that are attributes of it and of modules in it, or that its code names.
    """
    owner = getattr(func, "__self__", func)
    parts = owner.named_modules() if isinstance(owner, nn.Module) else [("", owner)]
    named = [(name, getattr(part, "__dict__", {})) for name, part in parts]
    if isinstance(func, FunctionType):
        named.append(("", dict(named_by(func))))
    return {
        f"{name}.{key}".lstrip("."): _count(value)
        for name, values in named
        for key, value in values.items()
        if type(value) in (int, float, list)
    }


def _count(value: Any) -> Any:
    if type(value) is not list:
        return value
    return len(value), value[0] if value and type(value[0]) in (int, float) else None


def _hooks(func: Any) -> tuple[int, ...]:
    """Numbers, given by torch, of the hooks of modules that a function may call."""
    owner = getattr(func, "__self__", func)
    modules = owner.modules() if isinstance(owner, nn.Module) else held_by(func, ()).modules
    own = (
        (x._forward_pre_hooks, x._forward_hooks, x._backward_pre_hooks, x._backward_hooks)
        for x in modules
    )
    return tuple(number for hooks in chain(HOOKS_OF_ALL, *own) for number in hooks)
