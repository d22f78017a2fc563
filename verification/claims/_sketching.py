"""What is claimed of randomized products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np
import torch

from odecore.sketching import (
    BalancedCountSketch,
    Centred,
    CosineSketch,
    CountSketch,
    GaussianSketch,
    HadamardSketch,
    ImportanceRows,
    PoissonRows,
    RademacherSketch,
    SparseSignSketch,
    UniformRows,
    WinnerTakeAllRows,
    alignment,
    minibatch_variance,
    moments,
    sketched_product,
    squared_rows,
    unsketched_moments,
    variance,
)
from torch_bridge import apply, plan, saved_bytes
from verification.claims._bound import at_least, at_most
from verification.claims._claim import Claim, Draws, Finding
from verification.claims._plots import curves, rows

__all__ = ["CLAIMS"]

F = Fraction

SKETCHES = (
    GaussianSketch(12),
    RademacherSketch(12),
    SparseSignSketch(12, 4),
    CountSketch(12),
    BalancedCountSketch(12),
    HadamardSketch(12),
    CosineSketch(12),
    UniformRows(12),
    UniformRows(12, replacement=True),
    ImportanceRows(12),
    ImportanceRows(12, squared_rows),
    PoissonRows(12),
    WinnerTakeAllRows(12),
    Centred(BalancedCountSketch(12)),
)


def _measured(fault: bool, sample: Draws) -> Finding:
    """How many standard errors the measured variances of all sketches are from the claimed."""
    rng = sample.rng
    X = rng.standard_normal((40, 6)) * np.geomspace(1, 5, 40)[:, None] + 0.5
    Y = rng.standard_normal((40, 4)) + 0.3
    exact, found = X.T @ Y, []
    for sketch in SKETCHES:
        draws = (sketched_product(sketch, X, Y, rng) for _ in range(sample.count))
        errors = [float(np.sum((draw - exact) ** 2)) for draw in draws]
        claimed = float(variance(sketch, X, Y)) * (2 if fault else 1)
        found.append((_said(sketch), errors, claimed))
    return _compared(found, "measured variance / claimed, 5 standard errors to either side")


def _said(sketch: Any) -> str:
    """A name short enough for a figure."""
    if isinstance(sketch, Centred):
        return f"centred {_said(sketch.sketch)}"
    drawn = " replacement" if getattr(sketch, "replacement", False) else ""
    size = " squared" if getattr(sketch, "scores", None) is squared_rows else ""
    return type(sketch).__name__.removesuffix("Sketch") + drawn + size


def _compared(found: Sequence[tuple[str, Sequence[float], float]], xlabel: str) -> Finding:
    """Means of draws against what is claimed of them, in standard errors; the largest."""
    lines, off = {}, []
    for name, draws, claimed in found:
        mean, error = float(np.mean(draws)), float(np.std(draws, ddof=1)) / len(draws) ** 0.5
        share, side = mean / claimed, 5 * error / claimed
        lines[name] = (share, share - side, share + side)
        off.append(abs(mean - claimed) / error)
    figure = rows(lines, xlabel, limits={"as claimed": 1.0})
    numbers = {"largest deviation in standard errors": float(np.max(off))}
    return Finding(numbers, f"{len(found)} sketches", figure)


def _every_balanced_draw(fault: bool) -> Finding:
    """The variance of dealing 4 rows with signs into 2 buckets, in all ways, by the claimed one."""
    X = [[F(1), F(2)], [F(-3), F(1)], [F(2), F(2)], [F(0), F(1)]]
    Y = [[F(2)], [F(1)], [F(-1)], [F(3)]]
    errors = []
    for order in permutations(range(4)):
        for signs in product((-1, 1), repeat=4):
            error = F(0)
            for n in range(2):
                # Only pairs of different rows in one bucket are wrong.
                off = sum(
                    signs[i] * signs[j] * X[i][n] * Y[j][0]
                    for a, i in enumerate(order)
                    for b, j in enumerate(order)
                    if i != j and a % 2 == b % 2
                )
                error += off**2
            errors.append(error)
    sketch: Any = CountSketch(2) if fault else BalancedCountSketch(2)
    found = variance(sketch, np.array(X, dtype=float), np.array(Y, dtype=float))
    exact = sum(errors, F(0)) / len(errors)
    off = abs(float(exact) / float(found) - 1)
    return Finding({"relative deviation": off}, f"{exact} over {len(errors)} outcomes")


def _published_bound(fault: bool) -> Finding:
    """Both noises of X = (1, c), Y = (1, 1/c): that of the mini-batch is nothing at c = 3."""

    def pair(c: float, d: float) -> tuple[Any, Any]:
        return np.array([[1.0], [c]]), np.array([[1.0], [c if fault else 1 / d]])

    X, Y = pair(3.0, 3.0)
    found = alignment(X, Y)
    numbers = {
        "noise of the mini-batch": float(minibatch_variance(X, Y)),
        "ratio / published bound": found.gaussian_ratio * found.alpha / (1 + found.alpha),
        "noise of the sketch": float(variance(CountSketch(2), X, Y)),
    }
    d = np.linspace(1.2, 6, 49)
    near = [alignment(*pair(3.0, one)) for one in d]
    lines = {
        "noise of the sketch / of the mini-batch": (d, [one.gaussian_ratio for one in near]),
        "published bound": (d, [(1 + one.alpha) / one.alpha for one in near]),
    }
    return Finding(numbers, figure=curves(lines, "d, for X = (1, 3), Y = (1, 1/d)", "ratio"))


def _told_noise(fault: bool, sample: Draws) -> Finding:
    """How many standard errors ||X^T Y||^2 out of its sketch is from the true one."""
    rng = sample.rng
    X, Y = rng.standard_normal((40, 6)) + 0.5, rng.standard_normal((40, 4)) + 0.3
    m, kinds = moments(X, Y), (UniformRows(8), BalancedCountSketch(8), GaussianSketch(8))
    found = []
    for sketch in kinds:
        draws = [np.sum(sketched_product(sketch, X, Y, rng) ** 2) for _ in range(sample.count)]
        if not fault:
            kept = [replace(m, product=square) for square in draws]
            draws = [unsketched_moments(sketch, one).product for one in kept]
        found.append((_said(sketch), draws, float(m.product)))
    return _compared(found, "size told / true, 5 standard errors to either side")


def _planned_bytes(fault: bool) -> Finding:
    """Bytes kept by a converted model, over those that its plan predicts."""
    torch.manual_seed(0)
    wide, narrow = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16)
    model = torch.nn.Sequential(torch.nn.LayerNorm(16), wide, torch.nn.GELU(), narrow)
    x = torch.randn(8, 32, 16)
    found = plan(model, x, budget=0.6, loss=lambda y, x: (y - x).square().mean())
    if not fault:
        apply(found)
    besides = [*model.parameters(), x]
    kept = saved_bytes(lambda: (model(x) - x).square().mean(), besides)
    return Finding(kept / found.bytes_planned, f"{kept} bytes kept, {found.bytes_planned} planned")


CLAIMS = (
    Claim(
        "sketch-variances",
        "every sketch has the variance that is claimed for it, within 5 standard errors",
        "odecore.sketching.variance",
        _measured,
        {"largest deviation in standard errors": at_most(5)},
        samples=300,
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "balanced-count-sketch",
        "equal buckets divide the variance of CountSketch: all 384 outcomes at 4 rows",
        "own addition",
        _every_balanced_draw,
        {"relative deviation": at_most(1e-12)},
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "sketch-self-report",
        "the size of a product, and so the noise of its sketch, is told by the sketch without bias",
        "own addition",
        _told_noise,
        {"largest deviation in standard errors": at_most(5)},
        samples=400,
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "sketch-plan",
        "a converted model keeps the bytes that its plan predicts",
        "own addition",
        _planned_bytes,
        1.0,
        tolerance=0.02,
        paper="2201.13195",
        module="torch_bridge",
    ),
    Claim(
        "sketch-noise-ratio",
        "no function of alpha alone bounds the noise of a sketch per noise of the mini-batch",
        "against arXiv 2201.13195",
        _published_bound,
        {
            "noise of the mini-batch": at_most(1e-14),
            "ratio / published bound": at_least(1.01),
            "noise of the sketch": at_least(0.1),
        },
        paper="2201.13195",
        module="odecore.sketching",
    ),
)
