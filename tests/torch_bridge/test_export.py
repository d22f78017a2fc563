"""`torch.export` of networks with a NeuralODE in them."""

import pytest
import torch
from torch import nn

from torch_bridge import DenseField, NeuralODE, odeint

X = torch.linspace(-1, 1, 15).reshape(5, 3)


class Solve(nn.Module):
    def forward(self, y, t):
        return odeint(lambda t, y: -y, y, t, method="rk4")


def network(**options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), NeuralODE(DenseField(4, 8), **options)).eval()


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_given_steps_are_exported(solver):
    model = network(solver=solver, steps=2)
    program = torch.export.export(model, (X,), strict=False)
    torch.testing.assert_close(program.module()(X), model(X), rtol=0, atol=0)
    torch.testing.assert_close(program.module()(2 * X), model(2 * X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_a_network_trained_by_an_adjoint_is_exported(adjoint):
    model = network(solver="rk4", steps=2, adjoint=adjoint)
    program = torch.export.export(model, (X,), strict=False)
    torch.testing.assert_close(program.module()(X), model(X))


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_the_size_of_a_batch_may_be_left_open(solver):
    model, batch = network(solver=solver, steps=2), torch.export.Dim("batch")
    program = torch.export.export(model, (X,), dynamic_shapes=({0: batch},), strict=False)
    for x in (X[:3], torch.linspace(-1, 1, 900).reshape(300, 3)):
        torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("options", [{}, {"solver": "gl4", "steps": 2}])
def test_steps_that_values_steer_are_refused(options):
    with pytest.raises(ValueError, match="give `steps` and an explicit method"):
        torch.export.export(network(**options), (X,), strict=False)


def test_times_that_are_not_constant_are_refused():
    with pytest.raises(ValueError, match="export a NeuralODE"):
        torch.export.export(Solve(), (X, torch.tensor([0.0, 1.0])), strict=False)
