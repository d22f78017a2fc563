"""Weights that `torch.nn.utils.parametrize.cached` keeps: with their gradients, in every solve."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from torch_bridge import odeint, odeint_adjoint, odeint_event
from torch_bridge._one_solve import in_own_program, own_program

T = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
STEPS = {"method": "rk4", "options": {"steps": 12}}
ADJOINTS = ("restored", "reversed", "discrete")


class Symmetric(nn.Module):
    """Counts how often it is evaluated."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x.triu() + x.triu(1).T


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3).double()
        parametrize.register_parametrization(self.layer, "weight", Symmetric())

    def forward(self, t, y):
        return torch.tanh(self.layer(y)) * torch.cos(t)


def gradient(solve, y0, t, *, cached, backward_too, own=True):
    """Of a loss that reads the weight itself too."""
    flow = Flow()

    def differentiated(loss):
        return torch.autograd.grad(loss, list(flow.parameters()))

    def loss():
        y = solve(flow, y0, t)
        penalty = flow.layer.weight.square().sum() if own else 0.0
        return y.square().sum() + penalty

    if not cached:
        return differentiated(loss())
    with parametrize.cached():
        value = loss()
        if backward_too:
            return differentiated(value)
    return differentiated(value)


def event_state(flow, y0, t, **options):
    def event(t, y):
        return y[0, 0] - y0[0, 0] + (flow.layer.weight * 0.05).sum() * t - 0.1

    tolerances = {"rtol": 1e-9, "atol": 1e-9}
    time, states = odeint_event(flow, y0, t[0], event_fn=event, **tolerances, **options)
    return states + time


def solves():
    for adjoint in ADJOINTS:
        name = f"adjoint, {adjoint}"
        yield name, lambda f, y, t, a=adjoint: odeint_adjoint(f, y, t, adjoint=a, **STEPS)
    yield "adaptive adjoint", lambda f, y, t: odeint_adjoint(f, y, t, rtol=1e-9, atol=1e-9)
    yield "steps", lambda f, y, t: odeint(f, y, t, **STEPS)
    yield "implicit", lambda f, y, t: odeint(f, y, t, method="gl4", options={"steps": 4})
    yield "event", event_state
    yield "event, adjoint", lambda *a: event_state(*a, odeint_interface=odeint_adjoint)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("backward_too", [True, False])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(("name", "solve"), [pytest.param(n, s, id=n) for n, s in solves()])
def test_cached_weights_keep_their_gradient(name, solve, timed, backward_too):
    y0 = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = T.clone().requires_grad_(timed)
    expected = gradient(solve, y0, t, cached=False, backward_too=False)
    found = gradient(solve, y0, t, cached=True, backward_too=backward_too)
    assert len(found) == len(expected) == 2
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_a_forward_pass_of_an_adjoint_evaluates_a_cached_weight_once(adjoint):
    flow, y0 = Flow(), torch.ones(2, 3, dtype=torch.float64)
    made = flow.layer.parametrizations.weight[0]
    with parametrize.cached():
        made.calls = 0
        odeint_adjoint(flow, y0, T, adjoint=adjoint, **STEPS)
        assert made.calls == 1


class Penalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.flow = Flow()

    def forward(self, y):
        y = odeint_adjoint(self.flow, y, T, **STEPS)
        return y.square().sum() + self.flow.layer.weight.square().sum()


def test_cached_weights_keep_their_gradient_under_torch_func():
    model, y0 = Penalized(), torch.ones(2, 3, dtype=torch.float64)
    parameters = dict(model.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (y0,))

    expected = torch.func.grad(loss)(parameters)
    with parametrize.cached():
        found = torch.func.grad(loss)(parameters)
    torch.testing.assert_close(found, expected)


def test_a_program_inside_of_another_does_not_end_it():
    assert not in_own_program()
    with own_program():
        with own_program():
            assert in_own_program()
        assert in_own_program()
        with pytest.raises(OSError), own_program():
            raise OSError
        assert in_own_program()
    assert not in_own_program()


def test_no_cached_weight_outlives_its_context():
    """Not even one that another thread has left, while a solve was going on here."""
    flow, y0 = Flow(), torch.ones(2, 3, dtype=torch.float64)
    cached = parametrize.cached()

    def func(t, y):
        if t == 0.0:  # as if it were in another thread
            cached.__exit__(None, None, None)
        return flow(t, y)

    cached.__enter__()
    before = flow.layer.weight
    odeint_adjoint(func, y0, T, adjoint_params=(), method="euler", options={"steps": 3})
    with torch.no_grad():
        flow.layer.parametrizations.weight.original.add_(1.0)
    with parametrize.cached():
        assert (flow.layer.weight > before).all()


def test_solves_in_two_threads_leave_cached_weights_their_gradient():
    flow, y0 = Flow(), torch.ones(2, 3, dtype=torch.float64)
    first, second, first_left = Event(), Event(), Event()

    def solve(inside, goes_on):
        def func(t, y):
            value = flow(t, y)
            if t == 0.0:
                inside.set()
                assert goes_on.wait(60)
            return value

        odeint_adjoint(func, y0, T, adjoint_params=(), method="euler", options={"steps": 3})

    with parametrize.cached(), ThreadPoolExecutor(2) as threads:
        one = threads.submit(solve, first, second)
        assert first.wait(60)
        other = threads.submit(solve, second, first_left)
        one.result()
        first_left.set()
        other.result()
        assert flow.layer.weight.requires_grad
