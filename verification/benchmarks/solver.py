"""`odeint` and `odeint_adjoint` against torchdiffeq: the same network, method and tolerance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import torch_bridge

SIZES = {"tiny": (1, 2, 16), "small": (64, 16, 64), "medium": (256, 64, 256)}
LIBRARIES = {"odecore": torch_bridge, "torchdiffeq": torchdiffeq}
METHODS: dict[str, dict[str, Any]] = {
    "rk4, 40 steps": {"method": "rk4", "options": {"step_size": 1 / 40}},
    "dopri5, 1e-6": {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6},
}
END = torch.tensor([0.0, 1.0])


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


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_forward(timed: Callable[..., None], size: str, method: str, library: str) -> None:
    """Time a solve without gradients."""
    field, y0 = problem(size)

    def call() -> Tensor:
        with torch.no_grad():
            return LIBRARIES[library].odeint(field, y0, END, **METHODS[method])

    timed(f"forward, {method}, {size}", library, call)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interface", ["odeint", "odeint_adjoint"])
def test_gradient(
    timed: Callable[..., None], interface: str, size: str, method: str, library: str
) -> None:
    """Time a solve and its backward pass; the adjoints differ (restored against reversed)."""
    field, y0 = problem(size)
    solve = getattr(LIBRARIES[library], interface)
    more = {"nodes": 9} if (library, interface) == ("odecore", "odeint_adjoint") else {}

    def call() -> None:
        field.zero_grad()
        solve(field, y0, END, **METHODS[method], **more)[-1].square().sum().backward()

    timed(f"{interface} + backward, {method}, {size}", library, call)
