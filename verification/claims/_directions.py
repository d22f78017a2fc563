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
from verification.claims._bound import at_most
from verification.claims._claim import Claim, Draws, Finding
from verification.claims._plots import curves

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


def _unequal(fault: bool, sample: Draws) -> Finding:
    """How far active cosines are from each other, and any is below them."""
    spreads, below = [], []
    for J in _jacobians(sample):
        found = _weights(J, fault)
        if not found.stationary:
            c = _cosines(J, J.T @ found.weights)
            spreads.append(float(np.ptp(c[found.active])))
            below.append(float(found.worst_cosine - c.min()))
    numbers = {
        "largest difference of active cosines": float(np.max(spreads)),
        "any below": float(np.max(below)),
    }
    return Finding(numbers, f"{len(spreads)} cases")


def _conflicts(fault: bool, sample: Draws) -> Finding:
    """How many objectives rise at first order along the direction, or along that of the sum."""
    wrong, worst, of_sum = 0, [], []
    for J in _jacobians(sample):
        found = equiangular_weights(gramian(J))
        if found.stationary:
            continue
        ours, sums = (_cosines(J, J.T @ w) for w in (found.weights, np.ones(len(J))))
        wrong += int(((sums if fault else ours) <= 0).sum())
        worst.append(float(ours.min()))
        of_sum.append(float(sums.min()))
    share = np.linspace(0, 1, len(worst))
    figure = curves(
        {"equiangular": (sorted(worst), share), "the sum's gradient": (sorted(of_sum), share)},
        "worst cosine of a case", "share of cases below", log="",
    )  # fmt: skip
    return Finding(wrong, f"{wrong} rise in {len(worst)} cases", figure)


def _enumerated(fault: bool, sample: Draws) -> Finding:
    """How far the worst cosine is from the least norm over all sets that may be active."""
    rng, off = sample.rng, []
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
            off.append(float(abs(found.worst_cosine - best)))
    return Finding({"largest deviation": float(np.max(off))}, f"{len(off)} cases")


def _rises(fault: bool, sample: Draws) -> Finding:
    """How many of five quadratics rise in single steps of 1.99/L; of the fault, of 2.5/L."""
    rng, L = sample.rng, np.array([1.0, 0.5, 1.0, 1.0, 0.9])
    lengths = np.linspace(1.5, 2.5, 21)
    rose, risen = 0, np.zeros(len(lengths))
    for _ in range(sample.count):
        centres, x = rng.standard_normal((5, 7)), 2 * rng.standard_normal(7)
        J = L[:, None] * (x - centres)
        d = J.T @ equiangular_weights(gramian(J), scaling="min").weights
        before, after, *others = (
            L * ((x - h * d - centres) ** 2).sum(axis=1)
            for h in (0, 2.5 if fault else 1.99, *lengths)
        )
        rose += int((after >= before).sum())
        risen += [(other >= before).any() for other in others]
    figure = curves(
        {"steps in which an objective rises": (lengths, risen / sample.count)},
        "length of the step, by 1/L", "share", log="",
    )  # fmt: skip
    return Finding(rose, f"{rose} of {5 * sample.count} rise", figure)


def _scales(fault: bool) -> dict[str, float]:
    """How far directions are by losses scaled by 1, 1e-6 and 1e6, of a network in float32."""
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
    return {"distance of unit directions": float((found[0] - found[1]).norm())}


def _beyond(fault: bool) -> Finding:
    """How many of 40 steps to 0.999 of the certified limit raise a quadratic; of the fault, 1.001.

    The quadratics have curvatures between 1e-3 and 1e3.
    """
    rng = np.random.default_rng(9)
    lengths = (0.5, 0.7, 0.9, 0.99, 0.999, 1.001, 1.01, 1.1, 1.3, 1.5)
    risen = dict.fromkeys(lengths, 0.0)
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
            before = losses(x)
            for length in lengths:
                risen[length] += bool((losses(x - limit * length * x.grad) >= before).any()) / 40
    figure = curves(
        {"steps in which a quadratic rises": (lengths, list(risen.values()))},
        "length of the step, by the certified limit", "share", log="",
    )  # fmt: skip
    rose = round(40 * risen[1.001 if fault else 0.999])
    return Finding(rose, f"{rose} of 40 steps", figure)


def _pareto_set(fault: bool) -> Finding:
    """On how many of 21 points between two minima, or beside them, the test says stationary."""
    first, second = np.array([1.0, 0.0, 2.0]), np.array([-1.0, 3.0, 0.0])
    beside = np.array([3.0, 1.0, 0.0]) * (1e-2 if fault else 0)
    count = 0
    for t in np.linspace(0, 1, 21):
        x = (1 - t) * first + t * second + beside
        J = np.stack([x - first, 1e4 * (x - second)])
        count += pareto_stationarity(gramian(J)).stationary
    return Finding(count, f"{count} of 21 points")


CLAIMS = (
    Claim(
        "equiangular-decrease",
        "active objectives fall equally, to 1e-10 of their gradients' norms, the others faster",
        "arXiv 2007.06937",
        _unequal,
        {"largest difference of active cosines": at_most(1e-10), "any below": at_most(1e-10)},
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
        {"largest deviation": at_most(1e-7)},
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
        "steps below the certified limit lower every quadratic",
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
        {"distance of unit directions": at_most(1e-5)},
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
