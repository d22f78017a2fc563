"""Solver regimes while training: clean and robust accuracy on digits and on MNIST-1D.

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
from math import inf
from typing import Any

import torch
from torch import nn
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
from verification._digits import Data, digits
from verification._interval import Estimate
from verification._options import positive
from verification.attacks import pgd
from verification.experiments._images import signals

__all__ = ["PROBLEMS", "REGIMES", "Problem", "Run", "classifier", "judge", "line", "main", "train"]

WIDTH, HIDDEN, BATCH, RATE = 16, 64, 64, 1e-2
ODE_STEPS = 2  # few, so that solvers differ
EPS = 0.1  # of pixels in [0, 1], and of signals with a standard deviation of 1
DRAWS = 8
CENTER = {"u": Fraction(2, 3)}
METHODS = [tableau(name) for name in ("midpoint", "ralston", "heun")]


def classifier(solver: Any, pixels: int) -> nn.Module:
    """Linear stem, tanh, neural ODE, linear head."""
    block = NeuralODE(DenseField(WIDTH, HIDDEN), solver=solver, steps=ODE_STEPS)
    return nn.Sequential(nn.Linear(pixels, WIDTH), nn.Tanh(), block, nn.Linear(WIDTH, 10))


def _seeded() -> torch.Generator:
    """For draws: weights, which take torch's own numbers, are the same in all regimes."""
    return torch.Generator().manual_seed(torch.initial_seed())


def _smoothed(width: float, distribution: str = "normal") -> Any:
    options = {"distribution": distribution, "bound": 3, "generator": _seeded()}
    return SmoothedSolver(RK2, CENTER, width=width, **options)


#: Ways to use RK2(u) in one model: the standalone solver is u = 2/3, Ralston's.
SOLVERS: dict[str, Callable[[], Any]] = {
    "standalone": lambda: METHODS[1],
    "switching": lambda: SwitchedSolver(METHODS, evaluation=1, generator=_seeded()),
    "smoothing, 0.0125": partial(_smoothed, 0.0125),
    "smoothing, 0.2": partial(_smoothed, 0.2),
    "smoothing, Cauchy 0.2": partial(_smoothed, 0.2, "cauchy"),
    "learned u": lambda: TrainableSolver(RK2, CENTER, Fraction(1, 2)),
    "solver ensemble": lambda: SolverEnsemble(METHODS, batched=True),
}
#: The solvers of several models, whose class probabilities are averaged.
ENSEMBLES = {"model ensemble": METHODS, "model ensemble, one solver": 3 * [METHODS[1]]}
REGIMES = (*SOLVERS, *ENSEMBLES)
DRAWN = ("switching", "smoothing, 0.0125", "smoothing, 0.2", "smoothing, Cauchy 0.2")


@dataclass(frozen=True)
class Problem:
    """Data, how long they are trained on, and where valid inputs end.

    Parameters
    ----------
    load : callable
    steps : int
        Updates of the weights.
    low, high : float
    """

    load: Callable[[], Data]
    steps: int
    low: float = 0.0
    high: float = 1.0

    def attack(self, steps: int) -> Attack:
        """Projected gradient descent; in more than one step these add up to four times EPS."""
        size = EPS if steps == 1 else 4 * EPS / steps
        return pgd(EPS, steps, size, low=self.low, high=self.high)


def _signals() -> Data:
    found = signals()
    train_x, test_x = found.train_x.flatten(1), found.test_x.flatten(1)
    return Data(train_x, found.train_y[:, None], test_x, found.test_y[:, None])


PROBLEMS = {"digits": Problem(digits, 400), "mnist1d": Problem(_signals, 2000, -inf, inf)}


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


def model_of(name: str, pixels: int) -> nn.Module:
    """The model of a regime, with weights from torch's own random numbers."""
    if name in ENSEMBLES:
        return ModelEnsemble([classifier(method, pixels) for method in ENSEMBLES[name]])
    return classifier(SOLVERS[name](), pixels)


def train(
    name: str, problem: Problem, data: Data, seed: int, *, steps: int, fgsm: bool = False
) -> nn.Module:
    """Train with Adam and a cosine schedule; weights and batches come from the seed only.

    With `fgsm`, on inputs that one step of size EPS has moved.
    """
    torch.manual_seed(seed)
    model = model_of(name, data.train_x.shape[1])
    batches = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    single = problem.attack(1)
    for _ in range(steps):
        chosen = torch.randint(len(data.train_x), (BATCH,), generator=batches)
        x, y = data.train_x[chosen], data.train_y[chosen, 0]
        x = single(model, x, y) if fgsm else x
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return model


def judge(name: str, model: nn.Module, data: Data, attack: Attack) -> Run:
    """Accuracies on the test set, and the effect of draws."""
    x, y = data.test_x, data.test_y[:, 0]
    found = robustness(model, x, y, attack, batch=len(x))
    average = effect = None
    if name in DRAWN:
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
        difference = Estimate.paired(values, list(map(of, against)))
        return [Estimate.of(values).percent(), difference.percent("+")]

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
    parser.add_argument(
        "--seeds", type=positive, default=5, help="trainings of each row (default: 5)"
    )
    parser.add_argument("--data", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--only", nargs="+", choices=REGIMES[1:], help="besides standalone")
    options = parser.parse_args(arguments)
    names = REGIMES if options.only is None else ("standalone", *options.only)
    torch.set_num_threads(1)
    for kind in options.data:
        problem = PROBLEMS[kind]
        data, seeds = problem.load(), range(1 if options.quick else options.seeds)
        steps, attack = problem.steps, problem.attack(20)
        if options.quick:
            steps, attack = 3, problem.attack(2)
            data = replace(data, test_x=data.test_x[:20], test_y=data.test_y[:20])
        for fgsm in (False, True):
            inputs = "inputs attacked in one step" if fgsm else "clean inputs"
            print(
                f"\n{kind}, trained on {inputs}, {steps} updates, {len(seeds)} seeds; eps = {EPS}, "
                f"{attack.steps} steps of {attack.step_size:g}\n\n{HEADER}"
            )
            base: list[Run] = []
            for name in names:
                models = (train(name, problem, data, s, steps=steps, fgsm=fgsm) for s in seeds)
                runs = [judge(name, model, data, attack) for model in models]
                base = base or runs
                print(line(name, runs, base), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
