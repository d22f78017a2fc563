"""Methods that evaluate beyond the ends of their steps: only steps along an interpolant may not."""

import pytest
import torch
from torch import nn

from torch_bridge import odeint, odeint_adjoint

D = torch.float64


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.A = nn.Parameter(torch.randn(3, 3, dtype=D, generator=generator))

    def forward(self, t, y):
        return torch.tanh(y @ self.A.T) * torch.cos(t)


def gradients(solve, **options):
    func, y0 = Field(), torch.ones(3, dtype=D, requires_grad=True)
    y = solve(func, y0, torch.linspace(0, 1, 3, dtype=D), **options)
    return torch.autograd.grad(y.square().sum(), [y0, func.A])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adjoint_method": "collocation"},
        {"adjoint": "discrete"},
        {"adjoint": "reversed"},
        {"adjoint_method": "dopri5", "memory": 10**4},
    ],
    ids=["default", "collocation", "discrete", "reversed", "other steps"],
)
def test_gradients(options):
    # One of the stages of kvaerno54 is at c = 1.23.
    found = gradients(odeint_adjoint, method="kvaerno54", rtol=1e-6, atol=1e-6, **options)
    wanted = gradients(odeint, rtol=1e-10, atol=1e-10)
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"memory": 10**4}, {"adjoint_options": {}}, {"adjoint_method": "kvaerno54"}]
)
def test_steps_along_an_interpolant_are_refused(options):
    with pytest.raises(ValueError, match=r"outside its steps, at c = \[1.23.*adjoint='discrete'"):
        gradients(odeint_adjoint, method="kvaerno54", **options)
