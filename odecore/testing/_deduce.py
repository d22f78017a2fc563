"""Recover a Butcher tableau from running code."""

from __future__ import annotations

from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np

from odecore.tableaux import ButcherTableau
from odecore.testing._step import Step, precision, require_step, state

__all__ = ["deduce_tableau"]

_ROUNDING = Fraction(1, 10**14)
_SIMPLE = 1000  # denominators that no decimal comes near by chance


def deduce_tableau(
    step: Step,
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
        A coefficient a within 1e-14 (1 + abs(a)) of a fraction with at most this denominator is
        taken as that fraction. If one is near none, all but fractions with denominators up to 1000
        stay decimals, and the tableau carries an `uncertainty`: 1e-14 times the largest one, or
        what the weights miss of 1.
    name : str, optional

    Returns
    -------
    ButcherTableau
        Superfluous evaluations are stages without weight.

    Raises
    ------
    ValueError
        If the step is not explicit Runge-Kutta: if the times at which f is called are not the row
        sums, if it never calls f, or if on a nonlinear problem it does not do as the tableau does;
        if it returns anything but a state, or rounds it to single precision. If `max_denominator`
        is no whole number from 1.
    TypeError
        If `step` is not callable, or `name` no string.

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
    require_step(step)
    calls = 0

    def counted(t: Any, y: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.zeros_like(y)

    state(step(counted, 0.0, np.zeros(1), 1.0), (1,))
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

    b = state(step(unit, 0.0, np.zeros(calls), 1.0), (calls,))
    if len(rows) != calls:
        raise ValueError(
            f"`step` called f {calls} times and then {len(rows)} times, so its stages depend on "
            "the values of f, or on earlier steps; an adaptive or iterated step has no tableau, "
            "and one that keeps evaluations for the next step must be made anew for each call"
        )
    _require_numbers(b, rows, times)
    rows = [row[:i] for i, row in enumerate(rows)]
    method = _tableau(rows, b, _denominator(max_denominator), name)
    _require_same(step, method)
    return method


def _denominator(most: Any) -> int:
    if not isinstance(most, Integral) or int(most) < 1:
        raise ValueError(f"`max_denominator` must be a whole number from 1, got {most!r}")
    return int(most)


def _require_numbers(b: Any, rows: list[Any], times: list[float]) -> None:
    if b.dtype.itemsize < 8:
        raise ValueError(
            f"`step` returns {b.dtype}, in which coefficients are known to 7 digits only; let it "
            "keep the precision of y, float64, and the fractions can be told"
        )
    if not np.isfinite(np.concatenate([b, *rows])).all():
        raise ValueError(
            "a coefficient read off `step` is no finite number, so the step is undefined at y = 0, "
            "where it is read off; a Runge-Kutta step is linear in the values of f"
        )
    for i, (row, time) in enumerate(zip(rows, times, strict=True)):
        if not abs(row.sum() - time) <= 1e-12 * (1 + np.abs(row).sum()):
            raise ValueError(
                f"stage {i + 1} is evaluated at time c = {time!r}, but its row of A sums to "
                f"{float(row.sum())!r}; one of them is wrong in the code"
            )


def _tableau(rows: list[Any], b: Any, max_denominator: int, name: str) -> ButcherTableau:
    largest = max(float(np.abs(row).max(initial=1.0)) for row in (*rows, b))
    for limit in (max_denominator, min(max_denominator, _SIMPLE)):
        A = [[_fraction(a, limit) for a in row] for row in rows]
        weights = [_fraction(w, limit) for w in b]
        rough = any(f.denominator > limit for row in (*A, weights) for f in row)
        total = sum(weights, Fraction(0))
        if not rough and total == 1:
            return ButcherTableau(tuple(map(tuple, A)), tuple(weights), name=name)
    missing = abs(total - 1)
    if missing > 1e-11 * largest:
        single = precision(b) > 1e-10
        raise ValueError(
            f"the weights read off `step` sum to {float(total)!r}, not to 1"
            + ("; all are numbers of single precision, so give them as float64" if single else "")
        )
    bound = max(_ROUNDING * Fraction(largest), missing)
    return ButcherTableau(tuple(map(tuple, A)), tuple(weights), name=name, uncertainty=bound)


def _fraction(value: float, max_denominator: int) -> Fraction:
    exact = Fraction(float(value))
    for limit in (min(_SIMPLE, max_denominator), max_denominator):
        simple = exact.limit_denominator(limit)
        if abs(simple - exact) <= _ROUNDING * (1 + abs(simple)):
            return simple
    return exact


def _require_same(step: Any, method: ButcherTableau) -> None:
    """Compare with the tableau's own step where f depends on both t and y.

    Slopes are bounded and h is below the reciprocal of the largest row of A, so that the stages of
    any method differ by no more than a few times the rounding of its coefficients.
    """

    def f(t: Any, y: Any) -> Any:
        return np.sin(y[::-1] + t) + 0.3 * np.cos(y)

    longest = max(sum(abs(float(a)) for a in row) for row in method.A)
    y, h = np.array([0.3, -0.7, 1.1]), min(0.2, 0.6 / max(longest, 1.0))
    stages: list[Any] = []
    for c, row in zip(method.c, method.A, strict=True):
        terms = zip(row, stages, strict=False)
        stages.append(f(0.4 + float(c) * h, y + h * sum(float(a) * k for a, k in terms)))
    expected = y + h * sum(float(w) * k for w, k in zip(method.b, stages, strict=True))
    largest = max(abs(float(a)) for row in (*method.A, method.b) for a in row)
    found = state(step(f, 0.4, y, h), y.shape)
    if not np.allclose(found, expected, rtol=0, atol=5e-10 * h * max(1.0, largest)):
        raise ValueError(
            "on a nonlinear problem `step` does not do what the tableau read off it does; it is no "
            "explicit Runge-Kutta method"
        )
