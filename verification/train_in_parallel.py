"""Train on digits in several processes, with all parts of the bridge on.

`torchrun --nproc-per-node 2 -m verification.train_in_parallel --wrap ddp` (or fsdp2). On a machine
without accelerators the processes are joined by gloo.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torch_bridge import DenseField, NeuralODE, SketchedLinear, equiangular_backward
from verification._digits import digits
from verification._options import positive

__all__ = ["main", "network", "train"]

BATCH = 64  # of all processes together


def network() -> nn.Sequential:
    """A sketched stem, a neural ODE by the restored adjoint, and a head."""
    block = NeuralODE(DenseField(16, 32, "layer"), solver="rk4", steps=4, adjoint="restored")
    return nn.Sequential(SketchedLinear(64, 16, ratio=0.5), nn.Tanh(), block, nn.Linear(16, 10))


def _wrapped(model: nn.Sequential, wrap: str) -> nn.Module:
    if wrap == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model[2], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _losses(scores: Tensor, y: Tensor) -> list[Tensor]:
    """Of the digit, and a hundred times that of being odd."""
    halves = torch.stack([scores[:, k::2].logsumexp(1) for k in (0, 1)], dim=1)
    return [cross_entropy(scores, y), 100 * cross_entropy(halves, y % 2)]


def train(wrap: str, steps: int) -> list[float]:
    """Cross entropy of each step, on the batch of all processes."""
    torch.manual_seed(0)
    model = _wrapped(network(), wrap)
    rank, size = dist.get_rank(), dist.get_world_size()
    data, found = digits(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = torch.Generator().manual_seed(0)  # the same for all; each takes its share
    for _ in range(steps):
        rows = torch.randint(len(data.train_x), (BATCH,), generator=batches)[rank::size]
        losses = _losses(model(data.train_x[rows]), data.train_y[rows, 0])
        optimizer.zero_grad()
        if wrap == "ddp":
            equiangular_backward(losses, model.parameters())
        else:  # shards have no gradient for each loss: fixed weights
            (losses[0] + 0.01 * losses[1]).backward()
        optimizer.step()
        shown = losses[0].detach().clone()
        dist.all_reduce(shown)
        found.append(float(shown) / size)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and let the first process print."""
    parser = argparse.ArgumentParser(prog="verification.train_in_parallel", description=__doc__)
    parser.add_argument("--wrap", choices=("ddp", "fsdp2"), default="ddp")
    parser.add_argument("--steps", type=positive, default=100)
    options = parser.parse_args(arguments)
    if "RANK" not in os.environ:
        parser.error("is one of several processes: start it by `torchrun`, as --help shows")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        found = train(options.wrap, options.steps)
        if dist.get_rank() == 0:
            print(f"{options.wrap}: cross entropy {found[0]:.3f} -> {found[-1]:.3f}")
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
