"""What is claimed of adjoints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odecore.adjoint import certify, collocated, discrete, node_by_node, record_panels, record_steps
from verification.claims._claim import Claim

__all__ = ["CLAIMS"]

START, END, WEIGHT = np.array([1.2, 0.3]), 2.0, np.array([1.0, -2.0])


def _pendulum(t: float, y: Any) -> Any:
    return np.array([y[1], -3 * np.sin(y[0])])


def _linearized(t: float, y: Any) -> Any:
    def pull(a: Any, parameters: bool) -> Any:
        terms = (np.array([-np.sin(y[0]) * a[1]]),) if parameters else ()
        return np.array([-3 * np.cos(y[0]) * a[1], a[0]]), terms

    return _pendulum(t, y), pull


def _gradient(tolerance: float, nodes: int | None = None) -> Any:
    options = {"rtol": tolerance, "atol": tolerance}
    _, panels = record_panels(_pendulum, [0.0, END], START, nodes=nodes, **options)
    found = collocated(node_by_node(_linearized), panels, [0 * WEIGHT, WEIGHT], **options)
    return np.concatenate([found.y0, *found.parameters])


def _node_errors(fault: bool) -> bool:
    """Whether the error falls geometrically with the nodes and then stays at the tolerance."""
    exact, tolerance = _gradient(1e-13), 1e-7
    errors = []
    for m in (5, 7, 9, 11, 13, 17, 25, 33):
        options = {"rtol": tolerance, "atol": tolerance}
        _, panels = record_panels(_pendulum, [0.0, END], START, nodes=m, **options)
        if fault:  # equally spaced nodes in place of Chebyshev's
            s = np.linspace(0, END, m)
            values = np.array([record_panels(_pendulum, [0, x], START)[0].y[-1] for x in s[1:]])
            panels = [type(panels[0])(0.0, END, np.vstack([START, values]))]
        found = _stepped(panels, options)
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    slopes = np.diff(np.log10(errors[:5])) / 2
    return bool(np.all(slopes < -0.2) and max(errors[5:]) < 30 * tolerance)


def _stepped(panels: Any, options: dict[str, float]) -> Any:
    from odecore.adjoint import restored

    found = restored(_linearized, panels, [0 * WEIGHT, WEIGHT], **options)
    return np.concatenate([found.y0, *found.parameters])


def _estimates(fault: bool) -> int:
    """Estimates of the certificate outside of a factor of 2 of the true error, of 12."""
    exact, outside = _gradient(1e-13), 0
    for tolerance in 10.0 ** -np.linspace(3, 9, 12):
        options = {"rtol": tolerance, "atol": tolerance}
        _, panels = record_panels(_pendulum, [0.0, END], START, **options)
        nodes, w = node_by_node(_linearized), [0 * WEIGHT, WEIGHT]
        found = collocated(nodes, panels, w, **options)
        error = np.linalg.norm(np.concatenate([found.y0, *found.parameters]) - exact)
        error /= np.linalg.norm(exact)
        if fault:  # the same trajectory, a sharper adjoint
            sharp = collocated(nodes, panels, w, rtol=tolerance / 100, atol=tolerance / 100)
            gap = np.linalg.norm(found.y0 - sharp.y0) / np.linalg.norm(sharp.y0)
        else:
            gap = certify(found, nodes, panels, w, **options).error
        outside += not 0.5 < gap / error < 2
    return outside


def _equilibrium(fault: bool) -> bool:
    """Whether a gradient through steps that miss the sensitivity is wrong, and seen to be."""

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
    wrong = abs(through.y0[0] / exact - 1)
    right = abs(restored.y0[0] / exact - 1)
    return bool(wrong > 1 and abs(seen / wrong - 1) < 0.1 and right < 1e-4)


CLAIMS = (
    Claim(
        "adjoint-nodes",
        "the gradient error falls geometrically with the nodes, then stays at the tolerance",
        "arXiv 2003.05271, theorem on the interpolated adjoint; odecore.adjoint.restored",
        _node_errors,
        True,
        paper="2003.05271",
        module="odecore.adjoint",
    ),
    Claim(
        "adjoint-certificate",
        "the estimated error of a gradient is within a factor of 2 of the true one",
        "odecore.adjoint.certify",
        _estimates,
        0,
        paper="2003.05271",
        module="odecore.adjoint",
    ),
    Claim(
        "adjoint-equilibrium",
        "a gradient through adaptive steps can be wrong at any tolerance; the certificate sees it",
        "odecore.adjoint.certify",
        _equilibrium,
        True,
        paper="2003.05271",
        module="odecore.adjoint",
    ),
)
