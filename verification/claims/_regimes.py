"""What is claimed of solver regimes and of the evaluation of robustness."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from odecore.families import RK2, RK4
from torch_bridge import (
    Accuracy,
    Attack,
    DenseField,
    NeuralODE,
    SmoothedSolver,
    SolverEnsemble,
    robustness,
    smoothing_effect,
)
from verification._digits import digits
from verification.attacks import pgd
from verification.claims._claim import Claim

__all__ = ["CLAIMS"]

F = Fraction


def _hides(fault: bool) -> bool:
    """Whether a trained classifier's draws hide behind the truncation error, 25 times and more."""
    torch.manual_seed(0)
    width, radius = (0.25, F(1, 4)) if fault else (0.0125, F(1, 20))
    solver = SmoothedSolver(RK2, {"u": F(1, 2)}, width=width, radius=radius)
    block = NeuralODE(DenseField(16, 64), solver=solver, steps=8)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), block, nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    data = digits()
    for _ in range(100):
        some = torch.randint(len(data.train_x), (64,))
        optimizer.zero_grad()
        cross_entropy(model(data.train_x[some]), data.train_y[some, 0]).backward()
        optimizer.step()
    return smoothing_effect(model, data.test_x, draws=64).ratio < 1 / 25


def _above(fault: bool) -> int:
    """How many of 2000 Cauchy draws around RK4(1/3, 2/3) have a coefficient above 10."""
    center = {"u": F(1, 3), "v": F(2, 3)}
    seed = torch.Generator().manual_seed(0)
    bound = 900 if fault else 10
    solver = SmoothedSolver(
        RK4, center, width=0.05, distribution="cauchy", bound=bound, generator=seed
    )
    found = [solver(torch.zeros(1)) for _ in range(2000)]
    return sum(max(abs(a) for row in (*m.A, m.b) for a in row) > 10 for m in found)


def _resumes(fault: bool) -> bool:
    """Whether a solver that loads a state goes on with the draws that would have come."""
    first, second = (SmoothedSolver(RK2, {"u": F(2, 3)}, width=0.1, bound=3) for _ in range(2))
    [first(torch.zeros(1)) for _ in range(7)]
    if not fault:
        second.load_state_dict(first.state_dict())
    return all(first(torch.zeros(1)).b == second(torch.zeros(1)).b for _ in range(20))


def _repeats(fault: bool) -> bool:
    """Whether a gradient through a checkpoint is that without; the fault draws another solver."""
    torch.manual_seed(0)
    solver = SmoothedSolver(RK2, {"u": F(2, 3)}, width=0.2, bound=3)
    block = NeuralODE(DenseField(4, 8), solver=solver, steps=1).double()
    x, state, gradients = torch.randn(6, 4).double(), solver.state_dict(), []
    for keep in (True, False):
        if not fault:
            block.solver.load_state_dict(state)
        block.zero_grad()
        y = block(x) if keep else checkpoint(block, x, use_reentrant=False)
        y.square().sum().backward()
        gradients.append(torch.cat([p.grad.ravel() for p in block.parameters()]))  # type: ignore[union-attr]
    return bool((gradients[0] - gradients[1]).norm() < 1e-12 * gradients[0].norm())


def _one_pass(fault: bool) -> bool:
    """Whether an ensemble in one pass gives the mean of its solves, to rounding."""
    torch.manual_seed(0)
    field, x = DenseField(4, 8).double(), torch.randn(6, 4).double()
    nn.init.normal_(field.drift)
    methods, weights = ["midpoint", "heun2"], [0.8, 0.2]
    together = SolverEnsemble(methods, weights=None if fault else weights, batched=True)
    found = NeuralODE(field, solver=together, steps=3)(x)
    apart = [NeuralODE(field, solver=method, steps=3)(x) for method in methods]
    wanted = sum(w * y for w, y in zip(weights, apart, strict=True))
    return bool((found - wanted).abs().max() < 1e-14)


def _closed_form(fault: bool) -> bool:
    """Whether robust accuracy of a linear model is the share of margins above eps |w|_1, not 2."""
    torch.manual_seed(0)
    model = nn.Linear(6, 2).double()
    x = 0.2 + 0.6 * torch.rand(400, 6).double()
    with torch.no_grad():
        model.bias -= model(x).mean(0)  # so that margins are of all sizes
    y = model(x).argmax(1)
    z, w = model(x), model.weight[0] - model.weight[1]
    margin = (z[:, 0] - z[:, 1]).abs()
    found = robustness(model, x, y, pgd(0.1, 10, 0.03))
    size = w.norm() if fault else w.abs().sum()
    return found.robust.correct == int((margin > 0.1 * size).sum())


def _weak(fault: bool) -> bool:
    """Whether 7 steps of 2/255 are refused in a ball of 0.3; the fault is a ball they reach."""
    try:
        Attack(lambda model, x, y: x, 0.05 if fault else 0.3, steps=7, step_size=2 / 255)
    except ValueError:
        return True
    return False


def _coverage(fault: bool) -> bool:
    """Whether 95 % intervals for 360 images cover within 2 %, exactly, at ten accuracies."""
    n, level = 360, 0.9 if fault else 0.95
    intervals = [Accuracy(k, n).interval(level) for k in range(n + 1)]

    def covered(p: float) -> float:
        inside = (k for k, (low, high) in enumerate(intervals) if low <= p <= high)
        return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in inside)

    return all(abs(covered(0.05 + 0.1 * i) - 0.95) < 0.02 for i in range(10))


CLAIMS = (
    Claim(
        "smoothing-effect",
        "width 0.0125 on 8 steps of RK2(u) changes outputs over 25 times less than truncation does",
        "arXiv 2103.08561's width",
        _hides,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "smoothing-bound",
        "no member drawn has a coefficient above the bound, with Cauchy draws over singular sets",
        "own addition",
        _above,
        0,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "draws-resumed",
        "a training that is resumed draws the solvers it would have drawn",
        "own addition",
        _resumes,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "draws-repeated",
        "a pass repeated by a checkpoint sees the solver of the first, to 1e-12 of the gradient",
        "own addition",
        _repeats,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "ensemble-one-pass",
        "all solvers of an ensemble in one pass give the mean of their solves, to 1e-14",
        "own addition",
        _one_pass,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "robust-accuracy",
        "robust accuracy of a linear model is its closed form, sample by sample",
        "margin > eps |w|_1",
        _closed_form,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "weak-attack",
        "an attack whose steps cannot reach the edge of its ball is refused",
        "own addition",
        _weak,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
    Claim(
        "accuracy-interval",
        "intervals of 360 images cover with 93 to 97 %, by summing binomials",
        "Wilson 1927",
        _coverage,
        True,
        paper="2103.08561",
        module="torch_bridge",
    ),
)
