"""What is claimed of models that depend, or do not depend, on their solver."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor, nn

from torch_bridge import DenseField, NeuralODE, PairedGap, SolvedBy, adapt_steps, solver_consistency
from verification.claims._claim import Claim

__all__ = ["CLAIMS"]

PAPER = "arXiv 2007.15386"
TOYS = 40  # random classifiers of the plane, each on 300 points


def _coverage(fault: bool) -> bool:
    """Whether the interval of a paired difference covers in 95 %, by summing the trinomial."""

    def covers(gap: PairedGap, true: float) -> bool:
        low, high = gap.interval()
        if fault:  # conditional on the number of discordant samples, as McNemar's
            low, high = (0.0, 0.0) if gap.lost + gap.gained == 0 else (low, high)
        return low <= true <= high

    n, least = 20, 1.0
    for p, q in ((0.02, 0.0), (0.3, 0.05), (0.5, 0.4)):
        total = 0.0
        for lost in range(n + 1):
            for gained in range(n - lost + 1):
                if covers(PairedGap(lost, gained, n), p - q):
                    ways = comb(n, lost) * comb(n - lost, gained)
                    total += ways * p**lost * q**gained * (1 - p - q) ** (n - lost - gained)
        least = min(least, total)
    return least >= 0.95


def _toy(seed: int) -> tuple[nn.Module, Tensor]:
    """A random classifier of the plane by few large Euler steps, and points of it."""
    torch.manual_seed(seed)
    block = NeuralODE(DenseField(2, 16), solver="euler", steps=(1, 1, 2, 2)[seed % 4])
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_((4.0, 6.0, 8.0)[seed % 3])
    return nn.Sequential(block, nn.Linear(2, 2)).double(), torch.randn(300, 2).double()


def _false_certificates(fault: bool) -> bool:
    """Whether under 0.5 % of the certified points change their class; two rungs certify others."""
    wrong = certified = 0
    for seed in range(TOYS):
        model, x = _toy(seed)
        with torch.no_grad():
            first, second = model(x), SolvedBy(model, refine=2)(x)
            flow = SolvedBy(model, "rk4", refine=64)(x)
        ratios = torch.tensor(solver_consistency(model, [x], solvers=()).ratios)
        if fault:  # the first two rungs alone
            bound = 2 * (second - first).abs().amax(1)
            ratios = 2 * bound / (first[:, 0] - first[:, 1]).abs()
        wrong += int(((ratios < 1) & (first.argmax(1) != flow.argmax(1))).sum())
        certified += int((ratios < 1).sum())
    return certified > 1000 and wrong / certified < 0.005


def _broken(fault: bool) -> str:
    """The verdict on a model of 30 % accuracy that more powerful solvers only improve."""
    torch.manual_seed(0)
    block = NeuralODE(DenseField(2, 16), solver="euler", steps=1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_(5)
    model, x = nn.Sequential(block, nn.Linear(2, 2)), torch.randn(2000, 2)
    with torch.no_grad():
        own, fine = model(x).argmax(1), SolvedBy(model, "rk4", refine=16)(x).argmax(1)
    differ = own != fine
    y = torch.where(differ, fine, 1 - own)  # right where the solvers differ, wrong elsewhere
    y[~differ] = torch.where(torch.rand(int((~differ).sum())) < 0.4, own[~differ], y[~differ])
    report = solver_consistency(model, [(x, y)])
    if fault:  # the published criterion
        return "flow" if report.accuracy[0] <= max(report.accuracy[1:]) + 0.005 else "map"
    return report.verdict if report.accuracy[0] < max(report.accuracy[1:]) - 0.01 else "?"


def _order(fault: bool) -> bool:
    """Whether the observed orders of four methods are theirs to a quarter."""
    torch.manual_seed(1)
    field, x = DenseField(3, 16).double(), torch.randn(200, 3).double()
    found = []
    for solver, order in (("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)):
        model = NeuralODE(field, solver=solver, steps=4)
        report = solver_consistency(model, [x], solvers=(), order=order + fault)
        found.append(report.order is not None and abs(report.order - report.expected_order) < 0.25)
    return all(found)


def _steps(fault: bool) -> bool:
    """Whether steps that are adapted settle, where half as many would not certify the samples."""
    model, x = _toy(1)
    for _ in range(0 if fault else 12):
        adapt_steps(model, x, target=0.9, most=1024)
    last = adapt_steps(model, x, target=0.9, most=1024)
    return last.before == last.after and last.certified >= 0.9


CLAIMS = (
    Claim(
        "paired-interval",
        "the interval of a difference in accuracy covers in 95 % at least, for 20 samples",
        "own addition; McNemar's conditional interval does not",
        _coverage,
        True,
        module="torch_bridge",
    ),
    Claim(
        "ladder-certificate",
        "under 0.5 % of the samples that a ladder of steps certifies change class under the flow",
        "own addition; two-point Richardson errs more often",
        _false_certificates,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "rising-accuracy",
        "a model that more powerful solvers improve is not the flow's, though the published "
        "criterion passes it",
        PAPER,
        _broken,
        "map",
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "observed-order",
        "orders observed by a ladder are those of Euler, midpoint, Heun and RK4, to 1/4",
        "own addition",
        _order,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "adapted-steps",
        "adapted steps settle at a number that certifies the samples",
        f"after {PAPER}",
        _steps,
        True,
        module="torch_bridge",
    ),
)
