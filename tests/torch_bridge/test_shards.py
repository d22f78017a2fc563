"""Parameters in shards, and wrappers of torch.distributed, around a solve and inside of it."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from tests.helpers.two_processes import in_two_processes
from torch_bridge import NeuralODE

ADJOINTS = ("direct", "restored", "reversed", "discrete")
STEPS = {"solver": "rk4", "steps": 3}


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(y)))


@pytest.fixture(name="alone")
def fixture_alone():
    """A process group of this process."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("options", [{}, STEPS], ids=["adaptive", "given"])
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_storages_can_be_resized_after_a_pass(adjoint, options):
    """As fully_shard does; a view of NumPy would lock them."""
    block, y0 = NeuralODE(Field(), adjoint=adjoint, **options), torch.randn(5, 3)
    y0.requires_grad_()
    block(y0).sum().backward()
    assert all(x.untyped_storage().resizable() for x in (y0, *block.parameters()))


@pytest.mark.parametrize("sharded", [lambda f: f, lambda f: f.inner], ids=["func", "a layer"])
def test_a_right_hand_side_that_is_sharded_by_itself_has_no_adjoint(alone, sharded):
    for adjoint in ADJOINTS:
        block = NeuralODE(Field(), adjoint=adjoint, **STEPS)
        fully_shard(sharded(block.func), mesh=alone)
        if adjoint == "direct":
            block(torch.ones(2, 3)).sum().backward()
            continue
        with pytest.raises(ValueError, match="on the NeuralODE"):
            block(torch.ones(2, 3))


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_tensor_parallel_layers_have_no_reversed_adjoint(alone, adjoint):
    block = NeuralODE(Field(), adjoint=adjoint, check="off", **STEPS)
    plan = {"inner": ColwiseParallel(), "outer": RowwiseParallel()}
    parallelize_module(block.func, alone, plan)
    if adjoint == "reversed":
        with pytest.raises(ValueError, match=r'shards.*take adjoint="restored"'):
            block(torch.ones(2, 3))
        return
    block(torch.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_a_static_graph_inside_has_no_adjoint(adjoint):
    for options in ({}, {"static_graph": True}):
        field = nn.parallel.DistributedDataParallel(Field(), **options)
        block = NeuralODE(field, adjoint=adjoint, **STEPS)
        if not options:
            block(torch.ones(2, 3)).sum().backward()
            continue
        with pytest.raises(ValueError, match="wrap the whole model"):
            block(torch.ones(2, 3))


def _error(model, whole, x, rows):
    """Of the gradients, relative to those of one process."""
    whole(x).square().mean().backward()
    model(x[rows]).square().mean().backward()
    pairs = zip(model.parameters(), whole.parameters(), strict=True)
    grads = [
        (p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad, q.grad)
        for p, q in pairs
    ]
    return max(float((g - wanted).norm() / wanted.norm()) for g, wanted in grads)


def _errors(rank):
    found, mesh = {}, init_device_mesh("cpu", (2,))
    for adjoint in ADJOINTS:
        torch.manual_seed(0)
        block = NeuralODE(Field(), adjoint=adjoint, check="off", **STEPS)
        whole = nn.Sequential(nn.Linear(3, 3), block).double()
        x = torch.randn(8, 3, dtype=torch.float64)
        for parts in ((), (1,), (0, 1)):
            model = copy.deepcopy(whole)
            for k in parts:
                fully_shard(model[k], mesh=mesh)
            fully_shard(model, mesh=mesh)
            whole.zero_grad()
            found[adjoint, "fully_shard", parts] = _error(model, whole, x, slice(rank, None, 2))
        if adjoint != "reversed":
            model = copy.deepcopy(whole)
            plan = {"inner": ColwiseParallel(), "outer": RowwiseParallel()}
            parallelize_module(model[1].func, mesh, plan)
            whole.zero_grad()
            found[adjoint, "tensor parallel"] = _error(model, whole, x, slice(None))
    return found


@pytest.mark.long
def test_gradients_of_shards_are_those_of_one_process():
    for found in in_two_processes(_errors):
        assert len(found) == 15
        assert max(found.values()) < 1e-12
