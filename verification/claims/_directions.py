"""What is claimed of directions for several objectives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from odecore.directions import (
    DirectionWeights,
    equiangular_weights,
    gramian,
    min_norm_weights,
    pareto_stationarity,
)
from torch_bridge import certified_step, equiangular_backward
from verification.claims._claim import Claim, Draws

__all__ = ["CLAIMS"]

Array = NDArray[np.float64]


def _jacobians(sample: Draws) -> Iterator[Array]:
    """Random gradients of all kinds: scaled, dependent, more than dimensions."""
    rng = sample.rng
    for m, n in ((2, 2), (3, 40), (5, 5), (8, 6), (30, 30), (64, 40), (128, 128)):
        for k in range(sample.count):
            J = (rng.standard_normal((m, n)) + 0.2) * 10 ** rng.uniform(-6, 6, (m, 1))
            J[-1] = J[0] * (2 if k % 2 else 1)
            yield J


def _cosines(J: Array, d: Array) -> Array:
    return (J @ d) / np.linalg.norm(J, axis=1) / np.linalg.norm(d)


def _weights(J: Array, fault: bool) -> DirectionWeights:
    return (min_norm_weights if fault else equiangular_weights)(gramian(J))


def _unequal(fault: bool, sample: Draws) -> int:
    """In how many cases the active cosines differ by 1e-10, or another is smaller."""
    wrong = 0
    for J in _jacobians(sample):
        found = _weights(J, fault)
        if not found.stationary:
            c = _cosines(J, J.T @ found.weights)
            wrong += bool(np.ptp(c[found.active]) > 1e-10 or c.min() < found.worst_cosine - 1e-10)
    return wrong


def _conflicts(fault: bool, sample: Draws) -> int:
    """How many objectives rise at first order along the direction, or along that of the sum."""
    wrong = 0
    for J in _jacobians(sample):
        found = equiangular_weights(gramian(J))
        weights = np.ones(len(J)) if fault else found.weights
        wrong += 0 if found.stationary else int((_cosines(J, J.T @ weights) <= 0).sum())
    return wrong


def _enumerated(fault: bool, sample: Draws) -> bool:
    """Whether the worst cosine is the least norm over all sets that may be active."""
    rng, closed = sample.rng, True
    for _ in range(sample.count):
        m, n = rng.integers(2, 6), rng.integers(2, 6)
        J = rng.standard_normal((m, n)) + 0.3
        unit = J / np.linalg.norm(J, axis=1, keepdims=True)
        C, best = unit @ unit.T, np.inf
        for size in range(1, min(m, n) + 1):
            for some in combinations(range(m), size):
                a = np.linalg.lstsq(C[np.ix_(some, some)], np.ones(size), rcond=None)[0]
                if fault or (a > 0).all():  # the fault: the closed form, whatever its signs
                    best = min(best, abs(a.sum()) ** -0.5)
        found = equiangular_weights(gramian(J))
        if not found.stationary:
            closed &= bool(abs(found.worst_cosine - best) < 1e-7)
    return closed


def _rises(fault: bool, sample: Draws) -> int:
    """How many of five quadratics rise in single steps of 1.99/L; of the fault, of 2.5/L."""
    rng, L = sample.rng, np.array([1.0, 0.5, 1.0, 1.0, 0.9])
    rose = 0
    for _ in range(sample.count):
        centres, x = rng.standard_normal((5, 7)), 2 * rng.standard_normal(7)
        J = L[:, None] * (x - centres)
        d = J.T @ equiangular_weights(gramian(J), scaling="min").weights
        moved = x - (2.5 if fault else 1.99) * d
        before, after = (L * ((p - centres) ** 2).sum(axis=1) for p in (x, moved))
        rose += int((after >= before).sum())
    return rose


def _scales(fault: bool) -> bool:
    """Whether losses scaled by 1, 1e-6 and 1e6 give a network the same direction, in float32."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    x, found = torch.randn(32, 6), []
    for scales in ((1.0, 1.0, 1.0), (1.0, 1e-6, 1e6)):
        losses = [
            s * (y - i).square().mean()
            for i, (s, y) in enumerate(zip(scales, model(x).T, strict=True))
        ]
        model.zero_grad()
        if fault:
            torch.stack(losses).sum().backward()
        else:
            equiangular_backward(losses, model.parameters())
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        d = torch.cat([g.flatten() for g in grads]).double()
        found.append(d / d.norm())
    return bool((found[0] - found[1]).norm() < 1e-5)


def _beyond(fault: bool) -> int:
    """How many of 40 steps to 0.999 of the certified limit raise a quadratic; of the fault, 1.001.

    The quadratics have curvatures between 1e-3 and 1e3.
    """
    rng, rose = np.random.default_rng(9), 0
    for _ in range(40):
        A = rng.standard_normal((4, 6, 6)) * 10 ** rng.uniform(-1.5, 1.5, (4, 1, 1))
        H = torch.tensor(A @ A.transpose(0, 2, 1))
        centres = torch.tensor(rng.standard_normal((4, 6)))
        x = torch.tensor(2 * rng.standard_normal(6), requires_grad=True)

        def losses(x: torch.Tensor, H: torch.Tensor = H, c: torch.Tensor = centres) -> torch.Tensor:
            return torch.einsum("mi,mij,mj->m", x - c, H, x - c) / 2

        equiangular_backward(losses(x), [x])
        limit = certified_step(losses, x, largest=1.0).limit
        with torch.no_grad():
            moved = x - limit * (1.001 if fault else 0.999) * x.grad
            rose += bool((losses(moved) >= losses(x)).any())
    return rose


def _pareto_set(fault: bool) -> int:
    """On how many of 21 points between two minima, or beside them, the test says stationary."""
    first, second = np.array([1.0, 0.0, 2.0]), np.array([-1.0, 3.0, 0.0])
    beside = np.array([3.0, 1.0, 0.0]) * (1e-2 if fault else 0)
    count = 0
    for t in np.linspace(0, 1, 21):
        x = (1 - t) * first + t * second + beside
        J = np.stack([x - first, 1e4 * (x - second)])
        count += pareto_stationarity(gramian(J)).stationary
    return count


CLAIMS = (
    Claim(
        "equiangular-decrease",
        "active objectives fall equally, to 1e-10 of their gradients' norms, the others faster",
        "arXiv 2007.06937",
        _unequal,
        0,
        samples=4,
        paper="2007.06937",
        module="odecore.directions",
    ),
    Claim(
        "equiangular-conflict",
        "no objective rises at first order, for up to 128 objectives and norms 1 : 1e12",
        "arXiv 2007.06937",
        _conflicts,
        0,
        samples=4,
        paper="2007.06937",
        module="odecore.directions",
    ),
    Claim(
        "equiangular-optimum",
        "the worst cosine is the least over all sets of active objectives, by enumeration",
        "own addition",
        _enumerated,
        True,
        samples=40,
        paper="2007.06937",
        module="odecore.directions",
    ),
    Claim(
        "equiangular-monotone",
        'with scaling="min", steps below 2/L lower every L-smooth objective',
        "own addition",
        _rises,
        0,
        samples=100,
        paper="2007.06937",
        module="odecore.directions",
    ),
    Claim(
        "certified-step",
        "steps below the limit of one second-order Taylor pass lower every quadratic",
        "own addition",
        _beyond,
        0,
        paper="2007.06937",
        module="torch_bridge",
    ),
    Claim(
        "equiangular-scales",
        "the direction does not depend on the scales of the losses, 1e-6 : 1 : 1e6 in float32",
        "arXiv 2007.06937",
        _scales,
        True,
        paper="2007.06937",
        module="torch_bridge",
    ),
    Claim(
        "pareto-stationarity",
        "the points between two minima, and only these, are Pareto stationary, whatever the scales",
        "Gordan's theorem",
        _pareto_set,
        21,
        paper="2007.06937",
        module="odecore.directions",
    ),
)
