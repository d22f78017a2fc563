"""Sketches in reentrant checkpoints: both passes take the same random numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from torch_bridge import SketchedConv2d, SketchedLinear, share_sketch, sketch_rows, sketched_linear


def layer(**options):
    return SketchedLinear(6, 6, ratio=0.5, **options)


class Called(nn.Module):
    """A function of x, and of parameters that are not the weight itself."""

    def __init__(self, call):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.rand(6, 6) + 0.5) for _ in range(2))
        self.call = call

    def forward(self, x):
        return self.call(self, x)


def of_shared_rows(model, x):
    rows = sketch_rows(x, ratio=0.5)
    return sketched_linear(x, model.a, rows=rows) + sketched_linear(x, model.b, rows=rows)


class Group(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k = layer(), layer()
        share_sketch(self.q, self.k)

    def forward(self, x):
        return self.q(x) + self.k(x)


class Teacher(nn.Module):
    """A layer whose weight could have a gradient, and has none here."""

    def __init__(self):
        super().__init__()
        self.teacher = layer()

    def forward(self, x):
        with torch.no_grad():
            return self.teacher(x) + x


def frozen(model):
    return model.requires_grad_(False)


MODELS = {
    "layer": layer,
    "frozen": lambda: frozen(layer()),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(layer()),
    "parametrized and frozen": lambda: frozen(nn.utils.parametrizations.weight_norm(layer())),
    "computed": lambda: Called(lambda m, x: sketched_linear(x, m.a * m.b, ratio=0.5)),
    "computed, no gradient": lambda: Called(
        lambda m, x: sketched_linear(x, (m.a * m.b).detach(), ratio=0.5)
    ),
    "shared rows": lambda: Called(of_shared_rows),
    "group": Group,
    "without gradients": Teacher,
    "all rows": lambda: SketchedLinear(6, 6, ratio=1.0),
}


class Watched(nn.Module):
    def __init__(self, model, p=0.5):
        super().__init__()
        self.model, self.p, self.masks = model, p, []
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.masks.append(functional.dropout(torch.ones(x.shape), self.p))
        y = self.model(x)
        self.masks.append(functional.dropout(torch.ones(y.shape), self.p))
        return y * self.masks[-1] * self.scale


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_dropout_is_the_same_in_both_passes(name, reentrant):
    torch.manual_seed(0)
    model = Watched(MODELS[name]())
    for _ in range(2):
        model.masks.clear()
        x = torch.randn(40, 6, requires_grad=True)
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
        assert len(model.masks) == 4
        assert torch.equal(model.masks[0], model.masks[2])
        assert torch.equal(model.masks[1], model.masks[3])


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_seed_decides_draws_in_a_checkpoint(kind, reentrant):
    torch.manual_seed(0)
    if kind == "linear":
        model, x = SketchedLinear(5, 3, ratio=0.2), torch.randn(40, 5, requires_grad=True)
    else:
        model, x = SketchedConv2d(5, 3, 1, ratio=0.2), torch.randn(2, 5, 4, 5, requires_grad=True)

    def steps():
        torch.manual_seed(7)
        gradients = []
        for _ in range(3):
            model.zero_grad()
            checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
            gradients.append(model.weight.grad.clone())
        return gradients

    first, again = steps(), steps()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])  # and each step draws anew
    assert not torch.equal(first[1], first[2])


def test_a_checkpoint_draws_what_a_plain_pass_draws():
    model = SketchedLinear(5, 3, ratio=0.2)
    x, found = torch.randn(40, 5, requires_grad=True), []
    for call in (model, lambda z: checkpoint(model, z, use_reentrant=True)):
        torch.manual_seed(7)
        model.zero_grad()
        call(x).square().sum().backward()
        found.append(model.weight.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_evaluation_takes_no_random_numbers(context):
    models = [MODELS[name]() for name in MODELS if name != "all rows"]
    x, state = torch.randn(40, 6), torch.get_rng_state()
    with context():
        for model in models:
            model(x)
    assert torch.equal(torch.get_rng_state(), state)
