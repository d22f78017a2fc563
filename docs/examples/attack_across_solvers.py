"""Attack across solvers
=====================

Does smoothing act, and do attacks made with one solver fool the model with another?"""

from fractions import Fraction

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from odecore.families import RK2
from torch_bridge import (
    Attack,
    DenseField,
    Expectation,
    NeuralODE,
    SmoothedSolver,
    SolvedBy,
    robustness,
    smoothing_effect,
    transfer,
)

images = load_digits()
x = torch.tensor(images.data / 16, dtype=torch.float32)
y = torch.tensor(images.target)
train_x, train_y, test_x, test_y = x[:1500], y[:1500], x[1500:], y[1500:]

torch.manual_seed(0)
center = {"u": Fraction(2, 3)}
solver = SmoothedSolver(RK2, center, width=0.2, distribution="cauchy", bound=3)
block = NeuralODE(DenseField(16, 32), solver=solver, steps=2)
model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), block, nn.Linear(16, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(150):
    batch = torch.randint(len(train_x), (64,))
    optimizer.zero_grad()
    cross_entropy(model(train_x[batch]), train_y[batch]).backward()
    optimizer.step()
print(smoothing_effect(model, test_x))


def ascend(model, x, y):
    """Signs of gradients, eight steps of 0.02 in a ball of 0.1: any library's attack would do."""
    x_adv = x.clone()
    for _ in range(8):
        x_adv.requires_grad_()
        cross_entropy(model(x_adv), y).backward()
        moved = x_adv.detach() + 0.02 * x_adv.grad.sign()
        x_adv = moved.clamp(x - 0.1, x + 0.1).clamp(0, 1)
    return x_adv


attack = Attack(ascend, eps=0.1, steps=8, step_size=0.02, low=0, high=1)
print("at rest:    ", robustness(model, test_x, test_y, attack))
print("over draws: ", robustness(model, test_x, test_y, attack, draws=8))

models = {name: SolvedBy(model, name) for name in ("euler", "midpoint", "rk4")}
models["over draws"] = Expectation(model, 8)
print(transfer(models, test_x, test_y, attack))
