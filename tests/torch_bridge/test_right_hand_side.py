"""The check of a right-hand side: what it finds, and that it leaves no trace."""

import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from odecore.errors import RightHandSideError, RightHandSideWarning
from tests.helpers.two_processes import in_two_processes
from torch_bridge import DenseField, NeuralODE, ResidualField, check_rhs, saved_bytes


class Field(nn.Module):
    """An autonomous field from layers."""

    def __init__(self, *layers):
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, t, y):
        return self.net(y)


class DeadConvolution(ResidualField):
    """The published reference block: the result of the first convolution is overwritten."""

    def forward(self, t, y):
        self.norm1(self.conv1(y)).relu()
        return self.norm2(self.conv2(y))


class Counting(Field):
    """A value that depends on how often it was called."""

    def __init__(self):
        super().__init__(nn.Linear(4, 4))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.net(y) * self.calls


def kinds(report):
    return {(finding.kind, finding.where) for finding in report.findings}


y = torch.linspace(-1, 2, 24).reshape(6, 4)


@pytest.mark.parametrize("name", ["none", "layer", "group", "time batch"])
@pytest.mark.parametrize("weights", ["none", "weight", "spectral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_good_field_passes(name, weights, dtype):
    field = DenseField(4, 8, name, weights=weights).to(dtype)
    with torch.no_grad():
        for p in field.parameters():
            p.add_(0.1 * torch.randn_like(p))  # as an optimizer does
    for mode in (True, False):
        report = check_rhs(field.train(mode), 0.0, y.to(dtype))
        assert report, str(report)
        report.warn()
        report.raise_if_any()


class Averaged(Field):
    """Subtracts a mean of its calls in training, which it keeps in an attribute, not a buffer."""

    def __init__(self, before):
        super().__init__(nn.Linear(4, 4))
        self.mean, self.before = torch.zeros(4), before

    def forward(self, t, y):
        y = self.net(y)
        first = y - self.mean
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean if self.before else first


@pytest.mark.parametrize("before", [True, False])
def test_what_moves_in_training_alone_differs_between_calls(before):
    """Moved before its use, two values part only where both calls are in training."""
    field = Averaged(before)
    assert kinds(check_rhs(field, 0.0, y)) == {("outputs differ", "")}
    assert not field.mean.any()
    assert check_rhs(field.eval(), 0.0, y)


def test_batch_norm():
    report = check_rhs(Field(nn.Linear(4, 4), nn.BatchNorm1d(4)), 0.0, y)
    assert kinds(report) == {("state changed", "net.1"), ("train and eval differ", "net.1")}
    assert "running_mean, running_var" in str(report)
    assert "TimeBatchNorm" in str(report)
    assert check_rhs(Field(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval(), 0.0, y)


def test_dropouts_are_named_each():
    field = Field(nn.Dropout(0.5), nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.1))
    report = check_rhs(field, 0.0, y)
    assert kinds(report) == {("outputs differ", "net.0"), ("outputs differ", "net.3")}
    assert str(report).count("which draw random numbers") == str(report).count("one mask") == 2
    assert check_rhs(field.eval(), 0.0, y)


def test_a_moving_spectral_norm():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(torch.randn(4, 4))
    report = check_rhs(Field(layer), 0.0, y)
    where = "net.0.parametrizations.weight.0"
    assert ("state changed", where) in kinds(report)
    assert "weight_normalization(layer, 'spectral')" in str(report)


def test_dead_parameters_of_the_published_block():
    options = {"dimensions": 1, "groups": 2}
    x = torch.randn(3, 4, 8)
    report = check_rhs(DeadConvolution(4, **options), 0.0, x)
    dead = {"conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias"}
    assert kinds(report) == {("dead parameter", name) for name in dead}
    assert check_rhs(ResidualField(4, **options), 0.0, x)


def test_a_parameter_that_is_the_value_is_not_dead():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))

        def forward(self, t, y):
            return self.w

    assert check_rhs(Constant(), 0.0, torch.ones(3))


def test_a_gradient_that_is_zero_is_not_dead():
    field = DenseField(4, 8)
    nn.init.zeros_(field.outer.weight)
    assert check_rhs(field, 0.0, y)


def test_hidden_state_and_functions_without_names():
    report = check_rhs(Counting(), 0.0, y)
    assert kinds(report) == {("outputs differ", "")}
    assert "function of t, y and the parameters alone" in str(report)
    assert "draw" not in str(report)
    assert check_rhs(lambda t, y: (y[1], -y[0]), 0.0, (y, y))
    noisy = check_rhs(lambda t, y: (y[1], torch.rand_like(y[0])), 0.0, (y, y))
    assert kinds(noisy) == {("outputs differ", "")}
    assert "which draw random numbers; draw them once for the whole solve" in str(noisy)


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5)


def test_modules_that_draw_by_functions_are_named():
    report = check_rhs(Field(nn.Linear(4, 4), Dropping()), 0.0, y)
    assert kinds(report) == {("outputs differ", "net.1")}
    assert "which draw random numbers; draw them once" in str(report)
    state = torch.get_rng_state()
    check_rhs(lambda t, y: nn.functional.dropout(y, 0.5), 0.0, y)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("values", [[1.0, 2.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
def test_what_counts_its_calls_draws_nothing(values):
    found = itertools.chain(values, itertools.repeat(values[-1]))
    report = check_rhs(lambda t, y: next(found) * y, 0.0, y)
    assert kinds(report) == {("outputs differ", "")}
    assert "draw" not in str(report)


class Converging(nn.Module):
    """A factor that changes less at each call, as that of a power iteration, beside its state."""

    factors = (1.0, 2.0, 3.0, 3.00003, 3.00006)

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        factor = self.factors[min(int(self.calls), len(self.factors) - 1)]
        self.calls += 1
        return factor * x


def test_state_that_converges_is_named_and_draws_nothing():
    field = Field(nn.Linear(4, 4), Converging())
    report = check_rhs(field, 0.0, y)
    assert kinds(report) == {("state changed", "net.1"), ("outputs differ", "net.1")}
    assert "draw" not in str(report)
    assert field.net[1].calls == 0


def test_long_reports_say_how_much_is_left_out():
    field = Field(*(nn.Dropout(0.05) for _ in range(15)))
    text = str(check_rhs(field, 0.0, y))
    assert text.count("\n") == 13
    assert "and 3 more, in `findings`" in text


def test_no_trace_is_left():
    field = Field(nn.BatchNorm1d(4), nn.Dropout(), nn.utils.spectral_norm(nn.Linear(4, 4)))
    field.calls = 3
    field.register_forward_pre_hook(lambda module, _: setattr(module, "calls", module.calls + 1))
    before = copy.deepcopy(field.state_dict())
    random = torch.get_rng_state()
    assert len(check_rhs(field, 0.0, y).findings) > 3
    after = field.state_dict()
    assert all(torch.equal(after[name], x) for name, x in before.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert field.calls == 3
    assert all(module.training for module in field.modules())
    assert not any(module._forward_hooks for module in field.modules())
    assert all(p.grad is None for p in field.parameters())


def test_a_moving_spectral_norm_of_the_older_kind():
    report = check_rhs(Field(nn.utils.spectral_norm(nn.Linear(4, 4))), 0.0, y)
    assert ("state changed", "net.0") in kinds(report)
    assert "weight_normalization(layer, 'spectral')" in str(report)


def test_what_modules_hold_is_put_back():
    class Holding(Field):
        """A field with state of many kinds, which does not change its value."""

        def __init__(self):
            super().__init__(nn.Linear(4, 4))
            self.noise, self.calls, self.seen = None, torch.zeros(()), []
            self.counts, self.generator = {"calls": torch.zeros(())}, torch.Generator()

        def forward(self, t, y):
            self.noise = torch.randn_like(y) if self.noise is None else self.noise
            self.extra = self.calls
            self.calls += 1
            self.seen.append(float(t))
            self.counts["calls"] += 1
            self.counts["last"] = float(t)
            torch.rand((), generator=self.generator)
            return self.net(y)

    field = Holding()
    calls, seen, counts = field.calls, field.seen, field.counts
    state = field.generator.get_state()
    report = check_rhs(field, 0.0, y)
    assert report
    assert report.left == ()
    assert field.noise is None
    assert not hasattr(field, "extra")
    assert field.calls is calls
    assert field.counts is counts
    assert field.seen is seen
    assert (float(calls), seen, counts) == (0, [], {"calls": 0})
    assert torch.equal(field.generator.get_state(), state)
    block = NeuralODE(field, solver="euler", steps=3)
    block(y)
    assert float(field.calls) == 3


def test_buffers_that_a_call_makes_are_found_and_removed():
    class Making(Field):
        def forward(self, t, y):
            if not hasattr(self, "calls"):
                self.register_buffer("calls", torch.zeros(()), persistent=False)
            if self.total is None:
                self.total = torch.zeros(())
            self.calls += 1
            self.total += 1
            return self.net(y)

    field = Making(nn.Linear(4, 4))
    field.register_buffer("total", None)
    report = check_rhs(field, 0.0, y)
    assert kinds(report) == {("state changed", "")}
    assert "a call changes total, calls" in str(report)
    assert dict(field._buffers) == {"total": None}
    assert field._non_persistent_buffers_set == set()


def test_what_is_not_put_back_is_named():
    class Drifting(Field):
        def __init__(self):
            super().__init__(nn.Linear(4, 4))
            self.statistics = SimpleNamespace(calls=0, unused=1)

        def forward(self, t, y):
            self.statistics.calls += 1
            with torch.no_grad():
                self.net[0].bias.mul_(1)
            return self.net(y)

    report = check_rhs(Drifting(), 0.0, y)
    assert report.left == ("statistics", "net.0.bias")
    assert "not put back: statistics, net.0.bias" in str(report)
    with pytest.warns(RightHandSideWarning, match="not put back: statistics"):
        NeuralODE(Drifting(), solver="euler", steps=2)(y)


def test_hooks_of_all_modules_do_not_see_the_check_of_a_block():
    block, calls = NeuralODE(DenseField(4, 8), solver="euler", steps=2), []

    def seen(module, *_):
        calls.extend([1] * (module is block.func))

    for register in (
        nn.modules.module.register_module_forward_hook,
        nn.modules.module.register_module_forward_pre_hook,
    ):
        handle = register(seen)
        try:
            block(y)
        finally:
            handle.remove()
        assert len(calls) == 2
        calls.clear()
    assert block._checked == ()
    block(y)
    assert block._checked == (True,)


def test_rounding_is_no_difference():
    noise = itertools.cycle([0.0, 1e-7])
    assert check_rhs(lambda t, y: y * (1 + next(noise)), 0.0, y)
    larger = itertools.count(1, 1e-3)
    assert not check_rhs(lambda t, y: y * next(larger), 0.0, y)
    turns = itertools.cycle([0.0, torch.nan])
    assert not check_rhs(lambda t, y: 0 * y + next(turns), 0.0, y)
    nan = torch.where(y > 0, y, torch.nan)
    assert check_rhs(lambda t, y: nan, 0.0, y)


@pytest.mark.parametrize("where", ["beside it", "in another sample"])
@pytest.mark.parametrize(
    ("dtype", "large"), [(torch.float64, 1e9), (torch.float32, 1e4), (torch.float16, 1e2)]
)
def test_noise_beside_large_entries_is_found(dtype, large, where):
    scale = torch.ones(6, 4, dtype=dtype)
    (scale[:, 0] if where == "beside it" else scale[0]).fill_(large)
    small = (scale == 1).to(dtype)
    noise = itertools.count(0, 0.25)
    report = check_rhs(lambda t, y: scale + next(noise) * small, 0.0, y.to(dtype))
    assert kinds(report) == {("outputs differ", "")}
    assert "changes by 20%" in str(report)  # 1 and 1.25
    moves = itertools.cycle([1.0, 1.0001])
    assert "changes by 0.01%" in str(check_rhs(lambda t, y: next(moves) * y, 0.0, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_in_any_order_are_no_difference(dtype):
    layers = [nn.Linear(256, 256) for _ in range(6)]

    def shuffled(t, y):
        for layer in layers:
            order = torch.randperm(256).chunk(8)
            terms = [y[:, k] @ layer.weight[:, k].to(dtype).T for k in order]
            y = sum(terms, layer.bias.to(dtype))
        return y

    x = torch.randn(64, 256, dtype=dtype)
    assert not torch.equal(shuffled(0, x), shuffled(0, x))
    for _ in range(3):
        assert check_rhs(shuffled, 0.0, x)
        torch.rand(1)


def test_infinite_values_that_stay_are_no_difference():
    steady, moves = torch.tensor([torch.inf, 1.0]), itertools.cycle([0.0, 1e-7])
    assert check_rhs(lambda t, y: steady + next(moves), 0.0, torch.zeros(2))
    moves = itertools.cycle([0.0, torch.inf])
    assert not check_rhs(lambda t, y: 0 * y + next(moves), 0.0, y)
    assert not check_rhs(lambda t, y: steady + next(moves), 0.0, torch.zeros(2))


def test_bad_arguments():
    with pytest.raises(TypeError, match="must be callable"):
        check_rhs(3, 0.0, y)
    with pytest.raises(TypeError, match="must be a tensor or a tuple of tensors, got list"):
        check_rhs(lambda t, y: y, 0.0, [1.0])

    class Wrong(nn.Linear):
        def forward(self, t, y):
            return [super().forward(y)]

    with pytest.raises(TypeError, match="list"):  # by the solve, whose message says more
        NeuralODE(Wrong(4, 4))(y)
    with pytest.raises(ValueError, match="at least one time"):
        NeuralODE(DenseField(4, 4))(y, torch.zeros(0))
    with pytest.raises(TypeError, match="one-dimensional"):
        NeuralODE(DenseField(4, 4))(y, 1.0)
    with pytest.raises(ValueError, match="`check` must be one of warn, raise, off, got 'no'"):
        NeuralODE(DenseField(2, 4), check="no")


# The first solve of a NeuralODE.


def bad_block(**options):
    return NeuralODE(Field(nn.BatchNorm1d(4)), solver="euler", steps=2, **options)


def test_the_first_solve_of_each_mode_is_checked_once():
    block = bad_block()
    with pytest.warns(RightHandSideWarning, match=r"state changed: net.0") as caught:
        block(y)
    assert caught[0].filename == __file__  # where the block was called
    block(y)  # warnings are errors here
    other = copy.deepcopy(block)
    other.load_state_dict(block.state_dict())
    other(y)
    other.eval()(y)
    with pytest.raises(RightHandSideError, match=r"net.0"):
        bad_block(check="raise")(y)
    bad_block(check="off")(y)


def test_the_cost_is_three_calls_in_training_and_two_in_evaluation_once():
    calls = []

    class Watched(DenseField):
        def forward(self, t, y):
            calls.append(t)
            return super().forward(t, y)

    block = NeuralODE(Watched(4, 8), solver="euler", steps=3)
    counts = []
    for mode in (True, True, False, False):
        calls.clear()
        block.train(mode)(y)
        counts.append(len(calls))
    assert counts == [6, 3, 5, 3]


def test_a_check_changes_no_result():
    def run(check):
        torch.manual_seed(3)
        layers = nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 4)
        block = NeuralODE(Field(*layers), solver="rk4", steps=2, check=check)
        value = block(y)
        value.square().sum().backward()
        return value, block.state_dict(), [p.grad for p in block.parameters()]

    with pytest.warns(RightHandSideWarning):
        value, state, gradients = run("warn")
    other, other_state, others = run("off")
    assert torch.equal(value, other)
    assert all(torch.equal(other_state[k], x) for k, x in state.items())
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_inside_a_checkpoint(reentrant):
    block = NeuralODE(DenseField(4, 8), solver="euler", steps=2)
    x = y.clone().requires_grad_()
    checkpoint(block, x, use_reentrant=reentrant).sum().backward()
    assert block._checked == (True,)
    assert x.grad is not None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients(context):
    block = NeuralODE(DeadConvolution(4, dimensions=0, groups=2), solver="euler", steps=2)
    with context(), pytest.warns(RightHandSideWarning, match=r"dead parameter: conv1.weight"):
        block(y + 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_solves_in_inference_mode(dtype):
    block = NeuralODE(DenseField(4, 8).to(dtype), solver="euler", steps=2, check="raise")
    with torch.inference_mode():
        block(y.to(dtype))
    assert block._checked == (True,)


def test_autocast_keeps_no_weights_without_gradient():
    block = NeuralODE(DenseField(4, 8), solver="euler", steps=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = block(y)
    value.sum().backward()
    assert block.func.inner.weight.grad.abs().sum() > 0


def test_torchs_own_hooks_watch_nothing():
    block = NeuralODE(Field(nn.utils.spectral_norm(nn.Linear(4, 4))), solver="euler", steps=2)
    with pytest.warns(RightHandSideWarning, match="weight_u, weight_v; use torch_bridge"):
        block(y)


def test_who_watches_is_not_disturbed():
    block = NeuralODE(DenseField(4, 8), solver="euler", steps=2)
    seen = []
    for register in (block.func.register_forward_hook, block.func.register_forward_pre_hook):
        handle = register(lambda *_: seen.append(1))
        block(y)
        handle.remove()
        assert len(seen) == 2
        seen.clear()
    with FlopCounterMode(display=False) as counter:
        block(y)
    assert counter.get_total_flops() == 2 * 2 * (6 * 4 * 8 * 2)
    assert block._checked == ()  # later, then
    kept = saved_bytes(lambda: block(y).sum())
    assert block._checked == (True,)
    assert kept == saved_bytes(lambda: block(y).sum())


@pytest.mark.filterwarnings("ignore")  # of the compiler, about its own work
def test_compiled_and_transformed():
    torch.compiler.reset()
    compiled = torch.compile(NeuralODE(DenseField(4, 8), solver="euler", steps=2), backend="eager")
    assert compiled(y).shape == y.shape
    good = NeuralODE(DenseField(4, 8), solver="euler", steps=2)
    torch.func.vmap(good)(torch.randn(3, 5, 4))
    torch.func.grad(lambda x: good(x).sum())(y)
    assert good._checked == ()
    meta = bad_block().to("meta")
    meta(y.to("meta"))
    lazy = NeuralODE(Field(nn.LazyLinear(4)), solver="euler", steps=2)
    lazy(y)
    assert lazy._checked == ()
    lazy(y)
    assert lazy._checked == (True,)


def _distributed(rank):
    torch.manual_seed(0)
    block = NeuralODE(DenseField(4, 8, "time batch"), solver="euler", steps=2)
    model = nn.parallel.DistributedDataParallel(block)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(rank))
    for _ in range(2):
        model(x).square().sum().backward()
    norm = block.func.norm
    return [float(p.grad.sum()) for p in block.parameters()], int(norm.num_batches_tracked)


@pytest.mark.long
def test_distributed():
    (one, count), (other, _) = in_two_processes(_distributed)
    assert one == other
    assert count == 2


def test_a_state_changed_in_place_is_found():
    y = torch.tensor([-1.0, 2.0])
    report = check_rhs(lambda t, y: -y.relu_(), 0.0, y)
    assert [finding.kind for finding in report.findings] == ["state changed"]
    assert "y, in place" in str(report)
    assert torch.equal(y, torch.tensor([-1.0, 2.0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_noise_is_found_in_any_precision(dtype):
    y = torch.randn(64, 8).to(dtype)
    assert not check_rhs(lambda t, y: y * (1 + 0.5 * torch.rand_like(y)), 0.0, y)
    assert check_rhs(lambda t, y: y * 1.5, 0.0, y)
    drop = nn.Dropout()
    assert not check_rhs(lambda t, y: [drop(a) for a in y], 0.0, (y, y))


def test_parameters_behind_a_reentrant_checkpoint_are_not_called_dead():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, t, y):
            return checkpoint(lambda z: torch.tanh(self.layer(z)), y, use_reentrant=True)

    assert check_rhs(Field(), 0.0, torch.randn(5, 4))


def test_a_block_made_in_inference_mode_is_solved_without_a_check():
    with torch.inference_mode():
        block = NeuralODE(DenseField(3, 8), solver="rk4", steps=2).eval()
        assert block(torch.randn(5, 3)).shape == (5, 3)


@pytest.mark.parametrize(
    ("func", "state", "error", "message"),
    [
        (lambda t, y: None, y, TypeError, "a tensor like the state, got NoneType"),
        (lambda t, y: (y, y), y, TypeError, "a tensor like the state, got tuple"),
        (lambda t, y: y[:1], y, ValueError, r"the shape of the state, .* got \(1, "),
        (lambda t, y: y[0], (y, y), TypeError, "a tuple of 2 tensors like the state, got Tensor"),
        (lambda t, y: (y[0], 1.0), (y, y), ValueError, "the shape of the state, .* got float"),
        (lambda t, y: y, y.long(), TypeError, r"`y` must hold floating-point .* y.float\(\)"),
    ],
)
def test_values_that_are_not_like_the_state_are_refused(func, state, error, message):
    with pytest.raises(error, match=message):
        check_rhs(func, 0.0, state)
    assert check_rhs(lambda t, y: [-part for part in y], 0.0, (y, y))
