"""What a solver takes for granted of a right-hand side, and whether it holds."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _len_torch_dispatch_stack

from odecore.errors import RightHandSideError, RightHandSideWarning
from torch_bridge._draws import in_backward
from torch_bridge._fields import inside_transform, require_state
from torch_bridge._leaves import hides_leaves, reached
from torch_bridge._numbers import is_number
from torch_bridge._right_hand_side_calls import Calls, deviation
from torch_bridge._signature import check_function

__all__ = ["RightHandSideFinding", "RightHandSideReport", "can_be_checked", "check_rhs"]

LARGEST = sys.float_info.max

REMEDIES = (
    ("BatchNorm", "use GroupNorm, or TimeBatchNorm, which knows the time"),
    ("Dropout", "leave it out of the right-hand side, or draw one mask for the whole solve"),
    ("SpectralNorm", "use torch_bridge.weight_normalization(layer, 'spectral')"),
)
PURE = "make the value a function of t, y and the parameters alone"
SHOWN = 12  # lines of a message


@dataclass(frozen=True)
class RightHandSideFinding:
    """One way in which a right-hand side is not what a solver takes it for.

    Parameters
    ----------
    kind : {"state changed", "outputs differ", "train and eval differ", "dead parameter"}
    where : str
        Path of the module or parameter; empty for the function itself.
    detail, remedy : str
    """

    kind: str
    where: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where or 'the function itself'}: {self.detail}; {self.remedy}"


@dataclass(frozen=True)
class RightHandSideReport:
    """What `check_rhs` found; true if nothing was.

    Parameters
    ----------
    findings : tuple of RightHandSideFinding
    left : tuple of str
        Parameters and attributes that the calls of the check have changed and that could not be put
        back; no finding, for a solve may not mind.
    """

    findings: tuple[RightHandSideFinding, ...]
    left: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        if self:
            lines = [
                "the right-hand side is a function of t, y and its parameters, and uses them all"
            ]
        else:
            lines = ["the right-hand side is not what a solver takes it for:"]
        lines += [f"- {finding}" for finding in self.findings[:SHOWN]]
        more = len(self.findings) - SHOWN
        lines += [f"- and {more} more, in `findings`"] * (more > 0)
        if self.left:
            lines.append(f"changed by the calls of this check, and not put back: {self._left()}")
        return "\n".join(lines)

    def _left(self) -> str:
        more = len(self.left) - SHOWN
        return ", ".join([*self.left[:SHOWN], *([f"and {more} more, in `left`"] * (more > 0))])

    def warn(self, stacklevel: int = 2) -> None:
        """Give one RightHandSideWarning if something was found, or was not put back.

        It points `stacklevel` calls up, as that of `warnings.warn`.
        """
        if self.findings or self.left:
            warnings.warn(str(self), RightHandSideWarning, stacklevel=stacklevel + 1)

    def raise_if_any(self) -> None:
        """Raise RightHandSideError if something was found."""
        if self.findings:
            raise RightHandSideError(str(self))


def check_rhs(func: Any, t: Any, y: Any, /) -> RightHandSideReport:
    """Look whether func(t, y) is a function of t, y and its parameters that uses all of them.

    Parameters
    ----------
    func : Module or callable
        As for `odeint`. Of a callable that is no Module only the values are looked at, and what it
        hides is not put back.
    t : float or 0-d Tensor
    y : Tensor or tuple of Tensor
        A typical state, a whole batch where there are such.

    Returns
    -------
    RightHandSideReport
        "state changed": buffers, or y itself, that a call changes. "outputs differ": modules that
        give two values for one input. "train and eval differ": for a function in training, modules
        whose value depends on the mode (a `TimeBatchNorm` may, and is left in its mode). "dead
        parameter": those that need a gradient and get none at this t and y.

    Raises
    ------
    TypeError
        If func can not be called with two arguments, y holds no tensor of floating-point numbers,
        or the value none of its structure.
    ValueError
        For a value of another shape than y.

    Notes
    -----
    It calls func twice, in training once more in evaluation, and more often only to find where two
    values part. Buffers, attributes of modules (numbers, tensors, torch's generators, lists,
    dictionaries), modes and the random numbers of torch are put back, and what is seen to stay
    changed is named in `left`. State that hides in closures, globals or other libraries is not
    seen. Hooks, also those of all modules, see these calls. Values on the meta device can not be
    compared, so that only dead parameters are found there. Differences of an entry below 100 units
    of its rounding and 8 of that of the largest in its sample (4 and 2 in half precision) are none:
    some kernels add in any order. Behind a reentrant checkpoint parameters are not looked for.

    Examples
    --------
    >>> import torch
    >>> func = torch.nn.BatchNorm1d(3)
    >>> found = check_rhs(lambda t, y: func(y), 0.0, torch.randn(5, 3))  # a lambda hides it
    >>> bool(found)
    True
    """
    check_function(func)
    tensors = y if isinstance(y, tuple) else (y,)
    if not tensors or not all(isinstance(x, Tensor) for x in tensors):
        raise TypeError(f"`y` must be a tensor or a tuple of tensors, got {type(y).__name__}")
    for x in tensors:
        require_state(x, "y")
    good = (
        t.numel() == 1 and not t.is_complex()
        if isinstance(t, Tensor)
        else is_number(t) and abs(t) <= LARGEST
    )
    if not good:
        raise TypeError(f"`t` must be a finite number, or a Tensor of one, got {t!r}")
    with Calls(func, t, y) as calls:
        first = calls.value()
        _require_like(first, y)
        dead, first = _dead(func, first), _without_history(first)
        found = [
            RightHandSideFinding("state changed", where, detail, _remedy(func, where, PURE))
            for where, detail in calls.changed()
        ]
        if (size := deviation(first, calls.value())) > 0:
            found += _differences(func, calls, size, training=True)
        elif calls.in_training and (size := deviation(first, calls.value(training=False))) > 0:
            found += _differences(func, calls, size, training=False)
    return RightHandSideReport((*found, *dead), tuple(calls.left))


def _without_history(value: Any) -> Any:
    """A value whose graph goes before the next call makes another."""
    several = isinstance(value, tuple | list)
    return tuple(part.detach() for part in value) if several else value.detach()


def _require_like(value: Any, y: Any) -> None:
    """Raise an error for a value that has not the structure and the shapes of the state."""
    parts, states = (z if isinstance(z, tuple | list) else (z,) for z in (value, y))
    if isinstance(value, Tensor) != isinstance(y, Tensor) or len(parts) != len(states):
        wanted = "a tensor" if isinstance(y, Tensor) else f"a tuple of {len(states)} tensors"
        raise TypeError(
            f"`func` must return {wanted} like the state, got {type(value).__name__}; make one of "
            "it, say with torch.full_like(y, 1.0) or torch.stack"
        )
    for part, state in zip(parts, states, strict=True):
        if not isinstance(part, Tensor) or part.shape != state.shape:
            found = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise ValueError(
                f"`func` must return the shape of the state, {tuple(state.shape)}, got {found}"
            )


def _differences(
    func: Any, calls: Calls, size: float, *, training: bool
) -> list[RightHandSideFinding]:
    """Where two calls part, or training and evaluation; the function itself, if no module does."""
    kind = "outputs differ" if training else "train and eval differ"
    between = "between two calls" if training else "between training and evaluation"
    otherwise = PURE if training else "make the two modes agree"
    if training and calls.draws():
        between += ", which draw random numbers"
        otherwise = "draw them once for the whole solve, or leave them out"
    return [
        RightHandSideFinding(
            kind,
            where,
            f"its value changes by {100 * change:.3g}% {between}",
            _remedy(func, where, otherwise),
        )
        for where, change in calls.parted(training=training) or [("", size)]
    ]


def _dead(func: Any, value: Any) -> list[RightHandSideFinding]:
    parts = value if isinstance(value, tuple | list) else (value,)
    if not isinstance(func, nn.Module) or hides_leaves(parts):
        return []
    alive = {key for part in parts for key in reached(part)}
    return [
        RightHandSideFinding(
            "dead parameter",
            name,
            "no gradient reaches it",
            "use it in forward, remove it, or give it requires_grad_(False)",
        )
        for name, parameter in func.named_parameters()
        if parameter.requires_grad and parameter.is_leaf and id(parameter) not in alive
    ]


def _remedy(func: Any, where: str, otherwise: str) -> str:
    module = func.get_submodule(where) if isinstance(func, nn.Module) else func
    hooks = module._forward_pre_hooks.values() if isinstance(module, nn.Module) else ()
    kinds = " ".join(type(one).__name__ for one in (module, *hooks))
    return next((remedy for name, remedy in REMEDIES if name in kinds), otherwise)


def _is_torchs(hook: Any) -> bool:
    """Whether a pre-hook is torch's, as those of its older normalizations of weights."""
    return str(getattr(hook, "__module__", "")).startswith("torch.")


def can_be_checked(func: Any, t: Any, y: Any) -> bool:
    """Whether a check may run now, at the first of the times (n,).

    That is if nobody traces, records or watches, the arguments are what a solve takes, and no
    tensor of the module was made in inference mode, which knows no gradients. Not in a backward
    pass, where a checkpoint repeats what went without a check, nor in a replica of DataParallel,
    which would not remember it.
    """
    if inside_transform() or in_backward() or torch.jit.is_tracing() or _len_torch_dispatch_stack():
        return False
    if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
        return False
    if not isinstance(t, Tensor) or t.ndim != 1 or not len(t) or hasattr(func, "_is_replica"):
        return False
    if y.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    modules = func.modules() if isinstance(func, nn.Module) else ()
    if _global_forward_hooks or _global_forward_pre_hooks:
        return False
    return not any(
        module._forward_hooks
        or not all(map(_is_torchs, module._forward_pre_hooks.values()))
        or any(is_lazy(p) or p.is_inference() for p in module.parameters(recurse=False))
        or any(buffer.is_inference() for buffer in module.buffers(recurse=False))
        for module in modules
    )
