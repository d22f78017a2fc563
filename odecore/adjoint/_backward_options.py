"""Options of backward solves: those of `solve_ivp` that leave it a whole solve of the interval."""

from __future__ import annotations

from typing import Any

from odecore._flags import require_flags
from odecore._step_counts import is_count
from odecore._times import is_length, read_unordered
from odecore.solve import solve_ivp

__all__ = ["read_times_inside", "require_backward_options", "require_kernel", "require_positive"]

REFUSED = ("t_eval", "events", "dense", "throw")


def require_backward_options(options: dict[str, Any], **flags: bool) -> None:
    """Refuse what would end a backward solve early, or is no option, whether it is used or not.

    Raises
    ------
    ValueError
        For options of `solve_ivp` that say which part of the interval is solved for, or that a
        failure is none: a gradient would be wrong.
    TypeError
        For others that `solve_ivp` does not have, for such as are read here and of another kind,
        and for flags that are no bools.
    """
    require_flags(**flags)
    known = solve_ivp.__kwdefaults__ or {}
    for name in options:
        if name in REFUSED:
            raise ValueError(
                f"`{name}` can not be given to a backward solve, which goes to the start of the "
                "interval or fails: leave it out"
            )
        if name not in known:
            taken = ", ".join(name for name in known if name not in REFUSED)
            raise TypeError(f"unexpected option {name!r}; a backward solve takes {taken}")
    for name in ("first_step", "min_step", "max_step"):
        if options.get(name) is not None and not is_length(options[name]):
            raise TypeError(f"`{name}` must be a number, got {options[name]!r}")
    read_times_inside(options)
    observe = options.get("observe")
    if observe is not None and not callable(observe):
        raise TypeError(f"`observe` must be callable as observe(what, t, a, h), got {observe!r}")


def read_times_inside(options: dict[str, Any]) -> None:
    """Read `step_at` and `jump_at` of options of `solve_ivp`, as an iterator may be read once."""
    for name in ("step_at", "jump_at"):
        if options.get(name) is not None:
            options[name] = read_unordered(options[name], name)


def require_kernel(kernel: Any, example: str) -> None:
    """Raise TypeError for a compiled part of an adjoint that can not be called."""
    if kernel is not None and not callable(kernel):
        raise TypeError(f"`kernel` must be callable as {example}, got {kernel!r}")


def require_positive(label: str, value: Any, default: str) -> None:
    """Raise ValueError unless this is a positive int, or None, which stands for the default."""
    if value is not None and not is_count(value):
        raise ValueError(
            f"`{label}` must be a positive int, got {value!r}; leave it out for {default}"
        )
