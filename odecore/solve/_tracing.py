"""What may not be read, as jax traces it or it has no values, in words of the solver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from odecore._array import is_readable

__all__ = ["explaining_reads", "is_tracing", "require_read"]

JAXS = {"ConcretizationTypeError", "TracerArrayConversionError", "TracerIntegerConversionError"}


def is_tracing(error: Exception) -> bool:
    """Whether jax raised this where a value was read that it traces."""
    return any(base.__name__ in JAXS for base in type(error).__mro__)


@contextmanager
def explaining_reads() -> Iterator[None]:
    """Say what to do where values may not be read: jax traces them, or torch's meta has none."""
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
        if "meta tensor" not in str(error).lower():
            raise
        raise ValueError(
            "adaptive steps, Newton's method and events read values, or the right-hand side does, "
            "got tensors on the meta device, which have none: give an explicit method `steps` or "
            "`step_size` there, and no events"
        ) from error


def require_read(label: str, value: Any) -> None:
    """Raise TypeError for an option that is an array which may not be read."""
    if value is not None and not is_readable(value):
        raise TypeError(
            f"`{label}` is read, so that it must be a Python number: it can not be an array on an "
            "accelerator, nor one that jax's transformations trace"
        )
