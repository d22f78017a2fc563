"""Programs of torch's compiler, or none after a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from warnings import catch_warnings, filterwarnings, warn

import torch

from odecore.errors import CompileWarning
from torch_bridge._compile_history import History, history_of
from torch_bridge._inductor import inductor
from torch_bridge._one_solve import own_program

__all__ = ["attempted"]

RECOMPILE_LIMIT = 256  # right-hand sides, methods, dtypes, shapes in one process
FUNCTION_LIMIT = 12  # of these for one right-hand side
LIBRARIES = (
    "odecore", "array_api_compat", "torch_dot_utils_dot__pytree", "torch_dot__higher_order_ops",
)  # fmt: skip
CONSTANT = tuple(f"G['__import_{name}" for name in LIBRARIES)  # names of guards begin so
DIFFERENTIATED = {
    "given_steps": "a chunk of steps",
    "_step": "the step",
}  # by autograd, if it is on
NAMES = {"_leap": "the loop of adaptive steps", "_run": "the loop of given steps", **DIFFERENTIATED}


@cache
def _compiled(function: Callable[..., Any], hooks: tuple[int, ...]) -> Callable[..., Any]:
    """Compiled with these hooks of modules: torch, which does not see that others came later, tells
    programs of different backends apart, as each call of `inductor` gives another.
    """
    return torch.compile(
        function,
        fullgraph=True,
        dynamic=False,
        recompile_limit=RECOMPILE_LIMIT,
        backend=inductor({} if function.__name__ in DIFFERENTIATED else {"cpp_wrapper": True}),
        options={"guard_filter_fn": _compared},
    )


def _compared(guards: Sequence[Any]) -> list[bool]:
    """Which guards are looked at in each call: those on the code of libraries hold for ever."""
    return [not guard.name.startswith(CONSTANT) for guard in guards]


def attempted(
    func: Any, function: Callable[..., Any], *arguments: Any, user_norm: Any = None
) -> Any:
    """The value of the compiled function, or None, after a warning, where it is not compiled."""
    # Both are slow to import.
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._dynamo.utils import counters

    history = history_of(func)
    if history.counts or history.refuses(function, user_norm):
        return None
    if _counts(history, function, func):
        return None
    before = counters["stats"]["unique_graphs"]
    hooks = torch._C._autograd._saved_tensors_hooks_is_enabled()
    try:
        with catch_warnings(), own_program():
            warnings.filters[:0] = _quiet()
            found = _compiled(function, history.hooks)(*arguments)
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        if hooks:  # traces of torch.func that fail leave them switched off
            torch._C._autograd._saved_tensors_hooks_enable()
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {' '.join(lines[:2])}"
        _refuse(history, function, reason, user_norm)
        return None
    history.compiled[function] += counters["stats"]["unique_graphs"] > before
    if _counts(history, function, func):
        return found
    if history.compiled[function] >= FUNCTION_LIMIT:
        _refuse(
            history,
            function,
            f"{FUNCTION_LIMIT} compilations for one function, whose states are of ever new shapes, "
            "or which changes its own attributes, as `self.nfe += 1` does",
        )
    return found


@cache
def _quiet() -> list[Any]:
    """Filters of warnings, made once and not in each call."""
    with catch_warnings():
        # Constant answers are cached here: nothing that a compiler has to warn of.
        filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        filterwarnings("ignore", category=FutureWarning, module="torch")
        filterwarnings("ignore", "The .grad attribute")  # which a compiler reads
        filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)  # torch of itself
        return list(warnings.filters[:4])


def _counts(history: History, function: Any, func: Any) -> bool:
    """Whether the function changed a number or a list of its own in this solve, for each state of
    which it would be compiled anew.
    """
    changed = history.changed(func)
    if changed is not None:
        history.counts = True
        reason = f"it changes `{changed}`, which is its own, for each value of which a compiler "
        reason += "starts anew: take evaluations from `torch_bridge.solve(...).statistics`"
        _refuse(history, function, reason)
    return history.counts


def _refuse(
    history: History, function: Callable[..., Any], reason: str, user_norm: Any = None
) -> None:
    history.refuse(function, user_norm)
    name = NAMES.get(function.__name__, "the adjoint")
    warn(
        f"compile=True: {name} can not be compiled ({reason}); going on without, more slowly",
        CompileWarning,
        stacklevel=3,
    )
