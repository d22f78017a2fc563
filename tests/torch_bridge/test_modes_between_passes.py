"""Modules put into training or evaluation between the passes of `odeint_adjoint`."""

import pytest
import torch
from torch import nn

from odecore.errors import ChangedTensorError
from torch_bridge import DenseField, NeuralODE, odeint_adjoint
from torch_bridge._frozen import flags_of, with_flags

T = torch.tensor([0.0, 1.0])
KINDS = ["restored", "reversed", "discrete"]
STEPS = {"method": "rk4", "options": {"steps": 4}}


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.norms = nn.ModuleDict({"one": nn.BatchNorm1d(3), "kept": nn.BatchNorm1d(3).eval()})

    def forward(self, t, y):
        y = self.layer(y)
        return torch.tanh(self.norms["one"](y)) + 0.1 * self.norms["kept"](y)


def solver_of(func, kind, adjoint):
    if kind == "block":
        block = NeuralODE(func, solver="rk4", steps=4, adjoint=adjoint, check="off")
        return block, block
    called = func if kind == "module" else lambda t, y: 1.0 * func(t, y)
    parameters = tuple(func.parameters())
    solve = lambda y: odeint_adjoint(  # noqa: E731
        called, y, T, adjoint=adjoint, adjoint_params=parameters, **STEPS
    )[-1]
    return solve, func


def gradient(solve, func, y0, between):
    loss = solve(y0).square().sum()
    between()
    return torch.autograd.grad(loss, func.layer.weight)[0]


def modes_of(func):
    return [module.training for module in func.modules()]


@pytest.mark.filterwarnings("ignore::odecore.errors.UnresolvedInterpolantWarning")
@pytest.mark.parametrize("kind", ["module", "closure", "block"])
@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_that_of_the_forward_pass(training, adjoint, kind):
    torch.manual_seed(0)
    func, y0 = Normalised(), torch.randn(8, 3)
    for norm in func.norms.values():
        norm.running_mean.normal_()
    func.norms["one"].train(training)
    solve, switched = solver_of(func, kind, adjoint)
    known, modes = {k: x.clone() for k, x in func.named_buffers()}, modes_of(func)
    wanted = gradient(solve, func, y0, lambda: None)
    func.load_state_dict(known, strict=False)
    found = gradient(solve, func, y0, lambda: switched.train(not training))
    assert torch.equal(found, wanted)
    assert modes_of(func) == [not training] * len(modes)  # put back
    moved = any(not torch.equal(x, known[k]) for k, x in func.named_buffers())
    assert moved == training  # evaluation leaves the statistics


def test_the_mode_is_put_back_after_an_error():
    class Decay(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.register_buffer("rate", torch.ones(()))

        def forward(self, t, y):
            return self.rate * super().forward(y)

    func = Decay().eval()
    loss = odeint_adjoint(func, torch.ones(3), T)[-1].sum()
    func.train()
    func.rate.mul_(2)
    with pytest.raises(ChangedTensorError):
        loss.backward()
    assert func.training


def test_the_mode_under_torch_func():
    func = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).eval()
    solve = lambda y: odeint_adjoint(Timeless(func), y, T, **STEPS)[-1].sum()  # noqa: E731
    found = []
    for training in (False, True):
        _, pull = torch.func.vjp(solve, torch.ones(8, 3))
        func.train(training)
        found.append(pull(torch.ones(()))[0])
        func.eval()
    assert torch.equal(*found)


class Timeless(nn.Module):
    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, t, y):
        return self.field(y)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_and_frozen_ones_which_have_no_mode():
    inner = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).requires_grad_(False)
    scripted = torch.jit.script(inner.eval())
    y0, found = torch.ones(2, 3, requires_grad=True), []
    for module in (scripted, torch.jit.freeze(scripted)):
        loss = odeint_adjoint(lambda t, y, m=module: m(y), y0, T, adjoint_params=(), **STEPS)[-1]
        scripted.train()
        found += torch.autograd.grad(loss.sum(), y0)
        scripted.eval()
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("part", ["all", "layer"])
@pytest.mark.parametrize("frozen_before", [True, False])
def test_parameters_frozen_or_thawed_between_the_passes(adjoint, part, frozen_before):
    """As networks are that train in turn, one through the other."""
    found, y0 = [], torch.ones(8, 3)
    for each in ("direct", adjoint):
        torch.manual_seed(0)
        block = NeuralODE(DenseField(3, 8), solver="rk4", steps=4, adjoint=each)
        switched = block if part == "all" else block.func.inner
        y = y0.clone().requires_grad_()
        switched.requires_grad_(not frozen_before)
        loss = block(y).square().sum()
        switched.requires_grad_(frozen_before)
        loss.backward()
        assert all(p.requires_grad == frozen_before for p in switched.parameters())
        assert all(p.grad is None for p in switched.parameters())
        found.append([y.grad, *(p.grad for p in block.parameters() if p.grad is not None)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_what_was_frozen_is_so_again_whatever_is_done_within():
    p = nn.Parameter(torch.ones(2))
    flags = flags_of([p])
    p.requires_grad_(False)
    with with_flags(flags):
        assert p.requires_grad
        p.requires_grad_(False)  # as another pass does at its end, in a thread of its own
    assert not p.requires_grad
