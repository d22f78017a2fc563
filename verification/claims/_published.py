"""What papers and their code say, and what is measured instead."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from odecore.adjoint import backsolve, collocated, event_cotangent, node_by_node, record_panels
from odecore.directions import equiangular_weights, gramian
from odecore.families import RK4
from odecore.interpolation import barycentric_weights, chebyshev_points, lagrange_rows
from odecore.sketching import GaussianSketch, UniformRows, sketched_product, variance
from odecore.solve import Event, solve_ivp
from odecore.tableaux import coefficients_at
from verification.claims._bound import at_least, at_most
from verification.claims._claim import Claim, Draws, Finding
from verification.claims._plots import curves, rows

__all__ = ["CLAIMS"]


def _interpolation_error(m: int, kind: int) -> float:
    """Of exp on [-1, 1] from second-kind nodes with weights of this kind."""
    nodes, x = chebyshev_points(m), np.linspace(-1, 1, 400)
    rows = lagrange_rows(x, nodes, barycentric_weights(m, kind=kind))
    return float(np.abs(rows @ np.exp(nodes) - np.exp(x)).max())


def _nodes(fault: bool) -> Finding:
    """The error at 13 nodes, and with weights of the other kind."""
    counts = list(range(3, 14))
    right, wrong = ([_interpolation_error(m, kind) for m in counts] for kind in (2, 1))
    if fault:
        right = wrong
    lines = {
        "weights of the nodes' kind": (counts, right),
        "of the other kind, as published": (counts, wrong),
    }
    figure = curves(lines, "nodes", "error of the interpolant of exp")
    return Finding({"error": right[-1], "with the other kind": wrong[-1]}, "13 nodes", figure)


def _drift(fault: bool) -> Finding:
    """How much worse integrating backwards is on a contraction."""

    def linearize(t: float, y: Any) -> Any:
        slope = np.array([-20 * y[0], y[0] ** 2])
        return slope, lambda a, parameters: (
            np.array([-20 * a[0] + 2 * y[0] * a[1], 0.0]),
            (),
        )

    times, w = [0.0, 1.0], [np.zeros(2), np.array([0.0, 1.0])]
    y0, exact = np.array([1.0, 0.0]), np.array([(1 - math.exp(-40)) / 20, 1.0])
    field = lambda t, y: linearize(t, y)[0]  # noqa: E731
    tolerances, errors = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8], []
    for tolerance in tolerances:
        options = {"rtol": tolerance, "atol": tolerance / 1000}
        _, panels = record_panels(field, times, y0, **options)
        kept = collocated(node_by_node(linearize), panels, w, **options).y0
        states = solve_ivp(field, times, y0, t_eval=times, **options).y
        drifted = kept if fault else backsolve(linearize, times, states, w, **options).y0
        errors.append([float(np.abs(one - exact).max()) for one in (kept, drifted)])
    restored, reversed_ = zip(*errors, strict=True)
    figure = curves(
        {"restored": (tolerances, restored), "reversed": (tolerances, reversed_)},
        "rtol", "error of the gradient", log="xy",
    )  # fmt: skip
    found = {"restored": restored[2], "reversed / restored": reversed_[2] / restored[2]}
    return Finding(found, "at 1e-6", figure)


def _gaussian_sign(fault: bool, sample: Draws) -> Finding:
    """The measured variance for X = Y a unit vector, in units of the published and the right."""
    X = np.full((16, 1), 0.25)
    sketch = GaussianSketch(4)
    draws = [
        float((sketched_product(sketch, X, X, sample.rng) - 1).item()) ** 2
        for _ in range(sample.count)
    ]
    claimed = 0.0 if fault else float(variance(sketch, X, X))
    error = np.std(draws, ddof=1) / len(draws) ** 0.5
    z = (np.mean(draws) - claimed) / error
    text = f"measured {np.mean(draws):.3f} ± {error:.3f}; exact 2/p = 0.5; published 0"
    mean = float(np.mean(draws))
    figure = rows(
        {"measured": (mean, mean - 5 * error, mean + 5 * error)},
        "variance, 5 standard errors to either side",
        limits={"exact, 2/p": 0.5, "published": 0.0},
    )
    return Finding({"standard errors from the formula": abs(float(z))}, text, figure)


def _all_row_draws(fault: bool) -> Finding:
    """Mean and variance of two rows of four with replacement, over all 16 outcomes."""
    F = Fraction
    X, Y = [F(1), F(-3), F(2), F(1)], [F(2), F(1), F(-1), F(3)]
    exact = sum(x * y for x, y in zip(X, Y, strict=True))
    found = [
        F(4, 2) * sum(X[i] * Y[i] for i in draw) for draw in product(range(4), repeat=2)
    ]  # all equally likely
    square = sum((value - exact) ** 2 for value in found) / len(found)
    wide = [np.array([[float(x)] for x in column]) for column in (X, Y)]
    claimed = float(variance(UniformRows(2, replacement=not fault), *wide))
    text = f"{square} over all outcomes; claimed {claimed:.12g}"
    bias, off = sum(found) / 16 - exact, abs(claimed / float(square) - 1)
    return Finding({"bias": bias, "relative deviation of the variance": off}, text)


def _direction_of_approach(fault: bool) -> Finding:
    """How far members of RK4 are from each other that are 1e-6 from (1/2, 1/2)."""
    e, centre = Fraction(1, 10**6), Fraction(2, 5) if fault else Fraction(1, 2)

    def weight(m: Fraction | int) -> float:
        u, v = centre + e, Fraction(1, 2) + m * e
        return float(coefficients_at(RK4, u=float(u), v=float(v)).b[2])

    slopes = [Fraction(k, 10) for k in range(-30, 9)]
    line = ([float(m) for m in slopes], [weight(m) for m in slopes])
    figure = curves({"of the member at distance 1e-6": line}, "slope of approach", "b_3", log="")
    first, second = weight(-1), weight(Fraction(1, 2))
    text = f"{first:.4f} with slope -1, {second:.4f} with slope 1/2"
    return Finding({"difference of b_3": abs(first - second)}, text, figure)


def _untruncated(fault: bool, sample: Draws) -> Finding:
    """The share of Cauchy draws around the 3/8 rule with a coefficient over 100."""
    sizes = []
    for _ in range(sample.count):
        draw = sample.rng.uniform(-1, 1, 2) * 0.05 if fault else sample.rng.standard_cauchy(2)
        u, v = 1 / 3 + draw[0], 2 / 3 + draw[1]
        A, b = RK4.formula(u, v)
        sizes.append(max(abs(x) for x in (*b, *(x for row in A for x in row))))
    largest = np.array(sizes)
    bounds = np.geomspace(1, 1e4, 25)
    shares = [float((largest > bound).mean()) for bound in bounds]
    figure = curves(
        {"Cauchy draws around (1/3, 2/3)": (bounds, shares)},
        "bound", "share with a coefficient above it", log="xy",
    )  # fmt: skip
    return Finding({"share": float((largest > 100).mean())}, figure=figure)


def _frank_wolfe(fault: bool, sample: Draws) -> Finding:
    """How unequal 100 iterations leave the decreases of 50 objectives, and the exact solver."""
    unequal, paths = [], []
    for _ in range(sample.count):
        J = sample.rng.standard_normal((50, 200)) + 0.1
        U = J / np.linalg.norm(J, axis=1, keepdims=True)
        C, a = U @ U.T, np.full(50, 1 / 50)
        exact = equiangular_weights(gramian(J))
        active, path = exact.active, []
        for k in range(100):
            vertex = int(np.argmin(C @ a))
            a = (1 - 2 / (k + 2)) * a
            a[vertex] += 2 / (k + 2)
            path.append(_spread((C @ a)[active]))
        paths.append(path)
        spread = [path[-1], _spread((U @ (J.T @ exact.weights))[active])]
        unequal.append(spread[::-1] if fault else spread)
    few, solved = (float(x) for x in np.median(unequal, axis=0))
    figure = curves(
        {"Frank and Wolfe": (range(1, 101), np.median(paths, axis=0))},
        "iterations", "spread of the decreases", limits={"active set": solved},
    )  # fmt: skip
    return Finding({"spread after 100 iterations": few, "exact": solved}, figure=figure)


def _spread(c: Any) -> float:
    return float(np.ptp(c) / abs(c).max())


def _impact(fault: bool) -> float:
    """The derivative by the height of the time at which a body thrown up falls to the ground."""
    fall = lambda t, y: np.array([y[1], -9.81])  # noqa: E731

    def linearize(t: float, y: Any) -> Any:
        return fall(t, y), lambda a, parameters: (np.array([0.0, a[0]]), ())

    y0 = np.array([2.0, 1.0])
    event = Event(lambda t, y: y[0], terminal=True)
    impact = solve_ivp(fall, (0.0, 10.0), y0, events=event).events[0]
    t, y = float(impact.t[0]), impact.y[0]
    slope = fall(t, y) * (1 if not fault else -1)
    there = event_cotangent(slope, (0.0, np.array([1.0, 0.0]), ()), np.zeros(2), 1.0)
    _, panels = record_panels(fall, [0.0, t], y0)
    return float(collocated(node_by_node(linearize), panels, [np.zeros(2), there.state]).y0[0])


CLAIMS = (
    Claim(
        "weights-of-nodes",
        "second-kind nodes need second-kind weights: the published mixture loses convergence",
        "against the code of arXiv 2003.05271; Berrut, Trefethen, SIAM Review 46 (2004), section 5",
        _nodes,
        {"error": at_most(1e-13), "with the other kind": at_least(1e-6)},
        paper="2003.05271",
        module="odecore.interpolation",
    ),
    Claim(
        "reversed-drift",
        "on a contraction the reversed adjoint drifts, the restored one keeps the tolerance",
        "arXiv 2003.05271, section 3",
        _drift,
        {"restored": at_most(1e-5), "reversed / restored": at_least(100)},
        paper="2003.05271",
        module="odecore.adjoint",
    ),
    Claim(
        "event-gradient",
        "the time of an event has the derivative of the implicit function theorem",
        "free fall from h at speed v: 1 / sqrt(v^2 + 2 g h)",
        _impact,
        1 / math.sqrt(1 + 2 * 9.81 * 2),
        1e-5,
        module="odecore.adjoint",
    ),
    Claim(
        "gaussian-sign",
        "the variance of the Gaussian sketch has a plus where the published lemma has a minus",
        "against arXiv 2201.13195, variance lemma as its code has it",
        _gaussian_sign,
        {"standard errors from the formula": at_most(5)},
        paper="2201.13195",
        module="odecore.sketching",
        samples=2000,
    ),
    Claim(
        "row-sampling-exact",
        "mean and variance of sampled rows are exact over all 16 draws of 2 rows of 4",
        "Drineas, Kannan, Mahoney, SIAM J. Comput. 36 (2006), lemma 4",
        _all_row_draws,
        {"bias": 0, "relative deviation of the variance": at_most(1e-12)},
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "direction-of-approach",
        "near (1/2, 1/2) the member of RK4 depends on the direction of approach, so that clamping "
        "to the nearest valid point picks an arbitrary one",
        "against the code of arXiv 2103.08561",
        _direction_of_approach,
        {"difference of b_3": at_least(0.5)},
        paper="2103.08561",
        module="odecore.families",
    ),
    Claim(
        "untruncated-draws",
        "more than 2 % of untruncated Cauchy draws of (u, v) have a coefficient over 100",
        "against the code of arXiv 2103.08561",
        _untruncated,
        {"share": at_least(0.02)},
        paper="2103.08561",
        module="torch_bridge",
        samples=2000,
    ),
    Claim(
        "frank-wolfe",
        "100 iterations of Frank and Wolfe leave the decreases of 50 objectives unequal by per "
        "cents; the active set makes them equal",
        "against the code of arXiv 2007.06937",
        _frank_wolfe,
        {"spread after 100 iterations": at_least(0.02), "exact": at_most(1e-9)},
        paper="2007.06937",
        module="odecore.directions",
        samples=5,
    ),
)
