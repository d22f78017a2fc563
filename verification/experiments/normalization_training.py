"""Accuracy by normalization and solver: train with Euler's method, test with finer ones.

`python -m verification.experiments.normalization_training` prints a table for each data set; the
experiment of arXiv 2004.09222 in small, with time-aware batch normalization beside its choices.
`--keep FILE` writes each run to a file and continues from there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from torch_bridge import ODENet4, ODENet10
from verification._interval import Estimate
from verification._kept import write_whole
from verification._options import file_to_write, positive
from verification.experiments._images import DATA, Labelled

__all__ = ["CHOICES", "TESTS", "Setting", "accuracies", "main", "train"]

CHOICES = ("none", "layer", "weight", "spectral", "batch", "time batch")
EULER = (2, 8, 16)
NETWORKS: dict[str, Any] = {"ODENet4": ODENet4, "ODENet10": ODENet10}
BATCH = 64


@dataclass(frozen=True)
class Setting:
    """One training.

    Parameters
    ----------
    data, network : str
    choice : str
        Normalization in the ODE blocks; the other places have BatchNorm, which is fine there.
    euler : int
        Steps of Euler's method in each ODE block, in training.
    updates : int
        Of the weights.
    width : int
    seed : int
    """

    data: str
    network: str
    choice: str
    euler: int
    updates: int
    width: int
    seed: int

    def model(self, data: Labelled, solver: str = "euler", times: int = 1) -> nn.Module:
        """The network, with its own solver or another one, of so many times the steps."""
        more = {"residual": "batch"} if self.network == "ODENet10" else {}
        model: nn.Module = NETWORKS[self.network](
            data.train_x.shape[1], 10, width=self.width, dimensions=data.dimensions,
            first="batch", ode=self.choice, intervals=self.euler, solver=solver,
            steps=times * self.euler, check="off", **more,
        )  # fmt: skip
        return model


#: Solvers in a test, with factors of the steps.
TESTS = {"as trained": ("euler", 1), "Euler, 4 x": ("euler", 4), "RK2": ("midpoint", 1),
         "RK4": ("rk4", 1)}  # fmt: skip


def train(setting: Setting, data: Labelled) -> nn.Module:
    """Train with SGD, momentum and a cosine schedule; all random numbers come from the seed."""
    torch.manual_seed(setting.seed)
    model = setting.model(data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setting.updates)
    batches = torch.Generator().manual_seed(setting.seed)
    for _ in range(setting.updates):
        index = torch.randint(len(data.train_x), (BATCH,), generator=batches)
        optimizer.zero_grad()
        cross_entropy(model(data.train_x[index]), data.train_y[index]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def accuracies(setting: Setting, model: nn.Module, data: Labelled) -> dict[str, float]:
    """On the test set, in evaluation with each solver; "batches" is in training mode, as trained.

    The last one says what the running statistics cost: batches are normalized by themselves.
    """
    found = {}
    for name, (solver, times) in TESTS.items():
        other = setting.model(data, solver, times)
        other.load_state_dict(model.state_dict())
        found[name] = _accuracy(other.eval(), data)
    same = setting.model(data)
    same.load_state_dict(model.state_dict())
    found["batches"] = _accuracy(same.train(), data)
    return found


def _accuracy(model: nn.Module, data: Labelled) -> float:
    hits = [
        (model(x).argmax(1) == y).sum()
        for x, y in zip(data.test_x.split(256), data.test_y.split(256), strict=True)
    ]
    return float(torch.stack(hits).sum() / len(data.test_x))


def run(setting: Setting, data: Labelled, kept: dict[str, Any]) -> dict[str, float]:
    """Train and test, unless that was done before."""
    key = json.dumps(asdict(setting))
    if key not in kept:
        kept[key] = accuracies(setting, train(setting, data), data)
    found: dict[str, float] = kept[key]
    return found


HEADER = (
    "| ODE blocks | Euler steps | as trained, % | Euler, 4 x | RK2 | RK4 | own batches |\n"
    "|---|---|---|---|---|---|---|"
)


def line(choice: str, euler: int, runs: Sequence[dict[str, float]]) -> str:
    """A line of the table; the last four are differences, paired by seed."""
    first = [found["as trained"] for found in runs]
    others = [
        Estimate.paired([found[name] for found in runs], first).percent("+")
        for name in (*list(TESTS)[1:], "batches")
    ]
    return f"| {choice} | {euler} | {' | '.join([Estimate.of(first).percent(), *others])} |"


def _kept(path: Path | None, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The runs that are in a file, none where there is no file."""
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        parser.error(f"--keep: {path} holds no runs of this experiment; choose another file")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    parser.add_argument(
        "--seeds", type=positive, default=3, help="trainings of each row (default: 3)"
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--euler", nargs="+", type=positive, default=list(EULER))
    parser.add_argument("--network", choices=NETWORKS, default="ODENet4")
    parser.add_argument(
        "--updates", type=positive, default=200, help="of the weights (default: 200)"
    )
    parser.add_argument("--width", type=positive, default=8, help="channels (default: 8)")
    parser.add_argument("--keep", type=file_to_write, help="file of the runs that are done")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    kept = _kept(options.keep, parser)
    updates, seeds = (2, 1) if options.quick else (options.updates, options.seeds)
    euler = [2] if options.quick else options.euler
    for name in options.data:
        data = DATA[name]()
        print(
            f"\n{name}, {options.network}, width {options.width}, {updates} updates of {BATCH}, "
            f"{seeds} seeds\n{HEADER}"
        )
        for choice in options.choices:
            for steps in euler:
                runs = []
                for seed in range(seeds):
                    setting = Setting(
                        name, options.network, choice, steps, updates, options.width, seed
                    )
                    runs.append(run(setting, data, kept))
                    if options.keep:
                        write_whole(options.keep, kept)
                print(line(choice, steps, runs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
