"""What is claimed of orders that running code shows."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from odecore.families import RK2, RK3, RK4
from odecore.solve import explicit_step, solve_ivp
from odecore.tableaux import ButcherTableau, catalogue, coefficients_at, tableau
from odecore.testing import deduce_tableau
from verification.claims._bound import at_most, between
from verification.claims._claim import Claim, Draws, Finding
from verification.claims._plots import curves, rows

__all__ = ["CLAIMS"]


def _rational() -> list[ButcherTableau]:
    """The explicit methods of the catalogue whose coefficients are known exactly, and rational."""
    return [
        method
        for method in catalogue().values()
        if method.is_explicit
        and method.uncertainty == 0
        and all(isinstance(x, Fraction) for x in (*method.b, *(x for row in method.A for x in row)))
    ]


def _error(method: ButcherTableau, n: int) -> Any:
    """After n steps over (0, 1/256) of (e^sin t, cos t, sin t), in 60 digits."""
    number = mpmath.mpf
    A = [[number(x.numerator) / x.denominator for x in row] for row in method.A]
    b = [number(x.numerator) / x.denominator for x in method.b]
    y, h = [number(1), number(1), number(0)], number(1) / (256 * n)
    for _ in range(n):
        stages: list[list[Any]] = []
        for row in A:
            x = [
                y[d] + h * sum(a * k[d] for a, k in zip(row, stages, strict=False) if a)
                for d in range(3)
            ]
            stages.append([x[0] * x[1], -x[2], x[1]])
        y = [y[d] + h * sum(w * k[d] for w, k in zip(b, stages, strict=True)) for d in range(3)]
    end = number(1) / 256
    exact = (mpmath.exp(mpmath.sin(end)), mpmath.cos(end), mpmath.sin(end))
    return max(abs(a - e) for a, e in zip(y, exact, strict=True))


def _observed(fault: bool) -> Finding:
    """How far the order that methods show is from the declared one, in 60 digits."""
    orders, off, methods = [], [], _rational()
    with mpmath.workdps(60):
        for method in methods:
            slope = float(mpmath.log(_error(method, 4) / _error(method, 8), 2))
            orders.append((method.order or 0) + fault)
            off.append(slope - orders[-1])
    worst = int(np.argmax(np.abs(off)))
    figure = curves(
        {f"{len(methods)} methods": (orders, off)},
        "declared order", "observed minus declared", log="", dots=True,
        limits={"bounds": 0.1, "": -0.1},
    )  # fmt: skip
    text = f"{methods[worst].name}, of {len(methods)} methods"
    return Finding({"largest difference of orders": abs(off[worst])}, text, figure)


def _deduced(fault: bool) -> Finding:
    """How many of five methods are not read off their running code."""
    wrong, names = 0, ("heun", "kutta3", "classic", "three_eighths", "bosh3")
    for name in names:
        method = tableau(name)
        running = tableau("gill" if fault else name).coefficients

        def step(f: Any, t: float, y: Any, h: float, running: Any = running) -> Any:
            return explicit_step(f, t, y, h, running).y

        found = deduce_tableau(step)
        wrong += (found.A, found.b) != (method.A, method.b)
    return Finding(wrong, f"{wrong} of {len(names)} are read off wrongly")


def _members(fault: bool, sample: Draws) -> Finding:
    """The median excess of observed over proved order, of random members in floats."""
    excess: dict[str, list[float]] = {}
    for family in (RK2, RK3, RK4):
        for _ in range(sample.count):
            values = {"u": sample.rng.uniform(0.2, 0.4), "v": sample.rng.uniform(0.6, 0.8)}
            chosen = {name: values[name] for name in family.parameters}
            found = coefficients_at(family, **chosen)
            if fault:
                b = (found.b[0] + 0.01, found.b[1] - 0.01, *found.b[2:])
                found = type(found)(A=found.A, b=b)
            errors = [
                np.abs(
                    solve_ivp(
                        lambda t, y: np.array([y[0] * y[1], -math.sin(t)]),
                        (0, 1), [1.0, 1.0], method=found, steps=n,
                    ).y[-1] - [math.exp(math.sin(1)), math.cos(1)]
                ).max()
                for n in (40, 80)
            ]  # fmt: skip
            slope = math.log2(errors[0] / errors[1])
            excess.setdefault(family.name, []).append(slope - family.order)
    median = float(np.median([x for xs in excess.values() for x in xs]))
    figure = rows(
        {name: (float(np.median(xs)), min(xs), max(xs)) for name, xs in excess.items()},
        "order, observed minus proved: median and range",
        limits={"bounds of the median of all": -0.1, "": 0.1},
    )
    return Finding({"median of observed minus proved": median}, figure=figure)


CLAIMS = (
    Claim(
        "observed-orders",
        "every explicit method with rational coefficients shows its declared order within 0.1, in "
        "60 digits; double precision meets rounding before that limit",
        "Hairer, Norsett, Wanner I, section II.3",
        _observed,
        {"largest difference of orders": at_most(0.1)},
        module="odecore.tableaux",
    ),
    Claim(
        "family-orders",
        "random members of RK2, RK3, RK4 show their proved order in floats, the median within 0.1",
        "arXiv 2103.08561",
        _members,
        {"median of observed minus proved": between(-0.1, 0.1)},
        paper="2103.08561",
        module="odecore.families",
        samples=8,
    ),
    Claim(
        "deduced-tableaux",
        "the tableau of running code is read off it exactly",
        "own addition",
        _deduced,
        0,
        module="odecore.testing",
    ),
)
