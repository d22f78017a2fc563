"""Adjoints under torch.func: grad, vmap, jacrev and what they are made of, against the steps."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from torch_bridge import Certifier, NeuralODE, odeint, odeint_adjoint

D = torch.float64
T = torch.tensor([0.0, 0.5, 1.0], dtype=D)
TIGHT = {"rtol": 1e-8, "atol": 1e-9}

pytestmark = pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).to(D)
        self.register_buffer("rate", torch.tensor(1.5, dtype=D))
        self.register_buffer("count", torch.tensor(3))  # not differentiable

    def forward(self, t, y):
        return self.net(y) * self.rate * torch.cos(t)


class Pair(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, t, y):
        return self.func(t, y[0]), -y[1] * t


class Loss(nn.Module):
    def __init__(self, func, solve, **options):
        super().__init__()
        self.func, self.solve, self.options = func, solve, options

    def forward(self, y):
        return self.solve(self.func, y, T, **TIGHT, **self.options)[1:].square().sum()


def problem():
    func = Net()
    params = {f"func.{name}": p.detach() for name, p in func.named_parameters()}
    params["func.rate"] = func.rate
    return func, params, torch.randn(4, 3, dtype=D)


def loss_of(module):
    return lambda params, y: torch.func.functional_call(module, params, (y,))


def close(found, wanted, tolerance=1e-5):
    for name, g in wanted.items():
        assert (found[name] - g).norm() < tolerance * g.norm(), name


def test_grad_of_parameters_buffers_and_state(adjoint):
    func, params, y0 = problem()
    wanted = torch.func.grad(loss_of(Loss(func, odeint)), argnums=(0, 1))(params, y0)
    module = Loss(func, odeint_adjoint, adjoint=adjoint)
    found = torch.func.grad(loss_of(module), argnums=(0, 1))(params, y0)
    close(found[0], wanted[0])
    close({"y": found[1]}, {"y": wanted[1]})
    assert all(p.grad is None for p in func.parameters())


def test_vmap_solves_each_sample_by_itself(adjoint):
    func, params, y0 = problem()
    y0[0] *= 10  # samples whose steps, and nodes, differ
    module = Loss(func, odeint_adjoint, adjoint=adjoint)
    found = torch.func.vmap(torch.func.grad(loss_of(module)), in_dims=(None, 0))(params, y0)
    for k in range(len(y0)):
        wanted = torch.func.grad(loss_of(Loss(func, odeint)))(params, y0[k])
        close({name: g[k] for name, g in found.items()}, wanted)
    many = {name: torch.stack([p, 1.1 * p]) for name, p in params.items()}
    values = torch.func.vmap(loss_of(module), in_dims=(0, None))(many, y0)
    for k in range(2):
        one = loss_of(Loss(func, odeint))({name: p[k] for name, p in many.items()}, y0)
        torch.testing.assert_close(values[k], one, rtol=1e-6, atol=0)


def test_jacrev(adjoint):
    func, _, y0 = problem()

    def last(solve, **options):
        return lambda y: solve(func, y, T, **TIGHT, **options)[-1]

    wanted = torch.func.jacrev(last(odeint))(y0[0])
    found = torch.func.jacrev(last(odeint_adjoint, adjoint=adjoint))(y0[0])
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    batch = torch.func.vmap(torch.func.jacrev(last(odeint_adjoint, adjoint=adjoint)))(y0)
    torch.testing.assert_close(batch[0], wanted, rtol=1e-6, atol=1e-7)


def test_statistics_that_have_no_derivative(adjoint):
    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh()).to(D)
            self.net[1].running_mean.normal_()

        def forward(self, t, y):
            return self.net(y)

    func, y0 = Normalized().eval(), torch.randn(4, 3, dtype=D)
    params = {f"func.{name}": p.detach() for name, p in func.named_parameters()}
    wanted = torch.func.grad(loss_of(Loss(func, odeint)), argnums=(0, 1))(params, y0)
    module = Loss(func, odeint_adjoint, adjoint=adjoint)
    found = torch.func.grad(loss_of(module), argnums=(0, 1))(params, y0)
    close(found[0], wanted[0])
    close({"y": found[1]}, {"y": wanted[1]})
    batch = torch.func.vmap(torch.func.grad(loss_of(module), argnums=1), (None, 0))
    torch.testing.assert_close(batch(params, y0[None])[0], wanted[1], rtol=1e-5, atol=1e-6)


def test_tuples_and_times(adjoint):
    func, _, y0 = problem()

    def loss(solve, **options):
        def of_times(t):
            y = solve(Pair(func), (y0, y0[0]), t, **TIGHT, **options)
            return y[0][1:].square().sum() + y[1][-1].sum()

        return of_times

    found = torch.func.grad(loss(odeint_adjoint, adjoint=adjoint))(T)
    torch.testing.assert_close(found, torch.func.grad(loss(odeint))(T), rtol=1e-5, atol=1e-6)


def test_blocks_and_certificates(adjoint):
    func, params, y0 = problem()
    block = NeuralODE(func, adjoint=adjoint, solver="dopri5", rtol=1e-7, atol=1e-8)

    def loss(params):
        return torch.func.functional_call(block, params, (y0,)).square().sum()

    assert torch.func.grad(loss)(params)["func.rate"].abs() > 0
    certifier = Certifier()

    def certified(y):
        return odeint_adjoint(func, y, T, certificate=certifier, adjoint=adjoint, **TIGHT).sum()

    torch.func.grad(certified)(y0)
    assert len(certifier.errors) == 1
    assert certifier.errors[0] < 1e-5


def test_second_derivatives_are_refused(adjoint):
    func, _, y0 = problem()
    scaled = lambda w: odeint_adjoint(func, w * y0, T, adjoint=adjoint).sum()  # noqa: E731
    with pytest.raises(RuntimeError, match="can not be differentiated again"):
        torch.func.grad(torch.func.grad(scaled))(torch.tensor(1.0, dtype=D))


@pytest.mark.parametrize("levels", [1, 2])
def test_tensors_that_would_lose_their_gradient_are_refused(adjoint, levels):
    y0 = torch.ones(3, dtype=D)

    def solve(w, v):
        field = lambda t, y: -w * y  # noqa: E731
        return odeint_adjoint(field, v * y0, T, adjoint_params=(), adjoint=adjoint).sum()

    def loss(w):
        return torch.func.grad(lambda v: solve(w, v))(w) if levels == 2 else solve(w, 1.0)

    with pytest.raises(ValueError, match="Module"):
        torch.func.grad(loss)(torch.tensor(2.0, dtype=D))
    with pytest.raises(ValueError, match="adjoint_params"):
        torch.func.grad(lambda y: odeint_adjoint(lambda t, y: -y, y, T, adjoint=adjoint).sum())(y0)


def test_what_an_adjoint_can_not_do_is_refused_by_name(adjoint):
    func, y0 = Net(), torch.ones(3, dtype=D)

    def solve(y, t=T):
        return odeint_adjoint(func, y, t, adjoint=adjoint, **TIGHT)[-1]

    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.jacfwd(solve)(y0)
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.hessian(lambda y: solve(y).sum())(y0)
    forward_ad, refused = torch.autograd.forward_ad, pytest.raises(NotImplementedError)
    with forward_ad.dual_level(), refused:
        solve(forward_ad.make_dual(y0, y0))
    with pytest.raises(ValueError, match="maps over"):
        torch.vmap(lambda t: solve(y0, t))(torch.stack([T, 2 * T]))
    with pytest.raises(TypeError, match="`t` must be a one-dimensional floating-point tensor"):
        torch.func.jacrev(lambda y: solve(y, [0.0, 1.0]))(y0)
    start = y0.clone().requires_grad_()
    wanted = torch.func.jacrev(solve)(y0)
    several = torch.eye(3, dtype=D)
    if adjoint == "discrete":
        (found,) = torch.autograd.grad(solve(start), start, several, is_grads_batched=True)
        torch.testing.assert_close(found, wanted)
    else:
        with pytest.raises(RuntimeError, match="jacrev"):
            torch.autograd.grad(solve(start), start, several, is_grads_batched=True)
    implicit = odeint_adjoint(func, start, T, adjoint=adjoint, method="gl4")[-1]
    with pytest.raises(RuntimeError, match="with an explicit method"):
        torch.autograd.grad(implicit, start, several, is_grads_batched=True)


class Pulled(Net):
    """With a derivative of its own in it, as of a potential or for a trace."""

    def forward(self, t, y):
        value, pull = torch.func.vjp(self.net, y)
        return value + pull(torch.ones_like(y))[0]


class Pushed(Net):
    """With a tangent in it, in forward mode."""

    def forward(self, t, y):
        with forward_ad.dual_level():
            return sum(forward_ad.unpack_dual(self.net(forward_ad.make_dual(y, y.cos()))))


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("solver", "steps"), [("rk4", 40), ("kvaerno54", None)])
@pytest.mark.parametrize("field", [Pulled, Pushed])
def test_a_field_that_transforms_itself(adjoint, field, solver, steps):
    func, y = field(), torch.ones(2, 3, dtype=D)
    found = []
    for each in ("direct", adjoint):
        block = NeuralODE(func, solver=solver, steps=steps, adjoint=each, check="raise")
        found.append(torch.autograd.grad(block(y).square().sum(), func.net[0].weight)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_a_field_that_transforms_itself_in_a_budget(adjoint):
    if adjoint == "reversed":  # which has none
        return
    func, y = Pulled(), torch.ones(50, 3, dtype=D)
    y_end = odeint_adjoint(func, y, T, **TIGHT, adjoint=adjoint, memory=1e6)[-1]
    found = torch.autograd.grad(y_end.sum(), func.net[0].weight)[0]
    y_end = odeint(func, y, T, **TIGHT)[-1]
    wanted = torch.autograd.grad(y_end.sum(), func.net[0].weight)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
