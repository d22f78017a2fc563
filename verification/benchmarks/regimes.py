"""What a regime adds to a training step over its standalone solver.

`python -m verification.benchmarks.regimes` prints the table; one thread, where ratios repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
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
from verification.benchmarks.linear import fastest

#: Rows, width, hidden features.
SIZES = ((16, 8, 16), (64, 16, 64), (256, 64, 256))
STEPS = 8
ROUNDS = 40
MEMBERS = 3


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


def table(rounds: int = ROUNDS) -> list[str]:
    """Times of a step by that of the standalone solver; those of ensembles also by member."""
    names = [name for name in solvers(RK2) if name != "standalone"]
    lines = [
        f"| family | rows, width, hidden | {' | '.join(names)} |",
        "|---" * (len(names) + 2) + "|",
    ]
    for family in (RK2, RK4):
        for size in SIZES:
            runs = {
                name: partial(step_of, solver)(*size) for name, solver in solvers(family).items()
            }
            times = fastest(runs, rounds)
            ratios = " | ".join(f"{times[name] / times['standalone']:.2f}" for name in names)
            lines.append(f"| {family.name} | {', '.join(map(str, size))} | {ratios} |")
    return lines


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(*table(), sep="\n")


if __name__ == "__main__":
    main()
