"""A torch right-hand side as the core sees it: times become tensors, autocast keeps the dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from odecore.solve import refusing_reuse
from torch_bridge._signature import check_function

if TYPE_CHECKING:
    from torch_bridge._states import Layout

__all__ = [
    "Autocast",
    "as_field",
    "constant_times",
    "inside_torch_func",
    "inside_transform",
    "nested_passes",
    "is_batched",
    "is_plain",
    "read_times",
    "require_state",
    "require_times",
    "times_of",
]


@dataclass(frozen=True)
class Autocast:
    """The autocast state of a device, to be entered again where func runs, and only there."""

    device: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def current(cls, device: torch.device) -> Autocast:
        """Read the state; devices without autocast count as switched off."""
        kind = device.type
        if not torch.amp.is_autocast_available(kind):
            return cls("cpu", False, torch.bfloat16)
        return cls(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))

    @property
    def rounding(self) -> float:
        """That of its dtype; zero where it is switched off."""
        return torch.finfo(self.dtype).eps if self.enabled else 0.0

    def entered(self) -> torch.autocast:
        """Context with this state.

        Where gradients are recorded, weights are cast at each call: one copy for the whole solve
        would sum the gradients of all stages in its own few digits.
        """
        cached = torch.is_autocast_cache_enabled() and not torch.is_grad_enabled()
        return torch.autocast(self.device, self.dtype, self.enabled, cached)

    def restored(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the user's, under this state."""
        if not self.enabled:
            return function

        def called(*arguments: Any) -> Any:
            with self.entered():
                return function(*arguments)

        return called

    def suspended(self) -> AbstractContextManager[Any]:
        """Context without this state, which would lower the products of a solver's own."""
        return torch.autocast(self.device, enabled=False) if self.enabled else nullcontext()


def as_field(
    func: Callable[[Tensor, Any], Any],
    like: Tensor,
    autocast: Autocast | None = None,
    layout: Layout | None = None,
) -> Callable[[Any, Any], Any]:
    """Give `func` its time as a 0-d tensor in the state's real dtype and device.

    The time is filled in on the device: no copy, and the host does not wait. `func` runs under the
    given autocast state, by default that of now; its real value returns in the dtype of the state.
    With a layout `func` is on the user's states, and the field on vectors.

    Raises
    ------
    TypeError
        If `func` is not callable; and where it is called, if it does not take two arguments.
    """
    if not callable(func):
        check_function(func)
    user, func = func, func if layout is None else layout.field(func)
    kind, dtype, device = like.dtype, like.dtype.to_real(), like.device
    autocast = autocast or Autocast.current(device)
    transformed = inside_transform()
    watched = func if transformed else refusing_reuse(func, like)
    enabled = autocast.enabled

    def field(t: Any, y: Tensor) -> Any:
        if isinstance(t, Tensor):
            t = t if t.dtype is dtype and t.device == device else t.to(device, dtype)
        else:
            t = torch.scalar_tensor(t, dtype=dtype, device=device)
        called = func if torch.compiler.is_compiling() else watched
        try:
            if enabled:
                with autocast.entered():
                    value = called(t, y)
            else:
                value = called(t, y)
        except TypeError:
            check_function(user)
            raise
        if not isinstance(value, Tensor):
            raise TypeError(
                f"`func` must return a tensor like the state, got {type(value).__name__}; make one "
                "of it, say with torch.full_like(y, 1.0) or torch.stack"
            )
        if value.dtype is not kind and value.is_floating_point():
            return value.to(kind)
        return value

    def as_times(times: list[float]) -> Sequence[Tensor]:
        return torch.tensor(times, dtype=dtype, device="cpu").unbind()

    field.refuses_reuse = True  # type: ignore[attr-defined]
    if device.type == "cpu" and not transformed:  # elsewhere a copy would wait
        field.as_times = as_times  # type: ignore[attr-defined]
    return field


def require_state(y0: Any, label: str = "y0") -> None:
    """Raise TypeError unless y0 is a floating-point tensor."""
    if not isinstance(y0, Tensor):
        raise TypeError(f"`{label}` must be a tensor, got {type(y0).__name__}")
    if not (y0.is_floating_point() or y0.is_complex()):
        raise TypeError(
            f"`{label}` must hold floating-point numbers, got {y0.dtype}; use {label}.float()"
        )


def constant_times(times: Sequence[float]) -> Tensor:
    """Times that stay numbers for `torch.export`, which knows no values of tensors."""
    t = torch.tensor(times, dtype=torch.float64, device="cpu")
    t.constants = list(times)  # type: ignore[attr-defined]
    return t


def require_times(t: Any) -> None:
    """Raise TypeError or ValueError unless t is a row of times, at least one."""
    if not isinstance(t, Tensor) or t.ndim != 1 or not t.is_floating_point():
        found = (
            f"{t.dtype} of shape {tuple(t.shape)}" if isinstance(t, Tensor) else type(t).__name__
        )
        raise TypeError(
            f"`t` must be a one-dimensional floating-point tensor of times, got {found}; make one, "
            "say torch.tensor([0.0, 1.0])"
        )
    if len(t) < 1:
        raise ValueError("`t` must hold at least one time, that of y0; got none")


def times_of(t: Tensor, y0: Tensor, *, needed: bool) -> list[Any]:
    """Output times as floats, or as unread 0-d tensors where that would wait for a device.

    Parameters
    ----------
    t : (n,) Tensor
    y0 : Tensor
        Its device and precision are those of unread times.
    needed : bool
        Whether the values are needed, so that times on an accelerator are read, once.
    """
    if torch.compiler.is_exporting():
        if not hasattr(t, "constants"):
            raise ValueError(
                "torch.export can not read the times `t`, a tensor; export a NeuralODE, whose own "
                "times are constants, called without `t`"
            )
        return list(t.constants)
    if t.device.type == "cpu" or (needed and t.device.type != "meta"):
        return read_times(t)
    return list(t.detach().to(y0.device, y0.dtype.to_real()).unbind())


def read_times(t: Tensor) -> list[float]:
    """Times as floats, below the transformations of torch.func.

    Raises
    ------
    ValueError
        If torch.vmap maps over them.
    """
    t = t.detach()
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        if torch._C._functorch.is_batchedtensor(t):
            raise ValueError(
                "`t` must be the same for all samples under torch.vmap, which maps over it here: "
                "solve for one `t` after another, or rescale time by a parameter of func"
            )
        t = torch._C._functorch.get_unwrapped(t)
    return t.tolist()


def inside_torch_func() -> bool:
    """Whether a transformation of torch.func is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def nested_passes(*kinds: str) -> int:
    """How many passes of torch.func run that differentiate: "Grad" backward, "Jvp" forward."""
    if torch.compiler.is_compiling() or not inside_torch_func():
        return 0
    layers = torch._C._functorch.get_interpreter_stack()
    return sum(layer.key().name in kinds for layer in layers or ())


def is_batched(x: Tensor) -> bool:
    """Whether a tensor stands for several: under torch.func, or where gradients are batched."""
    return inside_torch_func() or torch._C._functorch.is_legacy_batchedtensor(x)


def inside_transform() -> bool:
    """Whether values can not be read because torch.func or torch.compile is tracing."""
    return torch.compiler.is_compiling() or inside_torch_func()


def is_plain(x: Tensor) -> bool:
    """Whether a tensor's values may be read at no cost, and nobody follows what is made of it.

    Autograd in its backward direction does not count as following.
    """
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and x.is_cpu
        and not inside_transform()
        and forward_ad._current_level < 0
        and torch._C._len_torch_dispatch_stack() == 0
    )
