"""Two processes train one network: all parts on under DDP, all but several losses under FSDP2."""

import copy

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.helpers.two_processes import in_two_processes
from torch_bridge import equiangular_backward
from verification.train_in_parallel import network, train


def _both(rank):
    found = {wrap: train(wrap, 25) for wrap in ("ddp", "fsdp2")}
    model = fully_shard(network(), mesh=init_device_mesh("cpu", (2,)))
    shards = list(model.parameters())
    out = model(torch.randn(8, 64))
    with pytest.raises(TypeError, match="use DistributedDataParallel"):
        equiangular_backward([out.sum(), out.square().sum()], shards)
    return found, _error_of_shards(rank)


def _error_of_shards(rank):
    """Of the gradients, relative to those of one process with the whole batch."""
    torch.manual_seed(0)
    whole = network().double()
    whole[0] = torch.nn.Linear(64, 16).double()  # what a sketch draws depends on the process
    model, x = copy.deepcopy(whole), torch.randn(16, 64, dtype=torch.float64)
    whole(x).square().mean().backward()
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(model[2], mesh=mesh)
    fully_shard(model, mesh=mesh)(x[rank::2]).square().mean().backward()
    pairs = zip(model.parameters(), whole.parameters(), strict=True)
    errors = [(p.grad.full_tensor() - q.grad).norm() / q.grad.norm() for p, q in pairs]
    return float(max(errors))


@pytest.mark.long
def test_two_processes_train_one_network():
    (first, error), (second, _) = in_two_processes(_both)
    assert error < 1e-13
    assert first == second
    assert first["ddp"][0] == pytest.approx(first["fsdp2"][0])
    for losses in first.values():
        assert losses[-1] < 0.8 * losses[0]
