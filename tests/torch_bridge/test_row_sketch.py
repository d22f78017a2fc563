"""What layers keep of their inputs: centring, storage, rows that count, sharing, reports."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from odecore.sketching import BalancedCountSketch, Centred, Masked, minibatch_variance, variance
from odecore.sketching import alignment as aligned
from tests.helpers.statistics import mean_agrees
from tests.helpers.two_processes import in_two_processes
from torch_bridge import (
    SketchedConv2d,
    SketchedLinear,
    counted_rows,
    saved_bytes,
    share_sketch,
    sketch_rows,
    sketched_linear,
)
from torch_bridge._draws import SKETCHES, draw, project, sketch_generator
from torch_bridge._row_storage import decoded, encoded

sketches = pytest.mark.parametrize("sketch", SKETCHES)
KEEP = torch.arange(20) % 5 != 2


def data(rows=20, n=6, m=4, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, n, dtype=dtype, generator=generator) + 0.7
    weight = torch.randn(m, n, dtype=dtype, generator=generator)
    y_grad = torch.randn(rows, m, dtype=dtype, generator=generator) + 0.2
    return x, weight, y_grad


def gradients(x, weight, y_grad, mask=None, **options):
    """A function that draws one weight gradient."""

    def one():
        w = weight.clone().requires_grad_()
        if mask is None:
            sketched_linear(x, w, **options).backward(y_grad)
        else:
            with counted_rows(mask):
                sketched_linear(x, w, **options).backward(y_grad)
        return w.grad

    return one


def squares_agree(one, exact, claimed, rounds=3):
    def sample(n):
        return [float((one() - exact).square().sum()) for _ in range(n)]

    return mean_agrees(sample, claimed, start=300, rounds=rounds)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**32))
def test_buckets_of_any_size(rows, size, columns, seed):
    size = min(size, rows)
    torch.manual_seed(seed)
    X = torch.randint(-9, 9, (rows, columns), dtype=torch.float64)
    drawn = draw("balanced", size, X, X, None)
    R = project("balanced", drawn, torch.eye(rows, dtype=torch.float64), size)
    assert torch.equal(project("balanced", drawn, X, size), R @ X)
    assert torch.equal(R.abs().sum(0), torch.ones(rows, dtype=torch.float64))  # each row once
    counts = R.abs().sum(1)
    assert counts.max() - counts.min() <= 1
    traced = torch.func.vmap(lambda X: project("balanced", drawn, X, size))(X[None])[0]
    assert torch.equal(traced, R @ X)


def test_signs_and_places_of_buckets_are_fair():
    torch.manual_seed(0)
    X = torch.eye(6, dtype=torch.float64)

    def sample(n):
        R = [project("balanced", draw("balanced", 3, X, X, None), X, 3) for _ in range(n)]
        return [[float(r[0, 0]), float(r[2, 5]), float((r[:, 0] * r[:, 1]).sum())] for r in R]

    assert mean_agrees(sample, [0, 0, 0], rounds=3)


@pytest.mark.sampled(2)
@sketches
def test_centred_gradients(sketch):
    x, weight, y_grad = data()
    exact = y_grad.T @ x
    torch.manual_seed(0)
    one = gradients(x, weight, y_grad, ratio=0.3, sketch=sketch, centred=True)
    claimed = float(variance(Centred(SKETCHES[sketch](6)), x, y_grad))
    assert squares_agree(one, exact, claimed)
    assert not squares_agree(one, exact, float(variance(SKETCHES[sketch](6), x, y_grad)))

    def sample(n):
        return [float((one() * exact).sum() / exact.norm()) for _ in range(n)]

    assert mean_agrees(sample, float(exact.norm()), rounds=3)


def test_centring_takes_equal_rows_exactly():
    x, weight, y_grad = data()
    x = x[:1].expand(20, 6)
    for sketch in SKETCHES:
        found = gradients(x, weight, y_grad, ratio=0.1, sketch=sketch, centred=True)()
        torch.testing.assert_close(found, y_grad.T @ x)


@pytest.mark.sampled(3)
@sketches
@pytest.mark.parametrize("centred", [False, True])
def test_only_rows_that_count(sketch, centred):
    x, weight, y_grad = data()
    exact = y_grad[KEEP].T @ x[KEEP]
    kind = SKETCHES[sketch](5)
    kind = Masked(Centred(kind) if centred else kind, KEEP.numpy())
    options = {"ratio": 5 / 16, "sketch": sketch, "centred": centred}
    torch.manual_seed(0)
    claimed = float(variance(kind, x, y_grad))
    one = gradients(x, weight, y_grad, KEEP, **options)
    assert squares_agree(one, exact, claimed)
    assert not squares_agree(one, exact, 1.5 * claimed)


@sketches
@pytest.mark.parametrize("centred", [False, True])
def test_masks_of_other_rows(sketch, centred):
    x, weight, y_grad = data()
    options = {"sketch": sketch, "centred": centred}
    none = gradients(x, weight, y_grad, torch.zeros(20, dtype=bool), ratio=0.5, **options)()
    assert torch.equal(none, torch.zeros_like(weight))
    all_kept = gradients(x, weight, y_grad, KEEP, ratio=1.0, **options)()
    torch.testing.assert_close(all_kept, y_grad[KEEP].T @ x[KEEP])
    shaped = gradients(
        x.reshape(4, 5, 6),
        weight,
        y_grad.reshape(4, 5, 4),
        KEEP.reshape(4, 5),
        ratio=1.0,
        **options,
    )()
    torch.testing.assert_close(shaped, all_kept)
    for mask in (torch.zeros(7, dtype=bool), torch.zeros(4, 5, dtype=bool)):
        other = gradients(x, weight, y_grad, mask, ratio=1.0, **options)()
        torch.testing.assert_close(other, y_grad.T @ x)  # not of these rows


def test_masks_are_checked_and_forgotten():
    with (
        pytest.raises(TypeError, match=r"tensor of bool, got torch\.int64"),
        counted_rows(torch.ones(3, dtype=int)),
    ):
        pass
    with pytest.raises(KeyError), counted_rows(torch.zeros(20, dtype=bool)):
        raise KeyError
    x, weight, y_grad = data()
    assert gradients(x, weight, y_grad, ratio=0.5)().abs().sum() > 0
    layer = torch.compile(SketchedLinear(6, 4, ratio=0.5).double(), backend="eager", fullgraph=True)
    with counted_rows(KEEP), pytest.raises(RuntimeError, match="not known to a compiler"):
        layer(x)


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_stored_rows_have_the_right_mean_and_the_stated_spread(storage, dtype):
    rows = data(dtype=torch.float64)[0].to(dtype)
    rows[3] = 0
    torch.manual_seed(0)
    n = 4000
    drawn = torch.stack([decoded(*encoded(rows, storage), torch.float64) for _ in range(n)])
    if storage == torch.bfloat16 and dtype == torch.float16:
        assert torch.equal(drawn[0], rows.double())  # nothing to gain
        return
    gap = torch.where(rows == 0, 1.0, 2.0 ** (rows.double().abs().log2().floor() - 7))
    if storage == torch.int8:
        gap = rows.double().abs().amax(1, keepdim=True) / 127
    part = (rows.double() / torch.where(gap == 0, 1.0, gap)) % 1
    variances = gap**2 * part * (1 - part)
    error = (drawn.mean(0) - rows.double()).abs()
    assert (error <= 5 * (variances / n).sqrt() + 1e-5 * gap).all()
    assert torch.equal(drawn[0][3], torch.zeros(6, dtype=torch.float64))
    measured = (drawn - rows.double()).square().mean(0).sum()
    assert float(measured) == pytest.approx(float(variances.sum()), rel=0.05)
    nearest = rows.to(torch.bfloat16).double()
    if storage == torch.bfloat16:  # rounding to nearest is biased
        assert not ((nearest - rows.double()).abs() <= 5 * (variances / n).sqrt()).all()


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.int8])
def test_entries_that_are_not_finite_stay_so(storage):
    rows = torch.ones(5, 3)
    rows[0, 1], rows[1, 2], rows[2, 0] = torch.nan, torch.inf, -torch.inf
    rows[4] = torch.full((3,), -1, dtype=torch.int32).view(torch.float32)  # a NaN of all ones
    found = decoded(*encoded(rows, storage), torch.float32)
    for k in (0, 1, 2, 4):
        assert not found[k].isfinite().all()
    assert torch.equal(found[3], rows[3])


@pytest.mark.sampled(3)
@sketches
@pytest.mark.parametrize("storage", [torch.bfloat16, torch.int8])
def test_gradients_from_stored_rows_are_unbiased(sketch, storage):
    x, weight, y_grad = data(dtype=torch.float32)
    exact = (y_grad.T @ x).double()
    torch.manual_seed(0)
    one = gradients(x, weight, y_grad, ratio=0.3, sketch=sketch, storage=storage)

    def sample(n):
        return [float((one().double() * exact).sum() / exact.norm()) for _ in range(n)]

    assert mean_agrees(sample, float(exact.norm()), rounds=3)
    assert not mean_agrees(sample, 1.2 * float(exact.norm()))


def test_what_rounding_adds_to_the_variance():
    # For a given draw: w^2 sum_k E||e_k||^2 ||(R Y)_k||^2, w = B/p for uniform rows.
    x, _, y_grad = data(dtype=torch.float64)
    kept, y = x[:5], y_grad[:5]
    gap = kept.abs().amax(1, keepdim=True) / 127
    part = (kept / gap) % 1
    claimed = 16 * float(((gap**2 * part * (1 - part)).sum(1) * y.square().sum(1)).sum())
    torch.manual_seed(0)

    def sample(n):
        errors = (decoded(*encoded(kept, torch.int8), torch.float64) - kept for _ in range(n))
        return [float((4 * y.T @ e).square().sum()) for e in errors]

    assert mean_agrees(sample, claimed, rounds=4)
    assert not mean_agrees(sample, claimed / 2)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"sketch": "uniform"}, 100 * (64 * 4 + 4)),
        ({"sketch": "balanced"}, 100 * 64 * 4 + 1000 * 4),
        ({"sketch": "balanced", "centred": True}, 101 * 64 * 4 + 1000 * 4),
        ({"sketch": "uniform", "storage": torch.bfloat16}, 100 * (64 * 2 + 4)),
        ({"sketch": "uniform", "storage": torch.int8}, 100 * (64 + 4 + 4)),
        ({"sketch": "balanced", "storage": torch.int8}, 100 * (64 + 4) + 1000 * 4),
        ({"sketch": "rademacher"}, 100 * (64 * 4 + 1000)),
        ({"sketch": "uniform", "report": True}, 100 * (64 * 4 + 4) + 1000 * 4),
    ],
)
def test_bytes_kept(options, size):
    layer = SketchedLinear(64, 32, ratio=0.1, **options)
    x = torch.randn(10, 100, 64)
    assert saved_bytes(lambda: layer(x)) == size
    assert saved_bytes(lambda: layer(x.requires_grad_())) == size + 64 * 32 * 4  # and the weight


def test_layers_that_read_one_tensor_share_what_is_kept():
    x, w, y_grad = torch.randn(50, 6), torch.randn(3, 4, 6), torch.randn(50, 4)
    w.requires_grad_()
    rows = sketch_rows(x, ratio=0.2, sketch="balanced")
    torch.manual_seed(0)
    outputs = [sketched_linear(x, one, rows=rows) for one in w]
    for k, y in enumerate(outputs):
        torch.testing.assert_close(y, functional.linear(x, w[k]))
    (found,) = torch.autograd.grad(outputs[0], w, y_grad)
    wanted = project("balanced", rows.drawn, y_grad, rows.size).T @ rows.kept
    torch.testing.assert_close(found[0], wanted)
    kept = saved_bytes(lambda: [sketched_linear(x, one, rows=rows) for one in w])
    assert kept == 10 * 6 * 4 + 50 * 4
    for other in (torch.ones(50, 5), torch.ones(49, 6), torch.ones(2, 25, 7)):
        weight = torch.ones(4, other.shape[-1], requires_grad=True)
        with pytest.raises(ValueError, match="must be a sketch of this input"):
            sketched_linear(other, weight, rows=rows)


@pytest.mark.parametrize("storage", [None, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("centred", [False, True])
@sketches
def test_rows_of_another_tensor_are_refused(sketch, centred, storage):
    x, w = torch.randn(50, 6), torch.randn(4, 6, requires_grad=True)
    rows = sketch_rows(x, ratio=0.4, sketch=sketch, centred=centred, storage=storage)
    layer = SketchedLinear(6, 4)
    for same in (x, x.clone(), x.view(5, 10, 6), x.T.contiguous().T, x.requires_grad_() * 1):
        for call in (lambda z: sketched_linear(z, w, rows=rows), lambda z: layer(z, rows=rows)):
            call(same)
    for other in (x + 1, 2 * x, x.roll(1, 0), torch.randn(50, 6)):
        for call in (lambda z: sketched_linear(z, w, rows=rows), lambda z: layer(z, rows=rows)):
            with pytest.raises(ValueError, match="one of another tensor of its shape"):
                call(other.detach())
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(ValueError, match="what it was before a change in place"):
        sketched_linear(x, w, rows=rows)


@pytest.mark.parametrize("storage", [None, torch.bfloat16, torch.int8])
@sketches
def test_rows_that_were_made_under_autocast_fit_outside(sketch, storage):
    for seed in range(40):
        torch.manual_seed(seed)
        x, w = torch.randn(256, 128), torch.randn(64, 128, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            rows = sketch_rows(x, ratio=0.1, sketch=sketch, storage=storage)
        sketched_linear(x, w, rows=rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@sketches
def test_rows_of_the_same_tensor_are_taken_whatever_rounding_does(sketch, dtype):
    layer = SketchedConv2d(7, 3, stride=2)
    for k in range(20):
        x = (torch.randn(400, 9) + 10 * (k % 3)).to(dtype) * 10 ** (k % 5 - 2)
        w = torch.randn(4, 9, dtype=dtype, requires_grad=True)
        rows = sketch_rows(x, ratio=0.2, sketch=sketch, centred=k % 2 == 0)
        sketched_linear(x, w, rows=rows)
        with torch.autocast("cpu", torch.bfloat16):
            sketched_linear(x, w, rows=rows)
        x[3] = float("nan")
        sketched_linear(x, w, rows=sketch_rows(x, ratio=0.2, sketch=sketch))
    images = torch.randn(2, 7, 10, 10)
    pixels = images[..., ::2, ::2].movedim(1, -1)
    layer(images, rows=sketch_rows(pixels, ratio=0.3, sketch=sketch))
    with pytest.raises(ValueError, match="one of another tensor of its shape"):
        layer(images + 1, rows=sketch_rows(pixels, ratio=0.3, sketch=sketch))


def test_rows_that_hold_nothing_are_exact():
    x = torch.randn(20, 6)
    with torch.no_grad():
        without = sketch_rows(x)
    for rows in (without, sketch_rows(x, ratio=1.0), sketch_rows(x[None], ratio=0.999)):
        w = torch.randn(4, 6, requires_grad=True)
        sketched_linear(x, w, rows=rows).sum().backward()
        torch.testing.assert_close(w.grad, x.sum(0).expand(4, 6))
        layer = SketchedLinear(6, 4, ratio=0.1)
        layer(x, rows=rows).sum().backward()
        torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(4, 6))


def shared_layers(**options):
    layers = nn.ModuleList(SketchedLinear(6, 4, ratio=0.2, **options) for _ in range(3))
    share_sketch(*layers)
    return layers


def test_shared_sketches_in_modules():
    x = torch.randn(50, 6)
    layers = shared_layers()
    alone = nn.ModuleList(SketchedLinear(6, 4, ratio=0.2) for _ in range(3))
    assert layers.state_dict().keys() == alone.state_dict().keys()
    one = 10 * (6 * 4 + 4)
    assert saved_bytes(lambda: [layer(x) for layer in layers]) == one
    assert saved_bytes(lambda: [layer(x) for layer in alone]) == 3 * one
    assert saved_bytes(lambda: [layer(x + k) for k, layer in enumerate(layers)]) == 3 * one
    for copied in (copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):  # noqa: S301
        assert copied[0].shared is copied[1].shared is not layers[0].shared
        assert saved_bytes(lambda copied=copied: [layer(x) for layer in copied]) == one


def test_a_shared_sketch_is_of_the_values_that_were_read():
    x = torch.randn(50, 6)
    first, second, _ = shared_layers()
    entries = first.shared._entries
    first(x)
    old = entries[x].found
    assert torch.equal(old.kept, x[old.drawn.long()])
    x.mul_(2)  # in place: the sketch of the old values is no longer one of x
    second(x)
    new = entries[x].found
    assert torch.equal(new.kept, x[new.drawn.long()])
    first(x)
    assert entries[x].found is new  # now the second one drew
    second(x)
    assert entries[x].found is not new  # and does so again
    third = entries[x].found
    second(x)
    assert entries[x].found is not third  # whatever the others do
    del x
    assert not len(entries)  # forgotten with the tensor


class Attention(nn.Module):
    """Shared projections, then dropout: random numbers before and after a sketch."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        q, k, v = (layer(x) for layer in self.layers)
        return functional.dropout(q * k + v, 0.5)


@pytest.mark.parametrize("split", [False, True])
def test_checkpoints_of_shared_sketches(split):
    layers, x = shared_layers().double(), data()[0].repeat(3, 1)
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(3)
        layers.zero_grad()
        y = x.clone().requires_grad_()
        run = (
            (lambda f, y: checkpoint(f, y, use_reentrant=False))
            if checkpointed
            else (lambda f, y: f(y))
        )
        if split:  # the layer that draws is outside
            q = layers[0](y)
            out = q * run(lambda y: functional.dropout(layers[1](y) * layers[2](y), 0.5), y)
        else:
            out = run(Attention(layers), y)
        out.square().sum().backward()
        results.append([y.grad, *(p.grad.clone() for p in layers.parameters())])
    for plain, again in zip(*results, strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.sampled(3)
@sketches
@pytest.mark.parametrize("centred", [False, True])
def test_reports_of_noise(sketch, centred):
    x, _, y_grad = data(rows=40)
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch, centred=centred, report=True).double()
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match="no noise was measured yet"):
        layer.noise_report()
    kind = SKETCHES[sketch](12)
    claimed = float(variance(Centred(kind) if centred else kind, x, y_grad))
    noise, wanted = float(minibatch_variance(x, y_grad)), aligned(x, y_grad)

    def sample(n):
        found = []
        for _ in range(n):
            layer(x).backward(y_grad)
            r = layer.meter.sums.tolist()[1:]
            layer.meter.sums = None
            found.append([r[0], r[1], r[2] / r[4]])
        return found

    assert mean_agrees(sample, [claimed, noise, wanted.alpha], start=300, rounds=2)
    assert not mean_agrees(sample, [2 * claimed, noise, wanted.alpha], start=300, rounds=1)
    assert not mean_agrees(sample, [claimed, noise, 2 * wanted.alpha], start=300, rounds=1)
    layer.meter.seen = 0
    for _ in range(50):
        layer(x).backward(y_grad)
    report = layer.noise_report(reset=True)
    assert report.passes == 50
    assert report.variance == pytest.approx(claimed, rel=0.3)
    assert report.tau == pytest.approx(wanted.tau, rel=1e-9)
    assert report.ratio == pytest.approx(report.variance / report.minibatch_variance)
    with pytest.raises(RuntimeError, match="no noise was measured yet"):
        layer.noise_report()


def test_reports_of_rows_that_count():
    x, _, y_grad = data()
    layer = SketchedLinear(6, 4, ratio=0.5, sketch="balanced", report=True, centred=True).double()
    kind = Masked(Centred(BalancedCountSketch(8)), KEEP.numpy())
    torch.manual_seed(0)
    with counted_rows(KEEP):
        for _ in range(400):
            layer(x).backward(y_grad)
    report = layer.noise_report()
    assert report.variance == pytest.approx(float(variance(kind, x, y_grad)), rel=0.1)
    inside = x[KEEP], y_grad[KEEP]
    assert report.minibatch_variance == pytest.approx(float(minibatch_variance(*inside)), rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SketchedLinear(2, 2, storage=torch.float16), ValueError, "`storage` must be None"),
        (lambda: SketchedLinear(2, 2, storage=torch.int8, report=True), ValueError, "rounding"),
        (lambda: SketchedLinear(2, 2).noise_report(), RuntimeError, "report=True"),
        (lambda: setattr(SketchedLinear(2, 2), "ratio", 2), ValueError, "0 < ratio <= 1"),
        (lambda: share_sketch(SketchedLinear(2, 2), nn.Linear(2, 2)), TypeError, "got Linear"),
        (
            lambda: share_sketch(SketchedLinear(2, 2), SketchedLinear(2, 2, ratio=0.5)),
            ValueError, "equal options",
        ),
        (
            lambda: SketchedLinear(2, 2, report=True)(
                torch.ones(9, 2), rows=sketch_rows(torch.ones(9, 2))
            ),
            ValueError, "made elsewhere",
        ),
        (
            lambda: torch.func.vmap(SketchedLinear(2, 2, ratio=0.5, report=True), randomness="different")(
                torch.ones(3, 9, 2)
            ),
            RuntimeError, "report=False",
        ),
    ],
)  # fmt: skip
def test_bad_use_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"centred": True, "sketch": "balanced"},
        pytest.param({"storage": torch.bfloat16}, marks=pytest.mark.long),
        pytest.param({"storage": torch.int8}, marks=pytest.mark.long),
    ],
)
def test_compiled_options(options):
    x, _, y_grad = data(rows=40, dtype=torch.float32)
    layer = SketchedLinear(6, 4, ratio=0.3, **options)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    total = torch.zeros(4, 6)
    for _ in range(300):
        layer.zero_grad()
        compiled(x).backward(y_grad)
        total += layer.weight.grad
    exact, kind = y_grad.T @ x, SKETCHES[layer.sketch](12)
    kind = Centred(kind) if layer.centred else kind
    spread = (float(variance(kind, x, y_grad)) * 1.1 / 300) ** 0.5
    assert float((total / 300 - exact).norm()) < 5 * spread


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_layers_share_a_sketch_that_is_passed():
    x, _, _ = data(rows=40, dtype=torch.float32)
    w = torch.randn(3, 4, 6, requires_grad=True)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def projections(x, w):
        rows = sketch_rows(x, ratio=0.25)
        return sum(sketched_linear(x, one, rows=rows) for one in w.unbind())

    projections(x, w).sum().backward()
    a, b, c = w.grad
    torch.testing.assert_close(a, b)  # one draw: equal cotangents, equal gradients
    torch.testing.assert_close(b, c)


@pytest.mark.sampled(2)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@sketches
def test_compiled_for_any_batch(sketch):
    torch.compiler.reset()
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch, centred=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
    for rows in (40, 33, 57):
        x = torch.randn(1, 6).expand(rows, 6)  # equal rows: exact
        layer.zero_grad()
        compiled(x).sum().backward()
        torch.testing.assert_close(layer.weight.grad, (rows * x[:1]).expand(4, 6))


def _rank(rank):
    torch.manual_seed(0)
    layer = nn.Linear(6, 4, bias=False).double()
    torch.manual_seed(0)  # the same on both ranks
    sketched = SketchedLinear(6, 4, bias=False, ratio=0.3, sketch="balanced").double()
    sketched.load_state_dict(layer.state_dict())
    model = nn.parallel.DistributedDataParallel(sketched)
    x, _, y_grad = data()
    drawn = draw("balanced", 6, x, x, None, sketch_generator(x.device)).tolist()
    model(x).backward(y_grad)
    return drawn, sketched.weight.grad.tolist()


def test_two_processes_draw_differently_and_average():
    (first, gradient), (second, other) = in_two_processes(_rank)
    assert first != second
    assert np.array_equal(gradient, other)


@sketches
@pytest.mark.parametrize("centred", [False, True])
def test_half_precision_gradients_in_range_stay_in_range(sketch, centred):
    torch.manual_seed(0)
    layer = SketchedLinear(
        4, 3, ratio=0.5, sketch=sketch, centred=centred, bias=False, dtype=torch.float16
    )
    for size in (1.0, 1e-3):  # of the gradients: some of these are lost where scaled by 1/p
        x = (torch.rand(4096, 4) * 8 + 4).half()
        y_grad = (torch.rand(4096, 3) * size).half()
        layer.zero_grad()
        layer(x).backward(y_grad)
        exact = y_grad.double().T @ x.double()
        spread = y_grad.double().norm() * x.double().norm() / 2048**0.5
        assert (layer.weight.grad.double() - exact).abs().max() < 3 * spread
        assert layer.weight.grad.double().mean() == pytest.approx(exact.mean().item(), rel=0.2)


@sketches
@pytest.mark.parametrize("centred", [False, True])
def test_rows_of_which_none_counts_have_no_gradient(sketch, centred):
    layer = SketchedLinear(3, 2, ratio=0.5, sketch=sketch, centred=centred, report=True)
    for rows in (1, 2, 3):
        layer.zero_grad()
        with counted_rows(torch.zeros(rows, dtype=torch.bool)):
            layer(torch.randn(rows, 3)).sum().backward()
        assert torch.all(layer.weight.grad == 0)
    layer.zero_grad()
    with counted_rows(torch.tensor([True])):
        layer(torch.ones(1, 3)).sum().backward()
    assert torch.all(layer.weight.grad == 1)
