"""Check a right-hand side
=======================

What a check finds in a network that was not written for a solver."""

import warnings

import torch
from torch import nn

from torch_bridge import NeuralODE, TimeBatchNorm, check_rhs, weight_normalization


class Careless(nn.Module):
    """Layers that are fine in a residual network, and a slip: `lift` is computed and not used."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(8, 8)
        self.inner = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 16))
        self.norm, self.dropout = nn.BatchNorm1d(16), nn.Dropout(0.1)
        self.outer = nn.Linear(16, 8)

    def forward(self, t, y):
        """Evaluate."""
        self.lift(y)
        return self.outer(self.dropout(torch.relu(self.norm(self.inner(y)))))


class Careful(nn.Module):
    """The same for a solver: frozen weights, statistics that know the time, no dropout."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(8, 8)
        self.inner = weight_normalization(nn.Linear(8, 16), "spectral")
        self.norm = TimeBatchNorm(16, intervals=4)
        self.outer = nn.Linear(16, 8)

    def forward(self, t, y):
        """Evaluate."""
        return self.outer(torch.relu(self.norm(t, self.inner(self.lift(y)))))


torch.manual_seed(0)
y0 = torch.randn(32, 8)
report = check_rhs(Careless(), 0.0, y0)
print(report)

# A NeuralODE does that at its first solve, and warns.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    NeuralODE(Careless(), solver="rk4", steps=4)(y0)
print(f"\n{len(caught)} warning: {type(caught[0].message).__name__}")

block = NeuralODE(Careful(), solver="rk4", steps=4, check="raise")
print("two solves of one batch agree:", torch.equal(block(y0), block(y0)))
print(check_rhs(block.func, 0.0, y0))
