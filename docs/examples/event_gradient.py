"""Differentiate an event
======================

Throw a ball so that it lands where it should: the gradient of an event's state."""

import matplotlib.pyplot as plt
import torch

from torch_bridge import odeint, odeint_event


def ball(t, y):
    """Position and velocity in the plane, with quadratic drag."""
    velocity = y[2:]
    pull = torch.tensor([0.0, -9.81], dtype=y.dtype)
    return torch.cat([velocity, pull - 0.05 * velocity * velocity.norm()])


angle = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
start = torch.tensor(0.0, dtype=torch.float64)
optimizer = torch.optim.Adam([angle], lr=0.05)
figure, ax = plt.subplots(layout="constrained")
for step in range(40):
    speed = 15 * torch.stack([torch.cos(angle), torch.sin(angle)])
    y0 = torch.cat([torch.tensor([0.0, 1.0], dtype=torch.float64), speed])
    time, y = odeint_event(ball, y0, start, event_fn=lambda t, y: y[1], rtol=1e-8, atol=1e-9)
    loss = (y[1, 0] - 12.0) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 13 == 0:
        with torch.no_grad():
            way = odeint(ball, y0, torch.linspace(0.0, time.item(), 50, dtype=torch.float64))
        ax.plot(way[:, 0], way[:, 1], label=f"after {step} corrections")
ax.plot(12.0, 0.0, "kx", label="target")
ax.set(xlabel="distance, m", ylabel="height, m")
ax.legend()
print(f"angle {angle.item():.4f}: lands at {y[1, 0].item():.3f} after {time.item():.3f} s")
