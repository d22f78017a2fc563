"""Solves of `odeint_adjoint` that nobody differentiates: the same states, and no nodes."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from odecore.errors import UnresolvedInterpolantWarning
from torch_bridge import NeuralODE, odeint_adjoint
from torch_bridge import _restored_adjoint as restored


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.evaluations = nn.Linear(3, 3).double(), 0

    def forward(self, t, y):
        self.evaluations += 1
        return torch.tanh(self.layer(y)) * torch.cos(9 * t)


@pytest.fixture
def recorded(monkeypatch):
    calls, record = [], restored.record_panels

    def counted(*arguments, **options):
        calls.append(arguments)
        return record(*arguments, **options)

    monkeypatch.setattr(restored, "record_panels", counted)
    return calls


TIMES = {"two": [0.0, 1.0], "some": [1.0, 0.6, -0.5], "many": torch.linspace(0, 2, 30).tolist()}
WAYS = {
    "adaptive": {"rtol": 1e-6, "atol": 1e-8},
    "max_step": {"rtol": 1e-4, "options": {"max_step": 0.2}},
    "steps": {"method": "rk4", "options": {"steps": 7}},
    "grid": {"method": "midpoint"},
    "step_size": {"method": "rk4", "options": {"step_size": 0.13}},
    "refused": {"method": "rk4", "options": {"step_size": 0.13, "interp": "cubic"}},
    "jump": {"rtol": 1e-6, "options": {"jump_t": [0.3]}},
    "implicit": {"method": "kvaerno43", "rtol": 1e-6},
    "nodes": {"rtol": 1e-6, "nodes": 6},
    "adams": {"method": "explicit_adams", "options": {"steps": 9}},
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", TIMES)
def test_the_states_are_those_of_training(way, at, recorded):
    options = {"adjoint": "restored", **WAYS[way]}
    net, t = Net(), torch.tensor(TIMES[at], dtype=torch.float64)
    y0 = torch.randn(4, 3, dtype=torch.float64)

    def solved(context):
        net.evaluations = 0
        with context, warnings.catch_warnings():
            warnings.simplefilter("ignore", UnresolvedInterpolantWarning)
            try:
                return odeint_adjoint(net, y0, t, **options).detach(), net.evaluations
            except ValueError as error:
                return str(error), 0

    wanted, cost = solved(nullcontext())
    assert len(recorded) == (cost > 0)
    found, evaluations = solved(torch.no_grad())
    assert len(recorded) == (cost > 0)
    assert evaluations <= cost
    if cost:
        torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-14)
    else:
        assert found == wanted


def test_frozen_models_and_inputs_record_nothing(recorded):
    net, y0 = Net(), torch.ones(2, 3, dtype=torch.float64)
    block = NeuralODE(net, adjoint="restored", check="off")
    block.requires_grad_(False)
    assert not block(y0).requires_grad
    assert not recorded
    assert block(y0.requires_grad_()).requires_grad
    assert len(recorded) == 1


def test_what_is_followed_otherwise_is_recorded_or_refused(recorded):
    net, y0 = Net(), torch.ones(2, 3, dtype=torch.float64)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with torch.no_grad(), forward_ad.dual_level(), pytest.raises(NotImplementedError):
        odeint_adjoint(net, forward_ad.make_dual(y0, y0), t)
    net.requires_grad_(False)
    odeint_adjoint(net, y0, t.requires_grad_())[-1].sum().backward()
    assert t.grad is not None
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="gradient"):
        odeint_adjoint(lambda t, y: y * weight, y0, t.detach(), adjoint_params=None)
    net.lost = weight * 1
    net.forward = lambda t, y: y * net.lost
    with pytest.raises(ValueError, match="gradient"):
        odeint_adjoint(net, y0, t.detach())


@pytest.mark.parametrize("nodes", [1, 2.5, "many"])
def test_wrong_nodes_are_refused_all_the_same(nodes):
    y0, t = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.0, 1.0])
    with torch.no_grad(), pytest.raises((ValueError, TypeError), match="points"):
        odeint_adjoint(Net(), y0, t, nodes=nodes)


def test_no_warning_of_nodes_that_are_not_there():
    net, y0 = Net(), torch.ones(2, 3, dtype=torch.float64)
    t = torch.tensor([0.0, 9.0], dtype=torch.float64)
    with torch.no_grad():
        odeint_adjoint(net, y0, t, nodes=3)
    with pytest.warns(UnresolvedInterpolantWarning):
        odeint_adjoint(net, y0, t, nodes=3)
