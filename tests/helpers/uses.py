"""Short uses of a right-hand side and of a model, one for each thing that is done with them."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import torch_bridge
from odecore.errors import SolveError
from odecore.families import RK4
from torch_bridge import (
    Attack,
    EquiangularDescent,
    NeuralODE,
    SmoothedSolver,
    SolverEnsemble,
    SwitchedSolver,
    TrainableSolver,
)

Y0, T = torch.linspace(-1.0, 1.0, 18).reshape(6, 3), torch.tensor([0.0, 0.5, 1.0])
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
CHART = {"u": Fraction(1, 3), "v": Fraction(2, 3)}


class Field(nn.Module):
    """It ends in a function of which autograd keeps the value, so that nodes hold what they made."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3), nn.Tanh())

    def forward(self, t, y):
        return self.net(y)


class Model(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.ode = NeuralODE(Field(), **({"solver": "rk4", "steps": 2} | options))
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        return self.out(self.ode(x))


def trained(y):
    y.square().sum().backward()


def moved_to_the_event(field):
    def event(t, y):
        return t - 0.7 + 0.01 * field(t, y).sum()

    torch_bridge.odeint_event(field, Y0, T[0], event_fn=event)[0].backward()


def failed(field):
    with pytest.raises(SolveError):
        torch_bridge.odeint(lambda t, y: (5 + field(t, y)) * y**2, Y0 + 9, T)


FIELDS = {
    "steps": lambda f: torch_bridge.odeint(f, Y0, T),
    "implicit steps": lambda f: torch_bridge.odeint(f, Y0, T, method="gl4"),
    "implicit steps, trained": lambda f: trained(torch_bridge.odeint(f, Y0, T, method="trbdf2")),
    "a report": lambda f: torch_bridge.check_rhs(f, T[0], Y0),
    "dense": lambda f: torch_bridge.odeint_dense(f, Y0, T[0], T[-1])(T[1]),
    "an event": moved_to_the_event,
    "a failure": failed,
    **{
        f"{adjoint}, {method}, {'trained' if trains else 'not trained'}": (
            lambda f, adjoint=adjoint, method=method, done=trained if trains else len: done(
                torch_bridge.odeint_adjoint(f, Y0, T, method=method, adjoint=adjoint)
            )
        )
        for adjoint in ("restored", "reversed", "discrete")
        for method in ("dopri5", "gl4")
        for trains in (True, False)
    },
    "restored within bytes": lambda f: trained(
        torch_bridge.odeint_adjoint(f, Y0, T, adjoint="restored", memory=100_000)
    ),
}


def attacked(model):
    def step(model, x, y):
        x = x.detach().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), y)
        return x.detach() + 0.1 * torch.autograd.grad(loss, x)[0].sign()

    torch_bridge.robustness(model, Y0, LABELS, Attack(step, 0.1))


def descended(model):
    descent = EquiangularDescent(torch.optim.SGD(model.parameters(), 0.1))
    descent.step(lambda: [model(Y0).square().mean(), model(Y0).abs().mean()])


def certified(model):
    def losses(p):
        return [torch.func.functional_call(model, p, (Y0,)).square().mean()]

    parameters = dict(model.named_parameters())
    direction = {name: p.detach() for name, p in parameters.items()}
    torch_bridge.certified_step(losses, parameters, direction, largest=1.0)


def sketched(model):
    plan = torch_bridge.plan(model, Y0, noise=1.0, loss=lambda y, _: y.square().mean())
    trained(torch_bridge.apply(plan)(Y0))


MODELS = {
    "training": lambda m: trained(m(Y0)),
    "consistency": lambda m: torch_bridge.solver_consistency(m, [(Y0, LABELS)]),
    "steps that are adapted": lambda m: torch_bridge.adapt_steps(m, Y0),
    "an attack": attacked,
    "descent": descended,
    "a certified step": certified,
    "a sketch": sketched,
    "bytes": lambda m: torch_bridge.saved_bytes(lambda: m(Y0)),
}
SOLVERS = {
    "trainable": lambda: TrainableSolver(RK4, CHART, Fraction(1, 10)),
    "smoothed": lambda: SmoothedSolver(RK4, CHART, width=0.01, radius=Fraction(1, 20)),
    "switched": lambda: SwitchedSolver(["rk4", "euler"]),
    "an ensemble": lambda: SolverEnsemble(["midpoint", "heun"], batched=True),
}
