"""Train without a learning rate
=============================

Two tasks of very different scale on real digits, each step as long as its certificate allows."""

import torch
from sklearn.datasets import load_digits

from torch_bridge import certified_step, equiangular_backward

images, digits = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16), torch.tensor(digits)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
model = model.double()
parameters = dict(model.named_parameters())


def losses(p):
    """Even or odd, and a hundred times the loss of: at least five."""
    out = torch.func.functional_call(model, p, (x,))
    cross_entropy = torch.nn.functional.cross_entropy
    return [cross_entropy(out[:, :2], y % 2), 100 * cross_entropy(out[:, 2:], (y > 4).long())]


first = [loss.item() for loss in losses(parameters)]
steps, fell = [], True
for _ in range(40):
    model.zero_grad()
    equiangular_backward(losses(parameters), parameters.values())
    found = certified_step(losses, parameters, largest=10.0)  # along .grad
    with torch.no_grad():
        for p in parameters.values():
            p.sub_(found.step * p.grad)
    steps.append(found.step)
    fell &= bool((found.decreases > 0).all())

out = model(x)
right = [(out[:, :2].argmax(1) == y % 2), (out[:, 2:].argmax(1) == (y > 4))]
print(f"losses {first} -> {[loss.item() for loss in losses(parameters)]}")
print(f"steps from {min(steps):.3g} to {max(steps):.3g}; both losses fell in every step: {fell}")
print(f"accuracies {[round(r.double().mean().item(), 3) for r in right]}")
