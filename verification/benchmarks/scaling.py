"""Cost against the number of steps, few and many, and of samples, and a batch of mixed stiffness.

`python -m verification.benchmarks.scaling` prints ratios of median wall times on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from odecore.solve import solve_ivp, solve_per_sample
from torch_bridge._fields import as_field
from verification.benchmarks._rows import Row, add_options, keep, printed, versus
from verification.benchmarks._times import medians
from verification.benchmarks.solver import LIBRARIES, problem

FEW = (1, 2, 5, 10)
STEPS = (100, 200, 400, 800)
BATCHES = (1024, 2048, 4096, 8192)
ROUNDS, ROUNDS_MIXED = 15, 3


def network(width: int, hidden: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A right-hand side of two layers."""
    torch.manual_seed(0)
    inner = torch.randn(width, hidden) / width**0.5
    outer = torch.randn(hidden, width) / hidden**0.5
    return lambda t, y: torch.tanh(y @ inner) @ outer


def steps(rounds: int) -> Iterator[Row]:
    """One step of many."""
    y0, fun = torch.ones(16, 8), as_field(network(8, 32), torch.ones(16, 8))
    options = {"method": "classic", "t_eval": [1.0]}
    runs = {n: partial(solve_ivp, fun, (0.0, 1.0), y0, steps=n, **options) for n in STEPS}
    yield from _shares("given steps", runs, rounds)


def batches(rounds: int) -> Iterator[Row]:
    """One sample of many."""
    runs = {}
    for n in BATCHES:
        y0 = torch.randn(n, 16, generator=torch.Generator().manual_seed(0))
        fun = as_field(network(16, 64), y0)
        options = {"method": "dopri5", "steps": 20, "t_eval": [1.0]}
        runs[n] = partial(solve_ivp, fun, (0.0, 1.0), y0, **options)
    yield from _shares("samples", runs, rounds)


def few_steps(count: int, interface: str, rounds: int) -> Iterator[Row]:
    """A solve of few given steps and its gradients, of which much is the fixed cost."""
    field, y0 = problem("small")
    t = torch.linspace(0.0, 0.1 * count, count + 1)

    def run(library: Any) -> None:
        getattr(library, interface)(field, y0, t, method="rk4")[-1].sum().backward()

    times = medians({name: partial(run, library) for name, library in LIBRARIES.items()}, rounds)
    table = "Few steps of rk4, and their gradients"
    case = f"{interface}, {count} step{'s' * (count > 1)}, small"
    yield from versus(table, case, times, ["torchdiffeq"])


def _shares(things: str, runs: dict[int, Callable[[], object]], rounds: int) -> Iterator[Row]:
    times = {n: seconds / n for n, seconds in medians(runs, rounds).items()}
    first, *others = times
    for n in others:
        ratio = times[n] / times[first]
        case = f"one of {n} {things}"
        yield Row(
            f"Cost in the number of {things}: near 1 where it is linear",
            case,
            f"one of {first}",
            ratio,
        )


def mixed_stiffness(samples: int, rounds: int) -> Iterator[Row]:
    """A batch of which one sample in 64 is 100 times faster than the others."""
    rates = torch.ones(samples, 1)
    rates[::64] = 100.0
    y0, pull = torch.zeros(samples, 64), network(64, 64)

    def fun(t: Tensor, y: Tensor, rates: Tensor = rates) -> Tensor:
        phase = t[:, None] if t.ndim else t
        return rates * (0.2 * pull(t, y) - y + torch.cos(phase))

    ends, options = (0.0, 4.0), {"rtol": 1e-4, "atol": 1e-6}
    own = {"args": (rates,), "shrink": True}
    runs = {
        "odecore": partial(solve_per_sample, fun, ends, y0, **own, **options),
        "joint steps": partial(solve_ivp, as_field(fun, y0), ends, y0, t_eval=[4.0], **options),
        "torchode": partial(_torchode, fun, y0),
    }
    with torch.no_grad():
        times = medians(runs, rounds)
    case = f"{samples} samples of mixed stiffness"
    yield from versus("Steps of its own for each sample", case, times, list(runs)[1:])


def _torchode(fun: Callable[[Tensor, Tensor], Tensor], y0: Tensor) -> object:
    import torchode

    term = torchode.ODETerm(fun)
    control = torchode.IntegralController(rtol=1e-4, atol=1e-6, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    ends = (torch.full((len(y0),), t, dtype=y0.dtype) for t in (0.0, 4.0))
    return solver.solve(torchode.InitialValueProblem(y0, *ends))


def rows(quick: bool) -> Iterator[Row]:
    """All of them."""
    rounds, rounds_mixed, samples = (1, 1, 128) if quick else (ROUNDS, ROUNDS_MIXED, 2048)
    yield from steps(rounds)
    yield from batches(rounds)
    for interface, count in product(("odeint", "odeint_adjoint"), FEW):
        yield from few_steps(count, interface, 10 * rounds)
    yield from mixed_stiffness(samples, rounds_mixed)


def main() -> None:
    """Print the ratios."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    torch.set_num_threads(1)
    keep(printed(rows(options.quick)), options.rows)


if __name__ == "__main__":
    main()
