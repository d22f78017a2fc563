"""What is claimed of normalization inside a right-hand side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from torch_bridge import (
    DenseField,
    NeuralODE,
    ResidualField,
    TimeBatchNorm,
    check_rhs,
    odeint,
    weight_normalization,
)
from verification.claims._bound import at_most
from verification.claims._claim import Claim, Finding
from verification.claims._plots import curves

__all__ = ["CLAIMS"]

TIMES = torch.tensor([0.0, 1.0])


def _updates(name: str) -> dict[str, int]:
    """How often eight steps, computed again in the backward pass, move a layer's statistics."""
    found = {}
    for solver in ("euler", "rk4"):
        field = DenseField(4, 8, name)
        block = NeuralODE(field, solver=solver, steps=8, check="off")
        y0 = torch.randn(16, 4, requires_grad=True)
        checkpoint(block, y0, use_reentrant=False).sum().backward()
        found[solver] = int(field.norm.num_batches_tracked)
    return found


def _frozen(fault: bool) -> dict[str, float]:
    """The largest difference of two solves of one batch, with weights in training."""
    torch.manual_seed(0)
    field = DenseField(4, 8)
    for layer in (field.inner, field.outer):
        if fault:
            nn.utils.parametrizations.spectral_norm(layer)
        else:
            weight_normalization(layer, "spectral")
        with torch.no_grad():
            layer.parametrizations.weight.original.add_(torch.randn_like(layer.weight))
    block = NeuralODE(field, solver="euler", steps=8, check="off")
    y0 = torch.randn(16, 4)
    return {"largest difference": float((block(y0) - block(y0)).detach().abs().max())}


class _Overwritten(ResidualField):
    """A residual block as in the published code, where the first convolution's result is lost."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.norm1(self.conv1(y)).relu()
        found: Tensor = self.norm2(self.conv2(y))
        return found


def _dead(fault: bool) -> tuple[str, ...]:
    field = (ResidualField if fault else _Overwritten)(4, "none")
    report = check_rhs(field, 0.0, torch.randn(2, 4, 8, 8))
    return tuple(finding.where for finding in report.findings)


def _follows_the_flow(fault: bool) -> Finding:
    """How far running means are from those of dy/dt = 4 (1 - 2 t), which go up and come back.

    With one mean for all times, as a plain layer has it, they can not be.
    """
    torch.manual_seed(0)
    norm = TimeBatchNorm(1, intervals=8, momentum=0.1)

    def func(t: Any, y: Tensor) -> Tensor:
        norm(torch.full_like(t, 0.5) if fault else t, y)
        return 4 * (1 - 2 * t) + 0 * y

    for _ in range(60):
        odeint(func, 0.1 * torch.randn(64, 1), TIMES, method="rk4", options={"steps": 8})
    s = torch.linspace(0, 1, 9)
    error = (norm.running_mean[:, 0] - 4 * (s - s**2)).abs()
    figure = curves(
        {"running means": (s.tolist(), norm.running_mean[:, 0].tolist()),
         "the flow's": (s.tolist(), (4 * (s - s**2)).tolist())},
        "t", "mean", log="",
    )  # fmt: skip
    found = {"inside": float(error[1:-1].max()), "with the ends": float(error.max())}
    return Finding(found, "stages beside an end are on one side of it", figure)


CLAIMS = (
    Claim(
        "batch-norm-updates",
        "eight steps with recomputation move a plain BatchNorm 16 (Euler) or 64 (RK4) times",
        "arXiv 2004.09222, section 4; one update at each evaluation",
        lambda fault: _updates("time batch" if fault else "batch"),
        {"euler": 16, "rk4": 64},
        paper="2004.09222",
        module="torch_bridge",
    ),
    Claim(
        "time-norm-updates",
        "a time-aware BatchNorm is moved once by a training step, whatever the solver",
        "torch_bridge.TimeBatchNorm",
        lambda fault: _updates("batch" if fault else "time batch"),
        {"euler": 1, "rk4": 1},
        paper="2004.09222",
        module="torch_bridge",
    ),
    Claim(
        "time-norm-flow",
        "running means of a time-aware BatchNorm are those of the flow, to first order at the ends",
        "torch_bridge.TimeBatchNorm",
        _follows_the_flow,
        {"inside": at_most(0.02), "with the ends": at_most(0.15)},
        paper="2004.09222",
        module="torch_bridge",
    ),
    Claim(
        "spectral-norm-frozen",
        "two solves of one batch agree in every bit, with spectral normalization in training",
        "torch_bridge.weight_normalization; torch's own moves at each call",
        _frozen,
        {"largest difference": 0.0},
        paper="2004.09222",
        module="torch_bridge",
    ),
    Claim(
        "dead-convolution",
        "the check finds that the published block ignores its first convolution",
        "the code of arXiv 2004.09222; torch_bridge.check_rhs",
        _dead,
        ("conv1.weight", "conv1.bias"),
        paper="2004.09222",
        module="torch_bridge",
    ),
)
