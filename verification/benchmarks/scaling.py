"""Cost against the number of steps and of samples, and steps of their own for a mixed batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from odecore.solve import solve_ivp, solve_per_sample
from torch_bridge._fields import as_field

STEPS = (100, 200, 400, 800)
BATCHES = (1024, 2048, 4096, 8192)


def network(width: int, hidden: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A right-hand side of two layers."""
    torch.manual_seed(0)
    inner = torch.randn(width, hidden) / width**0.5
    outer = torch.randn(hidden, width) / hidden**0.5
    return lambda t, y: torch.tanh(y @ inner) @ outer


@pytest.mark.parametrize("steps", STEPS)
def test_steps(timed: Callable[..., None], steps: int) -> None:
    """Time one step of many: the ratio stays near 1 where cost is linear."""
    y0, fun = torch.ones(16, 8), as_field(network(8, 32), torch.ones(16, 8))
    library = "odecore" if steps == STEPS[0] else f"{steps} steps"
    timed(
        "one of 100 given steps, against one of",
        library,
        lambda: solve_ivp(fun, (0.0, 1.0), y0, method="classic", steps=steps, t_eval=[1.0]),
        share=steps,
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_batches(timed: Callable[..., None], batch: int) -> None:
    """Time one sample of many."""
    y0 = torch.randn(batch, 16, generator=torch.Generator().manual_seed(0))
    fun = as_field(network(16, 64), y0)
    library = "odecore" if batch == BATCHES[0] else f"{batch} samples"
    timed(
        "one of 1024 samples, against one of",
        library,
        lambda: solve_ivp(fun, (0.0, 1.0), y0, method="dopri5", steps=20, t_eval=[1.0]),
        share=batch,
    )


@pytest.mark.parametrize("library", ["odecore", "joint steps", "torchode"])
def test_mixed_stiffness(timed: Callable[..., None], library: str) -> None:
    """Time a batch of which one sample in 64 is 100 times faster than the others."""
    rates = torch.ones(2048, 1)
    rates[::64] = 100.0
    y0, pull = torch.zeros(2048, 64), network(64, 64)

    def fun(t: Tensor, y: Tensor, rates: Tensor = rates) -> Tensor:
        phase = t[:, None] if t.ndim else t
        return rates * (0.2 * pull(t, y) - y + torch.cos(phase))

    def call() -> object:
        with torch.no_grad():
            if library == "odecore":
                return solve_per_sample(
                    fun, (0.0, 4.0), y0, args=(rates,), shrink=True, rtol=1e-4, atol=1e-6
                )
            if library == "joint steps":
                joint = as_field(fun, y0)
                return solve_ivp(joint, (0.0, 4.0), y0, rtol=1e-4, atol=1e-6, t_eval=[4.0])
            return _torchode(fun, y0)

    timed("a batch of mixed stiffness", library, call, rounds=3)


def _torchode(fun: Callable[[Tensor, Tensor], Tensor], y0: Tensor) -> object:
    import torchode

    term = torchode.ODETerm(fun)
    control = torchode.IntegralController(rtol=1e-4, atol=1e-6, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    ends = (torch.full((len(y0),), t, dtype=y0.dtype) for t in (0.0, 4.0))
    return solver.solve(torchode.InitialValueProblem(y0, *ends))
