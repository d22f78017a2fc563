"""What may not be read, as it is traced, hidden or without values, in words of the solver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from odecore._array import is_readable, is_torch_array

__all__ = ["explaining_reads", "is_tracing", "require_read"]

JAXS = {"ConcretizationTypeError", "TracerArrayConversionError", "TracerIntegerConversionError"}
MAPPED = (
    "torch.vmap can not map over values that are read, and adaptive, implicit and Adams methods "
    "read the state for their steps, events for their time: use `torch_bridge.odeint_adjoint` or "
    'NeuralODE(adjoint="restored"), "discrete" or "reversed", which solve each sample by itself, '
    "or an explicit method with the option `steps`; find events in a loop"
)
DIFFERENTIATED = (
    "torch.func hides values that are read: by the right-hand side, or by GMRES where an implicit "
    "method forms no matrices; leave Newton(linear_solver='krylov') out, take torch.autograd, or "
    "an explicit method, and torch's operations in place of NumPy's"
)


def is_tracing(error: Exception) -> bool:
    """Whether jax raised this where a value was read that it traces."""
    return any(base.__name__ in JAXS for base in type(error).__mro__)


@contextmanager
def explaining_reads(*given: Any) -> Iterator[None]:
    """Say what to do where values may not be read: jax traces, torch.vmap hides, meta has none.

    Parameters
    ----------
    *given : array, or structure of arrays
        What the solve starts from; only where some of it is on the meta device is an error of that
        device one of the solve.

    Raises
    ------
    TypeError
        For an error of jax's that says that a value is traced.
    ValueError
        For errors of torch's that say that a tensor is on the meta device, or that torch.vmap maps
        over, or torch.func differentiates, what is read.
    """
    try:
        yield
    except TypeError as error:
        if not is_tracing(error):
            raise
        raise TypeError(
            "adaptive steps, Newton's method, events and dense output read values, and numbers in "
            "options are read, which jax's transformations (jit, grad, vmap) do not allow, or "
            "`fun` reads them: give `steps` to an explicit method of `solve_ivp`, and no events, "
            "or take `odecore.solve.adaptive_leap`, whose loop jax compiles"
        ) from error
    except RuntimeError as error:
        if str(error).startswith("vmap: It looks like you're"):
            raise ValueError(MAPPED) from error
        if str(error).startswith("Cannot access data pointer of Tensor"):
            raise ValueError(DIFFERENTIATED) from error
        if "meta tensor" not in str(error).lower() or not _is_on_meta(given):
            raise
        raise ValueError(
            "adaptive steps, Newton's method, events and SciPy's solvers read values, or the "
            "right-hand side does, got tensors on the meta device, which have none: give an "
            "explicit method `steps` or `step_size` there, and no events"
        ) from error


def _is_on_meta(given: Any) -> bool:
    if isinstance(given, Mapping):
        given = tuple(given.values())
    if isinstance(given, tuple | list):
        return any(map(_is_on_meta, given))
    return is_torch_array(given) and bool(given.device.type == "meta")


def require_read(label: str, value: Any) -> None:
    """Raise TypeError for an option that is an array which may not be read."""
    if value is not None and not is_readable(value):
        raise TypeError(
            f"`{label}` is read, so that it must be a Python number: it can not be an array on an "
            "accelerator, nor one that jax's transformations trace"
        )
