"""Gradient error against evaluations, wall time and bytes, torchdiffeq's adjoint beside.

`python -m verification.benchmarks.adjoint` prints the table.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import torch_bridge
from verification._options import positive
from verification.benchmarks._rows import Row, add_options, keep

Solve = Callable[..., Any]
DTYPES = ["float32", "float64"]


class Field(nn.Module):
    """Two layers, scaled; with a rate, a relaxation towards them."""

    def __init__(self, width: int, hidden: int, scale: float, rate: float, relu: bool) -> None:
        super().__init__()
        activation = nn.ReLU() if relu else nn.Tanh()
        self.net = nn.Sequential(nn.Linear(width, hidden), activation, nn.Linear(hidden, width))
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(scale**0.5)
        self.rate = rate
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate."""
        self.calls += 1
        return self.net(y) if self.rate == 0 else self.rate * (self.net(y) - y)


@dataclass(frozen=True)
class Case:
    """A problem of the table."""

    name: str
    batch: int = 32
    width: int = 8
    hidden: int = 32
    scale: float = 1.0
    end: float = 1.0
    rate: float = 0.0
    relu: bool = False
    smallest: float = 0.0  # tolerance; below it peers need thousands of steps
    outputs: int = 1  # times, all of which are in the loss
    method: str = "dopri5"  # one of fixed steps takes one to each output, whatever the tolerance

    def make(self, dtype: torch.dtype) -> tuple[Field, Tensor, Tensor]:
        """The field, the initial state and the times, from a fixed seed."""
        torch.manual_seed(0)
        field = Field(self.width, self.hidden, self.scale, self.rate, self.relu).to(dtype)
        y0 = torch.randn(self.batch, self.width, dtype=torch.float64).to(dtype)
        times = torch.linspace(0, self.end, 1 + self.outputs, dtype=torch.float64)
        return field, y0.requires_grad_(), times


CASES = (
    Case("tiny", 1, 2, 16),
    Case("small", 64, 16, 64),
    Case("medium", 256, 64, 256),
    Case("large", 2048, 64, 64, smallest=1e-5),
    Case("x1"),
    Case("x5", scale=5.0),
    Case("x20", scale=20.0),
    Case("stiff", rate=50.0),
    Case("long", end=20.0, scale=2.0),
    Case("small, 10 times", 64, 16, 64, outputs=10, smallest=1e-5),
    Case("small, 100 times", 64, 16, 64, outputs=100, smallest=1e-5),
    Case("medium, 10 times", 256, 64, 256, outputs=10, smallest=1e-5),
    Case("tiny, 40 steps", 1, 2, 16, outputs=40, method="rk4", smallest=1e-3),
    Case("small, 40 steps", 64, 16, 64, outputs=40, method="rk4", smallest=1e-3),
    Case("medium, 40 steps", 256, 64, 256, outputs=40, method="rk4", smallest=1e-3),
    Case("relu", scale=5.0, relu=True, smallest=1e-5),
)


class Held:
    """A tensor saved for a backward pass; its storage is counted while it is kept."""

    live: ClassVar[Counter[tuple[int, int]]] = Counter()
    most: ClassVar[int] = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()
        storage = tensor.untyped_storage()
        self.key = storage.data_ptr(), storage.nbytes()
        Held.live[self.key] += 1
        Held.most = max(Held.most, Held.bytes())

    def __del__(self) -> None:
        Held.live[self.key] -= 1

    @staticmethod
    def bytes() -> int:
        """What is kept now."""
        return sum(size for (_, size), n in Held.live.items() if n > 0)


@dataclass
class Measured:
    """One way to a gradient."""

    error: float
    forward: int
    backward: int
    seconds: float
    seconds_backward: float
    kept: int
    most: int

    def numbers(self) -> dict[str, float]:
        """By the heads of their columns."""
        return {
            "error": self.error,
            "calls of f, forward": self.forward,
            "calls of f, backward": self.backward,
            "KiB kept": round(self.kept / 1024),
            "KiB most": round(self.most / 1024),
        }


def _gradient(field: Field, y0: Tensor, times: Tensor, solve: Solve, **options: Any) -> Any:
    field.calls = 0
    start = time.perf_counter()
    y = solve(field, y0, times, **options)[1:]
    forward, middle = field.calls, time.perf_counter()
    field.calls = 0
    found = torch.autograd.grad(y.square().sum(), [y0, *field.parameters()])
    end = time.perf_counter()
    vector = torch.cat([g.ravel() for g in found]).double()
    return vector, forward, field.calls, end - start, end - middle


def measure(case: Case, dtype: torch.dtype, solve: Solve, rounds: int, **options: Any) -> Measured:
    """Measure one way against a solve at tolerance 1e-11 in float64."""
    field, y0, times = case.make(torch.float64)
    exact = _gradient(field, y0, times, torch_bridge.odeint, rtol=1e-11, atol=1e-12)[0]
    field, y0, times = case.make(dtype)
    vector, forward, backward, *_ = _gradient(field, y0, times, solve, **options)
    timings, end = [], time.perf_counter() + 2  # seconds: enough rounds of a slow way
    while len(timings) < 2 or (len(timings) < rounds and time.perf_counter() < end):
        timings.append(_gradient(field, y0, times, solve, **options)[3:])
    Held.live.clear()
    Held.most = 0
    again = copy.deepcopy(field)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        y = solve(again, y0, times, **options)[1:]
        kept = Held.bytes()
        torch.autograd.grad(y.square().sum(), [y0, *again.parameters()])
    return Measured(
        float((vector - exact).norm() / exact.norm()),
        forward,
        backward,
        min(total for total, _ in timings),
        min(part for _, part in timings),
        kept,
        Held.most,
    )


def ways() -> dict[str, tuple[Solve, dict[str, Any]]]:
    """The libraries and their adjoints."""
    import torchdiffeq

    here = torch_bridge.odeint_adjoint
    stepping = {"adjoint_method": "dopri5", "adjoint_options": {}}
    return {
        "torchdiffeq reversed": (torchdiffeq.odeint_adjoint, {}),
        "torchdiffeq seminorm": (
            torchdiffeq.odeint_adjoint,
            {"adjoint_options": {"norm": "seminorm"}},
        ),
        "restored, collocated": (here, {"adjoint_method": "collocation"}),
        "restored, stepping": (here, stepping),
        "reversed": (here, {"adjoint": "reversed"}),
        "discrete": (here, {"adjoint": "discrete"}),
        "through the steps": (torch_bridge.odeint, {}),
    }


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Print the tables, hand over ratios and what each way needs besides."""
    if options.quick:
        options.cases, options.tolerances, options.rounds = ["tiny"], [1e-3], 1
    for case, tolerance, name in product(CASES, options.tolerances, options.dtypes):
        dtype = getattr(torch, name)
        smallest = max(case.smallest, 10 * torch.finfo(dtype).eps)
        if case.name in options.cases and tolerance >= smallest:
            yield from _table(case, tolerance, dtype, options.rounds)


def main() -> None:
    """Print the tables."""
    parser = add_options(argparse.ArgumentParser(description=__doc__))
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--tolerances", nargs="+", type=float, default=[1e-3, 1e-5, 1e-7])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--rounds", type=positive, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    keep(rows(options), options.rows)


def _table(case: Case, tolerance: float, dtype: torch.dtype, rounds: int) -> Iterator[Row]:
    print(f"\n{case.name}, tolerance {tolerance:.0e}, {dtype}")
    print(
        f"{'':22s} {'error':>8s} {'f fwd':>6s} {'f bwd':>6s} {'time':>6s} {'bwd':>6s} "
        f"{'KiB kept':>9s} {'KiB most':>9s}   (times: ratios to the first row)"
    )
    first: Measured | None = None
    for name, (solve, more) in ways().items():
        if case.method != "dopri5" and name.startswith("restored"):
            continue  # steps of its own, or none
        options = {"rtol": tolerance, "atol": tolerance, "method": case.method, **more}
        found = measure(case, dtype, solve, rounds, **options)
        first = first or found
        whole = found.seconds / first.seconds
        backward = found.seconds_backward / first.seconds_backward
        print(
            f"{name:22s} {found.error:8.1e} {found.forward:6d} {found.backward:6d} "
            f"{whole:6.2f} {backward:6.2f} {found.kept / 1024:9.0f} {found.most / 1024:9.0f}",
            flush=True,
        )
        table = f"Gradients at a tolerance of {tolerance:.0e}, {str(dtype).removeprefix('torch.')}"
        line = f"{case.name}: {name}"
        if not name.startswith("torchdiffeq"):
            yield Row(table, line, "torchdiffeq", whole)
            yield Row(table, line, "torchdiffeq, backward pass", backward)
        yield Row(table, line, numbers=found.numbers())


if __name__ == "__main__":
    main()
