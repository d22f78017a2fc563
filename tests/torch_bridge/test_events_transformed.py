"""`odeint_event` under torch.func: the gradient of the event's time, by every transformation."""

from functools import partial

import pytest
import torch
from torch import nn

from torch_bridge import odeint, odeint_adjoint, odeint_event

D = torch.float64
TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SOLVES = {
    "adaptive": TIGHT,
    "given": {"method": "rk4", "options": {"step_size": 0.01}},
    "implicit": {"method": "gl4", "options": {"step_size": 0.02}},
}
INTERFACES = {
    "steps": odeint,
    "restored": partial(odeint_adjoint, adjoint="restored"),
    "reversed": partial(odeint_adjoint, adjoint="reversed"),
    "discrete": partial(odeint_adjoint, adjoint="discrete"),
}


class Until(nn.Module):
    """A number that depends on an event's time, and on the state there."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.field = Damped()
        self.level = nn.Parameter(torch.tensor(0.4, dtype=D))

    def forward(self, y0, t0, interface, options):
        def event(t, y):
            return torch.stack([y[0] - self.level * (1 + t), t - 50.0])

        time, states = odeint_event(
            self.field, y0, t0, event_fn=event, odeint_interface=interface, **options
        )
        return time.sin() + states[-1].square().sum()


class Damped(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([0.8, -0.5], dtype=D))

    def forward(self, t, y):
        return -self.rate * y * (1 + torch.cos(t))


Y0, T0 = torch.tensor([1.1, 0.3], dtype=D), torch.tensor(0.1, dtype=D)


def by_autograd(model):
    y0, t0 = Y0.clone().requires_grad_(), T0.clone().requires_grad_()
    value = model(y0, t0, odeint, TIGHT)
    return torch.autograd.grad(value, [y0, t0, *model.parameters()])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
@pytest.mark.parametrize("options", SOLVES.values(), ids=SOLVES)
def test_gradients(options, interface):
    model = Until()
    wanted = by_autograd(model)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(y0, t0, parameters):
        return torch.func.functional_call(model, parameters, (y0, t0, interface, options))

    at_y0, at_t0, rest = torch.func.grad(loss, (0, 1, 2))(Y0, T0, parameters)
    names = [name for name, _ in model.named_parameters()]
    found = [at_y0, at_t0, *(rest[name] for name in names)]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", SOLVES.values(), ids=SOLVES)
def test_forward_mode(options):
    model = Until()
    wanted = by_autograd(model)

    def value(y0, t0):
        return model(y0, t0, odeint, options)

    found = torch.func.jvp(value, (Y0, T0), (torch.ones(2, dtype=D), -2 * torch.ones((), dtype=D)))
    torch.testing.assert_close(found[1], wanted[0].sum() - 2 * wanted[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.func.jacfwd(value)(Y0, T0), wanted[0], rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("outer", [torch.func.jacfwd, torch.func.jacrev])
@pytest.mark.parametrize("inner", [torch.func.jacfwd, torch.func.jacrev])
def test_second_derivatives_are_refused(inner, outer):
    model = Until()
    with pytest.raises(RuntimeError, match="event's time can not be differentiated again"):
        outer(inner(lambda y0: model(y0, T0, odeint, TIGHT)))(Y0)


def test_an_event_without_a_derivative_has_no_gradient():
    def time(y0, event):
        return odeint_event(lambda t, y: -y, y0, T0, event_fn=event)[0]

    with pytest.raises(RuntimeError, match="the event's time has no gradient"):
        torch.func.grad(lambda y: time(y, lambda t, y: torch.sign(y[0] - 0.5)))(Y0)
    assert torch.func.grad(lambda y: time(y, lambda t, y: t - 0.5))(Y0).tolist() == [0.0, 0.0]
