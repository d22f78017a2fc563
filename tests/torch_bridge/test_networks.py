"""Networks with ODE blocks, the choice of normalization for each place, and frozen weights."""

import copy
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch
from torch import nn

from odecore.families import RK2
from torch_bridge import (
    DenseField,
    NeuralODE,
    ODENet4,
    ODENet10,
    ResidualField,
    SmoothedSolver,
    SolverEnsemble,
    check_rhs,
    normalization,
    odeint,
    weight_normalization,
)

TIMES = torch.tensor([0.0, 1.0])
ZERO = torch.zeros(())
PLACES = ["none", "layer", "group", "instance", "batch", "weight", "spectral", ("layer", "weight")]


@pytest.mark.parametrize("activation", ["post", "pre"])
@pytest.mark.parametrize("choice", [*PLACES, "time batch"])
def test_every_choice_trains_all_parameters(choice, activation):
    residual = "group" if choice == "time batch" else choice
    model = ODENet10(
        3, 5, width=8, first=residual, residual=residual, ode=choice, activation=activation,
        steps=2, check="off" if choice == "batch" else "raise",
    )  # fmt: skip
    x = torch.randn(4, 3, 9, 8)
    y = model(x)
    assert y.shape == (4, 5)
    y.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()(x)


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
@pytest.mark.parametrize("network", [ODENet4, ODENet10])
def test_dimensions_and_layers(network, dimensions):
    model = network(2, 3, width=8, dimensions=dimensions, check="raise")
    assert model(torch.randn(5, 2, *[7, 6, 5][:dimensions])).shape == (5, 3)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    names = [name for name, m in model.named_modules() if isinstance(m, kinds)]
    shortcuts = sum("shortcut" in name for name in names)
    assert len(names) - shortcuts == {"ODENet4": 4, "ODENet10": 10}[network.__name__]
    blocks = [m for m in model.modules() if isinstance(m, NeuralODE)]
    assert {(b.solver, b.steps) for b in blocks} == {("euler", 8)}
    assert len(blocks) == {"ODENet4": 1, "ODENet10": 2}[network.__name__]


def test_the_field_is_its_formula():
    field = ResidualField(4, "layer", dimensions=0)
    y = torch.randn(3, 4)

    def norm(x):
        return (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()

    wanted = norm(field.conv2(norm(field.conv1(y)).relu()))
    torch.testing.assert_close(field(ZERO, y), wanted)
    pre = ResidualField(4, "layer", dimensions=0, activation="pre")
    wanted = pre.conv2(norm(pre.conv1(norm(y).relu())).relu())
    torch.testing.assert_close(pre(ZERO, y), wanted)


def test_the_time_reaches_the_statistics_over_the_span_of_the_solve():
    model = ODENet4(2, 3, width=4, ode="time batch", intervals=2, t=(0.0, 2.0), steps=4)
    model(torch.randn(5, 2, 6, 6))
    norm = next(m for m in model.modules() if isinstance(m, NeuralODE)).func.norm1
    assert norm.span == (0.0, 2.0)
    assert norm.running_mean.any(dim=1).tolist() == [True, True, True]
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("network", [ODENet4, ODENet10])
@pytest.mark.parametrize("ode", ["none", "group", "spectral"])
def test_a_span_without_time_aware_statistics_is_refused(network, ode):
    with pytest.raises(ValueError, match="span: options of 'time batch'"):
        network(2, 3, width=8, dimensions=0, ode=ode, span=(0, 3))


def test_drawn_stages_outside_of_their_steps_want_a_wider_span():
    generator = torch.Generator().manual_seed(0)
    wild = {"width": 0.2, "distribution": "cauchy", "bound": 3, "generator": generator}
    options = {
        "width": 8, "dimensions": 0, "ode": "time batch", "steps": 1,
        "solver": SmoothedSolver(RK2, {"u": Fraction(2, 3)}, **wild),
    }  # fmt: skip
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match=r"span \(0.0, 1.0\) of .* wider where stages lie outside"):
        trained(ODENet4(2, 3, **options), x)
    model = ODENet4(2, 3, span=(-2, 3), **options)
    trained(model, x)
    assert model.blocks[0].func.norm1.span == (-2, 3)


def trained(model, x):
    for _ in range(50):
        model(x)


@pytest.mark.parametrize("place", ["first", "residual"])
def test_no_time_outside_of_ode_blocks(place):
    with pytest.raises(ValueError, match="outside of them there is no time"):
        ODENet10(3, 5, **{place: "time batch"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ode": "batches"}, "a normalization is one of outputs"),
        ({"ode": ("weight", "none")}, r"got \('weight', 'none'\)"),
        ({"ode": ("batch",)}, r"or a pair of both; got \('batch',\)"),
        ({"first": None}, "or a pair of both; got None"),
        ({"dimensions": 2.0}, "`dimensions` must be 0, 1, 2 or 3"),
        ({"activation": "both"}, "`activation` must be one of post, pre, got 'both'"),
        ({"dimensions": 4}, "`dimensions` must be 0, 1, 2 or 3"),
        ({"groups": 3}, "must divide"),
        ({"adjoint": "restord"}, "got 'restord'; did you mean 'restored'"),
        ({"adjoint": "none"}, "`adjoint` must be one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ODENet4(3, 5, **{"width": 8, **arguments})


def test_axes_of_a_layer_are_a_whole_number():
    for bad in (2.0, 4, "2"):
        with pytest.raises(ValueError, match=f"0, 1, 2 or 3, got {bad!r}"):
            normalization("batch", 8, dimensions=bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: normalization("time batch", 3, interval=3), "did you mean 'intervals'"),
        (lambda: normalization("layer", 3, dimension=1), "did you mean 'dimensions'"),
        (lambda: ResidualField(8, activatoin="pre"), "ResidualField; did you mean 'activation'"),
        (lambda: ResidualField(8, "time batch", interval=3), "did you mean 'intervals'"),
        (lambda: DenseField(3, 8, weight="spectral"), "DenseField; did you mean 'weights'"),
        (lambda: ODENet4(3, 5, widht=8), "ODENet4; did you mean 'width'"),
        (lambda: ODENet4(3, 5, residual="layer"), r"unknown options \['residual'\]"),
        (lambda: ODENet10(3, 5, residul="layer"), "ODENet10; did you mean 'residual'"),
        (lambda: ODENet10(3, 5, adjiont="direct"), "did you mean 'adjoint'"),
        (lambda: ODENet4(3, 5, rtol=1e-3), "rtol have no effect in 8 given steps"),
        (lambda: ODENet10(3, 5, solver="dopri5", rtol=1e-3, atol=1e-3), "rtol, atol .* steps=None"),
    ],
)
def test_unknown_options_and_those_without_effect(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_tolerances_reach_adaptive_steps():
    model = ODENet4(3, 5, width=4, solver="dopri5", steps=None, rtol=1e-3)
    assert next(m for m in model.modules() if isinstance(m, NeuralODE)).rtol == 1e-3


# Frozen weights.


def solved(field, y0, **options):
    return NeuralODE(field, solver="euler", steps=4, **options)(y0)


class Flow(NamedTuple):
    points: torch.Tensor
    change: torch.Tensor


class Decay(nn.Module):
    def forward(self, t, y):
        return -y[0], y[0].sum(1, keepdim=True)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("adjoint", ["direct", "restored", "reversed", "discrete"])
@pytest.mark.parametrize("solver", ["dopri5", "rk4", "drawn", "ensemble"])
def test_a_tuple_state_is_mapped_to_the_tuple_of_final_states(solver, adjoint):
    drawn = SmoothedSolver(RK2, {"u": Fraction(2, 3)}, width=0.1, radius=Fraction(1, 3))
    makers = {"drawn": drawn, "ensemble": SolverEnsemble(["rk4", drawn])}
    steps = None if solver == "dopri5" else 40
    block = NeuralODE(Decay(), solver=makers.get(solver, solver), steps=steps, adjoint=adjoint)
    points = torch.ones(4, 2, requires_grad=True)
    y0 = points, torch.zeros(4, 1)
    y0 = y0 if solver == "rk4" else Flow(*y0)
    y = block(y0)
    assert type(y) is type(y0)
    decayed = torch.tensor(-1.0).exp()
    torch.testing.assert_close(y[0], decayed.expand(4, 2), rtol=1e-3, atol=0)
    torch.testing.assert_close(y[1], (2 - 2 * decayed).expand(4, 1), rtol=1e-3, atol=0)
    y[1].sum().backward()
    torch.testing.assert_close(points.grad, (1 - decayed).expand(4, 2), rtol=1e-3, atol=0)
    later = block(y0, torch.tensor([0.0, 0.5, 1.0]))
    assert [tuple(part.shape) for part in later] == [(3, 4, 2), (3, 4, 1)]


def test_one_pass_over_a_tuple_state_is_refused():
    block = NeuralODE(Decay(), solver=SolverEnsemble(["rk4", "rk4"], batched=True), steps=4)
    with pytest.raises(ValueError, match="`batched` needs a state that is one tensor"):
        block((torch.ones(4, 2), torch.zeros(4, 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spectral_weights_are_frozen_between_steps_of_an_optimizer(dtype):
    field = DenseField(4, 8, weights="spectral").to(dtype)
    y0 = torch.randn(5, 4, dtype=dtype)
    optimizer = torch.optim.SGD(field.parameters(), lr=0.5)
    u = field.inner.parametrizations.weight[0]._u
    for _ in range(3):
        before = u.clone()
        y = solved(field, y0)
        after = u.clone()
        assert torch.equal(y, solved(field, y0))
        optimizer.zero_grad()
        y.square().sum().backward()
        with torch.no_grad():
            assert torch.equal(y, solved(field, y0))
        assert torch.equal(after, u)
        optimizer.step()
    assert not torch.equal(before, after)  # one iteration after each step
    for _ in range(50):
        with torch.no_grad():
            field.inner.parametrizations.weight.original.mul_(1.01)
        solved(field, y0)
    norm = torch.linalg.matrix_norm(field.inner.weight.detach(), 2)
    assert float(norm) == pytest.approx(1, rel=1e-3)


def test_torchs_own_spectral_norm_moves_in_a_solve():
    field = DenseField(4, 8)
    for layer in (field.inner, field.outer):
        nn.utils.parametrizations.spectral_norm(layer)
        with torch.no_grad():
            layer.parametrizations.weight.original.copy_(torch.randn_like(layer.weight))
    y0 = torch.randn(5, 4)
    assert not torch.equal(solved(field, y0, check="off"), solved(field, y0, check="off"))
    assert not check_rhs(field, 0.0, y0)


@pytest.mark.parametrize("name", ["weight", "spectral"])
@pytest.mark.parametrize("adjoint", ["direct", "restored", "discrete"])
def test_gradients_reach_the_originals(name, adjoint):
    field = DenseField(3, 5, weights=name).double()
    y0 = torch.randn(4, 3, dtype=torch.float64)
    field.eval()
    block = NeuralODE(field, rtol=1e-10, atol=1e-10, adjoint=adjoint)
    originals = [p for n, p in field.named_parameters() if "original" in n]
    found = torch.autograd.grad(block(y0).square().sum(), originals)
    plain = DenseField(3, 5).double()
    with torch.no_grad():
        plain.load_state_dict(
            {k: field.get_parameter(k) for k in ("drift", "inner.bias", "outer.bias")}
            | {"inner.weight": field.inner.weight, "outer.weight": field.outer.weight}
        )
    y = NeuralODE(plain, rtol=1e-10, atol=1e-10)(y0)
    through = torch.autograd.grad(y.square().sum(), [plain.inner.weight, plain.outer.weight])
    weights = [field.inner.weight, field.outer.weight]
    wanted = torch.autograd.grad(weights, originals, through)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_a_weight_is_computed_once_a_solve():
    field = DenseField(3, 5, weights="weight")
    calls = []
    field.inner.parametrizations.weight[0].register_forward_hook(lambda *_: calls.append(1))
    odeint(field, torch.randn(4, 3), TIMES, method="rk4", options={"steps": 5})
    assert len(calls) == 1
    with torch.no_grad():
        field.inner.parametrizations.weight.original0.mul_(2)
    odeint(field, torch.randn(4, 3), TIMES, method="rk4", options={"steps": 5})
    assert len(calls) == 2


def test_names_of_the_state_are_torchs():
    ours, theirs = nn.Linear(3, 4), nn.Linear(3, 4)
    weight_normalization(ours, "spectral")
    nn.utils.parametrizations.spectral_norm(theirs)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours.eval().weight, theirs.eval().weight)
    other = copy.deepcopy(ours)
    assert torch.equal(other.weight, ours.weight)
    assert weight_normalization(ours, "none") is ours


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_convolutions_are_normalized_by_their_outputs(kind, groups):
    layer = kind(4, 6, 3, groups=groups, bias=False)
    plain = copy.deepcopy(layer)
    weight_normalization(layer, "weight")
    x = torch.randn(2, 4, *[5] * (plain.weight.ndim - 2))
    torch.testing.assert_close(layer(x), plain(x))  # the layer is what it was
    parts = layer.parametrizations.weight
    assert parts.original0.numel() == 6  # a length for each output
    before = layer(x)
    with torch.no_grad():
        parts.original0.view(6)[4] *= 3  # in the second group, if there is one
        parts.original1 *= 2
    after = layer(x)
    torch.testing.assert_close(after[:, 4], 3 * before[:, 4])
    others = [0, 1, 2, 3, 5]
    torch.testing.assert_close(after[:, others], before[:, others])
    after.square().sum().backward()
    assert parts.original0.grad.all()
    other = weight_normalization(kind(4, 6, 3, groups=groups, bias=False), "weight")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), after)


@pytest.mark.parametrize("groups", [1, 2])
def test_spectral_norm_of_transposed_convolutions_is_that_of_their_outputs(groups):
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups)
    rows = layer.weight.detach().transpose(0, 1).flatten(1)
    sigma = torch.linalg.matrix_norm(rows, 2)
    weight_normalization(layer, "spectral")
    torch.testing.assert_close(layer.weight, layer.parametrizations.weight.original / sigma,
                               rtol=0.02, atol=0)  # fmt: skip


def test_bad_weight_normalizations():
    with pytest.raises(ValueError, match="must be one of none, weight, spectral, got 'batch'"):
        weight_normalization(nn.Linear(2, 2), "batch")
    with pytest.raises(TypeError, match="Tanh has no `weight`"):
        weight_normalization(nn.Tanh(), "weight")


@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.ConvTranspose2d(4, 6, 3, groups=2)])
@pytest.mark.parametrize("first", ["weight", "spectral"])
def test_lengths_are_normalized_once_and_first(layer, first):
    layer = weight_normalization(copy.deepcopy(layer), first)
    before = layer.weight.detach().clone()
    with pytest.raises(
        ValueError, match=rf"has parametrizations, \w*{first.title()}Norm.*must be the first"
    ):
        weight_normalization(layer, "weight")
    assert torch.equal(layer.weight, before)
    assert len(weight_normalization(layer, "spectral").parametrizations.weight) == 2


@pytest.mark.parametrize("name", ["weight", "spectral"])
def test_frozen_weights_under_a_compiler_and_torch_func(name):
    field, y = DenseField(4, 8, weights=name), torch.randn(5, 4)
    optimizer = torch.optim.SGD(field.parameters(), lr=0.5)
    field(ZERO, y).square().sum().backward()
    optimizer.step()
    before = [x.clone() for x in field.buffers()]
    torch.compiler.reset()
    compiled = torch.compile(field, backend="eager", fullgraph=True)
    found = compiled(ZERO, y) if name == "weight" else None  # "spectral" reads values in training

    def value(parameters):
        return torch.func.functional_call(field, parameters, (ZERO, y)).square().sum()

    gradients = torch.func.grad(value)(dict(field.named_parameters()))
    assert all(map(torch.equal, field.buffers(), before))
    field.eval()  # without a step of the power iteration
    torch.testing.assert_close(field(ZERO, y), compiled(ZERO, y) if found is None else found)
    wanted = torch.autograd.grad(field(ZERO, y).square().sum(), list(field.parameters()))
    for one, other in zip(gradients.values(), wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("names", [("weight", "spectral"), ("spectral", "spectral")])
def test_spectral_weights_are_frozen_behind_another_parametrization(names):
    layer, y = nn.Linear(30, 40), torch.randn(5, 30)
    for name in names:
        weight_normalization(layer, name)
    first = layer(y)
    assert torch.equal(layer(y), first)
    for original in layer.parametrizations.weight.parameters(recurse=False):
        with torch.no_grad():
            original.mul_(1 + torch.rand_like(original))
        vectors = [b.clone() for b in layer.parametrizations.weight.buffers()]
        moved = layer(y)
        assert not any(map(torch.equal, layer.parametrizations.weight.buffers(), vectors))
        assert torch.equal(layer(y), moved)


def test_torchs_own_spectral_norm_below_a_weight_normalization_goes_on():
    layer, y = nn.utils.parametrizations.spectral_norm(nn.Linear(30, 40)), torch.randn(5, 30)
    parametrization = layer.parametrizations.weight
    weight_normalization(layer, "spectral")
    assert torch.equal(layer(y), layer(y))
    with torch.no_grad():
        parametrization.original.normal_()
    vector = parametrization[0]._u.clone()
    layer(y)
    assert not torch.equal(parametrization[0]._u, vector)


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("names", [("spectral",), ("weight", "spectral")])
def test_a_loaded_spectral_model_goes_on_as_the_saved_one(names, stepped):
    def layer():
        made = nn.Conv1d(20, 30, 3)
        for name in names:
            weight_normalization(made, name)
        return made

    saved, loaded, y = layer(), layer(), torch.randn(4, 20, 9)
    saved(y)
    with torch.no_grad():
        saved.parametrizations.weight[-1]._v.normal_()
        next(saved.parametrizations.weight.parameters(recurse=False)).mul_(1.01)
    saved(y)
    if stepped:  # an optimizer's step after the last forward pass
        with torch.no_grad():
            for p in saved.parametrizations.weight.parameters(recurse=False):
                p.add_(1e-3 * torch.randn_like(p))
    loaded.load_state_dict(saved.state_dict())
    u = loaded.parametrizations.weight[-1]._u.clone()
    assert torch.equal(loaded(y), saved(y))
    assert torch.equal(loaded(y), saved(y))
    assert torch.equal(loaded.parametrizations.weight[-1]._u, u) != stepped


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_powers_are_iterated_whatever_the_optimizer(fused, validated):
    torch.manual_seed(0)
    block = NeuralODE(DenseField(6, 20, weights="spectral"), solver="euler", steps=2)
    x, y = torch.randn(64, 6), 3 * torch.randn(64, 6)
    optimizer = torch.optim.Adam(block.parameters(), 1e-2, fused=fused)
    for _ in range(60):
        block.train()
        optimizer.zero_grad()
        (block(x) - y).square().mean().backward()
        optimizer.step()
        if validated:
            block.eval()(x)
    twin = copy.deepcopy(block).train()
    assert torch.equal(twin(x), block.train()(x))
    norm = torch.linalg.matrix_norm(block.eval().func.inner.weight.detach(), 2)
    assert float(norm) == pytest.approx(1, rel=0.1)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile of the user's
@pytest.mark.parametrize(
    "where", ["model", "right-hand side", pytest.param("solve", marks=pytest.mark.long)]
)
def test_powers_are_iterated_in_a_compiled_training(where):
    torch.manual_seed(0)
    model = ODENet4(
        6, 6, width=20, dimensions=0, first="spectral", ode=("none", "spectral"), solver="midpoint",
        steps=2, compile=where == "solve", check="raise",
    )  # fmt: skip
    twin, first = copy.deepcopy(model), model.stem[0].weight.detach()
    layer = model.blocks[0].func.conv1
    if where == "right-hand side":
        model.blocks[0].func = torch.compile(model.blocks[0].func, backend="eager")
    called = torch.compile(model, backend="eager") if where == "model" else model
    x, y = torch.randn(64, 6), 3 * torch.randn(64, 6)
    for each in (twin, called):
        optimizer = torch.optim.Adam(each.parameters(), 1e-2)
        for _ in range(30):
            optimizer.zero_grad()
            (each(x) - y).square().mean().backward()
            optimizer.step()
    pairs = (model.stem[0], twin.stem[0]), (layer, twin.blocks[0].func.conv1)
    for one, other in pairs:
        torch.testing.assert_close(one.eval().weight, other.eval().weight, rtol=1e-3, atol=1e-4)
        assert torch.linalg.matrix_norm(one.weight.detach(), 2) < 1.3
    assert not torch.allclose(first, model.stem[0].weight, atol=1e-2)
