"""What the certificate of a gradient compares: what is asked for, group by group."""

import pytest
import torch
from torch import nn

from odecore.errors import UncertifiedGradientError
from torch_bridge import Certifier, DenseField, odeint_adjoint

D = torch.float64


class Pulse(nn.Module):
    """y' = -y + p pulse(t), with a pulse that the steps pass over: y is too small to show it."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.ones((), dtype=D))

    def forward(self, t, y):
        return -y + self.p * 1e-6 * torch.exp(-(((t - 0.618) / 0.03) ** 2))


PULSE = {"rtol": 1e-6, "atol": 1e-8}
TRUE = 4.006e-8  # dL/dp for the sum of three states at 2


@pytest.mark.parametrize("needs_y0", [False, True])
@pytest.mark.parametrize("adjoint", ["discrete", "reversed"])
def test_a_wrong_gradient_of_parameters_is_not_hidden_behind_that_of_the_state(adjoint, needs_y0):
    func, t = Pulse(), torch.tensor([0.0, 2.0], dtype=D)
    y0 = torch.ones(3, dtype=D, requires_grad=needs_y0)
    certifier = Certifier(on_uncertified="raise")
    y = odeint_adjoint(func, y0, t, adjoint=adjoint, certificate=certifier, **PULSE)
    with pytest.raises(UncertifiedGradientError):
        y[-1].sum().backward()
    (found,) = torch.autograd.grad(
        odeint_adjoint(func, y0, t, adjoint=adjoint, **PULSE)[-1].sum(), func.p
    )
    error = abs(float(found) / TRUE - 1)
    assert error > 0.4
    assert certifier.errors == [pytest.approx(error, rel=0.1)]


@pytest.mark.parametrize("in_torch_func", [False, True])
def test_a_gradient_that_is_not_asked_for_does_not_count(in_torch_func):
    func, t = Pulse(), torch.tensor([0.0, 2.0], dtype=D)
    certifier = Certifier(on_uncertified="raise")

    def loss(y0):
        return odeint_adjoint(func, y0, t, adjoint="discrete", certificate=certifier, **PULSE)[
            -1
        ].sum()

    y0 = torch.ones(3, dtype=D)
    if in_torch_func:
        torch.func.grad(loss)(y0)
    else:
        func.p.requires_grad_(False)
        torch.autograd.grad(loss(y0.requires_grad_()), y0)
    assert certifier.errors[0] < 1e-5

    def of_parameters(p):
        return torch.func.functional_call(Called(func, loss), {"func.p": p}, (y0,))

    certifier.errors.clear()
    with pytest.raises(UncertifiedGradientError):
        torch.func.grad(of_parameters)(func.p.detach())


class Called(nn.Module):
    def __init__(self, func, call):
        super().__init__()
        self.func, self.call = func, call

    def forward(self, y0):
        return self.call(y0)


def test_a_gradient_that_is_zero_has_no_error():
    class Diffusion(nn.Module):  # at rest, whatever the rate: the gradient is rounding
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(1.3, dtype=D))
            edges = (torch.randn(6, 6, dtype=D) > 0).to(D)
            self.register_buffer("matrix", edges - edges.sum(1).diag())

        def forward(self, t, y):
            return self.rate * (self.matrix @ y)

    torch.manual_seed(0)
    func, t = Diffusion(), torch.linspace(0, 1, 3, dtype=D)
    certifier = Certifier(on_uncertified="raise")
    y = odeint_adjoint(func, torch.ones(6, dtype=D), t, certificate=certifier, **PULSE)
    (found,) = torch.autograd.grad((y * torch.randn(6, dtype=D)).sum(), func.rate)
    assert abs(float(found)) < 1e-14
    assert certifier.errors[0] < 1e-5


class Stiff(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(100.0, dtype=D))

    def forward(self, t, y):
        return -self.rate * (y - torch.cos(t))


@pytest.mark.parametrize("adjoint", ["restored", "discrete"])
def test_the_cotangent_of_the_initial_time_has_no_part_in_the_error(adjoint):
    found = []
    for of_initial, of_times in ((1.0, False), (0.0, False), (1.0, True)):
        t = torch.tensor([0.0, 0.5, 1.0], dtype=D, requires_grad=of_times)
        y0, certifier = torch.ones(3, dtype=D, requires_grad=True), Certifier(1.0)
        options = {"rtol": 1e-4, "atol": 1e-6, "adjoint": adjoint, "certificate": certifier}
        y = odeint_adjoint(Stiff(), y0, t, **options)
        (of_initial * y[0].sum() + y[1:].sum()).backward()
        found += certifier.errors
    assert found == [pytest.approx(found[0], rel=0.01)] * 3
    assert 1e-3 < found[0] < 0.1


@pytest.mark.filterwarnings("ignore::odecore.errors.UncertifiedGradientWarning")
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_under_autocast_a_reference_is_asked_for_no_more_than_its_rounding(scale):
    torch.manual_seed(0)
    field, y0 = DenseField(6, 12), (scale * torch.randn(8, 6)).requires_grad_()
    calls = []
    field.register_forward_hook(lambda *_: calls.append(1))
    errors = []
    for method, steps in (("rk4", 4), ("euler", 2)):
        for enabled in (False, True):
            certifier = Certifier()
            with torch.autocast("cpu", torch.bfloat16, enabled):
                y = odeint_adjoint(
                    field, y0, torch.tensor([0.0, 0.5, 1.0]), method=method,
                    options={"steps": steps}, adjoint="restored", certificate=certifier,
                )  # fmt: skip
                y.square().sum().backward()
            errors += certifier.errors
    assert len(calls) < 1000  # one node after another; they were 10,000
    plain, rounded, coarse, coarse_rounded = errors
    assert plain < 1e-5 < rounded < torch.finfo(torch.bfloat16).eps
    assert coarse_rounded == pytest.approx(coarse, rel=0.1)
