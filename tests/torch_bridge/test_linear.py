"""SketchedLinear: exact where it says so, unbiased with the claimed variance where it does not."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from odecore.sketching import variance
from tests.helpers.statistics import mean_agrees
from torch_bridge import SketchedLinear, saved_bytes, sketched_linear
from torch_bridge._draws import SKETCHES as KINDS

sketches = pytest.mark.parametrize("sketch", KINDS)


def data(rows=20, n=6, m=4, dtype=torch.float64):
    torch.manual_seed(1)
    x = torch.randn(rows, n, dtype=dtype)
    weight = torch.randn(m, n, dtype=dtype)
    bias = torch.randn(m, dtype=dtype)
    y_grad = torch.randn(rows, m, dtype=dtype) + 0.2
    return x, weight, bias, y_grad


@sketches
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("leading", [(20,), (4, 5), (2, 2, 5)])
def test_output_and_other_gradients_are_exact(sketch, dtype, leading):
    x, weight, bias, y_grad = data(dtype=dtype)
    x, y_grad = x.reshape(*leading, 6), y_grad.reshape(*leading, 4)
    results = []
    for apply in (functional.linear, lambda *a: sketched_linear(*a, ratio=0.3, sketch=sketch)):
        inputs = [z.clone().requires_grad_() for z in (x, weight, bias)]
        y = apply(*inputs)
        y.backward(y_grad)
        results.append((y.detach(), inputs[0].grad, inputs[2].grad))
        assert inputs[1].grad.dtype == dtype
        assert inputs[1].grad.shape == weight.shape
    for wanted, found in zip(*results, strict=True):
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=40 * tolerance)


@sketches
def test_non_contiguous_inputs(sketch):
    x, weight, bias, _ = data()
    for view in (x.T.contiguous().T, x.repeat(1, 2)[:, ::2], x.expand(3, *x.shape)):
        z = view.detach().requires_grad_()
        y = sketched_linear(z, weight.requires_grad_(), bias, ratio=0.3, sketch=sketch)
        torch.testing.assert_close(y, functional.linear(z, weight, bias))
        y.square().sum().backward()
        assert z.grad.shape == z.shape


def weight_gradients(sketch, ratio, x, weight, y_grad):
    def one():
        w = weight.clone().requires_grad_()
        sketched_linear(x, w, ratio=ratio, sketch=sketch).backward(y_grad)
        return w.grad

    return one


@pytest.mark.sampled(2)
@sketches
@pytest.mark.parametrize(
    "ratio", [0.05, *(pytest.param(r, marks=pytest.mark.long) for r in (0.3, 0.9))]
)
def test_weight_gradient_is_unbiased(sketch, ratio):
    x, weight, _, y_grad = data()
    exact = y_grad.T @ x
    direction = exact / exact.norm()
    one = weight_gradients(sketch, ratio, x, weight, y_grad)

    def sample(n):
        return [float((one() * direction).sum()) for _ in range(n)]

    torch.manual_seed(0)
    assert mean_agrees(sample, float(exact.norm()), rounds=3)
    assert not mean_agrees(sample, 2 * float(exact.norm()))


@pytest.mark.sampled(2)
@sketches
def test_its_variance_is_the_exact_formula(sketch):
    x, weight, _, y_grad = data()
    exact = y_grad.T @ x
    one = weight_gradients(sketch, 0.3, x, weight, y_grad)
    claimed = float(variance(KINDS[sketch](6), x, y_grad))

    def sample(n):
        return [float((one() - exact).square().sum()) for _ in range(n)]

    torch.manual_seed(0)
    assert mean_agrees(sample, claimed, rounds=3)
    assert not mean_agrees(sample, 2 * claimed)
    assert not mean_agrees(sample, claimed / 2)


@sketches
def test_all_rows_are_exact_and_nothing_is_drawn(sketch):
    x, weight, bias, y_grad = data()
    state = torch.get_rng_state()
    w = weight.clone().requires_grad_()
    sketched_linear(x, w, bias, ratio=1.0, sketch=sketch).backward(y_grad)
    torch.testing.assert_close(w.grad, y_grad.T @ x)
    assert torch.equal(torch.get_rng_state(), state)


@sketches
def test_nothing_is_drawn_where_no_weight_gradient_is_needed(sketch):
    x, *_ = data()
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch).double()
    state = torch.get_rng_state()
    with torch.no_grad():
        layer(x)
    layer.weight.requires_grad_(False)
    layer(x.clone().requires_grad_()).sum().backward()
    layer.weight.requires_grad_(True)
    layer.eval()
    layer(x).sum().backward()
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(4, 6))


def test_bytes_saved_are_those_of_the_sketch():
    layer = SketchedLinear(64, 32, ratio=0.1, sketch="uniform")
    x = torch.randn(1000, 64)
    weight = 64 * 32 * 4
    assert saved_bytes(lambda: layer(x)) == 100 * (64 * 4 + 4)
    assert saved_bytes(lambda: layer(x.clone().requires_grad_())) == weight + 100 * (64 * 4 + 4)
    layer.eval()
    assert saved_bytes(lambda: layer(x)) == 1000 * 64 * 4


@pytest.mark.parametrize(
    ("rows", "ratio", "size"), [(5, 0.2, 1), (5, 0.21, 2), (3, 0.01, 1), (10, 0.3, 3)]
)
def test_sketch_size(rows, ratio, size):
    layer = SketchedLinear(2, 2, bias=False, ratio=ratio)
    saved = saved_bytes(lambda: layer(torch.randn(rows, 2)))
    assert saved == size * (8 + 4)


@sketches
def test_autocast(sketch):
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch)
    plain = nn.Linear(6, 4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(20, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        wanted = plain(x)
    assert y.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(y, wanted)
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert x.grad.dtype == torch.float32


@sketches
def test_checkpoint_uses_one_draw(sketch):
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch).double()
    x, _, _, y_grad = data()
    gradients = []
    for call in (layer, lambda z: checkpoint(layer, z, use_reentrant=False)):
        torch.manual_seed(5)
        layer.zero_grad()
        call(x.clone().requires_grad_()).backward(y_grad)
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.sampled(2)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside torch's tracer
@sketches
def test_compile_without_graph_breaks(sketch):
    layer = SketchedLinear(6, 4, ratio=0.3, sketch=sketch).double()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x, _, _, y_grad = data()
    torch.testing.assert_close(compiled(x), functional.linear(x, layer.weight, layer.bias))
    torch.manual_seed(0)
    total = torch.zeros(4, 6, dtype=torch.float64)
    for _ in range(300):
        layer.zero_grad()
        compiled(x).backward(y_grad)
        total += layer.weight.grad
    exact = y_grad.T @ x
    spread = (float(variance(KINDS[sketch](6), x, y_grad)) / 300) ** 0.5
    assert float((total / 300 - exact).norm()) < 5 * spread


@pytest.mark.sampled(2)
@sketches
def test_func_grad_and_vmap(sketch):
    x, weight, _, y_grad = data()

    def loss(w, z):
        return (sketched_linear(z, w, ratio=0.3, sketch=sketch) * y_grad).sum()

    torch.manual_seed(0)
    draws = torch.stack([torch.func.grad(loss)(weight, x) for _ in range(300)])
    exact = y_grad.T @ x
    spread = (float(variance(KINDS[sketch](6), x, y_grad)) / 300) ** 0.5
    assert float((draws.mean(0) - exact).norm()) < 5 * spread
    torch.manual_seed(0)
    assert torch.equal(torch.func.grad(loss)(weight, x), draws[0])
    many = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="different")(
        weight, x.expand(3, *x.shape)
    )
    assert many.shape == (3, 4, 6)


@sketches
def test_second_derivatives_are_refused(sketch):
    x, weight, _, _ = data()
    x, w = x.requires_grad_(), weight.clone().requires_grad_()
    for power in (1, 2):  # a linear loss hides the graph of its gradient
        y = sketched_linear(x, w, ratio=0.3, sketch=sketch).pow(power).sum()
        (w_grad,) = torch.autograd.grad(y, w, create_graph=True)
        with pytest.raises(RuntimeError, match="can not be differentiated"):
            torch.autograd.grad(w_grad.sum(), x)


def test_it_is_a_linear_layer_for_others():
    layer, plain = SketchedLinear(6, 4), nn.Linear(6, 4)
    plain.load_state_dict(layer.state_dict())
    assert isinstance(layer, nn.Linear)
    assert "ratio=0.1, sketch='uniform'" in repr(layer)
    empty = torch.zeros(0, 6)
    assert layer(empty).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SketchedLinear(2, 2, ratio=0), "0 < ratio <= 1, got 0"),
        (lambda: SketchedLinear(2, 2, ratio=True), "0 < ratio <= 1, got True"),
        (lambda: SketchedLinear(2, 2, ratio=1.5), "got 1.5"),
        (lambda: SketchedLinear(2, 2, ratio=float("nan")), "got nan"),
        (lambda: SketchedLinear(2, 2, ratio="a"), "got 'a'"),
        (lambda: SketchedLinear(2, 2, sketch="unifrm"), "got 'unifrm'; did you mean 'uniform'"),
        (lambda: SketchedLinear(2, 2, sketch="dct"), "one of uniform, balanced, .*, got 'dct'"),
        (lambda: sketched_linear(torch.ones(3, 4), torch.ones(2, 5)), "must agree in N"),
        (lambda: sketched_linear(torch.ones(()), torch.ones(2, 5)), "must agree in N"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_inputs_are_refused():
    with pytest.raises(TypeError, match="real"):
        sketched_linear(
            torch.ones(4, 2, dtype=torch.complex64), torch.ones(1, 2, dtype=torch.complex64)
        )


def test_a_bias_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`bias` must have shape"):
        sketched_linear(torch.ones(4, 2), torch.ones(3, 2), torch.ones(2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_layers_of_several_ratios():
    torch.compiler.reset()
    for ratio in (0.5, 0.2, 0.3):
        layer = SketchedLinear(10, 10, ratio=ratio)
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        compiled(torch.randn(16, 10)).sum().backward()
    layer.ratio = 0.7
    compiled(torch.randn(16, 10)).sum().backward()
    with pytest.raises(ValueError, match="0 < ratio <= 1"):
        layer.ratio = 2
