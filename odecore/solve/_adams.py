"""Adams methods: multistep, on any grid of given steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from warnings import warn

import numpy as np

from odecore._array import combiner, constant, is_readable, limits, namespace
from odecore._flags import require_flags
from odecore.errors import UnconvergedCorrectorWarning
from odecore.solve._error_norm import tolerance_scale
from odecore.solve._explicit_step import Attempt, ExplicitStep, checked_stage
from odecore.solve._kinds import require_count
from odecore.tableaux import tableau

__all__ = ["Adams", "AdamsSteps", "adams_weights"]

FEWEST = 3  # slopes from which on the multistep formula is used


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth, or Adams-Bashforth-Moulton where the corrector is iterated.

    Parameters
    ----------
    max_order : int, optional
        At most max_order - 1 slopes are kept, by default 4; between 2 and 12. Up to the third
        step, and with max_order < 4 always, Kutta's 3/8 rule makes the step: solves converge with
        at most that order, 4, without a corrector, and 5 with one.
    implicit : bool, optional
        Whether Moulton's corrector, one order higher, follows the predictor.
    max_iterations : int, optional
        Evaluations of the corrector in a step, at least 1.
    rtol, atol : float or array, optional
        The corrector ends when no entry changes by more than atol + rtol abs(change of y), or than
        rounding. Where it does not converge in time, an `UnconvergedCorrectorWarning` says so, the
        step stands, and the oldest slope is dropped, which lowers the order by one; on an
        accelerator, whose values are not read, there is neither.
    across_jumps : bool, optional
        Keep the slopes from before the times of `jump_at`, at which f is evaluated just beside; by
        default the method begins anew there.

    Raises
    ------
    ValueError, TypeError
        If a number is out of its range; tolerances are checked when the solve begins.

    Notes
    -----
    Hairer, Norsett, Wanner I, section III.1. The weights are those of the actual steps, which need
    not be equal.

    Without a corrector the steps are stable for -h lambda up to 0.55, 0.3, 0.16, 0.088, 0.047,
    0.024, 0.013, 0.0066 and 0.0034 with max_order = 4, ..., 12, lambda < 0 an eigenvalue of df/dy;
    beyond, errors grow from step to step, and the more steps the more. torchdiffeq's max_order is
    12.
    """

    max_order: int = 5
    implicit: bool = False
    max_iterations: int = 4
    rtol: Any = 1e-7
    atol: Any = 1e-9
    across_jumps: bool = False

    def __post_init__(self) -> None:
        require_flags(implicit=self.implicit, across_jumps=self.across_jumps)
        require_count("max_order", self.max_order)
        require_count("max_iterations", self.max_iterations)
        if not 2 <= self.max_order <= 12:
            raise ValueError(f"`max_order` must be between 2 and 12, got {self.max_order}")
        if self.max_iterations < 1:
            raise ValueError(f"`max_iterations` must be at least 1, got {self.max_iterations}")
        object.__setattr__(self, "max_order", int(self.max_order))

    def steps(self, y: Any) -> Callable[..., Attempt]:
        """The function that makes the steps of one solve from `y`, one after another."""
        return AdamsSteps(self, y)


class AdamsSteps:
    """Remembers the slopes of the last steps."""

    def __init__(self, method: Adams, y: Any) -> None:
        self.method = method
        self.combine = combiner(y)
        self.start = ExplicitStep(tableau("three_eighths").coefficients, y)
        self.times: deque[float] = deque(maxlen=method.max_order - 1)
        self.slopes: deque[Any] = deque(maxlen=method.max_order - 1)

    def __call__(
        self, fun: Callable[[Any, Any], Any], t: Any, y: Any, h: Any, first_stage: Any, t_new: Any
    ) -> Attempt:
        """Make the next step."""
        slope = checked_stage(fun(t, y), y) if first_stage is None else first_stage
        self.times.appendleft(t)
        self.slopes.appendleft(slope)
        self.known = tuple(self.times), tuple(self.slopes)
        y_new, evaluations, converged = self.step(fun, t, y, h, t_new, *self.known)
        if not converged:  # of lower order, it is more stable
            self.times.pop()
            self.slopes.pop()
        return Attempt(y_new, None, slope, None, evaluations + (first_stage is None), (slope,))

    def again(self, lasting: bool) -> Callable[..., Attempt]:
        """What repeats the last step, with another end."""
        return _StepAgain(self.method, *self.known)

    def forget(self) -> None:
        """Begin anew: behind a jump, earlier slopes belong to another right-hand side."""
        if not self.method.across_jumps:
            self.times.clear()
            self.slopes.clear()

    def step(
        self, fun: Any, t: Any, y: Any, h: Any, t_new: Any, known: Any, slopes: Any
    ) -> tuple[Any, int, bool]:
        """The state at t_new from the slopes at known times, the last at t; the evaluations, and
        whether the corrector converged.
        """
        if len(slopes) < FEWEST:
            made = self.start(fun, t, y, h, slopes[0], t_new)
            return made.y, made.evaluations, True
        times, evaluations = [(s - t) / h for s in known], 0
        y_new = self.combine(y, h, adams_weights(times), slopes)
        if self.method.implicit:
            first, *rest = adams_weights([1.0, *times])
            base = self.combine(y, h, rest, slopes)
            return self._correct(fun, t_new, y, h, first, base, y_new)
        return y_new, evaluations, True

    def _correct(
        self, fun: Any, t_new: Any, y: Any, h: Any, weight: float, base: Any, guess: Any
    ) -> tuple[Any, int, bool]:
        """Fixed-point iterations of the corrector base + h weight f(t_new, .)."""
        method = self.method
        for count in range(1, method.max_iterations + 1):
            later = self.combine(base, h, [weight], [checked_stage(fun(t_new, guess), y)])
            if is_readable(y) and self._largest(guess, later, y) < 1:
                return later, count, True
            guess = later
        if is_readable(y):
            warn(
                f"the corrector did not converge in {method.max_iterations} iterations at "
                f"t = {t_new}, and the order falls by one: take smaller steps, or an implicit "
                "Runge-Kutta method",
                UnconvergedCorrectorWarning,
                stacklevel=2,
            )
        return guess, method.max_iterations, not is_readable(y)

    def _largest(self, before: Any, after: Any, y: Any) -> float:
        xp = namespace(y)
        before, after, y = constant(before), constant(after), constant(y)
        change = xp.maximum(xp.abs(before - y), xp.abs(after - y))
        scale = tolerance_scale(change, self.method.rtol, self.method.atol)
        rounding = 8 * float(limits(y).eps) * xp.abs(after)
        if 0 in y.shape:
            return 0.0
        return float(xp.max(xp.abs(after - before) / xp.maximum(scale, rounding)))


@dataclass(frozen=True)
class _StepAgain:
    """A step from known slopes, the last at its start, called as the steps are."""

    method: Adams
    times: tuple[Any, ...]
    slopes: tuple[Any, ...]

    def __call__(self, fun: Any, t: Any, y: Any, h: Any, first_stage: Any, t_new: Any) -> Attempt:
        steps = AdamsSteps(self.method, y)
        y_new, evaluations, _ = steps.step(fun, t, y, h, t_new, self.times, self.slopes)
        return Attempt(y_new, None, None, None, evaluations)


def adams_weights(times: Sequence[float], /) -> list[float]:
    """Weights w_j of the slopes at times x_j for the integral from 0 to 1 of their interpolant.

    Each is the integral of a Lagrange polynomial, by a Gauss rule that is exact for it.
    """
    x = np.asarray(times, dtype=np.float64)
    nodes, gauss = np.polynomial.legendre.leggauss(len(x) // 2 + 1)
    nodes = (nodes + 1) / 2
    weights = []
    for j in range(len(x)):
        others = np.delete(x, j)
        polynomial = np.prod((nodes[:, None] - others) / (x[j] - others), axis=1)
        weights.append(float(gauss @ polynomial) / 2)
    return weights
