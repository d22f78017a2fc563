"""Given steps where jax traces: one loop, in place of a program that grows with the steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from array_api_compat import is_jax_array

from odecore._array import is_traced, limits
from odecore.solve._explicit_step import explicit_step
from odecore.solve._kernels import Kernels
from odecore.solve._problem import Stop
from odecore.tableaux import Coefficients

__all__ = ["scanned"]

FEW = 4  # steps that are not worth a loop


def scanned(method: Any, y: Any, stops: Sequence[Stop], inside: bool) -> Kernels:
    """Many steps of an explicit Runge-Kutta method by ``jax.lax.scan``, where jax traces.

    A right-hand side that reads its time or state, which a loop does not let be read, is left to
    steps one by one.

    Parameters
    ----------
    method : Coefficients or Adams
    y : array
        The first state.
    stops : sequence of Stop
        The ends of the steps that are given.
    inside : bool
        Whether outputs may be inside of steps: then loops end before these, else one has all steps.
    """
    jax: Any = sys.modules.get("jax")
    may_be_traced = is_jax_array(y) or isinstance(y, np.ndarray)  # which turns into what f returns
    explicit = isinstance(method, Coefficients) and method.is_explicit
    if jax is None or len(stops) == 0 or not (may_be_traced and explicit):
        return Kernels()
    numbers = (y, stops[0].t, stops[-1].t, *method.b, *(a for row in method.A for a in row))
    known = any(map(is_traced, numbers))
    real, xp, reuses = limits(y), jax.numpy, method.last_stage_is_first

    def takes(y: Any, slope: Any) -> bool:
        # In half precision times would be rounded more than in steps one by one.
        return real.bits >= 32 and (known or is_traced(y) or is_traced(slope))

    def run(
        fun: Callable[[Any, Any], Any],
        times: Sequence[Any],
        y: Any,
        slope: Any,
        every: bool = False,
    ) -> tuple[Any, Any, int] | None:
        # Steps are differences of times before these are rounded.
        given = zip(*((t, t_new - t, t_new) for t, t_new in pairwise(times)), strict=True)
        steps = tuple(xp.asarray(list(numbers), dtype=real.dtype) for numbers in given)

        def step(carried: Any, times: Any) -> Any:
            y, *slopes = carried
            t, h, t_new = times
            first = slopes[0] if slopes else None
            made = explicit_step(fun, t, y, h, method, first_stage=first, t_new=t_new)
            return (made.y, *([made.last_stage] if slopes else [])), made.y if every else None

        try:
            carried = (y, *([slope] if reuses else []))
            (last, *slopes), states = jax.lax.scan(step, carried, steps)
        except (TypeError, ValueError, IndexError):  # of what reads, or takes other dtypes of times
            return None
        count = len(times) - 1
        if every:  # split by one operation, whose transpose is one, too
            last = [xp.squeeze(row, axis=0) for row in xp.split(states, count)]
        # A slope that is known, and that the loop has no use for, is dropped by jax's compiler.
        evaluations = count * (len(method.b) - reuses) - (slope is not None and not reuses)
        return last, slopes[0] if slopes else None, evaluations

    length = FEW if inside else max(FEW, len(stops) - 1)
    return Kernels(run=run, length=length, most=len(stops), records=True, takes=takes)
