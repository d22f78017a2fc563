"""Does my model depend on its solver?
===================================

Digits, with one Euler step in training and with steps that adapt."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from torch_bridge import DenseField, NeuralODE, adapt_steps, solver_consistency

found = load_digits()
x = torch.tensor(found.data, dtype=torch.float32) / 16
y = torch.tensor(found.target)
train, held = slice(0, 1400), slice(1400, None)


def trained(adaptive):
    torch.manual_seed(0)
    block = NeuralODE(DenseField(16, 64), solver="euler", steps=1)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), block, nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for k in range(150):
        if adaptive and k % 25 == 0:
            adapt_steps(model, x[held], target=0.97)
        rows = torch.randint(1400, (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[train][rows]), y[train][rows]).backward()
        optimizer.step()
    return model


for adaptive in (False, True):
    model = trained(adaptive)
    report = solver_consistency(model, [(x, y)])
    print(f"trained with {model[2].steps} Euler steps\n{report}\n")
