"""Random numbers that a right-hand side draws, and its backward pass again."""

import pytest
import torch
from torch import nn

from torch_bridge import odeint, odeint_adjoint

T = torch.tensor([0.0, 1.0])
KINDS = ["restored", "reversed", "discrete"]


class Field(nn.Module):
    def __init__(self, random):
        super().__init__()
        self.layer, self.random = nn.Linear(3, 3), random

    def forward(self, t, y):
        return self.random(torch.tanh(self.layer(y)))


class Seeded(nn.Module):
    def forward(self, y):
        torch.manual_seed(3)
        return nn.functional.dropout(y)


class Forked(Seeded):
    def forward(self, y):
        with torch.random.fork_rng():
            return super().forward(y)


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("seeded", [Seeded, Forked])
def test_a_mask_that_is_always_the_same_is_the_same_at_all_nodes(seeded, adjoint):
    func = Field(seeded()).double()
    y0, tight = torch.randn(4, 3, dtype=torch.float64), {"rtol": 1e-8, "atol": 1e-8}
    found = [odeint(func, y0, T, **tight), odeint_adjoint(func, y0, T, adjoint=adjoint, **tight)]
    wanted, one = (torch.autograd.grad(y[-1].square().sum(), func.layer.weight)[0] for y in found)
    torch.testing.assert_close(one, wanted, rtol=1e-6, atol=1e-7)
