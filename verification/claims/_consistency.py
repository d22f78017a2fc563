"""What is claimed of models that depend, or do not depend, on their solver."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor, nn

from torch_bridge import DenseField, NeuralODE, PairedGap, SolvedBy, adapt_steps, solver_consistency
from verification.claims._bound import at_least, at_most
from verification.claims._claim import Claim, Finding
from verification.claims._plots import curves, rows

__all__ = ["CLAIMS"]

PAPER = "arXiv 2007.15386"
TOYS = 40  # random classifiers of the plane, each on 300 points


def _coverage(fault: bool) -> Finding:
    """How often the interval of a paired difference covers, by summing the trinomial."""
    n, intervals = 20, {}
    for lost in range(n + 1):
        for gained in range(n - lost + 1):
            ends = PairedGap(lost, gained, n).interval()
            if fault and lost + gained == 0:  # conditional on the discordant ones, as McNemar's
                ends = (0.0, 0.0)
            intervals[lost, gained] = ends

    def covered(p: float, q: float) -> float:
        return sum(
            comb(n, lost) * comb(n - lost, gained)
            * p**lost * q**gained * (1 - p - q) ** (n - lost - gained)
            for (lost, gained), (low, high) in intervals.items()
            if low <= p - q <= high
        )  # fmt: skip

    least = min(covered(p, q) for p, q in ((0.02, 0.0), (0.3, 0.05), (0.5, 0.4)))
    shares = [0.01 * k for k in range(1, 50, 2)]
    lines = {f"gained {q:g}": (shares, [covered(p, q) for p in shares]) for q in (0.0, 0.05, 0.4)}
    figure = curves(lines, "share lost", "probability to cover", log="", limits={"0.95": 0.95})
    return Finding({"least coverage": least}, "20 samples", figure)


def _toy(seed: int) -> tuple[nn.Module, Tensor]:
    """A random classifier of the plane by few large Euler steps, and points of it."""
    torch.manual_seed(seed)
    block = NeuralODE(DenseField(2, 16), solver="euler", steps=(1, 1, 2, 2)[seed % 4])
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_((4.0, 6.0, 8.0)[seed % 3])
    return nn.Sequential(block, nn.Linear(2, 2)).double(), torch.randn(300, 2).double()


def _false_certificates(fault: bool) -> Finding:
    """The share of certified points that change their class; two rungs certify others."""
    found: dict[str, list[Tensor]] = {"ladder": [], "two rungs": [], "changed": []}
    for seed in range(TOYS):
        model, x = _toy(seed)
        with torch.no_grad():
            first, second = model(x), SolvedBy(model, refine=2)(x)
            flow = SolvedBy(model, "rk4", refine=64)(x)
        found["ladder"].append(torch.tensor(solver_consistency(model, [x], solvers=()).ratios))
        bound = 2 * (second - first).abs().amax(1)
        found["two rungs"].append(2 * bound / (first[:, 0] - first[:, 1]).abs())
        found["changed"].append(first.argmax(1) != flow.argmax(1))
    changed = torch.cat(found.pop("changed"))
    ratios = {name: torch.cat(one).double() for name, one in found.items()}

    def wrong(name: str, below: float) -> float:
        certified = ratios[name] < below
        return float(changed[certified].double().mean())

    below = [2.0**k for k in range(-4, 5)]
    lines = {name: (below, [wrong(name, one) for one in below]) for name in ratios}
    figure = curves(
        lines, "certified below this ratio of bound and margin", "share that changes class",
        log="x", limits={"0.005, at a ratio of 1": 0.005},
    )  # fmt: skip
    name = "two rungs" if fault else "ladder"
    certified = int((ratios[name] < 1).sum())
    return Finding({"share that changes": wrong(name, 1.0), "certified": certified}, figure=figure)


def _broken(fault: bool) -> Finding:
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
    own_accuracy, best = report.accuracy[0], max(report.accuracy[1:])
    verdict = report.verdict
    if fault:  # the published criterion
        verdict = "flow" if own_accuracy <= best + 0.005 else "map"
    names = ("as trained", *report.solvers)
    figure = rows({n: (a, a, a) for n, a in zip(names, report.accuracy, strict=True)}, "accuracy")
    numbers = {"verdict": verdict, "accuracy gained by solvers": best - own_accuracy}
    return Finding(numbers, f"own {own_accuracy:.3f}", figure)


def _order(fault: bool) -> Finding:
    """How far the observed orders of four methods are from theirs."""
    torch.manual_seed(1)
    field, x = DenseField(3, 16).double(), torch.randn(200, 3).double()
    found, off = {}, []
    for solver, order in (("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)):
        model = NeuralODE(field, solver=solver, steps=4)
        report = solver_consistency(model, [x], solvers=(), order=order + fault)
        seen = float("inf") if report.order is None else report.order
        found[solver] = (seen, seen, seen)
        off.append(abs(seen - report.expected_order))
    figure = rows(found, "observed order")
    return Finding({"largest difference of orders": max(off)}, figure=figure)


def _steps(fault: bool) -> Finding:
    """Whether steps that are adapted settle, where half as many would not certify the samples."""
    model, x = _toy(1)
    told = [adapt_steps(model, x, target=0.9, most=1024) for _ in range(1 if fault else 13)]
    last, calls = told[-1], range(1, len(told) + 1)
    figure = curves(
        {"certified share": (calls, [one.certified for one in told])},
        "call", "share", log="", limits={"target": 0.9},
    )  # fmt: skip
    changed = sum(a != b for a, b in zip(last.before, last.after, strict=True))
    text = f"steps {last.before}"
    return Finding({"blocks changed": changed, "certified": last.certified}, text, figure)


CLAIMS = (
    Claim(
        "paired-interval",
        "the interval of a difference in accuracy covers in 95 % at least, for 20 samples",
        "own addition; McNemar's conditional interval does not",
        _coverage,
        {"least coverage": at_least(0.95)},
        module="torch_bridge",
    ),
    Claim(
        "ladder-certificate",
        "under 0.5 % of the samples that a ladder of steps certifies change class under the flow",
        "own addition; two-point Richardson errs more often",
        _false_certificates,
        {"share that changes": at_most(0.005), "certified": at_least(1000)},
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "rising-accuracy",
        "a model that more powerful solvers improve is not the flow's, though the published "
        "criterion passes it",
        PAPER,
        _broken,
        {"verdict": "map", "accuracy gained by solvers": at_least(0.01)},
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "observed-order",
        "orders observed by a ladder are those of Euler, midpoint, Heun and RK4, to 1/4",
        "own addition",
        _order,
        {"largest difference of orders": at_most(0.25)},
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "adapted-steps",
        "adapted steps settle at a number that certifies the samples",
        f"after {PAPER}",
        _steps,
        {"blocks changed": 0, "certified": at_least(0.9)},
        module="torch_bridge",
    ),
)
