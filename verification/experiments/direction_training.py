"""Training with several losses: sums, min-norm, PCGrad, CAGrad, UPGrad and equiangular directions.

`python -m verification.experiments.direction_training` prints accuracy of both tasks of overlaid
digits, one loss scaled by 1 to 100, then recall and precision of digits in numbers 1 : 100.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from odecore.directions import (
    DirectionWeights,
    equiangular_weights,
    gramian,
    min_norm_weights,
)
from verification._interval import Estimate
from verification._options import positive
from verification.experiments._objective_tasks import CLASSES, Imbalanced, Model, Pairs, Side

__all__ = ["Run", "chosen_rate", "directions", "main", "train", "weighted"]

KAPPAS = (1.0, 10.0, 50.0, 100.0)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)  # of what shares the direction
HEAD_RATE, MOMENTUM = 0.1, 0.9
TUNING = 1000  # the seed that chooses the rate, unlike those that are reported
ALLOWED = 0.03  # of accuracy, that a scaled loss may cost equiangular descent
Direction = Callable[[Tensor], Tensor]  # from a Jacobian (m, n) to (n,)
Task = Pairs | Imbalanced


@dataclass(frozen=True)
class Run:
    """Right and wrong answers on a side: `confusion[k][i, j]` counts class i taken for j."""

    confusion: tuple[Tensor, ...]

    @property
    def accuracies(self) -> list[float]:
        """Of each head."""
        return [float(c.diag().sum() / c.sum()) for c in self.confusion]

    @property
    def recalls(self) -> list[float]:
        """Of each class, of the first head."""
        c = self.confusion[0]
        return (c.diag() / c.sum(1)).tolist()

    @property
    def precisions(self) -> list[float]:
        """Of each class, of the first head; 0 for a class that is never answered."""
        c = self.confusion[0]
        return (c.diag() / c.sum(0).clamp(min=1)).tolist()

    @property
    def score(self) -> float:
        """What the rate is chosen by: accuracy over heads, or recall over classes."""
        return mean(self.accuracies if len(self.confusion) > 1 else self.recalls)


def directions() -> dict[str, Direction]:
    """All ways to make one direction of a Jacobian."""
    from torchjd.aggregation import CAGrad, PCGrad, UPGrad

    return {
        "sum of losses": lambda J: J.sum(0),
        "min-norm (MGDA)": weighted(min_norm_weights),
        "PCGrad": PCGrad(),
        "CAGrad, c = 0.5": CAGrad(0.5),
        "UPGrad": UPGrad(),
        "equiangular": weighted(equiangular_weights),
    }


def weighted(weights: Callable[[Any], DirectionWeights]) -> Direction:
    """A direction by weights from the Gramian."""
    return lambda J: torch.from_numpy(weights(gramian(J)).weights).to(J) @ J


def train(task: Task, direction: Direction, rate: float, seed: int, *, final: bool) -> Run:
    """Descend with momentum; model, data and batches come from the seed only.

    Answers are those to the test side if `final`, else to the validation side.
    """
    (x, y), held, test = task.data(seed)
    torch.manual_seed(seed)
    model = Model(x.shape[1], task.heads)
    own = list(model.heads.parameters()) if task.heads > 1 else []
    shared = list(model.trunk.parameters()) if own else list(model.parameters())
    groups = [{"params": shared, "lr": rate}, {"params": own, "lr": HEAD_RATE}]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(task.steps):
        rows = slice(None)
        if task.batch:
            rows = torch.randint(len(x), (task.batch,), generator=generator)
        losses = task.losses(model(x[rows]), y[rows])
        J = jacobian(losses, shared, own)
        if isinstance(task, Pairs):
            J[0] *= task.kappa
        if not J.isfinite().all():
            break  # the rate is too large
        _put(direction(J), shared)
        optimizer.step()
    return answers(model, test if final else held)


def jacobian(losses: list[Tensor], shared: list[Tensor], own: list[Tensor]) -> Tensor:
    """Gradients (m, n) of the losses; those of a head's own parameters go to `.grad`."""
    stacked = torch.stack(losses)
    J = torch.autograd.grad(
        stacked, shared, torch.eye(len(losses)), is_grads_batched=True, retain_graph=bool(own)
    )
    for p, g in zip(own, torch.autograd.grad(stacked.sum(), own) if own else (), strict=True):
        p.grad = g
    return torch.cat([g.flatten(1) for g in J], dim=1)


def _put(d: Tensor, parameters: list[Tensor]) -> None:
    for p, part in zip(parameters, d.split([p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p)


@torch.no_grad()
def answers(model: Model, side: Side) -> Run:
    """Count the answers of each head by class."""
    x, y = side
    found = []
    for k, logits in enumerate(model(x)):
        pairs = CLASSES * y[:, k] + logits.nan_to_num().argmax(1)
        found.append(torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES))
    return Run(tuple(found))


def chosen_rate(task: Task, direction: Direction, rates: Iterable[float]) -> float:
    """The rate with the best score on the validation side, with a seed of its own."""
    scores = {r: train(task, direction, r, TUNING, final=False).score for r in rates}
    return max(scores, key=lambda r: scores[r])


def runs_of(
    task: Task, direction: Direction, rates: Iterable[float], seeds: int
) -> tuple[float, list[Run]]:
    """The rate that was chosen, and a training for each seed."""
    rate = chosen_rate(task, direction, rates)
    return rate, [train(task, direction, rate, seed, final=True) for seed in range(seeds)]


def pairs_table(ways: dict[str, Direction], task: Pairs, rates: Any, seeds: int) -> float:
    """Print accuracies; how far the lesser one of equiangular descent falls from kappa 1."""
    print("| kappa | direction | rate | scaled task % | other task % | mean % |")
    print("|---|---|---|---|---|---|")
    found = {}
    for kappa in KAPPAS:
        for name, way in ways.items():
            rate, runs = runs_of(replace(task, kappa=kappa), way, rates, seeds)
            columns = [*zip(*(run.accuracies for run in runs), strict=True)]
            columns.append(tuple(run.score for run in runs))
            text = " | ".join(Estimate.of(c).percent() for c in columns)
            print(f"| {kappa:g} | {name} | {rate:g} | {text} |", flush=True)
            found[name, kappa] = mean(min(run.accuracies) for run in runs)
    return found["equiangular", KAPPAS[0]] - min(found["equiangular", k] for k in KAPPAS)


def imbalanced_tables(ways: dict[str, Direction], task: Imbalanced, rates: Any, seeds: int) -> None:
    """Print recall and precision of each class, from the most frequent to the rarest.

    Differences of the means are from the sum of losses, paired by seed.
    """
    counts = torch.bincount(task.data(0)[0][1][:, 0]).tolist()
    every = {"mean over images": _over_images(counts), **ways}
    found = {name: runs_of(task, way, rates, seeds) for name, way in every.items()}
    for what in ("recalls", "precisions"):
        titles = [f"{what[:-1]} %, by images", "rate", *counts, "mean", "difference"]
        print(f"\n| {_joined(titles)} |\n|{'---|' * len(titles)}")
        means = {k: [mean(getattr(run, what)) for run in runs] for k, (_, runs) in found.items()}
        for name, (rate, runs) in found.items():
            classes = zip(*(getattr(run, what) for run in runs), strict=True)
            cells = [
                *(Estimate.of([100 * v for v in column]).text(0) for column in classes),
                Estimate.of(means[name]).percent(),
                Estimate.paired(means[name], means["sum of losses"]).percent("+"),
            ]
            print(f"| {name} | {rate:g} | {_joined(cells)} |", flush=True)


def _over_images(counts: list[int]) -> Direction:
    weights = torch.tensor(counts) / sum(counts)
    return lambda J: weights @ J


def _joined(cells: Iterable[object]) -> str:
    return " | ".join(map(str, cells))


def main(arguments: list[str] | None = None) -> int:
    """Print all tables; 1 if a scaled loss costs equiangular descent more than ALLOWED."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    parser.add_argument(
        "--seeds", type=positive, default=5, help="trainings of each row (default: 5)"
    )
    parser.add_argument("--steps", type=positive, help="of each training (default: 500, 400)")
    parser.add_argument("--only", choices=("pairs", "imbalanced"), help="of the two experiments")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds, rates = (1, (0.03,)) if options.quick else (options.seeds, RATES)
    pairs = Pairs(count=300) if options.quick else Pairs()
    steps = 3 if options.quick else options.steps
    pairs = replace(pairs, steps=steps or pairs.steps)
    imbalanced = Imbalanced(steps=steps or Imbalanced.steps)
    ways, lost = directions(), 0.0
    if options.only != "imbalanced":
        print(f"\noverlaid digits, {pairs.steps} steps, {seeds} seeds", flush=True)
        lost = pairs_table(ways, pairs, rates, seeds)
    if options.only != "pairs":
        title = f"digits in numbers 1 : {imbalanced.ratio:g}"
        print(f"\n{title}, {imbalanced.steps} steps, {seeds} seeds", flush=True)
        imbalanced_tables(ways, imbalanced, rates, seeds)
    return int(lost > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
