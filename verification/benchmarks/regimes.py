"""What a regime adds to a training step over its standalone solver.

`python -m verification.benchmarks.regimes` prints two tables; one thread, where ratios repeat.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from random import Random
from statistics import median
from typing import Any

import torch
from torch import nn

from odecore.families import RK2, RK4
from odecore.tableaux import tableau_at
from torch_bridge import (
    DenseField,
    NeuralODE,
    SmoothedSolver,
    SolverEnsemble,
    SwitchedSolver,
    TrainableSolver,
)
from verification.benchmarks._rows import Row, add_options, keep

#: Rows, width, hidden features.
SIZES = ((16, 8, 16), (64, 16, 64), (256, 64, 256))
STEPS = 8
ROUNDS = 80
MEMBERS = 3
DRAWN = (SwitchedSolver, SmoothedSolver)
MANY = 50  # calls of a solver in one timing


def solvers(family: Any) -> dict[str, Any]:
    """Each regime of a family; all members have as many coefficients that are not zero."""
    F = Fraction
    centers = (F(2, 3), F(3, 5), F(7, 10)) if family is RK2 else (F(1, 3), F(3, 10), F(2, 5))
    more = {} if family is RK2 else {"v": F(2, 3)}
    center = {"u": centers[0], **more}
    methods = [tableau_at(family, u=u, **more) for u in centers]
    return {
        "standalone": methods[0],
        "switching": SwitchedSolver(methods),
        "smoothing": SmoothedSolver(family, center, width=0.02, radius=F(1, 20)),
        "smoothing, bound": SmoothedSolver(family, center, width=0.02, bound=9),
        "learned": TrainableSolver(family, center, F(1, 20)),
        f"ensemble of {MEMBERS}": SolverEnsemble(methods),
        f"ensemble of {MEMBERS}, batched": SolverEnsemble(methods, batched=True),
    }


def step_of(solver: Any, rows: int, width: int, hidden: int) -> Callable[[], None]:
    """A training step: solve, gradient, Adam."""
    torch.manual_seed(0)
    block = NeuralODE(DenseField(width, hidden), solver=solver, steps=STEPS)
    model = nn.Sequential(nn.Linear(width, width), block)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(rows, width)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step


def least(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The least processor time of each, taken in turns: other processes hardly show in it."""
    found = dict.fromkeys(runs, float("inf"))
    for k in range(rounds + 2):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if k > 1:
                found[name] = min(found[name], time.process_time() - start)
    return found


def medians(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median over rounds of each processor time by that of the first one in its round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    shuffle = Random(0).shuffle  # noqa: S311
    for k in range(rounds + 2):
        names, times = list(runs), {}
        shuffle(names)
        for name in names:
            start = time.process_time()
            runs[name]()
            times[name] = time.process_time() - start
        for name in names if k > 1 else ():
            found[name].append(times[name] / times[next(iter(runs))])
    return {name: median(ratios) for name, ratios in found.items()}


def steps(quick: bool) -> Iterator[Row]:
    """Times of a step by that of the standalone solver."""
    names = ["standalone, again", *list(solvers(RK2))[1:]]
    print(f"\n| family | rows, width, hidden | {' | '.join(names)} |")
    print("|---" * (len(names) + 2) + "|")
    for family in (RK2, RK4):
        for size in SIZES[:1] if quick else SIZES:
            methods = solvers(family)
            methods["standalone, again"] = methods["standalone"]
            runs = {name: step_of(solver, *size) for name, solver in methods.items()}
            found = medians(runs, 1 if quick else ROUNDS)
            ratios = " | ".join(f"{found[name]:.2f}" for name in names)
            numbers = ", ".join(map(str, size))
            print(f"| {family.name} | {numbers} | {ratios} |", flush=True)
            for name in names:
                case = f"{family.name}; {numbers}: {name}"
                table = "A training step; rows, width, hidden features"
                yield Row(table, case, "the standalone solver", found[name])


def draws(quick: bool) -> Iterator[Row]:
    """What making the coefficients of one solve costs, alone, and as a share of the least step."""
    rounds = 1 if quick else ROUNDS
    print("| family | regime | microseconds | share of a step, % |", "|---" * 4 + "|", sep="\n")
    for family in (RK2, RK4):
        like = torch.zeros(SIZES[0][:2])
        makers = {k: v for k, v in solvers(family).items() if isinstance(v, DRAWN)}
        runs = {name: partial(_many, solver, like) for name, solver in makers.items()}
        step = {"step": step_of(solvers(family)["standalone"], *SIZES[0])}
        whole = least(step, rounds)["step"]
        for name, seconds in least(runs, rounds).items():
            each = seconds / MANY
            share = each / whole
            print(f"| {family.name} | {name} | {1e6 * each:.0f} | {100 * share:.1f} |", flush=True)
            table = "The coefficients of one solve, drawn"
            yield Row(table, f"{family.name}: {name}", "a training step", share)


def _many(solver: nn.Module, like: torch.Tensor) -> None:
    for _ in range(MANY):
        solver(like)


def main() -> None:
    """Print both tables."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    torch.set_num_threads(1)
    keep((row for table in (draws, steps) for row in table(options.quick)), options.rows)


if __name__ == "__main__":
    main()
