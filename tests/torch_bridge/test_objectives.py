"""Equiangular descent on torch parameters."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore.directions import equiangular_weights
from torch_bridge import DenseField, NeuralODE, equiangular_backward


def setting(dtype=torch.float64):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    x = torch.randn(11, 5, dtype=dtype)
    y = torch.randn(11, 3, dtype=dtype)
    return model, lambda: [
        s * (model(x)[:, i] - y[:, i]).square().mean() for i, s in enumerate((1.0, 50.0, 0.02))
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_direction_is_the_weighted_sum_of_gradients(dtype):
    model, losses = setting(dtype)
    parameters = list(model.parameters())
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]) for loss in losses()
    ]
    J = torch.stack(rows).double().numpy()
    found = equiangular_backward(losses(), parameters)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(found.weights, equiangular_weights(J @ J.T).weights, rtol=tolerance)
    d = torch.cat([p.grad.flatten() for p in parameters]).double().numpy()
    np.testing.assert_allclose(
        d, J.T @ found.weights, rtol=tolerance, atol=tolerance * np.abs(d).max()
    )
    cosines = J @ d / np.linalg.norm(J, axis=1) / np.linalg.norm(d)
    np.testing.assert_allclose(cosines, found.cosines, atol=tolerance)


def test_a_small_step_lowers_every_loss_equally():
    model, losses = setting()
    parameters = list(model.parameters())
    norms = [
        float(sum(g.square().sum() for g in torch.autograd.grad(loss, parameters))) ** 0.5
        for loss in losses()
    ]
    before = [float(loss.detach()) for loss in losses()]
    equiangular_backward(losses(), parameters)
    length = float(sum(p.grad.square().sum() for p in parameters)) ** 0.5
    with torch.no_grad():
        torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=-1e-6 / length)
    decrease = [
        (a - float(b.detach())) / n for a, b, n in zip(before, losses(), norms, strict=True)
    ]
    assert min(decrease) > 0
    np.testing.assert_allclose(decrease, decrease[0], rtol=1e-3)


def test_gradients_accumulate_as_in_backward():
    model, losses = setting()
    equiangular_backward(losses(), model.parameters())
    once = [p.grad.clone() for p in model.parameters()]
    equiangular_backward(losses(), model.parameters())
    for p, g in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * g)


def test_parameters_that_some_losses_do_not_touch():
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    left, right = (torch.tensor([s], requires_grad=True) for s in (0.5, -0.7))
    nobody = torch.zeros(2, requires_grad=True)
    frozen = torch.zeros(2)
    parameters = [shared, left, right, nobody, frozen]
    losses = [(shared * left).sum(), 3 * (shared.square() * right).sum()]
    found = equiangular_backward(losses, parameters)
    torch.testing.assert_close(left.grad, torch.tensor([3.0]) * float(found.weights[0]))
    torch.testing.assert_close(right.grad, torch.tensor([15.0]) * float(found.weights[1]))
    assert nobody.grad is frozen.grad is None


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"shared": True}])
def test_what_no_loss_touches_is_not_stepped(options):
    model, losses = setting()
    absent = torch.nn.Linear(2, 2).double()
    parameters = [*model.parameters(), *absent.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
    before = [p.detach().clone() for p in absent.parameters()]
    for _ in range(2):
        optimizer.zero_grad()
        if "shared" in options:
            z = next(model.parameters()) * 1
            equiangular_backward(
                [z.sum(), z.square().sum()], parameters, shared=z, gramian="features"
            )
        else:
            equiangular_backward(losses(), parameters, **options)
        optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(absent.parameters(), before, strict=True))
    # Gradients that are zero are another thing.
    x, y = (torch.ones(2, requires_grad=True) for _ in range(2))
    equiangular_backward([x.sum(), 2 * x.sum() + 0 * y.sum()], [x, y])
    assert y.grad.tolist() == [0, 0]


def test_one_loss_is_its_gradient():
    model, losses = setting()
    wanted = torch.autograd.grad(losses()[1], list(model.parameters()))
    found = equiangular_backward(losses()[1:2], model.parameters())
    assert found.weights.tolist() == [1.0]
    for p, g in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, g)


def test_opposite_losses_are_stationary():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    found = equiangular_backward([x.sum(), -2 * x.sum()], [x])
    assert found.stationary
    assert x.grad.tolist() == [0, 0]


def test_retain_graph():
    model, losses = setting()
    values = losses()
    equiangular_backward(values, model.parameters(), retain_graph=True)
    equiangular_backward(values, model.parameters())
    with pytest.raises(RuntimeError, match="second time"):
        equiangular_backward(values, model.parameters())


def test_a_non_finite_gradient_names_its_objective_and_touches_nothing():
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    x.grad = torch.tensor([5.0, 5.0])
    with pytest.raises(ValueError, match=r"objectives \[1\] are not"):
        equiangular_backward([x.sum(), x.sqrt().sum()], [x])
    assert x.grad.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (lambda x: [], "at least one loss, got none"),
        (lambda x: [x], r"losses\[0\] is shape \(2,\)"),
        (lambda x: [x.sum(), 3.0], r"losses\[1\] is float"),
        (lambda x: [x.sum().detach()], "requires_grad=False"),
        (lambda x: [torch.ones((), requires_grad=True) * 2], "depends on none"),
    ],
)
def test_bad_losses_are_refused(losses, message):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=message):
        equiangular_backward(losses(x), [x])


def test_no_parameters_are_refused():
    x = torch.ones(2, requires_grad=True)
    for parameters in ([], [torch.ones(2)]):
        with pytest.raises(ValueError, match="requires a gradient, got none"):
            equiangular_backward([x.sum()], parameters)


def test_a_parameter_listed_twice_counts_once():
    p, q = (torch.tensor([s], requires_grad=True) for s in (1.0, 2.0))
    losses = lambda: [(p * q).sum(), (p - 3 * q).sum()]  # noqa: E731
    once = equiangular_backward(losses(), [p, q])
    gradient = p.grad.clone()
    p.grad = q.grad = None
    twice = equiangular_backward(losses(), [p, p, q])
    np.testing.assert_array_equal(once.weights, twice.weights)
    assert torch.equal(p.grad, gradient)


def test_complex_parameters():
    p = torch.tensor([1.0 + 0j, 0.0], requires_grad=True)
    found = equiangular_backward([p.imag.sum(), p.real.sum()], [p])
    assert not found.stationary
    np.testing.assert_allclose(found.cosines, 2**-0.5)


def test_sparse_gradients_and_odd_arguments():
    embedding = nn.Embedding(5, 3, sparse=True)
    with pytest.raises(ValueError, match="sparse"):
        equiangular_backward([embedding(torch.tensor([1])).sum()], embedding.parameters())
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="must hold tensors, got NoneType"):
        equiangular_backward([x.sum()], [x, None])
    equiangular_backward((loss for loss in [x.sum(), (2 * x).sum()]), [x])


def test_checkpoints_that_draw_are_differentiated_one_by_one():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1))
    head = nn.Linear(8, 2)
    parameters = [*body.parameters(), *head.parameters()]

    def losses():
        y = head(checkpoint(body, torch.ones(5, 4), use_reentrant=False))
        return list(y.square().mean(0))

    with pytest.raises(ValueError, match="give `chunk=1`"):
        equiangular_backward(losses(), parameters, chunk=2)
    assert all(p.grad is None for p in parameters)
    equiangular_backward(losses(), parameters)
    assert all(p.grad is not None for p in parameters)


class _ByNumPy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(2 * gradient.detach().numpy())


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize(
    "kind", ["a function of its own", pytest.param("compiled", marks=pytest.mark.long)]
)
def test_what_vmap_can_not_do_is_differentiated_one_by_one(features, kind):
    trunk, head = nn.Linear(4, 3), nn.Linear(3, 2)
    body = torch.compile(trunk) if kind == "compiled" else lambda x: _ByNumPy.apply(trunk(x))

    def call(chunk):
        z = body(torch.ones(5, 4))
        losses = list(head(z).square().mean(0))
        equiangular_backward(
            losses, trunk.parameters(), shared=z if features else None, chunk=chunk
        )

    with pytest.raises(ValueError, match="give `chunk=1`"):
        call(2)
    assert trunk.weight.grad is None
    call(1)
    assert trunk.weight.grad is not None


def test_adjoints_for_one_gradient_are_named():
    block = NeuralODE(DenseField(3, 4), solver="rk4", steps=2, adjoint="restored")

    def call(chunk):
        losses = list(block(torch.ones(5, 3)).square().mean(0))
        equiangular_backward(losses, block.parameters(), chunk=chunk)

    with pytest.raises(ValueError, match=r"restored or reversed adjoint.* give `chunk=1`"):
        call(3)
    call(1)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_a_graph_that_was_compiled_as_a_whole_shares_the_parameters_of_its_heads():
    trunk, heads = nn.Linear(4, 3), nn.ModuleList(nn.Linear(3, 1) for _ in range(2))

    def losses(call):
        z = trunk(torch.ones(5, 4)).tanh()
        return [call(head, z).square().mean() for head in heads]

    compiled = torch.compile(losses, backend="aot_eager")(lambda head, z: head(z))
    own = {"task_specific": list(heads.parameters())}
    with pytest.raises(ValueError, match="compile what they share and their heads one by one"):
        equiangular_backward(compiled, trunk.parameters(), **own)
    apart = torch.compile(lambda head, z: head(z), backend="aot_eager")
    equiangular_backward(losses(apart), trunk.parameters(), **own)
    assert all(p.grad is not None for p in heads.parameters())


@pytest.mark.parametrize("gramian", ["parameters", "features"])
def test_no_feature_counts_twice(gramian):
    trunk, between = nn.Linear(4, 3), nn.Linear(3, 3)
    z = trunk(torch.randn(5, 4)).tanh()
    losses = [z.square().mean(), z[:, 0].sin().mean()]
    options = {"gramian": gramian, "retain_graph": True}
    once = equiangular_backward(losses, trunk.parameters(), shared=z, **options)
    twice = equiangular_backward(losses, trunk.parameters(), shared=[z, z], **options)
    np.testing.assert_array_equal(twice.norms, once.norms)
    first, second = z[:, 0], between(z).tanh()
    inner = [z.mean() + first.square().mean(), second.sum()]
    trunk.zero_grad()
    for features, message in (
        ([z, first], r"shared\[1\] is from shared\[0\]: leave shared\[1\] out"),
        ([first, z], r"shared\[0\] is from shared\[1\]"),
        ([z, second], r"leave out `shared`"),
    ):
        with pytest.raises(ValueError, match=message):
            equiangular_backward(inner, trunk.parameters(), shared=features, **options)
    assert all(p.grad is None for p in trunk.parameters())
    columns = z.unbind(1)  # of one node, none from another
    apart = [sum(c.square().sum() for c in columns) / z.numel(), columns[0].sin().mean()]
    found = equiangular_backward(apart, trunk.parameters(), shared=columns, **options)
    np.testing.assert_allclose(found.norms, once.norms, rtol=1e-5)


@pytest.mark.parametrize("hooked", ["features", "node", "module", "below"])
@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"gramian": "features"}])
def test_hooks_of_features_run_once(hooked, options):
    torch.manual_seed(0)
    trunk, head = nn.Linear(4, 3).double(), nn.Linear(3, 3).double()
    if hooked == "module":
        trunk.register_full_backward_pre_hook(lambda _, g: (-2 * g[0],))
    z = below = trunk(torch.ones(5, 4, dtype=torch.float64, requires_grad=True))
    if hooked != "module":
        z = below.tanh()
    z.retain_grad()
    second, calls = trunk.weight.sin(), []
    if hooked == "node":
        z.grad_fn.register_prehook(lambda g: (-2 * g[0],))
    elif hooked != "module":
        seen = z if hooked == "features" else below
        seen.register_hook(lambda g: (calls.append(1), g.abs() - 2 * g)[1])
    losses = [z.square().mean() + second.sum(), head(z).sin().mean()]

    def rows(of):
        grads = [
            torch.autograd.grad(x, of, retain_graph=True, materialize_grads=True) for x in losses
        ]
        return torch.stack([torch.cat([g.flatten() for g in row]) for row in grads]).numpy()

    parameters = list(trunk.parameters())
    at_features, J = rows([z, second]), rows(parameters)
    K = at_features if options.get("gramian") == "features" else J
    calls.clear()
    z.grad = None
    found = equiangular_backward(
        losses, parameters, shared=[z, second], task_specific=head.parameters(), **options
    )
    torch.testing.assert_close(z.grad, torch.from_numpy(sum(at_features))[: z.numel()].view_as(z))
    assert len(calls) == {"features": 2, "below": 1 if options else 2}.get(hooked, 0)
    np.testing.assert_allclose(found.weights, equiangular_weights(K @ K.T).weights, rtol=1e-10)
    if (hooked, K is J) != ("below", False):  # a hook that is not linear sees the combination
        direction = torch.cat([p.grad.flatten() for p in parameters]).numpy()
        np.testing.assert_allclose(direction, J.T @ found.weights, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("gramian", ["parameters", "features"])
def test_hooks_of_features_with_own_parameters_below(gramian):
    trunk, own = nn.Linear(4, 3).double(), nn.Linear(4, 3).double()
    x = torch.ones(2, 4, dtype=torch.float64)
    z, second = trunk(x) + own(x), trunk(x)
    z.register_hook(lambda g: -2 * g)
    view = z.view_as(z)
    options = {"task_specific": list(own.parameters()), "gramian": gramian, "retain_graph": True}
    losses = [view.square().mean(), second.sin().mean()]
    with pytest.raises(ValueError, match=r"number 0 is below shared\[1\].*view_as"):
        equiangular_backward(losses, trunk.parameters(), shared=[second, z], **options)
    assert own.weight.grad is None
    wanted, others = (
        torch.autograd.grad(loss, [p], retain_graph=True)[0]
        for loss, p in zip(losses, [own.weight, trunk.weight], strict=True)
    )
    found = equiangular_backward(losses, trunk.parameters(), shared=[second, view], **options)
    torch.testing.assert_close(own.weight.grad, wanted)
    direction = found.weights[0] * wanted + found.weights[1] * others
    torch.testing.assert_close(trunk.weight.grad, direction)


@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"gramian": "features"}])
@pytest.mark.parametrize("given", ["parameters", "nothing"])
def test_parameters_that_a_checkpoint_hides_are_refused(options, given):
    body, head = nn.Linear(4, 4), nn.Linear(4, 2)
    first = nn.Linear(4, 4)
    x = torch.ones(5, 4, requires_grad=True)

    def losses(reentrant):
        y = first(x) if given == "parameters" else x
        z = checkpoint(body, y, use_reentrant=reentrant)
        return z, list(head(z).square().mean(0))

    z, values = losses(True)
    options = options | ({"shared": z} if "gramian" in options else {})
    with pytest.raises(ValueError, match="use_reentrant=False"):
        equiangular_backward(values, body.parameters(), **options)
    assert body.weight.grad is None
    equiangular_backward(losses(False)[1], body.parameters())
    assert body.weight.grad.norm() > 0


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("features", [{}, {"gramian": "parameters"}, {"gramian": "features"}])
def test_sparse_gradients_are_refused_in_every_mode(features, chunk):
    embedding = nn.Embedding(9, 3, sparse=True)
    z = embedding(torch.tensor([1, 2]))
    options = features | ({"shared": z} if features else {})
    with pytest.raises(ValueError, match="sparse=False"):
        equiangular_backward(
            [z.sum(), z.square().sum()], embedding.parameters(), chunk=chunk, **options
        )
    assert embedding.weight.grad is None
