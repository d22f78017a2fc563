"""Two processes train one network: all parts on under DDP, all but several losses under FSDP2."""

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
    return found


@pytest.mark.long
def test_two_processes_train_one_network():
    first, second = in_two_processes(_both)
    assert first == second
    assert first["ddp"][0] == pytest.approx(first["fsdp2"][0])
    for losses in first.values():
        assert losses[-1] < 0.8 * losses[0]
