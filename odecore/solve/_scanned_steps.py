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
from odecore.tableaux import Coefficients

__all__ = ["scanned"]

FEW = 4  # steps that are not worth a loop


def scanned(method: Any, y: Any, count: int, inside: bool) -> Kernels:
    """Many steps of an explicit Runge-Kutta method by ``jax.lax.scan``, where jax traces.

    A right-hand side that reads its time or state, which a loop does not let be read, is left to
    steps one by one.

    Parameters
    ----------
    method : Coefficients or Adams
    y : array
        The first state.
    count : int
        Number of steps that are given.
    inside : bool
        Whether outputs may be inside of steps: then loops end before these, else one has all steps.
    """
    jax: Any = sys.modules.get("jax")
    may_be_traced = is_jax_array(y) or isinstance(y, np.ndarray)  # which turns into what f returns
    explicit = isinstance(method, Coefficients) and method.is_explicit
    if jax is None or count == 0 or not (may_be_traced and explicit):
        return Kernels()

    def run(
        fun: Callable[[Any, Any], Any],
        times: Sequence[Any],
        y: Any,
        slope: Any,
        every: bool = False,
    ) -> tuple[Any, Any, int] | None:
        real = limits(y)
        if real.bits < 32 or not any(map(is_traced, (y, slope, times[0], times[-1]))):
            return None  # times would be rounded more than the state is
        xp, reuses = jax.numpy, method.last_stage_is_first
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

    length = FEW if inside else max(FEW, count - 1)
    return Kernels(run=run, length=length, most=count, records=True)
