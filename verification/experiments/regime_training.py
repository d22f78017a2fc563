"""Solver regimes while training: clean and robust accuracy on handwritten digits.

`python -m verification.experiments.regime_training` prints the tables; the question of arXiv
2103.08561 in small: does it help to train with drawn or averaged solvers?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from odecore.families import RK2
from odecore.tableaux import tableau
from torch_bridge import (
    Attack,
    DenseField,
    ModelEnsemble,
    NeuralODE,
    SmoothedSolver,
    SolverEnsemble,
    SwitchedSolver,
    TrainableSolver,
    robustness,
    smoothing_effect,
)
from verification._interval import Estimate
from verification.attacks import pgd
from verification.demo._data import Data, digits

__all__ = ["REGIMES", "Run", "classifier", "line", "main", "train"]

WIDTH, HIDDEN, BATCH, RATE = 16, 64, 64, 1e-2
ODE_STEPS = 2  # few, so that solvers differ
TRAINING_STEPS = 400
EPS = 0.1  # of pixels in [0, 1]
DRAWS = 8
CENTER = {"u": Fraction(2, 3)}
METHODS = [tableau(name) for name in ("midpoint", "ralston", "heun")]


def classifier(solver: Any) -> nn.Module:
    """Linear stem, tanh, neural ODE, linear head."""
    block = NeuralODE(DenseField(WIDTH, HIDDEN), solver=solver, steps=ODE_STEPS)
    return nn.Sequential(nn.Linear(64, WIDTH), nn.Tanh(), block, nn.Linear(WIDTH, 10))


def _seeded() -> torch.Generator:
    """For draws: weights, which take torch's own numbers, are the same in all regimes."""
    return torch.Generator().manual_seed(torch.initial_seed())


def _smoothed(width: float, distribution: str = "normal") -> nn.Module:
    options = {"distribution": distribution, "bound": 3, "generator": _seeded()}
    return classifier(SmoothedSolver(RK2, CENTER, width=width, **options))


def _switched() -> nn.Module:
    return classifier(SwitchedSolver(METHODS, evaluation=1, generator=_seeded()))


#: Ways to use RK2(u): the standalone solver is u = 2/3, Ralston's.
REGIMES: dict[str, Callable[[], nn.Module]] = {
    "standalone": lambda: classifier(METHODS[1]),
    "switching": _switched,
    "smoothing, 0.0125": partial(_smoothed, 0.0125),
    "smoothing, 0.2": partial(_smoothed, 0.2),
    "smoothing, Cauchy 0.2": partial(_smoothed, 0.2, "cauchy"),
    "learned u": lambda: classifier(TrainableSolver(RK2, CENTER, Fraction(1, 2))),
    "solver ensemble": lambda: classifier(SolverEnsemble(METHODS, batched=True)),
    "model ensemble": lambda: ModelEnsemble([classifier(method) for method in METHODS]),
    "model ensemble, one solver": lambda: ModelEnsemble([classifier(METHODS[1]) for _ in METHODS]),
}
DRAWN = ("switching", "smoothing, 0.0125", "smoothing, 0.2", "smoothing, Cauchy 0.2")


@dataclass(frozen=True)
class Run:
    """What one training gave, on the test set.

    Parameters
    ----------
    clean, robust : float
        Accuracy, with the solver of evaluation.
    drawn : float or None
        Robust accuracy of the mean over draws, attacked in expectation; of drawn solvers.
    effect : float or None
        What draws change, by the truncation error; of drawn solvers.
    """

    clean: float
    robust: float
    drawn: float | None
    effect: float | None


def train(name: str, data: Data, seed: int, *, steps: int, attack: Attack, fgsm: bool) -> Run:
    """Train with Adam and a cosine schedule; weights and batches come from the seed only.

    With `fgsm`, on inputs that one step of size EPS has moved.
    """
    torch.manual_seed(seed)
    model = REGIMES[name]()
    batches = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    single = pgd(EPS, 1, EPS)
    for _ in range(steps):
        chosen = torch.randint(len(data.train_x), (BATCH,), generator=batches)
        x, y = data.train_x[chosen], data.train_y[chosen, 0]
        x = single(model, x, y) if fgsm else x
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return judge(model, data.test_x, data.test_y[:, 0], attack, drawn=name in DRAWN)


def judge(model: nn.Module, x: Tensor, y: Tensor, attack: Attack, *, drawn: bool) -> Run:
    """Accuracies, and the effect of draws."""
    found = robustness(model, x, y, attack, batch=len(x))
    average = effect = None
    if drawn:
        average = robustness(model, x, y, attack, draws=DRAWS, batch=len(x)).robust.fraction
        effect = smoothing_effect(model, x).ratio
    return Run(found.clean.fraction, found.robust.fraction, average, effect)


HEADER = (
    "| regime | clean, % | difference | robust, % | difference | robust over draws, % | effect |\n"
    "|---|---|---|---|---|---|---|"
)


def line(name: str, runs: Sequence[Run], against: Sequence[Run]) -> str:
    """A line of the table; differences to the standalone solver are paired by seed."""

    def cells(of: Callable[[Run], float]) -> list[str]:
        values = [of(run) for run in runs]
        pairs = zip(values, map(of, against), strict=True)
        return [
            Estimate.of(values).percent(),
            Estimate.of([value - other for value, other in pairs]).percent("+"),
        ]

    shown = [*cells(lambda run: run.clean), *cells(lambda run: run.robust)]
    drawn = [run.drawn for run in runs if run.drawn is not None]
    effects = [run.effect for run in runs if run.effect is not None]
    shown.append(Estimate.of(drawn).percent() if drawn else "")
    shown.append(f"{sum(effects) / len(effects):.2f}" if effects else "")
    return f"| {name} | {' | '.join(shown)} |"


def main(arguments: list[str] | None = None) -> int:
    """Train all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each row (default: 5)")
    parser.add_argument("--only", nargs="+", choices=list(REGIMES)[1:], help="besides standalone")
    options = parser.parse_args(arguments)
    names = list(REGIMES) if options.only is None else ["standalone", *options.only]
    torch.set_num_threads(1)
    seeds = range(1 if options.quick else options.seeds)
    steps = 3 if options.quick else TRAINING_STEPS
    attack = pgd(EPS, 2, EPS / 2) if options.quick else pgd(EPS, 20, EPS / 5)
    data = digits()
    if options.quick:
        data = replace(data, test_x=data.test_x[:20], test_y=data.test_y[:20])
    for fgsm in (False, True):
        kind = "trained on inputs attacked in one step" if fgsm else "trained on clean inputs"
        print(f"\n{kind}; eps = {EPS}, {attack.steps} steps of {attack.step_size:g}\n\n{HEADER}")
        base: list[Run] = []
        for name in names:
            runs = [train(name, data, s, steps=steps, attack=attack, fgsm=fgsm) for s in seeds]
            base = base or runs
            print(line(name, runs, base), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
