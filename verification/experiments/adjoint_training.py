"""Restored against reversed adjoints while training: the loss, and what the gradients cost.

`python -m verification.experiments.adjoint_training` prints the table; the experiment of arXiv
2003.05271 in small.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from torch_bridge import odeint, odeint_adjoint
from verification._interval import Estimate
from verification._options import positive
from verification.experiments._tasks import TASKS, Task

__all__ = ["WAYS", "Run", "main", "same_loss_for_less", "train"]

TOLERANCE = 1e-5
SMALLEST = 1e-7  # of adjoints: the loss is a mean over the batch, so that they are small
LOOKS = 5  # times while training at which work is counted
ALLOWED = 0.05  # of the loss, for losses that count as the same
Way = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _adjoint(**options: Any) -> Way:
    tolerances = {"rtol": TOLERANCE, "atol": TOLERANCE, "adjoint_atol": SMALLEST}
    return partial(odeint_adjoint, method="dopri5", **tolerances, **options)


WAYS: dict[str, Way] = {
    "reversed": _adjoint(adjoint="reversed"),
    "reversed, seminorm": _adjoint(adjoint="reversed", adjoint_options={"norm": "seminorm"}),
    "restored, stepping": _adjoint(adjoint_method="dopri5", adjoint_options={}),
    "restored, collocated": _adjoint(adjoint_method="collocation"),
}


@dataclass(frozen=True)
class Run:
    """What one training gave.

    Parameters
    ----------
    loss : float
        On the test set, after training.
    error : float
        Relative error of the last gradient, against one through steps at 1e-10 in float64.
    calls : float
        Calls of f in a backward pass; one over many nodes counts once.
    work : float
        Multiplications of matrices in a backward pass, in units of those of one f on the batch.
    seconds : float
        Processor time of the backward passes.
    """

    loss: float
    error: float
    calls: float
    work: float
    seconds: float


def train(task: Task, way: Way, seed: int) -> Run:
    """Train with Adam and a cosine schedule; model and batches come from the seed only."""
    torch.manual_seed(seed)
    model = task.model()
    data, test = task.data()
    batches = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.steps)
    seconds, looks = 0.0, []
    for k in range(task.steps):
        x = data[torch.randint(len(data), (task.batch,), generator=batches)]
        optimizer.zero_grad()
        loss = model(way, x)
        start = time.process_time()
        loss.backward()
        seconds += time.process_time() - start
        optimizer.step()
        schedule.step()
        if (k + 1) * LOOKS // task.steps > k * LOOKS // task.steps:
            looks.append(_cost(model, way, x))
    with torch.no_grad():
        loss = float(model(partial(odeint, rtol=1e-6, atol=1e-6), test))
    error = gradient_error(model, way, data[: task.batch])
    calls, work = (mean(column) for column in zip(*looks, strict=True))
    return Run(loss, error, calls, work, seconds)


def _cost(model: Any, way: Way, x: Tensor) -> tuple[int, float]:
    """Calls of f and work, in units of one f, in the backward pass of a batch."""
    calls: list[Tensor] = []
    with model.field.register_forward_hook(lambda _, given, out: calls.append(given[1])):
        loss = model(way, x)
        state = calls[0].detach()
        calls.clear()
        with _Multiplications() as backward:
            loss.backward()
    model.zero_grad()
    with _Multiplications() as once, torch.no_grad():
        model.field(torch.zeros(()), state)
    return len(calls), backward.total / once.total


class _Multiplications(TorchDispatchMode):
    """Counts floating-point operations of matrix products, those of batches over nodes included."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=found) if count else 0
        return found


def gradient_error(model: nn.Module, way: Way, x: Tensor) -> float:
    """Of a batch, relative to a gradient through steps at 1e-10 in float64."""
    found = _gradient(model, way, x)
    model.double()
    exact = _gradient(model, partial(odeint, rtol=1e-10, atol=1e-10), x.double())
    model.float()
    return float((found - exact).norm() / exact.norm())


def _gradient(model: nn.Module, way: Way, x: Tensor) -> Tensor:
    found = torch.autograd.grad(model(way, x), list(model.parameters()))
    return torch.cat([g.ravel() for g in found]).double()


def same_loss_for_less(runs: Sequence[Run], against: Sequence[Run]) -> bool:
    """Whether the interval of the differences, paired by seed, is within 5 % of the loss, and the
    backward passes call f less often in all runs.
    """
    others = [other.loss for other in against]
    difference = Estimate.paired([run.loss for run in runs], others)
    allowed = ALLOWED * abs(mean(others))
    same = abs(difference.mean) + (difference.half_width or 0.0) <= allowed
    return same and all(a.calls < b.calls for a, b in zip(runs, against, strict=True))


HEADER = (
    f"{'':22s} {'test loss':>16s} {'difference':>18s} {'error':>8s} {'calls':>6s} {'work':>6s} "
    f"{'time':>5s}"
)


def line(name: str, runs: Sequence[Run], against: Sequence[Run]) -> str:
    """A line of the table: differences are paired by seed, times are ratios to the first way."""
    losses, others = ([run.loss for run in some] for some in (runs, against))
    loss, difference = Estimate.of(losses).text(4), Estimate.paired(losses, others).text(4, "+")
    ratio = mean(run.seconds for run in runs) / mean(run.seconds for run in against)
    return (
        f"{name:22s} {loss:>16s} {difference:>18s} {max(run.error for run in runs):8.1e} "
        f"{mean(run.calls for run in runs):6.1f} {mean(run.work for run in runs):6.0f} {ratio:5.2f}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Train all and print the table; 0 if restored adjoints reach the loss with fewer calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    parser.add_argument(
        "--seeds", type=positive, default=3, help="trainings of each row (default: 3)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failures = 0
    for whole in TASKS:
        task = replace(whole, steps=5) if options.quick else whole
        seeds = range(1 if options.quick else options.seeds)
        print(f"\n{task.name}, {task.steps} steps, tolerance {TOLERANCE:.0e}\n{HEADER}")
        runs = {}
        for name, way in WAYS.items():
            runs[name] = [train(task, way, seed) for seed in seeds]
            print(line(name, runs[name], runs["reversed"]), flush=True)
        for name in list(WAYS)[2:]:
            holds = same_loss_for_less(runs[name], runs["reversed"])
            failures += not holds
            print(f"{name}: the same loss for fewer calls: {'yes' if holds else 'NO'}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
