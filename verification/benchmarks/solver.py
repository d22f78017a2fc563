"""`odeint` and `odeint_adjoint` against peers: the same network, method and tolerance.

`python -m verification.benchmarks.solver` prints ratios of median wall times on one thread, all
libraries in turn. The overhead of a solve is its time over that of its evaluations of f alone.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn

import torch_bridge
from odecore.errors import CompileWarning
from verification.benchmarks._rows import Row, add_options, keep, printed, versus
from verification.benchmarks._times import medians

SIZES = {  # batch, width, hidden
    "tiny": (1, 2, 16), "small": (64, 16, 64), "medium": (256, 64, 256), "large": (2048, 64, 64),
}  # fmt: skip
LIBRARIES = {"odecore": torch_bridge, "torchdiffeq": torchdiffeq}
METHODS: dict[str, dict[str, Any]] = {
    "rk4, 40 steps": {"method": "rk4", "options": {"step_size": 1 / 40}},
    "dopri5, 1e-6": {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6},
}
END = torch.tensor([0.0, 1.0])
PEERS = ("torchdiffeq",)
ROUNDS = 15


class Field(nn.Module):
    """Two layers and a tanh."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate."""
        return self.net(y)


def problem(size: str) -> tuple[Field, Tensor]:
    """The network of a size and its initial state, from a fixed seed."""
    batch, width, hidden = SIZES[size]
    torch.manual_seed(0)
    return Field(width, hidden), torch.randn(batch, width)


def forward(size: str, method: str, rounds: int) -> Iterator[Row]:
    """A solve without gradients, and as many evaluations of f as odecore makes."""
    field, y0 = problem(size)
    options = METHODS[method]
    calls = []
    with torch.no_grad(), field.register_forward_hook(lambda *_: calls.append(1)):
        torch_bridge.odeint(field, y0, END, **options)
    t = torch.tensor(0.0)

    def alone() -> None:
        for _ in calls:
            field(t, y0)

    runs: dict[str, Callable[[], object]] = {
        name: partial(library.odeint, field, y0, END, **options)
        for name, library in LIBRARIES.items()
    }
    with torch.no_grad():
        times = medians(runs | {"f alone": alone}, rounds)
    table = "A solve without gradients; over f alone 1 is the least possible"
    yield from versus(table, f"forward, {method}, {size}", times, ["torchdiffeq", "f alone"])


def outputs(size: str, count: int, rounds: int) -> Iterator[Row]:
    """A solve with dopri5 at 1e-6 and many output times, eager and compiled."""
    field, y0 = problem(size)
    t = torch.linspace(0, 1, count)

    def run(library: Any, **more: Any) -> None:
        with torch.no_grad():
            library.odeint(field, y0, t, rtol=1e-6, atol=1e-6, **more)

    runs = {
        "odecore": partial(run, torch_bridge),
        "compiled": partial(run, torch_bridge, compile=True),
        "torchdiffeq": partial(run, torchdiffeq),
    }
    times = medians(runs, rounds)
    table = "Many output times of a solve with dopri5 at 1e-6"
    for ours, way in (("odecore", "eager"), ("compiled", "compile=True")):
        yield from versus(table, f"{count} outputs, {way}, {size}", times, PEERS, ours)


def compiled(size: str, method: str, backward: str | None, rounds: int) -> Iterator[Row]:
    """A compiled solve, alone or with its backward pass by a function of both libraries."""
    field, y0 = problem(size)

    def run(library: Any, more: dict[str, Any]) -> None:
        with torch.set_grad_enabled(backward is not None):
            y = getattr(library, backward or "odeint")(field, y0, END, **METHODS[method], **more)
            if backward is not None:
                y[-1].square().sum().backward()

    runs = {
        name: partial(run, library, {"compile": True} if name == "odecore" else {})
        for name, library in LIBRARIES.items()
    }
    case = f"compiled{f', {backward} + backward' if backward else ''}, {method}, {size}"
    yield from versus("compile=True; the peer is eager", case, medians(runs, rounds), PEERS)


def evaluation(size: str, rounds: int) -> Iterator[Row]:
    """One evaluation in a solve with dopri5 at 1e-6: compiled, jitted and eager."""
    field, y0 = problem(size)
    makers = {"odecore": _odecore, "diffrax": _diffrax, "torchode": _torchode}
    calls = {name: make(field, y0) for name, make in makers.items()}
    whole = medians({name: call for name, (call, _) in calls.items()}, rounds)
    times = {name: whole[name] / evaluations for name, (_, evaluations) in calls.items()}
    table = "One evaluation of a solve: compiled, jitted (diffrax) and eager (torchode)"
    yield from versus(table, f"one evaluation, dopri5, {size}", times, ["diffrax", "torchode"])


def _odecore(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    with torch.no_grad():
        counts = torch_bridge.solve(field, (0.0, 1.0), y0, rtol=1e-6, atol=1e-6).statistics

    def call() -> None:
        with torch.no_grad():
            torch_bridge.odeint(field, y0, END, rtol=1e-6, atol=1e-6, compile=True)

    return call, counts.evaluations


def _diffrax(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    import jax

    solve, arguments = in_jax(field, y0)
    jitted = jax.jit(solve)
    steps = int(jitted(*arguments)[1])
    return lambda: jax.block_until_ready(jitted(*arguments)), 6 * steps + 2


def in_jax(field: Field, y0: Tensor) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """A solve by diffrax, giving the end and the number of steps, and its arguments."""
    import diffrax
    import jax.numpy as jnp

    weights = [jnp.asarray(p.detach().numpy()) for p in field.parameters()]

    def right_hand_side(t: Any, y: Any, args: Any) -> Any:
        inner, inner_bias, outer, outer_bias = args
        return jnp.tanh(y @ inner.T + inner_bias) @ outer.T + outer_bias

    def solve(y: Any, args: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(right_hand_side),
            diffrax.Dopri5(),
            0.0,
            1.0,
            None,
            y,
            args=args,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
        )
        return found.ys[-1], found.stats["num_steps"]

    return solve, (jnp.asarray(y0.numpy()), weights)


def _torchode(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    import torchode

    term = torchode.ODETerm(field)
    control = torchode.IntegralController(atol=1e-6, rtol=1e-6, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    start, end = torch.zeros(len(y0)), torch.ones(len(y0))
    task = torchode.InitialValueProblem(y0=y0, t_start=start, t_end=end)

    def call() -> Any:
        with torch.no_grad():
            return solver.solve(task)

    return call, int(call().stats["n_f_evals"].max())


def gradient(interface: str, size: str, method: str, rounds: int) -> Iterator[Row]:
    """A solve and its backward pass; the adjoints differ (restored against reversed)."""
    field, y0 = problem(size)

    def run(library: Any) -> None:
        field.zero_grad()
        solve = getattr(library, interface)
        solve(field, y0, END, **METHODS[method])[-1].square().sum().backward()

    times = medians({name: partial(run, library) for name, library in LIBRARIES.items()}, rounds)
    case = f"{interface} + backward, {method}, {size}"
    yield from versus("A solve and its backward pass", case, times, PEERS)


def rows(quick: bool) -> Iterator[Row]:
    """All of them."""
    sizes, methods, rounds = list(SIZES), list(METHODS), ROUNDS
    if quick:
        sizes, methods, rounds = sizes[:1], methods[:1], 1
    for size, method in product(sizes, methods):
        yield from forward(size, method, rounds)
    for size, count in product(sizes, [10, 100]):
        yield from outputs(size, count, rounds)
    for backward, size, method in product([None, "odeint", "odeint_adjoint"], sizes, methods):
        yield from compiled(size, method, backward, rounds)
    for size in sizes:
        yield from evaluation(size, rounds)
    for interface, size, method in product(["odeint", "odeint_adjoint"], sizes, methods):
        yield from gradient(interface, size, method, rounds)


def main() -> None:
    """Print the ratios."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's compiler warns of torch
    warnings.simplefilter("error", CompileWarning)
    keep(printed(rows(options.quick)), options.rows)


if __name__ == "__main__":
    main()
