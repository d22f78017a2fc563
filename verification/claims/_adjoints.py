"""What is claimed of adjoints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odecore.adjoint import (
    Gradients,
    Panel,
    certify,
    collocated,
    discrete,
    node_by_node,
    record_panels,
    record_steps,
    restored,
)
from verification.claims._bound import at_least, at_most, between
from verification.claims._claim import Claim, Finding
from verification.claims._plots import curves

__all__ = ["CLAIMS"]

START, END, WEIGHT = np.array([1.2, 0.3]), 2.0, np.array([1.0, -2.0])


def _pendulum(t: float, y: Any) -> Any:
    return np.array([y[1], -3 * np.sin(y[0])])


def _linearized(t: float, y: Any) -> Any:
    def pull(a: Any, parameters: bool) -> Any:
        terms = (np.array([-np.sin(y[0]) * a[1]]),) if parameters else ()
        return np.array([-3 * np.cos(y[0]) * a[1], a[0]]), terms

    return _pendulum(t, y), pull


def _gradient(tolerance: float) -> Any:
    options = {"rtol": tolerance, "atol": tolerance}
    _, panels = record_panels(_pendulum, [0.0, END], START, **options)
    return _flat(collocated(node_by_node(_linearized), panels, [0 * WEIGHT, WEIGHT], **options))


def _flat(found: Gradients) -> Any:
    return np.concatenate([found.y0, *found.parameters])


def _distance(found: Any, exact: Any) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _node_errors(fault: bool) -> Finding:
    """The error by the nodes: its fall for each of the first, and what is left of it."""
    exact, tolerance = _gradient(1e-13), 1e-7
    errors, counts = [], (5, 7, 9, 11, 13, 17, 25, 33)
    for m in counts:
        options = {"rtol": tolerance, "atol": tolerance}
        _, panels = record_panels(_pendulum, [0.0, END], START, nodes=m, **options)
        if fault:  # equally spaced nodes in place of Chebyshev's
            s = np.linspace(0, END, m)
            values = np.array([record_panels(_pendulum, [0, x], START)[0].y[-1] for x in s[1:]])
            panels = [Panel(0.0, END, np.vstack([START, values]))]
        found = restored(_linearized, panels, [0 * WEIGHT, WEIGHT], **options)
        errors.append(_distance(_flat(found), exact))
    figure = curves(
        {"error of the gradient": (counts, errors)},
        "nodes", "relative error", limits={"tolerance": tolerance},
    )  # fmt: skip
    slopes = -np.diff(np.log10(errors[:5])) / 2
    found = {
        "least fall for a node up to 13, decades": float(slopes.min()),
        "error / tolerance from 17 nodes": float(np.max(errors[5:])) / tolerance,
    }
    return Finding(found, figure=figure)


def _estimates(fault: bool) -> Finding:
    """Estimates of the certificate by the true error, at 12 tolerances."""
    exact, errors, estimates = _gradient(1e-13), [], []
    tolerances = 10.0 ** -np.linspace(3, 9, 12)
    for tolerance in tolerances:
        options = {"rtol": tolerance, "atol": tolerance}
        _, panels = record_panels(_pendulum, [0.0, END], START, **options)
        nodes, w = node_by_node(_linearized), [0 * WEIGHT, WEIGHT]
        found = collocated(nodes, panels, w, **options)
        if fault:  # the same trajectory, a sharper adjoint
            sharp = collocated(nodes, panels, w, rtol=tolerance / 100, atol=tolerance / 100)
            gap = _distance(found.y0, sharp.y0)
        else:
            gap = certify(found, nodes, panels, w, **options).error
        errors.append(_distance(_flat(found), exact))
        estimates.append(gap)
    figure = curves(
        {"true error": (tolerances, errors), "estimate": (tolerances, estimates)},
        "tolerance", "relative error of the gradient", log="xy",
    )  # fmt: skip
    ratios = np.array(estimates) / np.array(errors)
    found = {"least estimate / error": float(ratios.min()), "largest": float(ratios.max())}
    return Finding(found, "12 tolerances", figure)


def _equilibrium(fault: bool) -> dict[str, float]:
    """How wrong a gradient through steps that miss the sensitivity is, and is seen to be."""

    def fun(t: float, y: Any) -> Any:
        return 6 * np.cos(t) * np.sin(y)

    def linearize(t: Any, y: Any) -> Any:
        t = np.reshape(t, (-1, 1)) if np.ndim(y) == 2 else t
        slope = 6 * np.cos(t) * np.cos(y)
        return 6 * np.cos(t) * np.sin(y), lambda a, parameters: (slope * a, ())

    times, w, options = [0.0, 5.0], [np.zeros(1), np.ones(1)], {"rtol": 1e-6, "atol": 1e-9}
    exact = math.exp(6 * math.sin(5.0))
    more = {"max_step": 0.05} if fault else {}
    _, record = record_steps(fun, times, np.zeros(1), **options, **more)
    through = discrete(linearize, record, w)
    _, panels = record_panels(fun, times, np.zeros(1), **options)
    restored = collocated(linearize, panels, w, **options)
    seen = certify(through, linearize, panels, w, **options).error
    wrong = float(abs(through.y0[0] / exact - 1))
    right = float(abs(restored.y0[0] / exact - 1))
    return {
        "error through the steps": wrong,
        "certified / true": seen / wrong,
        "error of the restored": right,
    }


CLAIMS = (
    Claim(
        "adjoint-nodes",
        "the gradient error falls geometrically with the nodes, then stays at the tolerance",
        "arXiv 2003.05271, theorem on the interpolated adjoint; odecore.adjoint.restored",
        _node_errors,
        {
            "least fall for a node up to 13, decades": at_least(0.2),
            "error / tolerance from 17 nodes": at_most(30),
        },
        paper="2003.05271",
        module="odecore.adjoint",
    ),
    Claim(
        "adjoint-certificate",
        "the estimated error of a gradient is within a factor of 2 of the true one",
        "odecore.adjoint.certify",
        _estimates,
        {"least estimate / error": at_least(0.5), "largest": at_most(2)},
        paper="2003.05271",
        module="odecore.adjoint",
    ),
    Claim(
        "adjoint-equilibrium",
        "a gradient through adaptive steps can be wrong at any tolerance; the certificate sees it",
        "odecore.adjoint.certify",
        _equilibrium,
        {
            "error through the steps": at_least(1),
            "certified / true": between(0.9, 1.1),
            "error of the restored": at_most(1e-4),
        },
        paper="2003.05271",
        module="odecore.adjoint",
    ),
)
