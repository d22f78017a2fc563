"""Consistency against the number of steps in training, on digits and MNIST-1D.

`python -m verification.experiments.consistency_training` prints a table: which classifiers trained
with so many Euler steps are the flow's, and what steps that follow the training make of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torch_bridge import (
    DenseField,
    NeuralODE,
    SolverConsistencyReport,
    adapt_steps,
    solver_consistency,
)
from verification._interval import Estimate
from verification._options import positive
from verification.experiments._images import DATA, Labelled

__all__ = ["ADAPTED", "STEPS", "Run", "classifier", "line", "main", "train"]

WIDTH, HIDDEN, BATCH, RATE = 16, 64, 64, 1e-2
STEPS = (1, 2, 4, 8, 16)
ADAPTED = 0  # in place of a number of steps
EVERY = 25  # training steps between two looks at the number of steps
UPDATES = 400


@dataclass(frozen=True)
class Run:
    """What one training gave.

    Parameters
    ----------
    test : float
        Accuracy on the test set.
    evaluations : int
        Calls of the right-hand side in training, those of `adapt_steps` included.
    steps : int
        Of the trained model.
    report : SolverConsistencyReport
        On all samples: it compares the model with itself, and needs many.
    """

    test: float
    evaluations: int
    steps: int
    report: SolverConsistencyReport


def classifier(pixels: int, steps: int) -> nn.Module:
    """Linear stem, tanh, neural ODE by Euler's method, linear head."""
    block = NeuralODE(DenseField(WIDTH, HIDDEN), solver="euler", steps=steps, check="off")
    return nn.Sequential(nn.Linear(pixels, WIDTH), nn.Tanh(), block, nn.Linear(WIDTH, 10))


def train(data: Labelled, steps: int, seed: int, *, updates: int) -> Run:
    """Train with Adam and a cosine schedule; weights and batches come from the seed only."""
    torch.manual_seed(seed)
    x, y = data.train_x.flatten(1), data.train_y
    model = classifier(x.shape[1], max(steps, 1))
    block, calls = model[2], [0]
    block.func.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    generator = torch.Generator().manual_seed(seed)
    for update in range(updates):
        if steps == ADAPTED and update % EVERY == 0 and update:
            held = torch.randint(len(x), (128,), generator=torch.Generator().manual_seed(update))
            adapt_steps(model, x[held], most=64)
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    evaluations = calls[0]
    with torch.no_grad():
        right = model(data.test_x.flatten(1)).argmax(1) == data.test_y
    everything = torch.cat([x, data.test_x.flatten(1)]), torch.cat([y, data.test_y])
    report = solver_consistency(model, _batches(*everything))
    return Run(float(right.double().mean()), evaluations, block.steps, report)


def _batches(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(512), y.split(512), strict=True))


def line(name: str, steps: int, runs: Sequence[Run]) -> str:
    """One row of the table."""
    reports = [run.report for run in runs]
    verdicts = [report.verdict for report in reports]
    shown = [
        name,
        "adapted, " + ", ".join(str(run.steps) for run in runs) if steps == ADAPTED else str(steps),
        f"{sum(run.evaluations for run in runs) / len(runs):.0f}",
        Estimate.of([run.test for run in runs]).percent(),
        Estimate.of([r.gap.difference for r in reports if r.gap]).percent("+"),
        Estimate.of([r.largest_gap[0] for r in reports]).percent(),
        Estimate.of([r.flip_rate for r in reports]).percent(),
        Estimate.of([r.certified for r in reports]).percent(),
        ", ".join("-" if r.order is None else f"{r.order:.1f}" for r in reports),
        ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)),
    ]
    return "| " + " | ".join(shown) + " |"


HEAD = (
    "| data | Euler steps | calls in training | test, % | over the best, % | largest gap, % "
    "| changed, % | certified, % | order | verdict |"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m verification.experiments.consistency_training", description=__doc__
    )
    parser.add_argument(
        "--seeds", type=positive, default=3, help="trainings of each row (default: 3)"
    )
    parser.add_argument("--updates", type=positive, default=UPDATES, help=f"(default: {UPDATES})")
    parser.add_argument("--only", choices=DATA, help="one data set")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 updates, three rows")
    options = parser.parse_args(arguments)
    seeds, updates, rows = options.seeds, options.updates, (*STEPS, ADAPTED)
    if options.quick:
        seeds, updates, rows = 1, min(updates, 20), (1, 16, ADAPTED)
    print(HEAD)
    print("|" + "---|" * (HEAD.count("|") - 1), flush=True)
    for name, load in DATA.items():
        if options.only in (None, name):
            data = load()
            for steps in rows:
                runs = [train(data, steps, seed, updates=updates) for seed in range(seeds)]
                print(line(name, steps, runs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
