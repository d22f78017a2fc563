"""Cotangents in a unit of their own: adjoints are linear in them, and tolerances are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import nan, prod
from typing import Any

from odecore._array import namespace
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import require_like

__all__ = ["checked_cotangents", "in_their_unit", "observing"]


def checked_cotangents(cotangents: Any, outputs: int, y: Any, /) -> list[Any]:
    """Cotangents as a list: an array like the state y for each output time.

    Raises
    ------
    ValueError, TypeError
        If there is not one for each output time, or one is not like the state.
    """
    try:
        given = list(cotangents)
    except TypeError as error:
        raise TypeError(
            f"`cotangents` must be a sequence of arrays, one for each output time, got "
            f"{type(cotangents).__name__}"
        ) from error
    if len(given) != outputs:
        raise ValueError(
            f"`cotangents` must hold one array for each of the {outputs} output times, got "
            f"{len(given)}"
        )
    for k, cotangent in enumerate(given):
        require_like(cotangent, y, f"cotangents[{k}]")
    return given


def in_their_unit(
    solve: Callable[[Sequence[Any], Callable[[Any], Any]], Gradients],
    cotangents: Sequence[Any],
    outputs: int,
    y: Any,
    /,
) -> Gradients:
    """Solve for cotangents in the unit of the largest, and give the gradients in that unit.

    Parameters
    ----------
    solve : callable
        From cotangents, the largest entry of which is 1, and the function that multiplies an array
        by their unit, to their gradients.
    cotangents : sequence of arrays
    outputs : int
        How many there must be: one for each output time.
    y : array
        A state, like which each must be.

    Returns
    -------
    Gradients
        Homogeneous in the cotangents, to rounding, and for powers of two to the bit. All are NaN
        where a cotangent is not finite; only their shapes are solved for then.

    Raises
    ------
    ValueError, TypeError
        If there is not one cotangent for each output time, or one is not like the state.
    """
    cotangents = checked_cotangents(cotangents, outputs, y)
    if not any(prod(c.shape) for c in cotangents):
        return solve(cotangents, lambda x: x)
    xp = namespace(cotangents[0])
    unit = xp.max(xp.stack([xp.max(xp.abs(c)) for c in cotangents]))
    unit = xp.where(unit == 0, xp.ones_like(unit), xp.where(xp.isfinite(unit), unit, nan))

    def whole(x: Any) -> Any:
        real = xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x
        return x * xp.astype(unit, real.dtype)

    scaled = [xp.where(xp.isnan(unit), xp.zeros_like(c), c / unit) for c in cotangents]
    found = solve(scaled, whole)
    return replace(
        found,
        y0=whole(found.y0),
        parameters=tuple(map(whole, found.parameters)),
        times=tuple(map(whole, found.times)),
    )


def observing(options: dict[str, Any], whole: Callable[[Any], Any]) -> dict[str, Any]:
    """Options of `solve_ivp` whose `observe`, if there is one, sees the adjoint as it is."""
    observe = options.get("observe")
    if observe is None:
        return options
    return {**options, "observe": lambda what, t, a, h: observe(what, t, whole(a), h)}
