"""Sketched layers where two features meet; found by attack."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.helpers.two_processes import in_two_processes
from torch_bridge import (
    SketchedConv2d,
    SketchedLinear,
    apply,
    counted_rows,
    plan,
    revert,
    saved_bytes,
    share_sketch,
    sketch_rows,
    sketched_linear,
)


def loss(y, x):
    return y.square().mean()


def measured(model, x, run=loss):
    return saved_bytes(lambda: run(model(x), x), besides=[*model.parameters(), x])


class Watched(nn.Module):
    """A sketched layer, then dropout whose masks are looked at."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.drop, self.masks = layer, nn.Dropout(0.5), []
        self.drop.register_forward_hook(lambda m, i, o: self.masks.append(o != 0))

    def forward(self, x):
        return self.drop(self.layer(x))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("storage", [None, torch.int8])
@pytest.mark.parametrize("sketch", ["uniform", "balanced", "gaussian"])
def test_random_numbers_stay_aligned_under_checkpoint(reentrant, storage, sketch):
    torch.manual_seed(0)
    model = Watched(SketchedLinear(8, 8, ratio=0.5, sketch=sketch, storage=storage))
    x = torch.randn(16, 8, requires_grad=True)
    for _ in range(3):
        model.masks.clear()
        model.zero_grad()
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
        assert torch.equal(model.layer.bias.grad, 2.0 * model.masks[0].sum(0))


def test_a_reentrant_checkpoint_draws_anew_at_each_step():
    # Nothing but the first pass moves torch's random numbers: after the second they are put back.
    layer = SketchedLinear(3, 2, ratio=0.25, bias=False)
    x = torch.randn(16, 3, requires_grad=True)
    total = 0
    for _ in range(400):
        layer.zero_grad()
        checkpoint(layer, x, use_reentrant=True).sum().backward()
        total = total + layer.weight.grad / 400
    exact = x.detach().sum(0).expand(2, 3)
    assert float((total - exact).norm()) < 0.5 * float(exact.norm()) + 1
    state = torch.get_rng_state()
    with torch.no_grad():
        layer(x)
    assert torch.equal(torch.get_rng_state(), state)


def pair(**options):
    torch.manual_seed(0)
    layers = [SketchedLinear(3, 2, ratio=0.25, bias=False, **options) for _ in range(2)]
    share_sketch(*layers)
    return layers


@pytest.mark.parametrize("rest", ["frozen", "resting", "idle"])
def test_a_shared_sketch_lives_for_one_pass(rest):
    q, k = pair()
    x = torch.randn(16, 3)
    (q(x) + k(x)).sum().backward()
    q.requires_grad_(rest != "frozen")
    q.train(rest != "resting")
    total = 0
    for _ in range(500):
        k.zero_grad()
        (k(x) if rest == "idle" else q(x) + k(x)).sum().backward()
        total = total + k.weight.grad / 500
    exact = x.sum(0).expand(2, 3)
    one = 12 * float(x.square().sum()) ** 0.5  # more than the spread of a draw
    assert float((total - exact).norm()) < 5 * one / 500**0.5


def test_micro_batches_of_a_group_under_checkpoint():
    q, k = pair()
    w, results = torch.zeros(2, requires_grad=True), []
    batches = [torch.randn(16, 3, requires_grad=True) for _ in range(2)]

    def part(x):
        return functional.dropout(k(x) + w, 0.5)

    for checkpointed in (False, True):
        torch.manual_seed(3)
        w.grad = None
        out = 0
        for x in batches:
            rest = checkpoint(part, x, use_reentrant=False) if checkpointed else part(x)
            out = out + q(x).sum() + rest.sum()
        out.backward()
        results.append(w.grad)
    assert torch.equal(*results)


def test_siamese_calls_share_by_tensor():
    q, k = pair()
    a, b = torch.randn(16, 3), torch.randn(16, 3)
    kept = saved_bytes(lambda: [q(a), q(b), k(a), k(b)])
    assert kept == 2 * 4 * (3 * 4 + 4)


def test_a_group_knows_the_mask():
    q, k = pair()
    x, mask = torch.randn(16, 3), torch.arange(16) < 4
    total = 0
    for _ in range(300):
        k.zero_grad()
        with counted_rows(mask):
            q(x)
        k(x).sum().backward()
        total = total + k.weight.grad / 300
    exact = x.sum(0).expand(2, 3)
    one = 12 * float(x.square().sum()) ** 0.5
    assert float((total - exact).norm()) < 5 * one / 300**0.5


class Shortcut(nn.Module):
    """Two convolutions of one tensor, one with a stride."""

    def __init__(self, first):
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 8, 1, stride=first), nn.Conv2d(8, 8, 1, stride=3 - first)

    def forward(self, x):
        x = functional.silu(self.norm(x))
        return self.a(x).square().mean() + self.b(x).square().mean()


@pytest.mark.parametrize("first", [1, 2])
def test_convolutions_of_other_strides_do_not_share(first):
    model, x = Shortcut(first), torch.randn(4, 8, 8, 8)
    exact = copy.deepcopy(model)
    exact(x).backward()
    apply(plan(model, x, budget=0.9))
    total = 0
    for _ in range(200):
        model.zero_grad()
        model(x).backward()
        total = total + model.a.weight.grad / 200
    error = (total - exact.a.weight.grad).norm() / exact.a.weight.grad.norm()
    assert float(error) < 0.3


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_down_to_one_row():
    torch.compiler.reset()
    layer = SketchedLinear(6, 4, ratio=0.1)
    compiled = torch.compile(layer, backend="inductor", fullgraph=True)
    for rows in (50, 7, 9, 33):
        x = torch.randn(1, 6).expand(rows, 6).contiguous()  # equal rows: exact
        for _ in range(3):
            layer.zero_grad()
            compiled(x).sum().backward()
            torch.testing.assert_close(layer.weight.grad, (rows * x[:1]).expand(4, 6))


def test_weights_under_autocast_are_not_copied_for_each_call():
    layer = SketchedLinear(512, 512, ratio=0.1)
    x = torch.randn(64, 512)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert saved_bytes(lambda: layer(x), layer.parameters()) == 7 * (512 * 2 + 4)
        y = layer(x.requires_grad_())
        assert saved_bytes(lambda: layer(x), layer.parameters()) == 7 * (512 * 2 + 4)
    y.float().square().sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32

    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(64), nn.Linear(64, 64)

        def forward(self, x):
            for _ in range(6):
                x = functional.gelu(self.layer(self.norm(x)))
            return x

    model, x = Again(), torch.randn(100, 64)

    def total(y, x):
        return y.float().square().sum()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        now = measured(model, x, total)
        found = plan(model, x, budget=0.8, loss=total)
        apply(found)
        after = measured(model, x, total)
    assert found.bytes_now == now
    assert after == pytest.approx(found.bytes_planned, rel=0.02)


def test_a_weight_may_change_where_no_gradient_needs_it():
    layer = SketchedLinear(6, 4, ratio=0.5)
    y = layer(torch.randn(20, 6))
    with torch.no_grad():
        layer.weight.mul_(2)
    y.sum().backward()


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.used, self.unused, self.target, self.one, self.expert = (
            nn.Linear(8, 8) for _ in range(6)
        )
        self.token = nn.Parameter(torch.randn(1, 8))

    def forward(self, x):
        x = functional.gelu(self.trunk(x))
        with torch.no_grad():
            target = self.target(x)
        idle = self.unused(functional.gelu(x))
        y = self.used(functional.gelu(x)) - target + self.one(functional.gelu(self.token))
        return y.sum() + self.expert(functional.gelu(x[:0])).sum(), idle


def test_layers_without_gradient_rows_or_units_stay_exact():
    model, x = Branches(), torch.randn(40, 8)
    found = plan(model, x, noise=1.0, loss=lambda y, _: y[0])
    why = {one.name: one.reason for one in found.layers}
    assert why["used"] == ""
    assert all("does not depend" in why[name] for name in ("unused", "expert"))
    assert "without autograd" in why["target"]
    assert "single row" in why["one"]
    apply(found)
    kept = saved_bytes(lambda: model(x), besides=[*model.parameters(), x])
    assert kept == pytest.approx(found.bytes_planned, rel=0.02)
    single = plan(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), x[:1], noise=1.0, loss=loss)
    assert "single row" in single.layers[0].reason


def test_plans_of_reentrant_checkpoints():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return checkpoint(self.b, functional.gelu(self.a(x)), use_reentrant=True)

    found = plan(Part(), torch.randn(40, 8), noise=1.0, loss=loss)
    assert "without autograd" in found.layers[1].reason


def three():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 4)
    )


X = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))


def test_a_refused_conversion_changes_nothing():
    model = three()
    found = plan(model, X, budget=0.8, loss=loss)
    for options in ({"storage": torch.float16}, {"storage": torch.int8, "report": True}):
        with pytest.raises(ValueError, match="`storage`"):
            apply(found, **options)
        assert type(model[2]) is nn.Linear
    with pytest.raises(TypeError, match="`report` must be a bool"):
        apply(found, report="yes")
    assert type(model[2]) is nn.Linear
    with pytest.raises(TypeError, match="got NoneType"):
        apply(found, nn.Sequential(nn.Linear(8, 16)))
    pixels = nn.Sequential(nn.GELU(), nn.Conv2d(8, 8, 1))
    images = torch.randn(3, 8, 6, 6)
    found = plan(pixels, images, budget=0.9, loss=loss)
    with pytest.raises(TypeError, match="Conv2d of one pixel, got Conv2d"):
        apply(found, nn.Sequential(nn.GELU(), nn.Conv2d(8, 8, 3, padding=1)))
    assert type(apply(found)[1]) is SketchedConv2d


def test_a_second_plan_replaces_the_first():
    model = three()
    tight, loose = (plan(model, X, loss=loss, **o) for o in ({"budget": 0.7}, {"noise": 1e-3}))
    apply(tight)
    apply(loose)
    for one in loose.layers:
        assert (type(model.get_submodule(one.name)) is nn.Linear) == (one.ratio is None)
    assert measured(model, X) == pytest.approx(loose.bytes_planned, rel=0.02)


def test_parametrized_since():
    model = three()
    apply(plan(model, X, budget=0.8, loss=loss))
    nn.utils.parametrizations.weight_norm(model[2])
    with pytest.raises(TypeError, match="remove its parametrizations first"):
        revert(model)
    model(X).sum().backward()


def test_many_small_calls_stay_within_the_budget():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(16, 16)

        def forward(self, x):
            for _ in range(64):
                x = functional.gelu(self.layer(x))
            return x

    model, x = Steps(), torch.randn(9, 16)
    for budget in (0.65, 0.7, 0.8):
        found = plan(model, x, budget=budget, loss=loss)
        assert found.bytes_planned <= budget * found.bytes_now
        apply(found)
        assert measured(model, x) == pytest.approx(found.bytes_planned, rel=0.02)
        revert(model)


def test_what_hooks_of_a_user_save_is_theirs():
    model, low = three(), nn.Parameter(torch.randn(16, 16))
    model[2].register_forward_hook(lambda m, i, o: o + i[0] @ low)
    found = plan(model, X, noise=1.0, loss=loss)
    assert "something else" in next(one.reason for one in found.layers if one.name == "2")
    model[4].register_forward_hook(lambda m, i, o: (o, o))
    plan(model, X, noise=1.0, loss=lambda y, x: y[0].square().mean())


def test_nothing_is_left_of_a_plan():
    gc.collect()
    gc.disable()
    try:
        model, seen = three(), []
        model[1].register_forward_hook(lambda m, i, o: seen.append(weakref.ref(o)))
        plan(model, X, budget=0.9, loss=loss)
        measured(model, X)
        assert len(seen) == 2
        assert all(one() is None for one in seen)
    finally:
        gc.enable()


def test_buffers_that_are_replaced_or_made_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(()))
            self.net = three()

        def forward(self, x):
            self.n = self.n + 1
            if not hasattr(self, "seen"):
                self.register_buffer("seen", torch.zeros(()), persistent=False)
            return self.net(x)

    model = Counting()
    plan(model, X, noise=1.0, loss=loss)
    assert float(model.n) == 0
    assert list(model._buffers) == ["n"]
    assert not model._non_persistent_buffers_set
    with torch.inference_mode(), pytest.raises(RuntimeError, match="plan outside"):
        plan(model, X, noise=1.0, loss=loss)


def test_reports_skip_what_tells_nothing():
    layer = SketchedLinear(6, 4, ratio=0.5, report=True)
    x = torch.randn(20, 6)
    (layer(x).sum() * torch.inf).backward()
    layer(torch.randn(2, 6)).sum().backward()  # one row of two
    layer(torch.randn(1, 6)).sum().backward()  # exact
    with pytest.raises(RuntimeError, match="2 told nothing"):
        layer.noise_report()
    for _ in range(3):
        layer(x).sum().backward()
    found = layer.noise_report()
    assert (found.passes, found.skipped) == (3, 2)
    assert found.variance > 0


def test_masks_belong_to_their_thread():
    x, seen = torch.eye(3), []
    entered, leave = threading.Event(), threading.Event()

    def other():
        with counted_rows(torch.tensor([True, False, False])):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(30)
    for _ in range(60):
        w = torch.zeros(1, 3, requires_grad=True)
        sketched_linear(x, w, ratio=0.5).sum().backward()
        seen.append(w.grad[0])
    leave.set()
    thread.join()
    assert bool((torch.stack(seen).sum(0) > 0).all())


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_layers_without_outputs_or_of_odd_ratios():
    empty = SketchedLinear(6, 0, ratio=0.5)
    empty(torch.randn(20, 6)).sum().backward()
    assert empty.weight.grad.shape == (0, 6)
    SketchedLinear(6, 4, ratio=np.float32(0.5))(torch.randn(20, 6)).sum().backward()
    layer = SketchedLinear(6, 4)
    layer.storage = torch.float16
    with pytest.raises(ValueError, match="`storage` must be"):
        layer(torch.randn(20, 6))


def test_what_is_no_tensor_no_sketch_and_no_module_is_named():
    x, weight, model = torch.randn(9, 4), torch.ones(3, 4, requires_grad=True), nn.Linear(4, 3)
    images = torch.randn(1, 4, 3, 3)
    found = plan(model, x, budget=0.5, loss=loss)
    for message, call in (
        ("`input` must be a Tensor, got ndarray", lambda: SketchedLinear(4, 3)(x.numpy())),
        ("`input` must be a Tensor, got ndarray", lambda: sketched_linear(x.numpy(), weight)),
        ("`input` must be a Tensor, got list", lambda: sketch_rows([1.0])),
        ("numpy.ndarray", lambda: SketchedConv2d(4, 3)(images.numpy())),
        ("`rows` must be a RowSketch, got Tensor", lambda: sketched_linear(x, weight, rows=x)),
        ("`rows` must be a RowSketch, got Tensor", lambda: SketchedLinear(4, 3)(x, rows=x)),
        ("`rows` must be a RowSketch, got Tensor", lambda: SketchedConv2d(4, 3)(images, rows=x)),
        ("`plan` must be a SketchPlan, got Linear", lambda: apply(model)),
        ("must be a Module, got list", lambda: apply(found, [])),
        ("must be a Module, got list", lambda: plan([], x, budget=0.5)),
        ("must be a Module, got NoneType", lambda: revert(None)),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match=r"`sketch` must be one of .*, got \['uniform'\]"):
        SketchedLinear(4, 3, sketch=["uniform"])


def test_channels_and_strides_that_do_not_fit_are_refused():
    for layer in (nn.Conv2d(4, 3, 1), SketchedConv2d(4, 3)):
        with pytest.raises(RuntimeError, match="to have 4 channels, but got 3 channels"):
            layer(torch.randn(1, 3, 5, 5))
    for stride in (0, (1, 0), -1, "2", (1, 2, 3), 1.0):
        with pytest.raises(
            ValueError, match="`stride` must be positive, an int or a pair of int, got"
        ):
            SketchedConv2d(4, 3, stride=stride)


def test_dtypes_that_differ_are_refused_as_by_torch():
    layer = SketchedLinear(6, 4, ratio=0.5)
    with pytest.raises(TypeError, match=r"one dtype, got torch\.float16 and torch\.float32"):
        layer(torch.randn(20, 6).half())
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError, match="one dtype"):
        layer(torch.randn(20, 6).double())


def test_torch_func_leaves_no_trace_in_a_group():
    q, k = pair()
    x = torch.randn(5, 16, 3)
    torch.func.vmap(q, randomness="different")(x)
    k(x[0]).sum().backward()


def _draws(rank):
    torch.manual_seed(0)
    layer = SketchedLinear(3, 2, ratio=0.3, storage=torch.int8, bias=False)
    x = torch.randn(20, 3)
    layer(x).sum().backward()
    return layer.weight.grad.tolist(), float(torch.rand(()))


def test_ranks_differ_in_draws_only():
    (first, mine), (second, yours) = in_two_processes(_draws)
    assert first != second
    assert mine == yours


def in_a_batch(layer, x, several):
    """Gradients of one forward pass for several cotangents, one by one and all at once."""
    torch.manual_seed(3)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    inputs = [x, *layer.parameters()]
    each = [torch.autograd.grad(y, inputs, g, retain_graph=True) for g in several(y)]
    wanted = [torch.stack(parts) for parts in zip(*each, strict=True)]
    cotangents = torch.stack(several(y))
    found = torch.autograd.grad(y, inputs, cotangents, retain_graph=True, is_grads_batched=True)
    return wanted, found, (y, inputs, cotangents)


def cotangents(y):
    return [torch.sin(k + torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape) for k in (1, 2)]


@pytest.mark.parametrize("sketch", ["uniform", "balanced", "gaussian", "rademacher"])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batched_backward_passes_of_convolutions(sketch, stride, memory_format):
    x = torch.randn(4, 3, 8, 8).contiguous(memory_format=memory_format)
    for centred in (False, True):
        layer = SketchedConv2d(3, 4, stride, ratio=0.3, sketch=sketch, centred=centred)
        wanted, found, _ = in_a_batch(layer, x, cotangents)
        for a, b in zip(wanted, found, strict=True):
            torch.testing.assert_close(b, a)
    rows = torch.autograd.functional.jacobian(lambda z: layer(z).mean((0, 2, 3)), x, vectorize=True)
    torch.testing.assert_close(
        rows, torch.autograd.functional.jacobian(lambda z: layer(z).mean((0, 2, 3)), x)
    )


@pytest.mark.parametrize("sketch", ["uniform", "balanced", "gaussian", "rademacher"])
def test_batched_backward_passes_leave_a_report_alone(sketch):
    layer = SketchedLinear(6, 5, ratio=0.4, sketch=sketch, report=True)
    x = torch.randn(20, 6)
    wanted, found, (y, inputs, several) = in_a_batch(layer, x, cotangents)
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(b, a)
    torch.func.vmap(lambda g: torch.autograd.grad(y, inputs, g))(several)
    assert layer.noise_report().passes == 2
    assert layer.noise_report().skipped == 2
    layer(x).square().sum().backward()
    assert copy.deepcopy(layer).noise_report().passes == 3


@pytest.mark.parametrize("sketch", ["uniform", "balanced", "rademacher"])
@pytest.mark.parametrize("storage", [None, torch.int8])
def test_estimators_of_memory_run_layers_without_data(sketch, storage):
    def kept(device=None):
        layer = SketchedLinear(
            6, 3, ratio=0.2, sketch=sketch, centred=True, storage=storage, device=device
        )
        x = torch.ones(32, 6, device=device)
        found = saved_bytes(lambda: layer(x), [*layer.parameters(), x])
        layer(x).sum().backward()
        assert layer.weight.grad.shape == (3, 6)
        return found

    with FakeTensorMode():
        fake = kept()
    assert kept() == kept("meta") == fake


def test_a_backward_pass_prefers_the_mask_of_its_thread():
    layer = SketchedLinear(4, 3, ratio=0.9)
    x = torch.randn(8, 4)
    mine, other = torch.arange(8) < 1, torch.arange(8) >= 1
    entered, done = threading.Event(), threading.Event()

    def elsewhere():
        with counted_rows(other):
            entered.set()
            done.wait(60)

    thread = threading.Thread(target=elsewhere)
    with counted_rows(mine):
        y = checkpoint(layer, x, use_reentrant=False)
        thread.start()
        entered.wait(60)
        try:
            (y * mine[:, None]).sum().backward()
        finally:
            done.set()
            thread.join()
    torch.testing.assert_close(layer.weight.grad, x[:1].expand(3, 4))


def test_what_a_layer_can_not_do_is_told():
    layer = SketchedLinear(4, 3, ratio=0.5, report=True)
    layer.storage = torch.int8
    with pytest.raises(ValueError, match="`report` would take the rounding"):
        layer(torch.randn(8, 4))
    parts = torch.nested.nested_tensor([torch.randn(3, 4), torch.randn(5, 4)], layout=torch.jagged)
    layer = SketchedLinear(4, 3, ratio=0.5)
    with pytest.raises(TypeError, match=r"one dense tensor.*`values\(\)`"):
        layer(parts)
    assert layer(parts.values()).shape == (8, 3)
    assert layer.eval()(parts).is_nested


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_inputs_are_named(layout):
    layer = SketchedLinear(4, 3, ratio=0.5)
    x = getattr(torch.eye(6, 4), layout)()
    for call in (layer, sketch_rows):
        with pytest.raises(
            TypeError, match=r"`input` must be one dense tensor, got layout torch\.s"
        ):
            call(x)
    torch.testing.assert_close(layer.eval()(x), layer(x.to_dense()))


def test_options_of_another_kind_are_named():
    x = torch.ones(6, 4)
    for name in ("sketch", "storage"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            sketch_rows(x, **{name: np.ones(2)})
    with pytest.raises(ValueError, match="got a tensor without dimensions"):
        sketch_rows(torch.tensor(1.0))
    for dtype in (torch.int64, torch.complex64):
        with pytest.raises(
            TypeError, match=r"`input` must hold real floating-point numbers, got torch\.\w+64"
        ):
            sketch_rows(x.to(dtype), centred=True)
