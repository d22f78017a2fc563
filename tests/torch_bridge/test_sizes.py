"""Memory and work of the bridge do not grow with what they need not grow with."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torch_bridge import (
    NeuralODE,
    _shared_features,
    check_rhs,
    odeint,
    solver_consistency,
    weight_normalization,
)
from torch_bridge._leaves import edges
from torch_bridge._shared_features import checked_features
from torch_bridge._step_ladder import ladder_bound


@pytest.mark.parametrize(
    "interface_options", [{"step_size": 0.001}, None], ids=["given", "adaptive"]
)
def test_a_search_for_an_event_keeps_no_states(interface_options):
    seen, most = [], 0

    def func(t, y):
        nonlocal most
        seen.append(weakref.ref(y))
        most = max(most, sum(x() is not None for x in seen[-1000:]))
        return -y

    options = {} if interface_options is None else {"options": interface_options}
    method = "dopri5" if interface_options is None else "euler"
    with torch.no_grad():
        end, y = odeint(
            func, torch.ones(3), torch.tensor([0.0, 1.0]), method=method,
            event_fn=lambda t, y: y[0] - 0.7, **options,
        )  # fmt: skip
    assert float(end) == pytest.approx(0.3567, rel=1e-2)
    assert float(y[-1, 0]) == pytest.approx(0.7)
    assert len(seen) > 20
    assert most < 15


def test_a_finer_solve_that_fails_for_a_sample_is_not_repeated_for_each():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, t, y):
            self.calls += 1
            return y * y

    def calls(samples):
        x = torch.full((samples, 1), 0.1)
        x[samples // 3] = 1e9  # overflows in finer steps
        block = NeuralODE(Square(), solver="euler", steps=2, check="off")
        found = solver_consistency(block, [x], task="regression", tolerance=1.0)
        assert found.nonfinite == 1
        return block.func.calls

    assert calls(256) < 2.5 * calls(16)


def test_many_features_are_looked_through_together(monkeypatch):
    walked = 0

    def counted(*arguments):
        nonlocal walked
        for edge in edges(*arguments):
            walked += 1
            yield edge

    monkeypatch.setattr(_shared_features, "edges", counted)
    weight = torch.ones(8, requires_grad=True)
    y = weight
    for _ in range(100):
        y = y.tanh()
    features = [y[k % 8] * 1.0 for k in range(50)]
    checked_features(features)
    assert walked < 400
    with pytest.raises(ValueError, match=r"shared\[50\] is from shared\[7\]"):
        checked_features([*features, features[7].square()])


def test_each_change_of_a_spectral_weight_in_half_precision_is_seen():
    layer = weight_normalization(nn.Linear(512, 512), "spectral").bfloat16()
    norm, x = layer.parametrizations.weight[0], torch.ones(1, 512, dtype=torch.bfloat16)
    layer(x)
    for _ in range(30):
        before = norm._u.clone()
        with torch.no_grad():
            weight = layer.parametrizations.weight.original
            weight.mul_(1 + 0.004 * torch.randn_like(weight))
        layer(x)
        assert not torch.equal(norm._u, before)
        before = norm._u.clone()
        layer(x)
        assert torch.equal(norm._u, before)


def test_a_check_keeps_the_graph_of_one_call_at_a_time():
    kept, most = [], 0

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, t, y):
            nonlocal most
            most = max(most, sum(x() is not None for x in kept))
            value = self.layer(y)
            mark = nn.Identity()  # any object that goes with the graph
            value.grad_fn.metadata["mark"] = mark
            kept.append(weakref.ref(mark))
            return value.tanh()

    check_rhs(Wide(), 0.0, torch.ones(3, 2))
    assert len(kept) == 3 and most == 0  # noqa: PT018


class Operations(TorchDispatchMode):
    """How many there are."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_a_part_of_a_state_costs_few_operations(method):
    def operations(parts):
        state = tuple(torch.ones(2) for _ in range(parts))
        with Operations() as operations, torch.no_grad():
            odeint(
                lambda t, y: tuple(-x for x in y), state, torch.tensor([0.0, 1.0]), method=method,
                options={"steps": 10} if method == "rk4" else {"first_step": 1.0},
                rtol=0.5, atol=1e3,
            )  # fmt: skip
        return operations.count

    evaluations = 40 if method == "rk4" else 7
    # A view and the value that is returned; for the error of a step a view and a mean.
    assert (operations(60) - operations(10)) / 50 < 2 * evaluations + 10


class Alive(TorchDispatchMode):
    """The most bytes that results of operations hold at a time, besides these tensors."""

    def __init__(self, besides):
        super().__init__()
        self.besides = {x.data_ptr() for x in besides}
        self.results, self.most = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.results += [weakref.ref(found)] if isinstance(found, torch.Tensor) else []
        alive = [x for x in (result() for result in self.results) if x is not None]
        sizes = {x.data_ptr(): x.nbytes for x in alive if x.data_ptr() not in self.besides}
        self.most = max(self.most, sum(sizes.values()))
        return found


def test_the_bound_of_a_ladder_keeps_few_copies_of_large_outputs():
    outputs = [torch.randn(4, 1000) for _ in range(6)]
    with Alive(outputs) as alive:
        found = ladder_bound(outputs, 1.0)
    assert alive.most < 10 * outputs[0].nbytes
    wide = torch.stack(outputs).double()
    wanted = wide.diff(dim=0).abs().amax(2)
    torch.testing.assert_close(found.changes, wanted, rtol=0, atol=0)
