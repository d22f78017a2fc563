"""Random numbers that a right-hand side draws, and its backward pass again."""

import warnings

import pytest
import torch
from torch import nn

from odecore.errors import OdecoreWarning, RightHandSideWarning, UnresolvedInterpolantWarning
from torch_bridge import NeuralODE, SketchedLinear, odeint, odeint_adjoint

T = torch.tensor([0.0, 1.0])
KINDS = ["restored", "reversed", "discrete"]
STEPS = {"method": "rk4", "options": {"steps": 4}}
MESSAGE = "drawn other random numbers than the forward pass"


class Field(nn.Module):
    def __init__(self, random=None):
        super().__init__()
        self.layer, self.random = nn.Linear(3, 3), random or nn.Identity()

    def forward(self, t, y):
        return self.random(torch.tanh(self.layer(y)))


def loss_of(func, adjoint):
    return odeint_adjoint(func, torch.ones(4, 3), T, adjoint=adjoint, **STEPS)[-1].square().sum()


def differentiated(loss):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnresolvedInterpolantWarning)
        loss.backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_a_mask_that_is_drawn_again_is_told(adjoint):
    loss = loss_of(Field(nn.Dropout()), adjoint)
    with pytest.warns(RightHandSideWarning, match=f"{MESSAGE}.*odeint"):
        differentiated(loss)


@pytest.mark.parametrize("adjoint", KINDS)
def test_a_block_tells_it_without_its_check(adjoint):
    block = NeuralODE(Field(nn.Dropout()), solver="rk4", steps=4, adjoint=adjoint, check="off")
    with pytest.warns(RightHandSideWarning, match=MESSAGE):
        differentiated(block(torch.ones(4, 3)).square().sum())
    block.adjoint = "direct"  # whose gradient is that of the masks
    block(torch.ones(4, 3)).sum().backward()


def test_it_is_told_under_torch_func():
    func = Field(nn.Dropout())
    solve = lambda y: odeint_adjoint(func, y, T, adjoint="discrete", **STEPS)[-1].sum()  # noqa: E731
    _, pull = torch.func.vjp(solve, torch.ones(4, 3))
    with pytest.warns(RightHandSideWarning, match=MESSAGE):
        pull(torch.ones(()))


class Kept(nn.Module):
    """Noise that is drawn at the first evaluation of a solve, as for an estimated trace."""

    def __init__(self):
        super().__init__()
        self.noise = None

    def forward(self, y):
        if self.noise is None:
            self.noise = torch.randn_like(y)
        return y * self.noise


class Seeded(nn.Module):
    def forward(self, y):
        torch.manual_seed(3)
        return nn.functional.dropout(y)


class Forked(Seeded):
    def forward(self, y):
        with torch.random.fork_rng():
            return super().forward(y)


class Sketched(nn.Module):
    """Draws for its gradient alone, which is unbiased."""

    def __init__(self):
        super().__init__()
        self.layer = SketchedLinear(3, 3, ratio=0.5)

    def forward(self, y):
        return self.layer(y)


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize(
    "random", [nn.Identity, lambda: nn.Dropout().eval(), Kept, Seeded, Forked, Sketched]
)
def test_what_is_one_function_is_not_told(random, adjoint):
    loss = loss_of(Field(random()), adjoint)
    torch.rand(3)  # between the passes anybody may draw
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", OdecoreWarning)
        differentiated(loss)
    assert not [w for w in found if issubclass(w.category, RightHandSideWarning)]


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("seeded", [Seeded, Forked])
def test_a_mask_that_is_always_the_same_is_the_same_at_all_nodes(seeded, adjoint):
    torch.manual_seed(0)
    func = Field(seeded()).double()
    y0, tight = torch.randn(4, 3, dtype=torch.float64), {"rtol": 1e-6, "atol": 1e-6}
    found = [odeint(func, y0, T, **tight), odeint_adjoint(func, y0, T, adjoint=adjoint, **tight)]
    wanted, one = (torch.autograd.grad(y[-1].square().sum(), func.layer.weight)[0] for y in found)
    torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)
