"""Recover a Butcher tableau from running code."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from odecore.tableaux import ButcherTableau

__all__ = ["deduce_tableau"]

_ROUNDING = Fraction(1, 10**14)


def deduce_tableau(
    step: Callable[[Callable[[Any, Any], Any], float, Any, float], Any],
    /,
    *,
    max_denominator: int = 10**6,
    name: str = "",
) -> ButcherTableau:
    """Read A, b and c of an explicit Runge-Kutta method off its code.

    Parameters
    ----------
    step : callable
        `step(f, t, y, h)` to the state at t + h; it calls f once for each stage, in order.
    max_denominator : int, optional
        A coefficient within 1e-14 of a fraction with at most this denominator is taken as that
        fraction; otherwise the decimals stay and the tableau carries an `uncertainty`.
    name : str, optional

    Returns
    -------
    ButcherTableau
        Superfluous evaluations are stages without weight.

    Raises
    ------
    ValueError
        If the step is not explicit Runge-Kutta: if the times at which f is called are not the row
        sums, if it never calls f, or if on a nonlinear problem it does not do as the tableau does.

    Notes
    -----
    The i-th call of f returns the i-th unit vector, so the argument of each call is a row of A.

    Examples
    --------
    >>> from odecore.solve import explicit_step
    >>> from odecore.tableaux import tableau
    >>> kutta = tableau("classic")
    >>> code = lambda f, t, y, h: explicit_step(f, t, y, h, kutta.coefficients).y
    >>> deduce_tableau(code).A == kutta.A
    True
    """
    calls = 0

    def counted(t: Any, y: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.zeros_like(y)

    step(counted, 0.0, np.zeros(1), 1.0)
    if not calls:
        raise ValueError("`step` never called f, so there is no method to deduce")
    rows: list[Any] = []
    times: list[float] = []

    def unit(t: Any, y: Any) -> Any:
        rows.append(np.array(y, dtype=np.float64))
        times.append(float(t))
        basis = np.zeros(calls)
        if len(rows) <= calls:
            basis[len(rows) - 1] = 1.0
        return basis

    b = np.asarray(step(unit, 0.0, np.zeros(calls), 1.0), dtype=np.float64)
    if len(rows) != calls:
        raise ValueError(
            f"`step` called f {calls} times and then {len(rows)} times, so its stages depend on "
            "the values of f; an adaptive or iterated step has no tableau"
        )
    for i, (row, time) in enumerate(zip(rows, times, strict=True)):
        if abs(row.sum() - time) > 1e-12:
            raise ValueError(
                f"stage {i + 1} is evaluated at time c = {time!r}, but its row of A sums to "
                f"{float(row.sum())!r}; one of them is wrong in the code"
            )
    exact = [[_fraction(a, max_denominator) for a in row[:i]] for i, row in enumerate(rows)]
    weights = [_fraction(w, max_denominator) for w in b]
    rough = any(f.denominator > max_denominator for row in (*exact, weights) for f in row)
    method = ButcherTableau(
        tuple(map(tuple, exact)),
        tuple(weights),
        name=name,
        uncertainty=_ROUNDING if rough else Fraction(0),
    )
    _require_same(step, method)
    return method


def _fraction(value: float, max_denominator: int) -> Fraction:
    exact = Fraction(float(value))
    simple = exact.limit_denominator(max_denominator)
    return simple if abs(simple - exact) <= _ROUNDING * (1 + abs(simple)) else exact


def _require_same(step: Any, method: ButcherTableau) -> None:
    """Compare with the tableau's own step where f depends on both t and y."""

    def f(t: Any, y: Any) -> Any:
        return np.sin(y[::-1] + t) + 0.3 * y * y

    y, h = np.array([0.3, -0.7, 1.1]), 0.2
    stages: list[Any] = []
    for c, row in zip(method.c, method.A, strict=True):
        terms = zip(row, stages, strict=False)
        stages.append(f(0.4 + float(c) * h, y + h * sum(float(a) * k for a, k in terms)))
    expected = y + h * sum(float(w) * k for w, k in zip(method.b, stages, strict=True))
    if not np.allclose(step(f, 0.4, y, h), expected, rtol=0, atol=1e-10):
        raise ValueError(
            "on a nonlinear problem `step` does not do what the tableau read off it does; it is no "
            "explicit Runge-Kutta method"
        )
