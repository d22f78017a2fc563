"""The certified step: exact for quadratics, measured for everything else."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore.errors import NonfiniteGradientError
from torch_bridge import (
    DenseField,
    NeuralODE,
    SketchedLinear,
    certified_step,
    equiangular_backward,
    odeint,
)


def quadratics(seed, m, n):
    """m convex quadratics in n dimensions, of very different scales, with a point."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n, n))
    H = torch.tensor(A @ A.transpose(0, 2, 1) * 10 ** rng.uniform(-3, 3, (m, 1, 1)))
    centres = torch.tensor(rng.standard_normal((m, n)))
    x = torch.tensor(2 * rng.standard_normal(n), requires_grad=True)

    def losses(x):
        r = x - centres
        return torch.einsum("mi,mij,mj->m", r, H, r) / 2

    return H, losses, x


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(2, 6), st.floats(0.01, 0.999))
def test_of_quadratics_the_limit_is_exact(seed, m, n, part):
    H, losses, x = quadratics(seed, m, n)
    if equiangular_backward(losses(x), [x]).worst_cosine < 1e-3:
        return
    found = certified_step(losses, x, largest=1e12)
    d = x.grad
    np.testing.assert_allclose(found.curvatures, torch.einsum("i,mij,j->m", d, H, d), rtol=1e-9)
    with torch.no_grad():
        before = losses(x)
        below, above = (losses(x - h * d) for h in (part * found.limit, 1.01 * found.limit))
        assert (below < before).all()
        assert (above > before).any()
        # A limit that is wrong by a factor 2 would not be one.
        assert (losses(x - found.limit / 2 * d) < before).all()
        np.testing.assert_allclose(found.modelled(found.step), before - losses(x - found.step * d))
    assert found.step == found.limit / 2
    assert (found.decreases >= 0.499 * found.step * found.rates).all()


def network(dtype):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)
    x, y = torch.randn(20, 4, dtype=dtype), torch.randint(0, 3, (20,))

    def losses(parameters):
        out = torch.func.functional_call(model, parameters, (x,))
        return [nn.functional.cross_entropy(out, y), 100 * (out - 1).square().mean()]

    return model, losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_a_network_it_is_the_second_order_model(dtype):
    model, losses = network(dtype)
    parameters = dict(model.named_parameters())
    weights = equiangular_backward(losses(parameters), parameters.values())
    found = certified_step(losses, parameters, largest=5.0)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(found.rates, weights.rates, rtol=tolerance)
    d = [p.grad for p in parameters.values()]
    for i, curvature in enumerate(found.curvatures):
        grads = torch.autograd.grad(
            losses(parameters)[i], list(parameters.values()), create_graph=True
        )
        slope = sum((g * v).sum() for g, v in zip(grads, d, strict=True))
        second = torch.autograd.grad(slope, list(parameters.values()))
        exact = sum((g * v).sum().item() for g, v in zip(second, d, strict=True))
        assert curvature == pytest.approx(exact, rel=10 * tolerance)
    assert found.step <= min(5.0, found.limit / 2)
    assert (found.decreases >= found.step * found.rates / 4).all()
    moved = {k: p - found.step * p.grad for k, p in parameters.items()}
    pairs = zip(losses(parameters), losses(moved), strict=True)
    np.testing.assert_allclose([(a - b).item() for a, b in pairs], found.decreases, rtol=1e-6)


def test_the_model_is_of_second_order():
    model, losses = network(torch.float64)
    parameters = {k: p.detach() for k, p in model.named_parameters()}
    direction = {k: torch.ones_like(p) for k, p in parameters.items()}
    found = certified_step(losses, parameters, direction, largest=1.0)
    errors = []
    for h in (1e-2, 5e-3):
        moved = losses({k: p - h for k, p in parameters.items()})
        pairs = zip(losses(parameters), moved, strict=True)
        errors.append(np.abs([(a - b).item() for a, b in pairs] - found.modelled(h)))
    assert (errors[0] / errors[1] > 6).all()  # a third-order remainder falls by 8


def test_where_the_model_is_wrong_the_step_is_halved():
    def steep(x):
        return [(x**4).sum() + x.sum()]

    x = torch.tensor([0.0])
    found = certified_step(steep, x, torch.tensor([1.0]), largest=100.0)
    assert found.limit == float("inf")  # no curvature here, and much beyond
    assert found.step == 100 / 2**7
    assert found.decreases >= found.step / 4
    assert steep(x - 2 * found.step)[0] > -2 * found.step / 4


def test_steps_that_lower_not_all_are_none():
    x = torch.tensor([1.0, 1.0])
    found = certified_step(lambda p: [p[0][0], -p[0][1]], (x,), (torch.ones(2),), largest=1.0)
    assert (found.step, found.limit) == (0.0, 0.0)
    assert found.rates.tolist() == [1, -1]
    assert found.decreases.tolist() == [0, 0]
    at_rest = certified_step(lambda x: x.square(), x, torch.zeros(2), largest=1.0)
    assert (at_rest.step, at_rest.limit) == (0.0, 0.0)
    # The decrease is below the rounding of the loss.
    small = certified_step(lambda x: [1e6 + x[0]], x, torch.tensor([1e-3, 0]), largest=1.0)
    assert (small.step, small.limit) == (0.0, float("inf"))


def test_parameters_without_a_gradient_stay():
    p, q = torch.tensor([2.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    p.grad = torch.tensor([2.0])
    found = certified_step(lambda pq: (pq[0] ** 2 + pq[1]).sum(), [p, q], largest=9.0)
    assert (found.rates, found.curvatures) == (8, 8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: certified_step(torch.sum, x, x, largest=0.0), ValueError, "positive and finite"),
        (
            lambda x: certified_step(torch.sum, x, x, largest=float("inf")),
            ValueError,
            "positive and finite, got inf",
        ),
        (lambda x: certified_step(torch.sum, [], [], largest=1.0), ValueError, "got none"),
        (lambda x: certified_step(torch.sum, [3], [3], largest=1.0), TypeError, "got int"),
        (lambda x: certified_step(torch.sum, x, [x], largest=1.0), ValueError, "the structure"),
        (
            lambda x: certified_step(torch.sum, x, x[:1], largest=1.0),
            ValueError,
            r"\[\(2,\)\]; got \[\(1,\)\]",
        ),
        (lambda x: certified_step(torch.sum, x, x.numpy(), largest=1.0), TypeError, "got ndarray"),
        (lambda x: certified_step(torch.sum, x, x.int(), largest=1.0), TypeError, "torch.int32"),
        (lambda x: certified_step(lambda x: None, x, x, largest=1.0), TypeError, "got NoneType"),
        (lambda x: certified_step(lambda x: [], x, x, largest=1.0), ValueError, "got none"),
        (lambda x: certified_step(lambda x: [x], x, x, largest=1.0), TypeError, r"shape \(2,\)"),
        (lambda x: certified_step(lambda x: [1.0], x, x, largest=1.0), TypeError, "is float"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(2))


def test_what_is_not_finite_is_named():
    with pytest.raises(NonfiniteGradientError, match=r"losses \[1\] are not") as caught:
        certified_step(lambda x: [x, x.sqrt()], torch.tensor(0.0), torch.tensor(1.0), largest=1.0)
    assert caught.value.objectives == (1,)


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_curvatures_through_a_solve(method):
    torch.manual_seed(0)
    y0, times = torch.randn(4, 2, dtype=torch.float64), torch.tensor([0.0, 0.7, 1.0])
    w = torch.randn(2, 2, dtype=torch.float64)

    def losses(w):
        y = odeint(lambda t, y: torch.tanh(y @ w), y0, times, method=method)
        return [y[1].square().sum(), (y[2] - 1).square().mean()]

    d = torch.randn(2, 2, dtype=torch.float64)
    found = certified_step(losses, w, d, largest=1.0)
    for loss, curvature in zip((0, 1), found.curvatures, strict=True):
        hessian = torch.autograd.functional.hessian(lambda w, k=loss: losses(w)[k], w)
        expected = torch.einsum("ij,ijkl,kl->", d, hessian, d)
        assert curvature == pytest.approx(float(expected), rel=1e-9)


def test_a_missing_direction_is_told_and_tuples_serve():
    x = [torch.tensor([3.0]), torch.tensor([1.0])]
    with pytest.raises(ValueError, match=r"must have a `\.grad`"):
        certified_step(lambda x: [x[0].sum() ** 2], x, largest=1.0)
    found = certified_step(lambda x: [(x[0] ** 2).sum() + x[1].sum() ** 2], x, tuple(x), largest=9)
    assert found.limit == 2


def test_names_of_a_direction_are_those_of_the_parameters():
    x = {"a": torch.tensor([3.0]), "b": torch.tensor([1.0])}
    losses = lambda x: [(x["a"] ** 2).sum() + x["b"].sum() ** 2]  # noqa: E731
    assert certified_step(losses, x, {"b": x["b"], "a": x["a"]}, largest=9).limit == 2
    for wrong in ({"a": x["a"]}, {**x, "c": x["a"]}):
        with pytest.raises(ValueError, match="the structure and shapes of `parameters`"):
            certified_step(losses, x, wrong, largest=9)


def test_a_module_that_changes_its_buffers_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
    x = torch.randn(8, 3)
    start = dict(model.named_parameters())

    def losses(parameters, buffers=None):
        y = torch.func.functional_call(model, {**parameters, **(buffers or {})}, (x,))
        return [(y - 1).square().mean()]

    def with_copies(parameters):
        return losses(parameters, {k: b.clone() for k, b in model.named_buffers()})

    losses(start)[0].backward()
    before = {k: b.clone() for k, b in model.named_buffers()}
    with pytest.raises(ValueError, match=r"BatchNorm in training.*eval\(\)"):
        certified_step(losses, start, largest=0.1)
    assert certified_step(with_copies, start, largest=0.1).step > 0
    assert all(torch.equal(b, before[k]) for k, b in model.named_buffers())
    model.eval()
    assert certified_step(losses, start, largest=0.1).step > 0


def test_losses_through_a_checkpoint_are_refused():
    def losses(x):
        return [checkpoint(torch.sin, x, use_reentrant=False).sum()]

    with pytest.raises(ValueError, match="must not go through checkpoints"):
        certified_step(losses, torch.ones(2), torch.ones(2), largest=1.0)


def test_losses_that_write_in_place_change_nothing_of_the_caller():
    x, d = torch.ones(2), torch.tensor([3.0, 2.0])
    found = certified_step(lambda p: [p.mul_(2).square().sum()], x, d, largest=1.0)
    assert (found.rates.tolist(), found.curvatures.tolist()) == ([40], [104])
    assert (x.tolist(), d.tolist()) == ([1, 1], [3, 2])


def test_at_a_kink_where_a_loss_is_zero_the_search_ends():
    calls = []
    losses = lambda y: [calls.append(y) or y.clamp(min=0).sum()]  # noqa: E731
    found = certified_step(losses, torch.zeros(2), torch.ones(2), largest=1.0)
    assert (found.rates.tolist(), found.step, found.decreases.tolist()) == ([2], 0, [0])
    assert len(calls) <= 102
    far = certified_step(lambda y: [y.sinh().sum()], torch.zeros(2), torch.ones(2), largest=1e20)
    assert 0 < far.step < 100  # a loss that is 0 but falls


@pytest.mark.parametrize(
    "layer",
    [
        nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True),
        nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True).eval(),
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(4, track_running_stats=False)),
        nn.Sequential(nn.Linear(8, 8), nn.InstanceNorm1d(4), nn.SiLU()),
        nn.LSTM(8, 8, batch_first=True),
        SketchedLinear(8, 8, ratio=0.3).eval(),
    ],
)
def test_curvatures_of_layers(layer):
    """By differences of gradients: forward derivatives of forward ones would leave out terms."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).double()
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    start = {k: p.detach() for k, p in layer.named_parameters()}
    d = {k: torch.randn_like(p) / 8 for k, p in start.items()}

    def losses(parameters):
        y = torch.func.functional_call(layer, parameters, (x,))
        y = y[0] if isinstance(y, tuple) else y
        return [(y - 1).square().mean(), (y * x).square().sum()]

    def slopes(s):
        leaves = {k: (start[k] - s * d[k]).requires_grad_() for k in start}
        return np.array(
            [
                sum(
                    float((g * d[k]).sum())
                    for k, g in zip(
                        leaves,
                        torch.autograd.grad(loss, list(leaves.values()), retain_graph=True),
                        strict=True,
                    )
                )
                for loss in losses(leaves)
            ]
        )

    found = certified_step(losses, start, d, largest=1.0)
    h = 1e-4
    np.testing.assert_allclose(found.rates, slopes(0.0), rtol=1e-9)
    np.testing.assert_allclose(found.curvatures, (slopes(-h) - slopes(h)) / (2 * h), 1e-5, 1e-8)


def test_curvatures_of_determinants_and_solutions():
    A = torch.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=torch.float64)
    d = torch.tensor([[1.0, -2.0], [0.3, 0.7]], dtype=torch.float64)
    b = torch.ones(2, dtype=torch.float64)
    losses = lambda A: [torch.linalg.det(A), torch.linalg.solve(A, b).sum()]  # noqa: E731
    found = certified_step(losses, A, d, largest=1.0)
    X = torch.linalg.solve(A, d)
    second = 2 * (X @ X @ torch.linalg.solve(A, b)).sum()
    np.testing.assert_allclose(found.curvatures, [2 * torch.linalg.det(d), second], rtol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_step_is_the_same(mode):
    losses = lambda x: [x.square().sum(), 4 * x[1].square()]  # noqa: E731
    with mode():
        found = certified_step(losses, torch.ones(2), torch.ones(2), largest=10.0)
    assert (found.limit, found.rates.tolist(), found.curvatures.tolist()) == (2, [4, 8], [4, 8])


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_of_a_block_with_an_adjoint_the_argument_to_change_is_named(adjoint):
    block = NeuralODE(DenseField(2, 4), solver="rk4", steps=3, adjoint=adjoint)
    parameters, x = dict(block.named_parameters()), torch.randn(5, 2)

    def losses(p):
        y = torch.func.functional_call(block, p, (x,))
        return [y.square().mean(), (y - 1).square().mean()]

    equiangular_backward(losses(parameters), block.parameters())
    with pytest.raises(RuntimeError, match='in a NeuralODE adjoint="direct"'):
        certified_step(losses, parameters, largest=1.0)
    block.adjoint = "direct"
    assert certified_step(losses, parameters, largest=1.0).step > 0
