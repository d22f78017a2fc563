"""Time-aware batch normalization: its formula, one update a solve, and what it converges to."""

import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint

from odecore.errors import RightHandSideWarning
from odecore.families import RK2
from torch_bridge import (
    DenseField,
    NeuralODE,
    TimeBatchNorm,
    TrainableSolver,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    one_solve,
    solve,
)

TIMES = torch.tensor([0.0, 1.0])


class Recorded(nn.Module):
    """dy/dt = -norm(y), which remembers where it was called."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.calls = norm, []

    def forward(self, t, y):
        self.calls.append((float(t), y.detach().double()))
        return -self.norm(t, y)


def moved(layer, calls):
    """The documented update, written out node by node, from a state of zeros and ones."""
    nodes = torch.linspace(*layer.span, layer.intervals + 1, dtype=torch.float64)
    width = float(nodes[1] - nodes[0])
    mean = torch.zeros(len(nodes), calls[0][1].shape[1], dtype=torch.float64)
    var = torch.ones_like(mean)
    for k, node in enumerate(nodes):
        weights = [max(0.0, 1 - abs(t - float(node)) / width) for t, _ in calls]
        total = sum(weights)
        if total > 0:
            rate = layer.momentum * min(1.0, total)
            wanted = sum(w * y.mean(0) for w, (_, y) in zip(weights, calls, strict=True)) / total
            spread = sum(w * y.var(0) for w, (_, y) in zip(weights, calls, strict=True)) / total
            mean[k] += rate * (wanted - mean[k])
            var[k] += rate * (spread - var[k])
    return mean, var


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("method", "steps"), [("euler", 8), ("rk4", 5), ("midpoint", 4), ("rk4", 80)]
)
def test_one_solve_is_one_update_by_the_formula(dtype, method, steps):
    layer = TimeBatchNorm(3, intervals=4, momentum=0.3).to(dtype)
    func = Recorded(layer)
    odeint(func, torch.randn(20, 3, dtype=dtype), TIMES, method=method, options={"steps": steps})
    mean, var = moved(layer, func.calls)
    torch.testing.assert_close(layer.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.running_var.double(), var, rtol=1e-5, atol=1e-6)
    assert int(layer.num_batches_tracked) == 1
    # The twin: an update at every stage moves further.
    further = torch.zeros_like(mean)
    for t, y in func.calls:
        w = (1 - (4 * t - torch.arange(5.0)).abs()).clamp(min=0)[:, None]
        further += layer.momentum * w * (y.mean(0) - further)
    assert not torch.allclose(mean, further, atol=1e-3)


def test_evaluations_of_a_long_solve_are_not_kept_one_by_one():
    layer, x = TimeBatchNorm(3, intervals=4), torch.randn(5, 3)
    with one_solve() as running:
        for k in range(1000):
            layer(torch.tensor(k / 1000), x)
        ((_, kept),) = running.recorded.values()
        assert len(kept) <= 64
    wanted = layer.momentum * x.mean(0).expand(5, -1)
    torch.testing.assert_close(layer.running_mean, wanted)


def test_one_evaluation_is_the_published_update():
    layer = TimeBatchNorm(2, intervals=4, momentum=0.1)
    x = 3 + 2 * torch.randn(50, 2)
    with one_solve():
        layer(torch.tensor(0.3), x)  # 0.3 = 0.8 * 0.25 + 0.2 * 0.5
    wanted = torch.zeros(5, 2)
    wanted[1], wanted[2] = 0.1 * 0.8 * x.mean(0), 0.1 * 0.2 * x.mean(0)
    torch.testing.assert_close(layer.running_mean, wanted)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_evaluation_without_numbers_moves_its_neighbours_alone(bad):
    layer = TimeBatchNorm(2, intervals=4)
    with one_solve():
        layer(torch.tensor(0.3), torch.full((5, 2), bad))
        layer(torch.tensor(1.0), torch.randn(5, 2))
    for statistics in (layer.running_mean, layer.running_var):
        assert statistics.isfinite().all(1).tolist() == [True, False, False, True, True]
    x = torch.randn(5, 2)
    finite = [bool(layer.eval()(torch.tensor(t), x).isfinite().all()) for t in (0.0, 0.6, 0.8)]
    assert finite == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_evaluation_is_the_hand_formula(dtype, t):
    layer = TimeBatchNorm(3, intervals=4, eps=1e-3).to(dtype).eval()
    filled(layer)
    x = torch.randn(7, 3, 5, dtype=dtype)
    k = min(3, int(4 * t))
    w = 4 * t - k
    mean, var, scale, shift = (
        ((1 - w) * a[k] + w * a[k + 1])[:, None]
        for a in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    wanted = (x - mean) / (var + 1e-3).sqrt() * scale + shift
    torch.testing.assert_close(layer(torch.tensor(t, dtype=dtype), x), wanted)


def filled(layer):
    with torch.no_grad():
        for values in (layer.running_mean, layer.weight, layer.bias):
            values.normal_()
        layer.running_var.uniform_(0.5, 2)


def derivatives(layer, t, x):
    """By the time: backward, forward by `forward_ad`, and by both transformations."""
    backward = torch.autograd.functional.jacobian(lambda s: layer(s, x), t)
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(t, torch.ones_like(t)), x)
        forward = forward_ad.unpack_dual(y).tangent
    transformed = [by(lambda s: layer(s, x))(t) for by in (torch.func.jacrev, torch.func.jacfwd)]
    return [backward, forward, *transformed]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("t", "side"), [(0.3, 0), (0.0, 1), (0.5, 1), (1.0, -1)])
def test_derivatives_by_the_time_are_differences(training, t, side):
    """At times of the grid those of one side: there statistics, scales and shifts have kinks."""
    layer = TimeBatchNorm(3, intervals=2).double().train(training)
    filled(layer)
    x, h = torch.randn(6, 3, dtype=torch.float64), 1e-7
    ends = (min(side, 0), max(side, 0)) if side else (-1, 1)
    at = [torch.tensor(t + h * k, dtype=torch.float64) for k in ends]
    with one_solve(), torch.no_grad():
        low, high = (layer(s, x) for s in at)
    wanted = (high - low) / float(at[1] - at[0])
    with one_solve():
        for found in derivatives(layer, torch.tensor(t, dtype=torch.float64), x):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_trained_solver_gets_its_gradient_through_the_times(training):
    solver = TrainableSolver(RK2, {"u": Fraction(3, 5)}, Fraction(1, 5))
    field = DenseField(3, 8, "time batch", intervals=2)
    block = NeuralODE(field, solver=solver, steps=2).double().train(training)
    filled(field.norm)
    y, h = torch.randn(6, 3, dtype=torch.float64), 1e-6
    block(y).sin().sum().backward()
    with torch.no_grad():
        ends = []
        for k in (-1, 1):
            solver.offset.fill_(k * h)
            ends.append(float(block(y).sin().sum()))
    assert float(solver.offset.grad) == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-6)


def test_training_normalizes_by_the_batch_and_is_differentiated_through_it():
    layer = TimeBatchNorm(3, intervals=2).double()
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    with one_solve():
        assert torch.autograd.gradcheck(layer, (t, x))


def test_statistics_converge_to_those_of_the_flow():
    # dy/dt = (1 - 2 t) c has the mean c (t - t^2) over batches of mean 0; the norm sees that.
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = TimeBatchNorm(2, intervals=8, momentum=0.05)

        def forward(self, t, y):
            self.norm(t, y)
            return (1 - 2 * t) * torch.tensor([4.0, -2.0]) + 0.5 * y

    func, plain = Watched(), nn.BatchNorm1d(2, momentum=0.05)
    t = torch.linspace(0, 1, 9)
    for _ in range(150):
        y = odeint(func, torch.randn(64, 2), t, method="rk4", options={"steps": 1})
        for state in y:
            plain(state)
    exact = odeint(func.eval(), torch.zeros(1, 2), t, rtol=1e-6)[:, 0]
    spread = math.e**0.5 / (64 * 2 / 0.05) ** 0.5  # of a mean over about 2 / 0.05 batches
    error = (func.norm.running_mean - exact).abs()
    # Four stages around each time, on one side only at the ends: to first order in the interval.
    assert error[1:-1].max() < 5 * spread + 0.02
    assert error.max() < 5 * spread + 4 / 32
    variance = torch.exp(t)[:, None]
    assert ((func.norm.running_var - variance) / variance).abs().max() < 0.25
    assert (plain.running_mean - exact).abs().max() > 20 * spread  # one mean serves all times


@pytest.mark.parametrize(
    "adjoint", ["direct", "restored", "reversed", "discrete", "collocated", "reentrant", "not"]
)
def test_a_training_step_is_one_update_whatever_is_computed_again(adjoint):
    options = {"solver": "rk4", "steps": 4}
    if adjoint == "collocated":
        options, chosen = {"solver": "dopri5", "rtol": 1e-3, "atol": 1e-3}, "restored"
    else:
        chosen = adjoint if adjoint in ("restored", "reversed", "discrete") else "direct"
    if chosen == "restored":
        options["nodes"] = 65
    block = NeuralODE(DenseField(3, 6, "time batch"), adjoint=chosen, **options)
    x = torch.randn(10, 3, requires_grad=True)
    if adjoint in ("reentrant", "not"):
        y = checkpoint(block, x, use_reentrant=adjoint == "reentrant")
    else:
        y = block(x)
    before = block.func.norm.running_mean.clone()
    y.square().sum().backward()
    assert int(block.func.norm.num_batches_tracked) == 1
    assert before.abs().sum() > 0
    assert torch.equal(block.func.norm.running_mean, before)
    assert block.func.norm.weight.grad is not None


@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
def test_adjoints_differentiate_through_the_statistics_of_the_batch(adjoint):
    torch.manual_seed(0)
    field = DenseField(3, 6, "time batch", intervals=1).double()  # smooth in t
    y0, t = torch.randn(10, 3, dtype=torch.float64), TIMES.double()
    found = {}
    for name in ("direct", adjoint):
        more = {} if name == "direct" else {"adjoint": name}
        run = odeint if name == "direct" else odeint_adjoint
        y = run(field, y0, t, rtol=1e-9, atol=1e-9, **more)[-1]
        found[name] = torch.autograd.grad(y.square().sum(), list(field.parameters()))
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_all_solves_are_one_update():
    layer = TimeBatchNorm(2, intervals=2)

    def func(t, y):
        return -1 - 0 * layer(t, y)

    y0 = torch.rand(6, 2) + 0.2
    short = torch.tensor([0.0, 0.1])
    for k, call in enumerate(
        [
            lambda: odeint(func, y0, short),
            lambda: odeint_adjoint(func, y0, short, adjoint_params=list(layer.parameters())),
            lambda: odeint_dense(func, y0, 0.0, 0.1),
            lambda: solve(func, (0, 0.1), y0),
            lambda: odeint_event(func, y0, torch.tensor(0.0), event_fn=lambda t, y: y.mean() - 0.3),
        ]
    ):
        call()
        assert int(layer.num_batches_tracked) == k + 1


def test_a_failed_solve_moves_nothing():
    layer = TimeBatchNorm(2)

    def fails(t, y):
        return layer(t, y) * (1 / 0)

    with pytest.raises(ZeroDivisionError):
        odeint(fails, torch.randn(4, 2), TIMES)
    assert not layer.running_mean.any()
    with one_solve():
        layer(torch.tensor(0.5), torch.randn(4, 2))
    assert layer.running_mean.any()


def test_scopes_join_and_nothing_is_recorded_outside_or_beside():
    layer, x = TimeBatchNorm(2), torch.randn(4, 2)
    with one_solve():
        for _ in range(3):
            with one_solve():
                layer(torch.tensor(0.5), x)
        with one_solve(records=False):
            layer(torch.tensor(0.5), x)
    assert int(layer.num_batches_tracked) == 1
    with pytest.warns(RightHandSideWarning, match="its statistics do not move"):
        layer(torch.tensor(0.5), x)
    layer(torch.tensor(0.5), x)  # says so once
    assert int(layer.num_batches_tracked) == 1


@pytest.mark.filterwarnings("ignore")  # of the compiler, about its own work
def test_under_a_compiler_and_torch_func():
    field = DenseField(3, 4, "time batch", intervals=2)
    y0 = torch.randn(8, 3)
    other = DenseField(3, 4, "time batch", intervals=2)
    other.load_state_dict(field.state_dict())
    torch.compiler.reset()
    compiled = torch.compile(NeuralODE(field, solver="euler", steps=2), backend="eager")
    plain = NeuralODE(other, solver="euler", steps=2)
    torch.testing.assert_close(compiled(y0), plain(y0))
    # Compiled solves evaluate at the end as well, at t = 1: the last of the three times.
    torch.testing.assert_close(field.norm.running_mean[:2], other.norm.running_mean[:2])
    assert int(field.norm.num_batches_tracked) == 1
    parameters = dict(field.named_parameters())

    def loss(parameters):
        y = torch.func.functional_call(field, parameters, (torch.tensor(0.3), y0))
        return y.square().sum()

    torch.func.grad(loss)(parameters)
    field.eval()
    torch.func.vmap(field)(torch.rand(4), torch.randn(4, 8, 3))
    assert int(field.norm.num_batches_tracked) == 1


def test_in_autocast_statistics_keep_their_precision():
    layer = TimeBatchNorm(2, intervals=2, momentum=1.0)
    x = 100 + torch.randn(50, 2)
    with one_solve(), torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.tensor(0.5), x)
    torch.testing.assert_close(layer.running_mean[1], x.mean(0), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"intervals": 0}, "`intervals` must be a whole number from 1, got 0"),
        ({"intervals": 1.5}, "`intervals` must be a whole number from 1, got 1.5"),
        ({"span": (1, 0)}, "`span` must be two finite increasing times"),
        ({"momentum": 0}, r"`momentum` must be in \(0, 1\], got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeBatchNorm(3, **arguments)


def test_bad_times():
    layer = TimeBatchNorm(3).eval()
    with pytest.raises(ValueError, match="outside of the span"):
        layer(torch.tensor(1.5), torch.randn(4, 3))
    for t in (torch.rand(4), 0.5, torch.tensor(1)):
        with pytest.raises(ValueError, match="0-d floating-point tensor"):
            layer(t, torch.randn(4, 3))
    layer(torch.tensor(1 + 1e-7), torch.randn(4, 3))


def test_averaged_weights_get_their_statistics_from_batches_in_training_mode():
    torch.manual_seed(0)
    field = DenseField(3, 8, "time batch", intervals=2)
    averaged = AveragedModel(NeuralODE(field, solver="midpoint", steps=2))
    x = torch.randn(500, 3) + 1
    with torch.no_grad():
        own = averaged(x)
        for norm in (m for m in averaged.modules() if isinstance(m, TimeBatchNorm)):
            norm.running_mean.zero_()
        update_bn([x] * 50, averaged)  # knows torch's own layers only
        before = (averaged.eval()(x) - own).abs().max()
        averaged.train()
        for _ in range(round(10 / norm.momentum)):
            averaged(x)
        after = (averaged.eval()(x) - own).abs().max()
    assert before > 5 * after
