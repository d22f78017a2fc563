"""Measure the order of a stepper: the slope for small steps, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, inf, isfinite, log2, nan, sqrt
from numbers import Integral
from typing import Any

import numpy as np

from odecore.testing._problems import PROBLEMS, InitialValueProblem
from odecore.testing._step import Step, precision, require_step, state

__all__ = ["LARGE", "MOST_LEVELS", "OrderReport", "measure_order", "observe"]

# Two-sided 99 % quantiles of Student's t with 1, 2, ... degrees of freedom.
_STUDENT = (63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17)
_KEPT = 8  # finest resolved step sizes that enter the fit
_WIDE = 1.5  # of an interval that resolves nothing
MOST_LEVELS, MOST_STEPS = 100, 10**9  # 1.25^100 is 5e9
LARGE = 0.1  # relative error of a run that shows no order yet
_MARGIN = 20.0  # times the rounding error: the error of a run that counts


@dataclass(frozen=True)
class OrderReport:
    """The observed order on one problem.

    Parameters
    ----------
    problem : str
    order : float
        Slope of log2(error) over log2(h) as h tends to zero, by least squares over the points that
        count; nan if these are too few.
    interval : (float, float)
        Contains the 99 % confidence intervals of the slope, with a correction of the logarithm that
        is linear in h and with one that is quadratic.
    steps, errors : tuples
        Numbers of steps and errors at the end, relative to the size of the solution.
    used : (int, int)
        The points steps[i:j] that count: before the errors reach rounding.
    """

    problem: str
    order: float
    interval: tuple[float, float]
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    used: tuple[int, int]

    @property
    def resolved(self) -> bool:
        """Whether the interval is narrower than 1.5, so that it shows something."""
        return self.interval[1] - self.interval[0] < _WIDE

    def __str__(self) -> str:
        lines = [
            f"{self.problem}: observed order {self.order:.3f}, 99 % interval "
            f"[{self.interval[0]:.3f}, {self.interval[1]:.3f}]"
            + ("" if self.resolved else ", not resolved"),
            "   steps        error    slope",
        ]
        for k, (n, e) in enumerate(zip(self.steps, self.errors, strict=True)):
            slope = " " * 8
            if k and 0 < e < inf and 0 < self.errors[k - 1] < inf:
                slope = f"{log2(self.errors[k - 1] / e) / log2(n / self.steps[k - 1]):8.3f}"
            mark = "" if self.used[0] <= k < self.used[1] else "  (not used)"
            lines.append(f"{n:8d} {e:12.3e} {slope}{mark}".rstrip())
        return "\n".join(lines)


def measure_order(
    step: Step,
    /,
    problem: InitialValueProblem = PROBLEMS[1],
    *,
    coarsest: int = 2,
    levels: int = 22,
) -> OrderReport:
    """Observe the order of convergence on one problem with an exact solution.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h.
    problem : InitialValueProblem, optional
    coarsest : int, optional
        Number of steps of the coarsest run, at most 10^9; each next one has a quarter more.
    levels : int, optional
        Number of runs, from 3 to 100.

    Returns
    -------
    OrderReport
        Runs with an error above 10 % do not count, nor those with less than twenty times the
        rounding error, which is measured by a run from an initial value changed in the last
        place; of the others the finest eight enter the fit.

    Raises
    ------
    TypeError
        If `problem` is none, or `step` is not callable.
    ValueError
        If fewer than three runs are left to count, the step returns no state, `levels` is no whole
        number from 3 or `coarsest` none from 1.
    """
    if not isinstance(problem, InitialValueProblem):
        raise TypeError(
            f"`problem` must be one InitialValueProblem, got {type(problem).__name__}; for several "
            "call `measure_order` for each, or `assert_order`"
        )
    report = observe(step, problem, coarsest=coarsest, levels=levels)
    counted = report.used[1] - report.used[0]
    if counted < 3:
        raise ValueError(
            f"{problem.name}: only {counted} runs lie between 10 % error and rounding (errors "
            f"{', '.join(f'{e:.1e}' for e in report.errors)}); change `coarsest` or raise `levels`"
        )
    return report


def observe(
    step: Step, problem: InitialValueProblem, *, coarsest: int = 2, levels: int = 22
) -> OrderReport:
    """Do as `measure_order`, with order nan where the runs that count are too few."""
    require_step(step)
    counts = all(isinstance(n, Integral) for n in (levels, coarsest))
    if not counts or not 3 <= levels <= MOST_LEVELS or not 1 <= coarsest <= MOST_STEPS:
        raise ValueError(
            f"`levels` must be a whole number from 3 to {MOST_LEVELS}, and `coarsest` from 1 to "
            f"{MOST_STEPS}, got {levels!r} and {coarsest!r}"
        )
    t0, t1 = problem.t_span
    expected = np.asarray(problem.exact(t1))
    size = max(_norm(problem.exact(t)) for t in (t0, (t0 + t1) / 2, t1)) or 1.0
    steps: list[int] = []
    errors: list[float] = []
    start = good = 0  # the runs that count
    rounding = 0.0
    for level in range(levels):
        n = int(coarsest) if not level else max(steps[-1] + 1, round(1.25 * steps[-1]))
        final = _run(step, problem, n)
        with np.errstate(all="ignore"):  # a run that blows up has an infinite error
            error = _norm(final - expected) / size
        error = error if isfinite(error) else inf
        steps.append(n)
        errors.append(error)
        if error > LARGE:
            start = good = level + 1
            continue
        eps = precision(final)
        if error < 1e9 * eps:
            spread = _norm(_run(step, problem, n, 1 + 4 * eps) - final) / size
            rounding = max(rounding, eps, spread)
        if error > _MARGIN * rounding and good == level:
            good = level + 1
        elif level >= good + 2:
            break
    used = (max(start, good - _KEPT), good)
    order, interval = _slope(steps[slice(*used)], errors[slice(*used)])
    return OrderReport(problem.name, order, interval, tuple(steps), tuple(errors), used)


def _norm(x: Any) -> float:
    """The length of a vector; no square overflows or vanishes."""
    return hypot(*np.abs(x).ravel().tolist())


def _run(step: Step, problem: InitialValueProblem, n: int, factor: float = 1.0) -> Any:
    t0, t1 = problem.t_span
    y, h = np.asarray(problem.y0) * factor, (t1 - t0) / n
    shape, numbers = y.shape, "complex" if y.dtype.kind == "c" else "real"
    with np.errstate(all="ignore"):
        for k in range(n):
            y = state(step(problem.f, t0 + k * h, y, h), shape, numbers)
    return y


def _slope(steps: list[int], errors: list[float]) -> tuple[float, tuple[float, float]]:
    """Fit log2(error) = a + order log2(h) + polynomial in h; the interval contains those of all."""
    points = len(steps)
    if points < 3:
        return nan, (-inf, inf)
    x, z = -np.log2(steps), np.log2(errors)
    h = steps[0] / np.array(steps)
    order, low, high = nan, inf, -inf
    for degree in [d for d in (1, 2) if points - d > 2] or [0]:
        matrix = np.stack([x, *(h**k for k in range(degree + 1))], axis=1)
        fitted = np.linalg.lstsq(matrix, z, rcond=None)[0]
        rest = z - matrix @ fitted
        freedom = points - degree - 2
        variance = max(float(rest @ rest) / freedom, 1e-8)
        deviation = sqrt(variance * float(np.linalg.inv(matrix.T @ matrix)[0, 0]))
        order, half = float(fitted[0]), _STUDENT[freedom - 1] * deviation
        low, high = min(low, order - half), max(high, order + half)
    return order, (low, high)
