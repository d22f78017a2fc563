"""Hooks on parameters see the gradient of the loss, once, whatever the adjoint."""

import pytest
import torch
from torch import nn

from torch_bridge import Certifier, NeuralODE, odeint, odeint_adjoint

D = torch.float64
T = torch.tensor([0.0, 1.0, 2.0], dtype=D)
TIGHT = {"rtol": 1e-6, "atol": 1e-6}
ADJOINTS = {
    "collocated": {},
    "in steps": {"adjoint_method": "dopri5"},
    "in steps and batches": {"nodes": 17, "memory": 2000},
    "discrete": {"adjoint": "discrete"},
    "reversed": {"adjoint": "reversed"},
    "refined": {"certificate": Certifier(1e-15, on_uncertified="refine")},
    "implicit": {"adjoint": "discrete", "method": "kvaerno43"},
}
HOOKS = {
    "of a sign": lambda g: -g,
    "of a factor": lambda g: 2 * g,
    "that clamps": lambda g: g.clamp(-0.1, 0.1),
}


@pytest.fixture(name="layer")
def fixture_layer():
    torch.manual_seed(0)
    return nn.Linear(2, 2).double()


class Flow(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, t, y):
        return self.layer(y).tanh()


def gradient(layer, weight, **options):
    layer.zero_grad()
    y = odeint_adjoint(
        lambda t, y: torch.tanh(y @ weight.T) + layer.bias, torch.ones(2, dtype=D), T,
        adjoint_params=(weight, layer.bias), **TIGHT, **options,
    )  # fmt: skip
    y.sum().backward(retain_graph=weight is not layer.weight)
    return layer.weight.grad


@pytest.mark.parametrize("options", ADJOINTS.values(), ids=ADJOINTS)
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_hooks_see_the_gradient_once(layer, options, hook):
    plain = gradient(layer, layer.weight, **options)
    seen = []
    layer.weight.register_hook(lambda g: seen.append(g.clone()) or hook(g))
    hooked = gradient(layer, layer.weight, **options)
    torch.testing.assert_close(hooked, hook(plain), rtol=1e-12, atol=0)
    (once,) = seen
    torch.testing.assert_close(once, plain, rtol=1e-12, atol=0)
    assert not torch.equal(hooked, plain)


@pytest.mark.parametrize("options", ADJOINTS.values(), ids=ADJOINTS)
def test_hooks_of_a_parameter_that_was_computed(layer, options):
    plain = gradient(layer, 3 * layer.weight, **options)
    weight = 3 * layer.weight
    weight.register_hook(lambda g: -g)
    torch.testing.assert_close(gradient(layer, weight, **options), -plain, rtol=1e-12, atol=0)


def test_hooks_of_a_network(layer):
    layer.weight.register_hook(lambda g: -g)
    found = []
    for adjoint in ("direct", "restored"):
        layer.zero_grad()
        network = NeuralODE(Flow(layer), rtol=1e-9, atol=1e-9, adjoint=adjoint)
        network(torch.ones(2, dtype=D)).sum().backward()
        found.append(layer.weight.grad)
    torch.testing.assert_close(*found)


def test_hooks_stay_where_a_backward_pass_fails(layer):
    failing = [False]

    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            if failing[0]:
                raise ArithmeticError("of the user")
            return g

    hooks = [layer.weight.register_hook(lambda g: -g), layer.weight.register_hook(lambda g: 2 * g)]
    ids = list(layer.weight._backward_hooks)
    y = odeint_adjoint(
        lambda t, y: Failing.apply(layer(y)), torch.ones(2, dtype=D), T,
        adjoint_params=tuple(layer.parameters()), adjoint="discrete",
    )  # fmt: skip
    failing[0] = True
    with pytest.raises(ArithmeticError, match="of the user"):
        y.sum().backward()
    assert list(layer.weight._backward_hooks) == ids
    failing[0] = False
    y = odeint(lambda t, y: layer(y), torch.ones(2, dtype=D), T)
    y.sum().backward()
    for hook in hooks:
        hook.remove()
    twice = layer.weight.grad
    layer.zero_grad()
    odeint(lambda t, y: layer(y), torch.ones(2, dtype=D), T).sum().backward()
    torch.testing.assert_close(twice, -2 * layer.weight.grad)
