"""A whole solve and its gradients, compiled, against torchdiffeq's adjoint and diffrax's.

`python -m verification.benchmarks.compiled_adjoint` prints the table: the least of many wall times,
the ways in turn, so that what else the machine does falls on all.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import torch
import torchdiffeq
from torch import Tensor

import torch_bridge
from verification._options import positive
from verification.benchmarks._rows import Row, add_options, keep, versus
from verification.benchmarks.solver import SIZES, Field, in_jax, problem

DTYPES = ["float32", "float64"]
REPEATS = 8  # calls of one way in a row, so that caches are warm; 2 of those that fill them
TOLERANCE = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6}
WAYS: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "compiled": (torch_bridge.odeint_adjoint, {"compile": True}),
    "restored": (torch_bridge.odeint_adjoint, {"compile": True, "adjoint": "restored"}),
    "eager": (torch_bridge.odeint_adjoint, {}),
    "torchdiffeq": (torchdiffeq.odeint_adjoint, {}),
}


def _torch(field: Field, y0: Tensor, solve: Callable[..., Tensor], more: Any) -> Any:
    times, inputs = torch.tensor([0.0, 1.0]), (y0.requires_grad_(), *field.parameters())

    def call() -> Any:
        y = solve(field, y0, times, **TOLERANCE, **more)
        return torch.autograd.grad(y[-1].square().sum(), inputs)

    return call


def _diffrax(field: Field, y0: Tensor) -> Any:
    solve, arguments = in_jax(field, y0)
    gradient = jax.jit(jax.grad(lambda y, args: (solve(y, args)[0] ** 2).sum(), argnums=(0, 1)))
    return lambda: jax.block_until_ready(gradient(*arguments))


def measure(size: str, dtype: torch.dtype, rounds: int) -> dict[str, float]:
    """The least seconds of each way, after two calls to compile."""
    jax.config.update("jax_enable_x64", dtype == torch.float64)  # it slows float32 down
    field, y0 = problem(size)
    field, y0 = field.to(dtype), y0.to(dtype)
    calls = {"diffrax": _diffrax(field, y0)}
    calls.update({name: _torch(field, y0, *way) for name, way in WAYS.items()})
    least = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            for _ in range(2 if size == "large" else REPEATS):
                start = time.perf_counter()
                call()
                least[name] = min(least[name], time.perf_counter() - start)
    return least


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Print milliseconds, hand over ratios."""
    print(f"{'milliseconds':20s}" + "".join(f"{name:>13s}" for name in ("diffrax", *WAYS)), end="")
    print("   compiled / torchdiffeq, / diffrax, eager / torchdiffeq")
    for size in options.sizes[:1] if options.quick else options.sizes:
        for name in options.dtypes[:1] if options.quick else options.dtypes:
            found = measure(size, getattr(torch, name), 1 if options.quick else options.rounds)
            ours, theirs, jitted = (found[k] for k in ("compiled", "torchdiffeq", "diffrax"))
            print(
                f"{size + ', ' + name:20s}"
                + "".join(f"{1e3 * seconds:13.2f}" for seconds in found.values())
                + f"{ours / theirs:15.2f}{ours / jitted:15.1f}{found['eager'] / theirs:15.2f}",
                flush=True,
            )
            table = "A solve and its gradients: compiled, by steps or restored; eager"
            for way in ("compiled", "restored", "eager"):
                case = f"{size}, {name}: {way}"
                yield from versus(table, case, found, ["torchdiffeq", "diffrax"], way)


def main() -> None:
    """Print the table."""
    parser = add_options(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--rounds", type=positive, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    keep(rows(options), options.rows)


if __name__ == "__main__":
    main()
