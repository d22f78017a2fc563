"""Dense output: the state anywhere inside accepted steps, never outside."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from odecore._array import Combine, namespace
from odecore.solve._explicit_step import Attempt, checked_stage
from odecore.tableaux import ContinuousExtension

__all__ = ["DenseOutput", "DenseStep", "dense_step"]


class DenseStep:
    """The polynomial through one step, used up to `end`, where an event may have cut it.

    Parameters
    ----------
    t, t_new : float
        The step, in the direction of integration.
    y, y_new : array
        States at its ends, which are returned as they are.
    basis : sequence of arrays
    extension : ContinuousExtension
    combine : callable
    """

    def __init__(
        self,
        t: float,
        t_new: float,
        y: Any,
        y_new: Any,
        basis: Sequence[Any],
        extension: ContinuousExtension,
        combine: Combine,
    ) -> None:
        self.t, self.t_new, self.end, self.y, self.y_new = t, t_new, t_new, y, y_new
        self.basis, self.extension, self.combine = basis, extension, combine

    def __call__(self, t: float) -> Any:
        """The state at a time inside the step."""
        if t == self.t_new:
            return self.y_new
        if t == self.t:
            return self.y
        h = self.t_new - self.t
        weights = self.extension.at(self.extension.weights, (t - self.t) / h)
        return self.combine(self.y, h, weights, self.basis)


def dense_step(
    fun: Callable[[Any, Any], Any],
    t: float,
    t_new: float,
    y: Any,
    attempt: Attempt,
    slopes: tuple[Any, Any],
    extension: ContinuousExtension,
    combine: Combine,
) -> DenseStep:
    """Make the polynomial of an accepted step, with an evaluation for each of its extra stages."""
    h = t_new - t
    basis = [(attempt.y - y) * (1 / h)]
    if extension.needs_slopes:
        basis += [slopes[0], *attempt.stages, slopes[1]]
    for theta, weights in extension.extra:
        numbers = extension.at(weights, theta)
        state = combine(y, h, numbers, basis[: len(numbers)])
        basis.append(checked_stage(fun(t + theta * h, state), y))
    return DenseStep(t, t_new, y, attempt.y, basis, extension, combine)


class DenseOutput:
    """The solution as a function of time, from `solve_ivp(..., dense=True)`.

    Parameters
    ----------
    steps : sequence of DenseStep
        Neighbouring steps in the order of integration, at least one.
    convert : callable, optional
        From stacked states to what the caller's states look like.
    """

    def __init__(
        self, steps: Sequence[DenseStep], convert: Callable[[Any], Any] = lambda y: y
    ) -> None:
        self._steps = tuple(steps)
        self._convert = convert
        self._sign = 1.0 if steps[0].t_new > steps[0].t else -1.0
        self._ends = [self._sign * step.end for step in steps]

    @property
    def interval(self) -> tuple[float, float]:
        """First and last time, in the direction of integration."""
        return self._steps[0].t, self._steps[-1].end

    def __call__(self, t: Any) -> Any:
        """The state at a time, or, for a sequence of times, states with time first.

        Raises
        ------
        ValueError
            For a time outside the interval: a solution is not extrapolated.
        """
        times = np.asarray(t, dtype=np.float64)
        if times.ndim > 1:
            raise ValueError(f"`t` must be a time or a sequence of times, got shape {times.shape}")
        first, last = sorted(self.interval)
        outside = times[~((times >= first) & (times <= last))].ravel()
        if len(outside):
            raise ValueError(
                f"times must lie in [{first}, {last}], where the solution was computed; got "
                f"{outside[0]}: it is not extrapolated"
            )
        if times.ndim == 0:
            return self._convert(self._at(float(times)))
        states = [self._at(float(x)) for x in times]
        like = self._steps[0].y
        xp = namespace(like)
        return self._convert(xp.stack(states) if states else xp.stack([like])[:0])

    def _at(self, t: float) -> Any:
        return self._steps[bisect_left(self._ends, self._sign * t)](t)
