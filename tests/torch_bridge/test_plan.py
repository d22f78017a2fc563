"""Plans of sketches: what a step keeps, what is predicted is what is measured, nothing else moves."""

import copy
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from odecore.families import RK2
from odecore.sketching import UniformRows, minibatch_variance, variance
from torch_bridge import (
    DenseField,
    NeuralODE,
    SketchedConv2d,
    SketchedLinear,
    SmoothedSolver,
    apply,
    counted_rows,
    plan,
    revert,
    saved_bytes,
    share_sketch,
    sketch_rows,
    weight_normalization,
)


class Attention(nn.Module):
    """A block of a transformer: shared inputs, a residual sum, normalization, GELU."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        z = self.norms[0](x)
        q, k, v = (
            layer(z).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        x = x + self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.widen(self.norms[1](x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 16)
        self.blocks = nn.ModuleList(Attention() for _ in range(2))
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight  # tied

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


TOKENS = torch.randint(0, 50, (8, 12), generator=torch.Generator().manual_seed(3))


def next_token(output, tokens):
    return functional.cross_entropy(output[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def total(y, batch):
    return y.square().sum()


def measured(model, batch, loss):
    besides = [
        *model.parameters(),
        *model.buffers(),
        *(batch if isinstance(batch, tuple) else [batch]),
    ]
    run = (lambda: model(*batch)) if isinstance(batch, tuple) else (lambda: model(batch))
    return saved_bytes(lambda: loss(run(), batch), besides=besides)


def reasons(found):
    return {one.name: one.reason for one in found.layers if one.ratio is None}


@pytest.mark.parametrize("sketch", ["uniform", "balanced"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("budget", [0.7, 0.85])
def test_a_transformer_keeps_what_was_predicted(sketch, centred, budget):
    model = Model()
    now = measured(model, TOKENS, next_token)
    found = plan(model, TOKENS, budget=budget, loss=next_token, sketch=sketch, centred=centred)
    assert found.bytes_now == now
    assert found.bytes_planned <= budget * now
    apply(found)
    after = measured(model, TOKENS, next_token)
    assert after == pytest.approx(found.bytes_planned, rel=0.02)
    assert after < 0.9 * now
    for block in model.blocks:
        assert block.q.shared is block.k.shared is block.v.shared
        assert type(block.o) is nn.Linear  # attention keeps its input
    assert "something else keeps its input" in reasons(found)["blocks.0.o"]
    revert(model)
    assert measured(model, TOKENS, next_token) == now


def test_noise_is_what_the_core_says():
    model = nn.Sequential(
        nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 4)
    )
    x = torch.randn(40, 6)
    loss = lambda y, x: (y - x[:, :4]).square().sum()  # noqa: E731
    seen = {}
    for k in (2, 4):
        model[k].register_forward_hook(lambda m, i, o, k=k: seen.update({k: [i[0].detach()]}))
        model[k].register_full_backward_hook(lambda m, i, o, k=k: seen[k].append(o[0]))
    found = plan(model, x, budget=0.75, loss=loss)
    for one in found.layers[1:]:
        X, Y = seen[int(one.name)]
        wanted = float(variance(UniformRows(one.size), X, Y) / minibatch_variance(X, Y))
        assert one.noise == pytest.approx(wanted, rel=1e-4)
    assert found.noise == pytest.approx(sum(one.noise for one in found.layers) / 2, rel=1e-6)


def test_lazy_layers_must_have_run():
    model = nn.Sequential(nn.LazyLinear(32), nn.GELU(), nn.LazyLinear(32))
    x = torch.randn(16, 8)
    with pytest.raises(ValueError, match=r"must have run once.*: 0\.weight has none; call model"):
        plan(model, x, budget=0.7, loss=lambda y, x: y.square().mean())
    model(x)
    assert plan(model, x, budget=0.7, loss=lambda y, x: y.square().mean()).layers


@pytest.mark.parametrize("target", [0.05, 0.5, 3.0])
def test_a_bound_on_the_noise_is_met_with_the_fewest_bytes(target):
    model = Model()
    found = plan(model, TOKENS, noise=target, loss=next_token)
    assert 0.8 * target < found.noise <= target
    tighter = plan(model, TOKENS, budget=found.bytes_planned, loss=next_token)
    assert tighter.noise == pytest.approx(found.noise, rel=0.1)
    by_rows = plan(model, TOKENS, noise=target, loss=next_token, units="rows")
    assert by_rows.noise <= target


def test_layers_get_rows_where_noise_is_dear():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 20), nn.GELU(), nn.Linear(20, 20), nn.GELU(), nn.Linear(20, 4)
    )
    x = torch.randn(60, 6)
    loss = lambda y, x: (y - x[:, :4]).square().sum()  # noqa: E731
    found = plan(model, x, budget=0.8, loss=loss)
    best = sum(one.noise for one in found.layers)
    sizes = [one.size for one in found.layers[1:]]
    noises = {}
    seen = {}
    for k in (2, 4):
        model[k].register_forward_hook(lambda m, i, o, k=k: seen.update({k: [i[0].detach()]}))
        model[k].register_full_backward_hook(lambda m, i, o, k=k: seen[k].append(o[0]))
    loss(model(x), x).backward()
    for p in range(1, sum(sizes)):
        pair = (p, sum(sizes) - p)
        if max(pair) < 60:
            noises[pair] = sum(
                float(variance(UniformRows(q), *seen[k]) / minibatch_variance(*seen[k]))
                for q, k in zip(pair, (2, 4), strict=True)
            )
    assert best == pytest.approx(min(noises.values()), rel=1e-3)


def test_a_model_is_left_as_it_was():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm, self.drop = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
            self.out = nn.Linear(6, 3)

        def forward(self, x):
            return self.out(self.drop(functional.gelu(self.norm(self.linear(x)))))

    model = Noisy().eval()
    model.out.weight.grad = torch.ones(3, 6)
    before = copy.deepcopy(model.state_dict())
    x, state = torch.randn(30, 6), torch.get_rng_state()
    found = plan(model, x, noise=1.0, loss=total)
    assert any(one.ratio is not None for one in found.layers)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(model.out.weight.grad, torch.ones(3, 6))
    assert model.linear.weight.grad is None
    assert not model.linear._forward_hooks
    assert not model.linear._forward_pre_hooks
    with pytest.raises(KeyError):
        plan(model, torch.randn(30, 6), noise=1.0, loss=lambda y, x: {}["none"])
    assert not model.linear._forward_hooks
    assert not model.training


class Counting(nn.Module):
    """Remembers its calls, outside of buffers."""

    def __init__(self):
        super().__init__()
        self.calls, self.sizes, self.generator = 0, [], torch.Generator().manual_seed(0)

    def forward(self, x):
        self.calls += 1
        self.sizes.append(len(x))
        return x + 0.1 * torch.randn(x.shape, generator=self.generator)


def test_a_training_goes_on_as_without_a_plan():
    torch.manual_seed(0)
    solver = SmoothedSolver(RK2, {"u": Fraction(2, 3)}, width=0.1, radius=Fraction(1, 5))
    block = NeuralODE(DenseField(6, 8), solver=solver, steps=2)
    stem = weight_normalization(nn.Linear(6, 6), "spectral")
    model = nn.Sequential(stem, Counting(), block, nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))
    twin, x, losses = copy.deepcopy(model), torch.randn(30, 6), []
    for one in (model, twin):
        torch.manual_seed(1)
        optimizer = torch.optim.Adam(one.parameters(), 1e-2)
        losses.append([])
        for k in range(4):
            if one is model and k:
                found = plan(model, x, noise=1.0, loss=total)
                assert any(layer.ratio is not None for layer in found.layers)
            loss = one(x).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == losses[1]
    assert model[1].calls == 4
    assert model[1].sizes == [30] * 4


@pytest.mark.parametrize("given", [None, 2.0])
def test_no_leaf_outside_the_model_gets_a_gradient(given):
    model = mlp(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32))
    x, scale = torch.randn(64, 8, requires_grad=True), nn.Parameter(torch.ones(()))
    leaves = [x, scale, model[0].weight]
    for leaf in leaves:
        leaf.grad = None if given is None else torch.full_like(leaf, given)
    before = [leaf.grad for leaf in leaves]
    found = plan(model, x, budget=0.9, loss=lambda y, x: (y * scale).square().mean())
    assert all(leaf.grad is grad for leaf, grad in zip(leaves, before, strict=True))
    assert given is None or all(torch.all(grad == given) for grad in before)
    plain = plan(model, x.detach(), budget=0.9, loss=lambda y, x: (y * scale).square().mean())
    assert found.bytes_now == plain.bytes_now


def test_a_sketched_model_is_planned_anew():
    model, plain = Model(), Model()
    apply(plan(model, TOKENS, budget=0.7, loss=next_token))
    narrow = model.blocks[1].narrow
    ratio = narrow.ratio
    again = plan(model, TOKENS, budget=0.9, loss=next_token)
    assert again.layers == plan(plain, TOKENS, budget=0.9, loss=next_token).layers
    assert type(narrow) is SketchedLinear
    assert narrow.ratio == ratio
    with pytest.raises(ValueError, match="one loss with a gradient"):
        plan(model, TOKENS, budget=0.9)
    assert type(narrow) is SketchedLinear
    apply(again)
    kept = saved_bytes(
        lambda: next_token(model(TOKENS), TOKENS), (*model.parameters(), *model.buffers(), TOKENS)
    )
    assert kept == again.bytes_planned < again.bytes_now
    # What is parametrized now can not be exact again, and is left as it is.
    nn.utils.parametrizations.weight_norm(narrow)
    assert (
        "sketched already"
        in reasons(plan(model, TOKENS, noise=1, loss=next_token))["blocks.1.narrow"]
    )


def test_conversion_keeps_everything_but_the_class():
    model = Model()
    model.blocks[0].q.weight.requires_grad_(False)
    calls = []
    model.blocks[1].narrow.register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    keys, plain = list(model.state_dict()), copy.deepcopy(model)
    found = plan(model, TOKENS, budget=0.8, loss=next_token)
    assert reasons(found)["blocks.0.q"] == "its weight is frozen"
    assert apply(found) is model
    assert dict(model.named_modules()) == modules
    assert list(model.state_dict()) == keys
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert model.head.weight is model.embed.weight
    assert isinstance(model.blocks[1].narrow, SketchedLinear)
    assert "ratio=" in repr(model.blocks[1].narrow)
    for _ in range(3):
        optimizer.zero_grad()
        next_token(model(TOKENS), TOKENS).backward()
        optimizer.step()
    assert len(calls) > 3
    again = copy.deepcopy(model)
    assert again.blocks[1].q.shared is again.blocks[1].k.shared is not model.blocks[1].k.shared
    model.eval()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(TOKENS), plain.eval()(TOKENS))
    revert(model)
    assert vars(model.blocks[1].narrow).keys() == vars(plain.blocks[1].narrow).keys()
    assert type(model.blocks[1].narrow) is nn.Linear
    apply(found, again)  # a second plan replaces the first
    revert(again)
    assert type(again.blocks[1].narrow) is nn.Linear
    made = nn.Sequential(SketchedLinear(3, 3))
    assert type(revert(made)[0]) is SketchedLinear


def test_gradients_of_a_converted_model_are_unbiased():
    model = Model()
    plain = [p.grad for p in backward(copy.deepcopy(model)).parameters()]
    apply(plan(model, TOKENS, budget=0.75, loss=next_token))
    torch.manual_seed(0)
    n = 300
    total = [torch.zeros_like(g) for g in plain]
    squares = [torch.zeros_like(g) for g in plain]
    for _ in range(n):
        backward(model)
        for t, s, p in zip(total, squares, model.parameters(), strict=True):
            t.add_(p.grad, alpha=1 / n)
            s.add_(p.grad.square(), alpha=1 / n)
    for t, s, g in zip(total, squares, plain, strict=True):
        spread = ((s - t.square()).clamp(min=0).sum() / n).sqrt()
        assert float((t - g).norm()) < 4 * float(spread) + 1e-5 * float(g.norm())


def backward(model):
    model.zero_grad()
    next_token(model(TOKENS), TOKENS).backward()
    return model


class Own(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def mlp(*layers):
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (mlp(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8)), "0", "besides the batch"),
        (mlp(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8)), "2", "something else keeps its input"),
        (mlp(nn.Linear(6, 8), nn.GELU(), Own(8, 8)), "2", "of its own kind"),
        (mlp(nn.Linear(6, 8), nn.GELU(), SketchedLinear(8, 8)), "2", "sketched already"),
        (
            mlp(nn.Linear(6, 8), nn.GELU(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))),
            "2", "of its own kind",
        ),
    ],
)  # fmt: skip
def test_reasons_to_stay_exact(model, name, reason):
    found = plan(model, torch.randn(40, 6), noise=1.0, loss=total)
    assert reason in reasons(found)[name]
    assert reason in str(found)


@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
def test_a_layer_inside_of_an_adjoint_keeps_nothing(adjoint):
    block = NeuralODE(Autonomous(nn.Linear(8, 8)), solver="rk4", steps=2, adjoint=adjoint)
    model = mlp(nn.Linear(6, 8), nn.GELU(), block, nn.Linear(8, 8))
    found = plan(model, torch.randn(40, 6), noise=1.0, loss=total)
    assert "without autograd" in reasons(found)["2.func.layer"]


class Autonomous(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, t, y):
        return self.layer(y).tanh()


def test_more_reasons():
    class Some(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.idle = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.frozen, self.resting = (
                nn.Linear(8, 8).requires_grad_(False),
                nn.Linear(8, 8).eval(),
            )

        def forward(self, x):
            x = self.frozen(functional.gelu(self.first(x)))
            x = self.resting(functional.gelu(x))
            return checkpoint(self.second, functional.gelu(x), use_reentrant=False)

    found = reasons(plan(Some(), torch.randn(40, 6), noise=1.0, loss=lambda y, x: y.sum()))
    assert found["idle"] == "it did not run in this step"
    assert found["frozen"] == "its weight is frozen"
    assert found["resting"] == "it is in evaluation mode"
    assert "nothing is kept" in found["second"]


def test_a_layer_that_runs_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.inner = nn.Linear(6, 16), nn.Linear(16, 16)

        def forward(self, x):
            x = functional.gelu(self.first(x))
            return self.inner(functional.gelu(self.inner(x)))

    model, x = Twice(), torch.randn(50, 6)
    found = plan(model, x, budget=0.75, loss=total)
    assert found.layers[1].rows == 50
    apply(found)
    assert measured(model, x, total) == pytest.approx(found.bytes_planned, rel=0.02)


def test_views_of_one_storage_are_not_promised():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.a, self.b = nn.Linear(6, 16), nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            left, right = functional.gelu(self.first(x)).chunk(2, -1)
            return self.a(left) + self.b(right)

    model, x = Halves(), torch.randn(50, 6)
    found = plan(model, x, noise=1.0, loss=total)
    apply(found)
    assert measured(model, x, total) == pytest.approx(found.bytes_planned, rel=0.02)


@pytest.mark.parametrize("sketch", ["uniform", "balanced"])
def test_under_autocast(sketch):
    model = Model()

    def loss(output, tokens):
        return next_token(output.float(), tokens)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        now = measured(model, TOKENS, loss)
        found = plan(model, TOKENS, budget=0.8, loss=loss, sketch=sketch)
        apply(found)
        after = measured(model, TOKENS, loss)
    assert found.bytes_now == now
    assert after == pytest.approx(found.bytes_planned, rel=0.02)
    assert after < 0.85 * now


def test_rows_that_do_not_count_cost_nothing():
    # Padding has no gradient: a sketch of all other rows is exact, and smaller.
    mask = torch.arange(12) < torch.arange(1, 9)[:, None]

    def loss(output, tokens):
        return functional.cross_entropy(output[mask], tokens[mask])

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.widen = nn.Embedding(50, 16), nn.Linear(16, 32)
            self.norm, self.narrow = nn.LayerNorm(16), nn.Linear(32, 50)

        def forward(self, tokens):
            return self.narrow(functional.gelu(self.widen(self.norm(self.embed(tokens)))))

    model = Masked()
    loss(model(TOKENS), TOKENS).backward()
    exact = [p.grad.clone() for p in model.parameters()]
    now = measured(model, TOKENS, loss)
    with counted_rows(mask):
        found = plan(model, TOKENS, noise=1e-9, loss=loss)
        apply(found)
        assert measured(model, TOKENS, loss) == pytest.approx(found.bytes_planned, rel=0.02)
        model.zero_grad()
        loss(model(TOKENS), TOKENS).backward()
    assert found.noise == 0
    assert found.bytes_planned < 0.85 * now
    for p, g in zip(model.parameters(), exact, strict=True):
        torch.testing.assert_close(p.grad, g)


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.mix = nn.Conv2d(8, 16, 1)
        self.down = nn.Conv2d(16, 12, 1, stride=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = functional.gelu(self.mix(self.norm(self.stem(x))))
        return self.head(functional.gelu(self.down(x)).mean((2, 3)))


@pytest.mark.parametrize("sketch", ["uniform", "balanced"])
def test_convolutions_of_one_pixel(sketch):
    model, x = Pixels(), torch.randn(6, 3, 8, 10)
    labels = torch.arange(6) % 5
    loss = lambda y, x: functional.cross_entropy(y, labels)  # noqa: E731
    found = plan(model, x, budget=0.75, loss=loss, sketch=sketch)
    assert reasons(found)["stem"] == "its kernel reads more than a pixel"
    apply(found)
    assert type(model.mix) is SketchedConv2d
    assert measured(model, x, loss) == pytest.approx(found.bytes_planned, rel=0.02)
    revert(model)
    assert type(model.mix) is nn.Conv2d


@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_sketched_convolution(stride, memory_format, dtype):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7, dtype=dtype).contiguous(memory_format=memory_format)
    exact = nn.Conv2d(6, 4, 1, stride=stride).to(dtype)
    for sketch in ("uniform", "balanced", "gaussian", "rademacher"):
        layer = SketchedConv2d(6, 4, stride, ratio=0.4, sketch=sketch, dtype=dtype, centred=True)
        layer.load_state_dict(exact.state_dict())
        results = []
        for module in (exact, layer):
            z = x.clone().requires_grad_()
            module.zero_grad()
            y = module(z)
            y.square().sum().backward()
            results.append((y, z.grad, module.bias.grad))
        tolerance = 16 * torch.finfo(dtype).eps
        for wanted, found in zip(*results, strict=True):
            torch.testing.assert_close(found, wanted, rtol=tolerance, atol=40 * tolerance)
        assert layer.weight.grad.shape == (4, 6, 1, 1)
        layer.ratio = 1.0
        layer.zero_grad()
        layer(x).square().sum().backward()
        torch.testing.assert_close(layer.weight.grad, exact.weight.grad)


def test_the_gradient_of_a_sketched_convolution_is_that_of_its_rows():
    torch.manual_seed(0)
    x, y_grad = torch.randn(2, 6, 5, 7), torch.randn(2, 4, 3, 3)
    layer = SketchedConv2d(6, 4, (2, 3), bias=False, ratio=0.5)
    X = x[:, :, ::2, ::3].movedim(1, -1).reshape(18, 6)
    Y = y_grad.movedim(1, -1).reshape(18, 4)
    torch.manual_seed(5)
    layer(x).backward(y_grad)
    torch.manual_seed(5)
    drawn = sketch_rows(X, ratio=0.5).drawn.long()
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], 2 * Y[drawn].T @ X[drawn])
    kept = saved_bytes(lambda: layer(x), besides=layer.parameters())
    assert kept == 9 * (6 * 4 + 4)
    share_sketch(layer, SketchedConv2d(6, 4, (2, 3), bias=False, ratio=0.5))
    with pytest.raises(ValueError, match="equal options"):
        share_sketch(layer, SketchedConv2d(6, 4, 2, bias=False, ratio=0.5))


TINY = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 8))
X = torch.randn(20, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan(TINY, X, loss=total), "give one of `budget` and `noise`"),
        (lambda: plan(TINY, X, loss=total, budget=0.5, noise=1), "give one of"),
        (lambda: plan(TINY, X, loss=total, budget=-1), "positive number, got -1"),
        (lambda: plan(TINY, X, loss=total, noise="0.1"), "`noise` .* positive number, got '0.1'"),
        (lambda: plan(TINY, X, loss=total, noise=float("nan")), "positive number, got nan"),
        (lambda: plan(TINY, X, loss=total, budget=0.01), "below what one row for each layer"),
        (
            lambda: plan(TINY, X, loss=total, budget=0.5, sketch="gaussian"),
            "one of uniform, balanced",
        ),
        (lambda: plan(TINY, X, loss=total, budget=0.5, sketch="unifrm"), "did you mean 'uniform'"),
        (lambda: plan(TINY, X, loss=total, budget=0.5, units="tokens"), "`units` must be one of"),
        (lambda: plan(TINY, X, budget=0.5), "must end in one loss with a gradient"),
        (
            lambda: plan(TINY, X, budget=0.5, loss=lambda y, x: y.sum().detach()),
            "requires_grad=False",
        ),
        (
            lambda: plan(TINY, X, loss=lambda y, x: y.sum() / 0, budget=0.9),
            "infinity at the layer 2",
        ),
    ],
)
def test_bad_plans_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_plan_of_another_model_is_refused_before_anything_changes():
    found = plan(TINY, X, loss=total, noise=5.0)
    other = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.ReLU())
    with pytest.raises(TypeError, match="got ReLU; plan for this model"):
        apply(found, other)
    with pytest.raises(ValueError, match="`storage` must be"):
        apply(found, copy.deepcopy(TINY), storage=torch.float16)
    assert type(TINY[2]) is nn.Linear


def test_layers_of_torch_itself():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.encoder = nn.TransformerEncoderLayer(
                16, 2, 64, activation="gelu", batch_first=True
            )
            self.head = nn.Linear(16, 5)

        def forward(self, x):
            return self.head(input=self.encoder(x))

    model, x = Own(), torch.randn(6, 10, 16)
    found = plan(model, x, budget=0.8, loss=total)
    assert "of its own kind" in reasons(found)["encoder.self_attn.out_proj"]
    apply(found)
    assert type(model.encoder.linear2) is type(model.head) is SketchedLinear
    assert measured(model, x, total) == pytest.approx(found.bytes_planned, rel=0.02)
    torch.testing.assert_close(model.eval()(x), revert(model)(x))


def test_batches_of_every_kind():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 8))

        def forward(self, x, shift):
            loss = (self.net(x) + shift).square().sum()
            return type("Output", (), {"loss": loss})()

    model = Named()
    for batch in ((X, X[:, :1]), {"x": X, "shift": X[:, :1]}, [X, X[:, :1]]):
        found = plan(model, batch, noise=1.0)
        assert [one.name for one in found.layers if one.ratio is not None] == ["net.2"]


@pytest.mark.parametrize(
    ("unit", "options"), [(1e-25, {}), (1e-30, {"centred": True}), (1e25, {}), (1e32, {})]
)
def test_plans_do_not_depend_on_the_unit_of_the_loss(unit, options):
    model, tokens = Model(), torch.randint(0, 50, (8, 10))

    def planned(unit):
        return plan(
            model, tokens, noise=0.5, loss=lambda y, _: unit * y.square().mean(), **options
        ).layers

    for one, other in zip(planned(1.0), planned(unit), strict=True):
        assert (one.name, one.ratio, one.reason) == (other.name, other.ratio, other.reason)
        assert one.noise == pytest.approx(other.noise, rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch of itself
def test_a_compiled_model_that_has_run_is_planned_like_the_model_inside():
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32))
    x, options = torch.randn(64, 8), {"budget": 0.7, "loss": lambda y, x: y.square().mean()}
    exact = plan(model, x, **options).layers
    compiled = torch.compile(model, backend="aot_eager")
    compiled(x).sum().backward()
    found = plan(compiled, x, **options)
    assert [(one.ratio, one.reason) for one in found.layers] == [
        (one.ratio, one.reason) for one in exact
    ]
    apply(found)
    gradients = []
    for _ in range(2):  # two draws
        compiled.zero_grad()
        compiled(x).sum().backward()
        gradients.append(model[2].weight.grad.clone())
    assert not torch.equal(*gradients)
