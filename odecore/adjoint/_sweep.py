"""Backwards over the panels, from output time to output time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from odecore._array import namespace
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._panels import FEWEST, Panel
from odecore.adjoint._quadrature import accumulated, estimate, norm_of
from odecore.solve import Statistics

__all__ = ["Crossing", "outputs_of", "product", "sweep"]


class Crossing(NamedTuple):
    """What was found in one panel, given the adjoint at its end.

    Parameters
    ----------
    start : array
        The adjoint at the start of the panel.
    parameters : (2,) tuple of tuples of arrays
        The panel's part of the gradient, and its distance to that from every second node.
    slopes : (2,) tuple of array, or None
        f at the start and at the end of the panel.
    tail, residual : 0-d array or float
    statistics : Statistics
    rough : float, optional
        The norm of the error of the parameters' part, where it may be above the power 3/2 of the
        distance.
    """

    start: Any
    parameters: tuple[tuple[Any, ...], tuple[Any, ...]]
    slopes: tuple[Any, Any] | None
    tail: Any
    residual: Any
    statistics: Statistics
    rough: float = 0.0


def outputs_of(panels: Sequence[Panel]) -> tuple[int, Any]:
    """The number of output times, and a state.

    Raises
    ------
    ValueError
        If there is no panel.
    TypeError
        If there are other things than panels.
    """
    for panel in panels if isinstance(panels, Sequence) else [panels]:
        if not isinstance(panel, Panel):
            raise TypeError(
                "`panels` must be the list of panels, the second of the two things that "
                f"`record_panels` returns, got {type(panel).__name__} in it"
            )
    if not panels:
        raise ValueError("`panels` must hold at least one panel, got none")
    count = 1 + sum(panel.is_last + len(panel.outputs) for panel in panels)
    return count, panels[0].values[0, ...]


def sweep(
    panels: Sequence[Panel], cotangents: Sequence[Any], across: Callable[[Panel, Any], Crossing]
) -> Gradients:
    """Cross the panels from the last to the first, adding the loss's derivatives on the way."""
    waiting = list(cotangents)
    xp = namespace(waiting[-1])
    a = waiting[-1] * 0
    times: list[Any] = []
    found: list[Crossing] = []
    sums, ends = None, None
    left: Iterator[Panel] = reversed(panels)
    while (panel := next(left, None)) is not None:
        cotangent = waiting.pop() if panel.is_last else None
        end = a if cotangent is None else a + cotangent
        inside = waiting[len(waiting) - len(panel.outputs) :]
        slopes: Sequence[Any] = ()
        if not inside:
            crossing = across(panel, end)
        else:
            way = getattr(across, "with_outputs", None)  # where it is worth it
            whole = way(panel, end, inside) if way and len(inside) >= FEWEST else None
            if whole is None:
                left = chain(panel.divided(), left)
                waiting += [] if cotangent is None else [cotangent]
                continue
            crossing, slopes = whole
            del waiting[-len(inside) :]
        ends, sums = crossing.slopes, accumulated(sums, crossing.parameters)
        if ends is not None and cotangent is not None:
            times.append(product(cotangent, ends[1], xp))
        times += [product(w, f, xp) for w, f in zip(inside, slopes, strict=True)][::-1]
        a = crossing.start
        found.append(crossing._replace(start=None, parameters=((), ()), slopes=None))
        del crossing  # of which only numbers are kept
    if ends is not None:
        times.append(-product(a, ends[0], xp))
    assert sums is not None  # there are panels
    total, gap = sums
    quadrature, rough = estimate(total, gap), sum(c.rough for c in found)
    if rough:
        quadrature = max(float(quadrature), rough / (norm_of(total, xp) or 1.0))
    return Gradients(
        y0=a + waiting.pop(),
        parameters=total,
        tail=_largest([c.tail for c in found], xp),
        statistics=sum((c.statistics for c in found[1:]), found[0].statistics),
        times=tuple(reversed(times)),
        quadrature=quadrature,
        residual=_largest([c.residual for c in found], xp),
    )


def product(cotangent: Any, slope: Any, xp: Any) -> Any:
    """The real inner product of two arrays."""
    if xp.isdtype(slope.dtype, "complex floating"):
        return xp.sum(xp.real(cotangent) * xp.real(slope) + xp.imag(cotangent) * xp.imag(slope))
    return xp.sum(cotangent * slope)


def _largest(numbers: Sequence[Any], xp: Any) -> Any:
    arrays = [x for x in numbers if hasattr(x, "shape")]
    return xp.max(xp.stack(arrays)) if arrays else max(numbers)
