"""Assert the order of a stepper: by its order conditions, which name trees, and by its slopes."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite, isnan
from numbers import Real
from typing import Any

import numpy as np

from odecore._flags import require_flags
from odecore.order import RootedTree
from odecore.testing._measure import LARGE, MOST_LEVELS, OrderReport, observe
from odecore.testing._problems import PROBLEMS, InitialValueProblem
from odecore.testing._step import Step, require_step
from odecore.testing._trees import MAX_ORDER, tree_residuals, tree_roundings, valid_order

__all__ = ["assert_order"]

_DECIMALS = 1e-11  # a residual this small is one of coefficients given as decimals
_NAMED = 4  # trees in a message
_APART = 3e-4  # places in a step: above rounding in single precision
_PARTS = (2, 200)  # of a problem's interval: a long step and a short one
_FINER = 10  # levels: of nine times as many steps
_SINGLE = 1e-4  # larger rounding errors are none: the step is not Runge-Kutta


def assert_order(
    step: Step,
    order: int,
    /,
    *,
    problems: InitialValueProblem | Iterable[InitialValueProblem] = PROBLEMS,
    exactly: bool = True,
    slack: float = 0.25,
    runge_kutta: bool = True,
    coarsest: int = 2,
    levels: int = 22,
) -> tuple[OrderReport, ...]:
    """Assert that a stepper converges with a given order on nonlinear non-autonomous problems.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h; y is a NumPy array.
    order : int
        The claimed order p, from 1; a float is refused, even 3.0. At most 13 if its conditions
        are read off, 14 if those of order p + 1 are not (exactly=False).
    problems : InitialValueProblem, or some of them, optional
        By default `PROBLEMS`; () leaves it to the conditions alone.
    exactly : bool, optional
        Fail too if the order is higher: a claim that is too modest. For a Runge-Kutta step that is
        decided by its conditions of order p + 1, otherwise by slopes above p + 1/2.
    slack : float, optional
        A slope refutes the claim if its whole interval is below p - slack, unless that of
        ten more levels is not: before the limit slopes may be too small.
    runge_kutta : bool, optional
        Decide all order conditions from one step too (`tree_residuals`), to rounding: sharper than
        any slope, and failures are named by trees. The slopes are then a second check, which need
        not be resolved, but one problem must show some. Set it False for a step that is none, such
        as an exponential one: then the slopes of two problems must be resolved (of one, if there is
        only one).
    coarsest, levels : int, optional
        As for `measure_order`.

    Returns
    -------
    tuple of OrderReport

    Raises
    ------
    AssertionError
        If the claim is refuted: with the table of errors and the trees whose conditions fail.
    ValueError
        If it is not decided: with the reason, the remedy and the table. Also if the step chooses
        steps of its own, as an adaptive solver does: then h is not what refines. And for numbers
        out of range, another shape or kind of state, and where nothing is left to assert.
    TypeError
        If `step` is not callable, order no integer, or `problems` hold anything but problems.

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
    require_step(step)
    require_flags(exactly=exactly, runge_kutta=runge_kutta)
    order = valid_order(order, most=MAX_ORDER - bool(exactly) if runge_kutta else inf)
    problems = _valid_problems(problems)
    _require_slack(slack)
    if not problems and not runge_kutta:
        raise ValueError("without `problems` and with runge_kutta=False nothing is asserted")
    for problem in problems:
        _require_one_step(step, problem)
    wrong: list[str] = []
    undecided: list[str] = []
    if runge_kutta:
        _judge_trees(step, order, exactly, wrong, undecided)
    reports = tuple(observe(step, p, coarsest=coarsest, levels=levels) for p in problems)
    if not wrong:
        reports = tuple(
            _refined(report, step, problem, coarsest, order - slack)
            for report, problem in zip(reports, problems, strict=True)
        )
    for report in reports:
        if _is_below(report, order - slack):
            wrong.append(f"{report.problem} shows {report.order:.2f}")
        if _stagnates(report):
            last = f"error {report.errors[-1]:.2g} in {report.steps[-1]} steps"
            wrong.append(f"{report.problem} does not converge: {last}")
    if reports and all(isnan(report.order) for report in reports):
        undecided.append(_unmeasured(reports))
    if not runge_kutta:
        _judge_slopes(reports, order, exactly, wrong, undecided)
    tables = "\n".join(map(str, reports))
    if wrong:
        raise AssertionError(
            f"order {order} is claimed, but {'; '.join(wrong + undecided)}\n{tables}"
        )
    if undecided:
        raise ValueError(f"order {order} is not decided: {'; '.join(undecided)}\n{tables}")
    return reports


def _unmeasured(reports: tuple[OrderReport, ...]) -> str:
    """Why no problem shows an order, and what would."""
    last = [report.errors[-1] for report in reports]
    if all(error == inf for error in last):
        return (
            "no run ends in finite numbers: raise `levels`, or measure the state in another unit "
            "if f overflows"
        )
    if all(error > LARGE for error in last):
        return "no problem comes below 10 % error: raise `levels`"
    return (
        "no problem has three runs between 10 % error and rounding: lower `coarsest`, raise "
        "`levels`, take a problem with a longer t_span, or let the trees decide by problems=()"
    )


def _valid_problems(problems: Any) -> tuple[InitialValueProblem, ...]:
    found = (problems,) if isinstance(problems, InitialValueProblem) else problems
    found = tuple(found) if isinstance(found, Iterable) else (found,)
    wrong = [
        type(problem).__name__ for problem in found if not isinstance(problem, InitialValueProblem)
    ]
    if wrong:
        raise TypeError(f"`problems` must be InitialValueProblem objects, or one; got {wrong[0]}")
    return found


def _require_slack(slack: Any) -> None:
    number = isinstance(slack, Real)
    if not (number and 0 <= slack < inf):
        raise ValueError(f"`slack` must be finite and not negative, got {slack!r}")


def _require_one_step(step: Step, problem: InitialValueProblem) -> None:
    """Refuse a step that divides a long h: the abscissae of its calls of f then depend on h."""
    t0, t1 = problem.t_span
    lengths = [(t1 - t0) / parts for parts in _PARTS]
    long, short = (_abscissae(step, problem, h) for h in lengths)
    if long > short:
        raise ValueError(
            f"the order is not decided: on {problem.name} `step` calls f at {long} times for h = "
            f"{lengths[0]:.3g} and at {short} for h = {lengths[1]:.3g}, so it chooses steps of its "
            "own, and h is not what refines; let it take one step (SciPy: first_step=t + h - t and "
            "tolerances that accept any), a fixed number of them, or measure errors over tolerances"
        )


def _abscissae(step: Step, problem: InitialValueProblem, h: float) -> int:
    """At how many places of a step f is called."""
    t0, places = problem.t_span[0], []

    def f(t: Any, y: Any) -> Any:
        places.append((float(t) - t0) / h)
        return problem.f(t, y)

    with np.errstate(all="ignore"):
        step(f, t0, np.asarray(problem.y0), h)
    return 1 + int(np.sum(np.diff(np.sort(places)) > _APART))


def _judge_trees(
    step: Step, order: int, exactly: bool, wrong: list[str], undecided: list[str]
) -> None:
    last = order + 1 if exactly else order
    found, roundings = tree_residuals(step, last), tree_roundings(step, last)
    lost = [tree for tree in found if not isfinite(found[tree]) or not isfinite(roundings[tree])]
    if lost:
        undecided.append(
            f"the residual of {lost[0]} is {found[lost[0]]}: the step is undefined at y = 0, where "
            "the order conditions are read off; mend that, or set runge_kutta=False"
        )
        return
    rounding = max(roundings.values())
    if rounding > _SINGLE:
        undecided.append(
            f"the residuals change by {rounding:.1g} with t, h and the scale of y: the step is no "
            "Runge-Kutta step; if it is not meant to be one, set runge_kutta=False"
        )
        return
    bad = {
        tree: residual
        for tree, residual in found.items()
        if abs(residual) > max(_DECIMALS, 30 * roundings[tree])
    }
    failed = {tree: r for tree, r in bad.items() if tree.order <= order}
    if failed:
        small = max(map(abs, failed.values())) < 1e-6
        hint = "; so small, they may come from coefficients with too few digits" if small else ""
        wrong.append(f"the conditions of these trees fail: {_named(failed)}{hint}")
    elif exactly and not bad:
        if rounding < 1e-9:
            wrong.append(f"all conditions of order {order + 1} hold too")
        else:
            undecided.append(
                f"the conditions of order {order + 1} hold to rounding, but that is "
                f"{rounding:.1g}; set exactly=False, or step in double precision"
            )


def _named(failed: dict[RootedTree, float]) -> str:
    """The first trees of the lowest order, and how many others there are."""
    lowest = min(tree.order for tree in failed)
    first = [(tree, r) for tree, r in failed.items() if tree.order == lowest][:_NAMED]
    others = len(failed) - len(first)
    rest = f", and {others} more up to order {max(t.order for t in failed)}" if others else ""
    return ", ".join(f"{tree} (residual {r:.3g})" for tree, r in first) + rest


def _is_below(report: OrderReport, order: float) -> bool:
    return report.resolved and report.interval[1] < order


def _refined(
    report: OrderReport, step: Step, problem: InitialValueProblem, coarsest: int, order: float
) -> OrderReport:
    """The report, or one with finer runs if its slope is too small and that of these is not."""
    if not _is_below(report, order):
        return report
    levels = min(len(report.steps) + _FINER, MOST_LEVELS)
    finer = observe(step, problem, coarsest=coarsest, levels=levels)
    return finer if finer.resolved and not _is_below(finer, order) else report


def _stagnates(report: OrderReport) -> bool:
    finest, error = report.steps[-1], report.errors[-1]
    coarser = [e for n, e in zip(report.steps, report.errors, strict=True) if 4 * n <= finest]
    return finest >= 16 and isfinite(error) and error > max(LARGE, coarser[-1] / 2)


def _judge_slopes(
    reports: tuple[OrderReport, ...],
    order: int,
    exactly: bool,
    wrong: list[str],
    undecided: list[str],
) -> None:
    shown = [report for report in reports if report.resolved]
    needed = min(2, len(reports))
    more = all(r.interval[0] > order and r.order > order + 0.5 for r in shown)
    if exactly and more and len(shown) >= needed:
        least = min(report.order for report in shown)
        wrong.append(f"all resolved problems show more, {least:.2f} at least")
    enough = sum(report.interval[0] > order - 1 for report in shown) >= needed
    bounded = not exactly or any(report.interval[1] < order + 1 for report in shown)
    if not wrong and not (enough and bounded):
        intervals = ", ".join(
            f"{r.problem} [{r.interval[0]:.2f}, {r.interval[1]:.2f}]" for r in reports
        )
        undecided.append(
            f"the slopes are not resolved ({intervals}); a Runge-Kutta step is decided with "
            "runge_kutta=True, any other by problems whose errors are above rounding for more "
            "step sizes, such as a longer t_span"
        )
