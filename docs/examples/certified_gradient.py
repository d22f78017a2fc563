"""Certify a gradient
==================

Is the gradient of a neural ODE right? Three adjoints, and an estimate of the error of each.

Run with `python docs/examples/certified_gradient.py`.
"""

import torch
from torch import nn

from torch_bridge import Certifier, odeint_adjoint

torch.manual_seed(0)
field = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8)).double()
for parameter in field.parameters():
    parameter.data.mul_(20**0.5)  # steep: small errors of the state grow


class Flow(nn.Module):
    """The network as a right-hand side."""

    def __init__(self):
        super().__init__()
        self.net = field
        self.calls = 0

    def forward(self, t, y):
        """Evaluate, and count."""
        self.calls += 1
        return self.net(y)


flow = Flow()
y0, t = torch.randn(32, 8, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
print("adjoint     estimated error   calls of f in the backward pass, certificate included")
for adjoint in ("restored", "discrete", "reversed"):
    certifier = Certifier(limit=1.0)
    y = odeint_adjoint(flow, y0, t, rtol=1e-5, atol=1e-5, adjoint=adjoint, certificate=certifier)
    flow.calls = 0
    torch.autograd.grad(y[-1].square().sum(), list(flow.parameters()))
    print(f"{adjoint:10s}  {certifier.errors[0]:15.1e}   {flow.calls:5d}")
