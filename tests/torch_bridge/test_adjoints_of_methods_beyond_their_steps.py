"""Methods that evaluate beyond the ends of their steps: only steps along an interpolant may not."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from odecore.families import RK2
from odecore.tableaux import coefficients_at
from torch_bridge import (
    NeuralODE,
    SmoothedSolver,
    SwitchedSolver,
    TrainableSolver,
    odeint,
    odeint_adjoint,
)

D = torch.float64


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.A = nn.Parameter(torch.randn(3, 3, dtype=D, generator=generator))

    def forward(self, t, y):
        return torch.tanh(y @ self.A.T) * torch.cos(t)


def gradients(solve, **options):
    func, y0 = Field(), torch.ones(3, dtype=D, requires_grad=True)
    y = solve(func, y0, torch.linspace(0, 1, 3, dtype=D), **options)
    return torch.autograd.grad(y.square().sum(), [y0, func.A])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory": 10**4},
        {"adjoint_method": "collocation"},
        {"adjoint": "discrete"},
        {"adjoint": "reversed"},
        {"adjoint_method": "dopri5", "memory": 10**4},
    ],
    ids=["default", "budget", "collocation", "discrete", "reversed", "other steps"],
)
def test_gradients(options):
    # One of the stages of kvaerno54 is at c = 1.23.
    found = gradients(odeint_adjoint, method="kvaerno54", rtol=1e-6, atol=1e-6, **options)
    wanted = gradients(odeint, rtol=1e-10, atol=1e-10)
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"memory": 10**4, "adjoint": "restored"},
        {"adjoint_options": {}},
        {"adjoint_method": "kvaerno54"},
    ],
)
def test_steps_along_an_interpolant_are_refused(options):
    with pytest.raises(ValueError, match=r"outside its steps, at c = \[1.23.*adjoint='discrete'"):
        gradients(odeint_adjoint, method="kvaerno54", **options)


def test_a_budget_names_itself_and_the_remedies_work():
    of_budget = r"where `memory` is not enough .*'dopri5' or 'kvaerno43', .* or leave `memory` out"
    with pytest.raises(ValueError, match=of_budget):
        gradients(odeint_adjoint, method="kvaerno54", memory=10**6, adjoint="restored")
    wanted = gradients(odeint, rtol=1e-10, atol=1e-10)
    remedies = [{"adjoint_method": "dopri5"}, {"adjoint_method": "kvaerno43"}]
    for options in (*remedies, {"adjoint": "discrete"}):
        options |= {"method": "kvaerno54", "memory": 10**6, "rtol": 1e-6, "atol": 1e-6}
        for x, y in zip(gradients(odeint_adjoint, **options), wanted, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("u", [1.5, -0.5])
def test_given_steps_collocate(u):
    options = {"method": coefficients_at(RK2, u=u), "options": {"steps": 16}}
    found = gradients(odeint_adjoint, adjoint="restored", **options)
    wanted = gradients(odeint, **options)
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
def test_solvers_whose_draws_are_beyond(adjoint):
    torch.manual_seed(0)
    wide = {"width": 0.5, "distribution": "cauchy", "bound": 3}
    solver = SmoothedSolver(RK2, {"u": Fraction(2, 3)}, **wide)
    block, y0 = NeuralODE(Field(), solver=solver, steps=8, adjoint=adjoint), torch.ones(3, dtype=D)
    beyond = []
    solver.register_forward_hook(lambda *x: beyond.append(bool(x[2].abscissae_outside)))
    for _ in range(8):
        block(y0).sum().backward()
    assert 1 < sum(beyond) < 8


def trained():
    return TrainableSolver(RK2, {"u": Fraction(2, 3)}, radius=Fraction(1, 10))


@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
@pytest.mark.parametrize("make", [trained, lambda: SwitchedSolver(["midpoint", trained()])])
def test_solvers_that_are_trained_are_refused_when_the_block_is_made(make, adjoint):
    solver, y0 = make(), torch.ones(3, dtype=D)
    with pytest.raises(ValueError, match=r"adjoint=.direct.*requires_grad_\(False\)"):
        NeuralODE(Field(), solver=solver, steps=4, adjoint=adjoint)
    solver.requires_grad_(False)
    NeuralODE(Field(), solver=solver, steps=4, adjoint=adjoint)(y0).sum().backward()
