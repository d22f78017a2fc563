"""Compress a model
================

What can a model forget between the passes, and what does that cost? Plan, apply, measure.

Run with `python docs/examples/compress_a_model.py`.
"""

import torch
from torch import nn
from torch.nn import functional

from torch_bridge import apply, plan, saved_bytes


class Block(nn.Module):
    """Half of a transformer layer: normalization, two linear layers, GELU, residual sum."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """Apply to (batch, tokens, width)."""
        return x + self.narrow(functional.gelu(self.widen(self.norm(x))))


torch.manual_seed(0)
model = nn.Sequential(nn.Embedding(100, 32), Block(32), Block(32), nn.Linear(32, 100))
tokens = torch.randint(0, 100, (16, 24))


def next_token(logits, tokens):
    """Cross entropy of each token given those before it, were there attention."""
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


found = plan(model, tokens, noise=0.5, loss=next_token)  # at most half of the noise there is anyway
print(found)
apply(found)
besides = [*model.parameters(), tokens]
kept = saved_bytes(lambda: next_token(model(tokens), tokens), besides=besides)
print(f"measured: {kept / 1024:.0f} KiB")

optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(31):
    loss = next_token(model(tokens), tokens)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step:2d}: loss {loss.item():.3f}")
