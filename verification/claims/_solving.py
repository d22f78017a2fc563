"""What is claimed of solving."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odecore.solve import Adams, Event, Newton, solve_ivp, solve_per_sample
from odecore.stability import stability_function
from odecore.tableaux import catalogue
from verification.claims._bound import at_least, at_most
from verification.claims._claim import Claim, Finding
from verification.claims._plots import curves
from verification.problems import PROBLEMS, Problem

__all__ = ["CLAIMS"]

INTERVALS = {1: 32, 2: 32, 3: 32, 4: 32, 5: 20, 6: 16, 7: 10, 8: 8, 9: 6, 10: 4}


def _pair(t: float, y: Any) -> Any:
    return np.array([y[0] * y[1], -math.sin(t) - (y[1] - math.cos(t)) * y[0]])


def _pair_jacobian(t: float, y: Any) -> Any:
    return np.array([[y[1], y[0]], [math.cos(t) - y[1], -y[0]]])


def _exact(t: Any) -> Any:
    return np.array([np.exp(np.sin(t)), np.cos(t)])


def _dense_orders(fault: bool) -> Finding:
    """How many exact methods of the catalogue lose order between their steps."""
    times = np.linspace(0.05, 1.95, 37)
    lost, orders, slopes = 0, [], []
    for method in catalogue().values():
        if method.uncertainty > 1e-8:
            continue
        errors = []
        for n in (INTERVALS[method.order], 2 * INTERVALS[method.order]):
            found = solve_ivp(
                _pair,
                (0, 2),
                _exact(0.0),
                method=method,
                grid=np.linspace(0, 2, n + 1),
                dense=True,
                interpolation="linear" if fault else "full",
                newton=None if method.is_explicit else Newton(jacobian=_pair_jacobian),
            )
            errors.append(np.abs(found(times) - _exact(times).T).max())
        slope = math.log2(errors[0] / errors[1])
        lost += slope < method.order - 0.6 and errors[1] > 2e-12
        orders.append(method.order)
        slopes.append(slope)
    proved = sorted(set(orders))
    figure = curves(
        {"order between steps, observed": (orders, slopes), "order": (proved, proved)},
        "order of the method", "observed order", log="", dots=True,
    )  # fmt: skip
    return Finding(lost, f"{lost} of {len(orders)} lose order", figure)


def _global_errors(fault: bool) -> Finding:
    """The share of global errors that are within 50 tolerances."""
    cells: dict[str, list[tuple[float, float]]] = {}
    for problem in PROBLEMS:
        if problem.name == "Arenstorf":  # whose orbit multiplies errors by 1e4
            continue
        span, y0, smallest = (0, problem.end), problem.y0, problem.smallest

        def field(t: float, y: Any, problem: Problem = problem) -> Any:
            return np.array(problem.field(t, *y))

        methods = ("kvaerno54",) if problem.stiff else ("dopri5", "tsit5", "dop853")
        reference = solve_ivp(
            field, span, y0, method=methods[-1], rtol=1e-13, atol=1e-14 * smallest
        ).y[-1]
        for method in methods:
            for tolerance in 10.0 ** -np.arange(3, 11):
                loose = min(100 * tolerance, 0.05) if fault else tolerance
                found = solve_ivp(field, span, y0, method=method, rtol=loose, atol=loose * smallest)
                size = np.maximum(np.abs(reference), smallest)
                error = float(np.max(np.abs(found.y[-1] - reference) / size))
                cells.setdefault(method, []).append((tolerance, error / tolerance))
    ratios = [ratio for own in cells.values() for _, ratio in own]
    figure = curves(
        {name: tuple(zip(*own, strict=True)) for name, own in cells.items()},
        "tolerance", "error / tolerance", log="xy", limits={"50": 50.0}, dots=True,
    )  # fmt: skip
    share = sum(ratio <= 50 for ratio in ratios) / len(ratios)
    return Finding({"share of cells": share}, f"of {len(ratios)}", figure)


def _event(fault: bool) -> float:
    """When a ball thrown up from 10 m at 5 m/s hits the ground."""
    g = 9.8 if fault else 9.81
    found = solve_ivp(
        lambda t, y: np.array([y[1], -g]),
        (0, 10),
        [10.0, 5.0],
        events=Event(lambda t, y: y[0], terminal=True),
    )
    return float(found.events[0].t[0])


def _damping(fault: bool) -> dict[str, float]:
    """The largest distance of implicit steps at z = -1000/7 from the stability function."""
    deviations, steps = [], 8 if fault else 7
    for method in catalogue().values():
        if not method.is_explicit:
            found = solve_ivp(lambda t, y: -1000 * y, (0, 1), [1.0], method=method, steps=steps)
            wanted = float(stability_function(method)(-1000 / 7)) ** 7
            deviations.append(abs(float(found.y[-1, 0]) - wanted) / max(1, abs(wanted)))
    return {"largest relative deviation": float(np.max(deviations))}


def _adams(fault: bool) -> Finding:
    """The order of Adams-Bashforth on unequal steps, and its evaluations."""
    errors, evaluations, counts = [], [], (50, 100, 200)
    for n in counts:
        grid = np.linspace(0, 2, n + 1)
        grid = grid + 0.2 * np.sin(np.pi * grid)
        grid[-1] = 2.0
        method = Adams(3 if fault else 5)  # with max_order 3 the rule of Kutta makes all steps
        found = solve_ivp(_pair, (0, 2), _exact(0.0), method=method, grid=grid)
        errors.append(float(np.abs(found.y[-1] - _exact(2.0)).max()))
        evaluations.append(found.statistics.evaluations / n)
    fourth = [errors[-1] * (counts[-1] / n) ** 4 for n in counts]
    figure = curves(
        {"error": (counts, errors), "slope of order 4": (counts, fourth)},
        "steps", "error at the end", log="xy",
    )  # fmt: skip
    found = {"order": math.log2(errors[1] / errors[2]), "evaluations a step": max(evaluations[1:])}
    return Finding(found, figure=figure)


def _per_sample(fault: bool) -> Finding:
    """How many times as many steps a stiff sample takes as a slow one beside it."""
    rates = np.array([[0.3], [2.0 if fault else 500.0]])
    found = solve_per_sample(lambda t, y: -rates * (y - 1), (0, 10), np.zeros((2, 1)), rtol=1e-6)
    slow, fast = (int(n) for n in found.samples.accepted)
    return Finding({"steps, stiff / slow": fast / slow}, f"{fast} and {slow}")


CLAIMS = (
    Claim(
        "dense-output-orders",
        "Dense output keeps the order of every method of the catalogue between its steps",
        "Hairer, Norsett, Wanner I, theorem II.6.1; Enright, Jackson, Norsett, Thomsen 1986",
        _dense_orders,
        0,
        module="odecore.solve",
        slow=True,
    ),
    Claim(
        "global-errors",
        "Global errors stay within 50 tolerances in 95 % of cells of problem, method and tolerance",
        "Lotka-Volterra, Brusselator, van der Pol, Kepler, Lorenz, Robertson; 1e-3 to 1e-10",
        _global_errors,
        {"share of cells": at_least(0.95)},
        module="odecore.solve",
        slow=True,
    ),
    Claim(
        "event-time",
        "The time of an event is found to rounding",
        "free fall, (5 + sqrt(25 + 20 g)) / g",
        _event,
        (5 + math.sqrt(25 + 2 * 9.81 * 10)) / 9.81,
        1e-12,
        module="odecore.solve",
    ),
    Claim(
        "implicit-steps-damp",
        "On a stiff linear problem each implicit method multiplies by its stability function",
        "Hairer, Wanner II, proposition IV.3.1",
        _damping,
        {"largest relative deviation": at_most(5e-7)},
        module="odecore.solve",
    ),
    Claim(
        "adams-on-unequal-steps",
        "Adams-Bashforth keeps its order on unequal steps, at one evaluation each",
        "Hairer, Norsett, Wanner I, section III.5",
        _adams,
        {"order": at_least(3.6), "evaluations a step": at_most(1.2)},
        module="odecore.solve",
    ),
    Claim(
        "steps-per-sample",
        "A stiff sample does not make the others of its batch take small steps",
        "own addition",
        _per_sample,
        {"steps, stiff / slow": at_least(20)},
        module="odecore.solve",
    ),
)
