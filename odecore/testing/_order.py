"""Measure the order of a stepper, with an interval for the slope, and name the trees that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log2, sqrt
from typing import Any

import numpy as np

from odecore.testing._problems import PROBLEMS, InitialValueProblem
from odecore.testing._trees import tree_residuals

__all__ = ["OrderReport", "assert_order", "measure_order"]

Step = Callable[[Callable[[Any, Any], Any], float, Any, float], Any]

# Two-sided 99 % quantiles of Student's t with 1, 2, ... degrees of freedom.
_STUDENT = (63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17)
_KEPT = 6  # finest resolved step sizes that enter the fit


@dataclass(frozen=True)
class OrderReport:
    """The observed order on one problem.

    Parameters
    ----------
    problem : str
    order : float
        Slope of log2(error) over log2(h), by least squares over the points that count.
    interval : (float, float)
        99 % confidence interval of the slope.
    steps, errors : tuples
        Numbers of steps and relative errors at the end.
    used : (int, int)
        The points steps[i:j] that count: before the errors reach rounding.
    """

    problem: str
    order: float
    interval: tuple[float, float]
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    used: tuple[int, int]

    def __str__(self) -> str:
        lines = [
            f"{self.problem}: observed order {self.order:.3f}, 99 % interval "
            f"[{self.interval[0]:.3f}, {self.interval[1]:.3f}]",
            "   steps        error    slope",
        ]
        for k, (n, e) in enumerate(zip(self.steps, self.errors, strict=True)):
            slope = ""
            if k and 0 < e < inf and 0 < self.errors[k - 1] < inf:
                slope = f"{log2(self.errors[k - 1] / e) / log2(n / self.steps[k - 1]):8.3f}"
            mark = "" if self.used[0] <= k < self.used[1] else "  (not used)"
            lines.append(f"{n:8d} {e:12.3e} {slope}{mark}")
        return "\n".join(lines)


def measure_order(
    step: Step,
    /,
    problem: InitialValueProblem = PROBLEMS[1],
    *,
    coarsest: int = 2,
    levels: int = 14,
) -> OrderReport:
    """Observe the order of convergence on one problem with an exact solution.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h.
    problem : InitialValueProblem, optional
    coarsest : int, optional
        Number of steps of the coarsest run; each next one has half as many more.
    levels : int, optional
        Number of runs, at least 3.

    Returns
    -------
    OrderReport
        Runs with an error above 10 % do not count, and counting stops where the error comes near
        rounding, or stops decreasing (a plateau); of the others the finest six enter the fit.

    Raises
    ------
    ValueError
        If fewer than three runs are left to count.
    """
    if levels < 3 or coarsest < 1:
        raise ValueError(f"need `levels` >= 3 and `coarsest` >= 1, got {levels} and {coarsest}")
    t0, t1 = problem.t_span
    expected = np.asarray(problem.exact(t1))
    scale = float(np.abs(expected).max())
    steps: list[int] = []
    errors: list[float] = []
    start = good = 0
    for level in range(levels):
        n = round(coarsest * 1.5**level)
        y, h = problem.y0, (t1 - t0) / n
        with np.errstate(all="ignore"):  # a run that blows up is seen below
            for k in range(n):
                y = step(problem.f, t0 + k * h, y, h)
        final = np.asarray(y)
        eps = float(np.finfo(final.dtype if final.dtype.kind == "f" else np.float64).eps)
        error = float(np.abs(final - expected).max()) / scale
        error = error if isfinite(error) else inf
        plateau = start < good and error > errors[-1] / 1.1
        steps.append(n)
        errors.append(error)
        if error < 50 * eps * sqrt(n):
            if len(errors) > 1 and good < len(errors) - 1:
                break
            continue  # once may be chance: errors change sign
        if plateau and good - start >= 3:
            break
        if plateau or error > 0.1 or good < len(errors) - 1:
            start = len(errors) - (error <= 0.1)
        good = len(errors)
    first = max(start, good - _KEPT)
    if good - first < 3:
        raise ValueError(
            f"{problem.name}: only {good - first} runs lie between 10 % error and rounding (errors "
            f"{', '.join(f'{e:.1e}' for e in errors)}); change `coarsest` or raise `levels`"
        )
    x, z = -np.log2(steps[first:good]), np.log2(errors[first:good])
    slope, intercept = np.polyfit(x, z, 1)
    rest = z - slope * x - intercept
    freedom = good - first - 2
    deviation = sqrt(float(rest @ rest) / freedom / float(((x - x.mean()) ** 2).sum()))
    half = _STUDENT[freedom - 1] * deviation
    return OrderReport(
        problem.name,
        float(slope),
        (float(slope) - half, float(slope) + half),
        tuple(steps),
        tuple(errors),
        (first, good),
    )


def assert_order(
    step: Step,
    order: int,
    /,
    *,
    problems: Sequence[InitialValueProblem] = PROBLEMS,
    exactly: bool = True,
    slack: float = 0.25,
    runge_kutta: bool = True,
    **options: Any,
) -> tuple[OrderReport, ...]:
    """Assert that a stepper converges with a given order on nonlinear non-autonomous problems.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h; y is a NumPy array.
    order : int
        The claimed order p.
    problems : sequence of InitialValueProblem, optional
    exactly : bool, optional
        Fail too if the order is higher: a claim that is too modest. For a Runge-Kutta step that is
        decided by its conditions of order p + 1, otherwise by slopes above p + 1/2.
    slack : float, optional
        How far the observed slope may be below p where its confidence interval excludes p: slopes
        are p only in the limit.
    runge_kutta : bool, optional
        Decide all order conditions from one step too (`tree_residuals`), to rounding: sharper than
        any slope, and failures are named by trees. Set it False for a step that is none, such as
        an exponential one.
    **options
        Passed to `measure_order`.

    Returns
    -------
    tuple of OrderReport

    Raises
    ------
    AssertionError
        With the table of errors and the trees whose conditions fail.
    ValueError
        As `measure_order`.

    Examples
    --------
    >>> def heun(f, t, y, h):
    ...     k = f(t, y)
    ...     return y + h / 2 * (k + f(t + h, y + h * k))
    >>> reports = assert_order(heun, 2)
    >>> assert_order(heun, 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: order 3 is claimed, but the conditions of these trees fail: [[•]] ...
    """
    if order < 1:
        raise ValueError(f"`order` must be at least 1, got {order}")
    complaints = []
    if runge_kutta:
        # Rounding: each weight is a sum of products of coefficients of moderate size.
        found = tree_residuals(step, order + 1)
        bad = {tree: r for tree, r in found.items() if abs(r) > 1e-11}
        named = [f"{tree} (residual {r:.3g})" for tree, r in bad.items() if tree.order <= order]
        if named:
            complaints.append(f"the conditions of these trees fail: {', '.join(named)}")
        if exactly and not bad:
            complaints.append(f"all conditions of order {order + 1} hold too")
    reports = [measure_order(step, problem, **options) for problem in problems]
    for report in reports:
        if report.order < order - slack and report.interval[1] < order:
            complaints.append(f"{report.problem} shows {report.order:.2f}")
    if exactly and not runge_kutta and all(r.order > order + 0.5 for r in reports):
        complaints.append(f"all problems show more, {min(r.order for r in reports):.2f} at least")
    if complaints:
        tables = "\n".join(map(str, reports))
        raise AssertionError(f"order {order} is claimed, but {'; '.join(complaints)}\n{tables}")
    return tuple(reports)
