"""What is claimed of randomized products."""

from __future__ import annotations

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
from verification.claims._claim import Claim, Draws

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


def _measured(fault: bool, sample: Draws) -> int:
    """How many sketches have a measured error further than 5 standard errors from the claimed."""
    rng = sample.rng
    X = rng.standard_normal((40, 6)) * np.geomspace(1, 5, 40)[:, None] + 0.5
    Y = rng.standard_normal((40, 4)) + 0.3
    exact, wrong = X.T @ Y, 0
    for sketch in SKETCHES:
        draws = (sketched_product(sketch, X, Y, rng) for _ in range(sample.count))
        errors = [float(np.sum((draw - exact) ** 2)) for draw in draws]
        claimed = float(variance(sketch, X, Y)) * (2 if fault else 1)
        standard_error = np.std(errors, ddof=1) / len(errors) ** 0.5
        wrong += abs(np.mean(errors) - claimed) > 5 * standard_error
    return wrong


def _every_balanced_draw(fault: bool) -> bool:
    """Whether dealing 4 rows with signs into 2 buckets, in all ways, has the claimed variance."""
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
    return abs(float(sum(errors, F(0)) / len(errors)) / float(found) - 1) < 1e-12


def _published_bound(fault: bool) -> bool:
    """Whether X = (1, c), Y = (1, 1/c) has sketch noise, and no noise of the mini-batch."""
    c = 3.0
    X, Y = np.array([[1.0], [c]]), np.array([[1.0], [c if fault else 1 / c]])
    found = alignment(X, Y)
    none = float(minibatch_variance(X, Y)) < 1e-14
    bound = (1 + found.alpha) / found.alpha
    return none and found.gaussian_ratio > bound and float(variance(CountSketch(2), X, Y)) > 0.1


def _told_noise(fault: bool, sample: Draws) -> bool:
    """Whether ||X^T Y||^2 comes out of its sketch without bias, within 5 standard errors."""
    rng = sample.rng
    X, Y = rng.standard_normal((40, 6)) + 0.5, rng.standard_normal((40, 4)) + 0.3
    m, kinds = moments(X, Y), (UniformRows(8), BalancedCountSketch(8), GaussianSketch(8))
    found = []
    for sketch in kinds:
        draws = [np.sum(sketched_product(sketch, X, Y, rng) ** 2) for _ in range(sample.count)]
        if not fault:
            kept = [replace(m, product=square) for square in draws]
            draws = [unsketched_moments(sketch, one).product for one in kept]
        off = np.mean(draws) - m.product
        found.append(abs(off) < 5 * np.std(draws, ddof=1) / len(draws) ** 0.5)
    return all(found)


def _planned_bytes(fault: bool) -> float:
    """Bytes kept by a converted model, over those that its plan predicts."""
    torch.manual_seed(0)
    wide, narrow = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16)
    model = torch.nn.Sequential(torch.nn.LayerNorm(16), wide, torch.nn.GELU(), narrow)
    x = torch.randn(8, 32, 16)
    found = plan(model, x, budget=0.6, loss=lambda y, x: (y - x).square().mean())
    if not fault:
        apply(found)
    besides = [*model.parameters(), x]
    return saved_bytes(lambda: (model(x) - x).square().mean(), besides) / found.bytes_planned


CLAIMS = (
    Claim(
        "sketch-variances",
        "every sketch has the variance that is claimed for it, within 5 standard errors",
        "odecore.sketching.variance",
        _measured,
        0,
        samples=300,
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "balanced-count-sketch",
        "equal buckets divide the variance of CountSketch: all 384 outcomes at 4 rows",
        "own addition",
        _every_balanced_draw,
        True,
        paper="2201.13195",
        module="odecore.sketching",
    ),
    Claim(
        "sketch-self-report",
        "the size of a product, and so the noise of its sketch, is told by the sketch without bias",
        "own addition",
        _told_noise,
        True,
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
        True,
        paper="2201.13195",
        module="odecore.sketching",
    ),
)
