"""Dense output: the state anywhere inside accepted steps, never outside."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from odecore._array import as_float64, combiner, namespace
from odecore._recording import records
from odecore.errors import NewtonFailedError
from odecore.solve._explicit_step import Attempt, checked_stage
from odecore.solve._reuse import unchecked
from odecore.solve._tracing import explaining_reads
from odecore.solve._weighted_sums import weighted_sums
from odecore.tableaux import ContinuousExtension

__all__ = ["Again", "DenseOutput", "DenseStep", "UnsolvedInsideError", "polynomial", "unchanged"]

Field = Callable[[Any, Any], Any]


class UnsolvedInsideError(NewtonFailedError):
    """The step to a time inside an accepted step could not be made."""


class DenseStep:
    """The solution in one step, used up to `end`, where an event may have cut it.

    Parameters
    ----------
    t, t_new : float
        The step, in the direction of integration.
    y, y_new : array
        States at its ends, which are returned as they are.
    inside : callable
        From a time between them to the state.
    """

    def __init__(
        self, t: float, t_new: float, y: Any, y_new: Any, inside: Callable[[float], Any]
    ) -> None:
        self.t, self.t_new, self.end, self.y, self.y_new = t, t_new, t_new, y, y_new
        self.inside = inside

    @property
    def degree(self) -> int | None:
        """That of the polynomial inside; None where the step is made again."""
        return len(self.inside.extension.weights) if isinstance(self.inside, Polynomial) else None

    @property
    def extra(self) -> tuple[Any, ...]:
        """Values of the right-hand side that only the polynomial has, and that may not be finite
        where both ends are.
        """
        return self.inside.extra if isinstance(self.inside, Polynomial) else ()

    def __call__(self, t: float) -> Any:
        """The state at a time inside the step; ValueError outside, where it is not extrapolated."""
        return self.states([t])[0]

    def states(self, times: Sequence[float]) -> list[Any]:
        """The states at `times`, a sequence of float, under the same rule."""
        between = [t for t in times if t not in (self.t, self.t_new)]
        for t in between:
            if not (self.t < t < self.t_new or self.t_new < t < self.t):
                raise ValueError(
                    f"`t` must lie in the step from {self.t} to {self.t_new}, got {t}: the "
                    "solution is not extrapolated"
                )
        if len(between) > 2 and isinstance(self.inside, Polynomial):  # of fewer it takes longer
            found = iter(self.inside.states(between))
        else:
            found = map(self.inside, between)
        known = {self.t: self.y, self.t_new: self.y_new}
        return [known[t] if t in known else next(found) for t in times]

    def __repr__(self) -> str:
        return f"DenseStep(t={self.t}, t_new={self.t_new}, degree={self.degree})"


@dataclass(frozen=True)
class Polynomial:
    """The polynomial y + h sum_i w_i(theta) v_i of a step from t, called with a time."""

    t: float
    h: float
    y: Any
    basis: tuple[Any, ...]
    extension: ContinuousExtension
    extra: tuple[Any, ...]

    def __call__(self, time: float) -> Any:
        weights = self.extension.at(self.extension.weights, (time - self.t) / self.h)
        return combiner(self.y)(self.y, self.h, weights, self.basis)

    def states(self, times: Sequence[float]) -> list[Any]:
        """Those at several times."""
        theta = (np.array(times) - self.t) / self.h
        weights = self.h * self.extension.rows(self.extension.weights, theta)
        used = np.flatnonzero(weights.any(axis=0)).tolist()
        row = [self.y, *(self.basis[j] for j in used)]
        return weighted_sums([row], [0] * len(times), weights[:, used])


def polynomial(
    fun: Field,
    t: float,
    t_new: float,
    y: Any,
    attempt: Attempt,
    slopes: tuple[Any, Any],
    extension: ContinuousExtension,
) -> Polynomial:
    """The polynomial of an accepted step, with an evaluation for each of its extra stages."""
    h = t_new - t
    basis, extra = [(attempt.y - y) * (1 / h)], []
    if extension.needs_slopes:
        basis += [slopes[0], *attempt.stages, slopes[1]]
        extra.append(slopes[1])
    for theta, weights in extension.extra:
        numbers = extension.at(weights, theta)
        state = combiner(y)(y, h, numbers, basis[: len(numbers)])
        basis.append(checked_stage(fun(t + theta * h, state), y))
        extra.append(basis[-1])
    return Polynomial(t, h, y, tuple(basis), extension, tuple(extra))


@dataclass(frozen=True)
class Again:
    """The accepted step from (t, y) made once more, to the time that it is called with.

    A polynomial through the stages of an implicit method loses the damping that its equations have:
    on a stiff problem it can be wrong by many tolerances between two right ends. A shorter step of
    the same method has its order and its stability, for the price of a step.
    """

    make: Callable[..., Attempt]
    fun: Field
    t: float
    y: Any
    slope: Any
    counts: dict[str, int]

    def __call__(self, time: float) -> Any:
        attempt = self.make(self.fun, self.t, self.y, time - self.t, self.slope, time)
        self.counts["evaluations"] += attempt.evaluations
        self.counts["newton"] += attempt.newton
        if attempt.failure is not None:
            raise UnsolvedInsideError(f"no step of the method from t = {self.t} to {time}", None)
        return attempt.y

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the user's function."""
        fun = unchecked(self.fun)
        return Again, (self.make, fun, self.t, self.y, self.slope, self.counts)


def unchanged(y: Any) -> Any:
    """The states as they are."""
    return y


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
        self, steps: Sequence[DenseStep], convert: Callable[[Any], Any] = unchanged
    ) -> None:
        self._steps = tuple(steps)
        self._convert = convert
        self._sign = 1.0 if steps[0].t_new > steps[0].t else -1.0
        self._ends = [self._sign * step.end for step in steps]

    def __repr__(self) -> str:
        return f"DenseOutput(interval={self.interval}, steps={len(self._steps)})"

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
        TypeError
            For times that can not be read, or are to have gradients.
        NewtonFailedError
            If an implicit step can not be made to a time inside an accepted one.
        """
        if records(t):
            raise TypeError("`t` is read, and gets no gradient: give `t.detach()`")
        with explaining_reads(t):
            times = as_float64(t, "t")
        if times.ndim > 1:
            raise ValueError(f"`t` must be a time or a sequence of times, got shape {times.shape}")
        first, last = sorted(self.interval)
        outside = times[~((times >= first) & (times <= last))].ravel()
        if len(outside):
            raise ValueError(
                f"times must lie in [{first}, {last}], where the solution was computed; got "
                f"{outside[0]}: it is not extrapolated"
            )
        states = self._states(times.ravel().tolist())
        like = self._steps[0].y
        xp = namespace(like)
        if times.ndim == 0:
            return self._convert(xp.stack(states)[0, ...])  # a copy, as ends of steps are kept
        return self._convert(xp.stack(states) if states else xp.stack([like])[:0, ...])

    def _states(self, times: Sequence[float]) -> list[Any]:
        """The states at times in any order, of each step together."""
        step = [bisect_left(self._ends, self._sign * t) for t in times]
        states: list[Any] = [None] * len(times)
        ordered = sorted(range(len(times)), key=step.__getitem__)
        for k, group in groupby(ordered, key=step.__getitem__):
            where = list(group)
            for i, y in zip(where, self._steps[k].states([times[i] for i in where]), strict=True):
                states[i] = y
        return states
