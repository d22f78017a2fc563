"""Gradients of layers' weights that equiangular steps do not form."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore.errors import FreedGraphError, NonfiniteGradientError
from torch_bridge import EquiangularDescent, _objectives, equiangular_backward
from torch_bridge._unformed_gradients import unformed_weights

ROWS, WIDTH, COUNT = 12, 256, 3


def model(dtype=torch.float64, bias=True):
    torch.manual_seed(0)
    layers = [nn.Linear(WIDTH, WIDTH, bias), nn.Tanh(), nn.Linear(WIDTH, WIDTH, bias)]
    return nn.Sequential(*layers).to(dtype)


def inputs(dtype=torch.float64):
    return torch.randn(ROWS, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(1))


def losses_of(z):
    """The second one leaves out half of the rows, the third is far larger."""
    return [z.square().mean(), z.flatten(0, -2)[::2].sin().mean(), 1e3 * (z - 1).exp().mean()]


def left(outputs, net, count=COUNT):
    return sorted(unformed_weights(outputs, list(net.parameters()), count))


def both(monkeypatch, run):
    """What a run finds as it is, and with all gradients formed."""
    found = run()
    with monkeypatch.context() as patched:
        patched.setattr(_objectives, "unformed_weights", lambda *_: {})
        return found, run()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(ROWS, WIDTH), (4, 3, WIDTH)])
@pytest.mark.parametrize("shared", [False, True])
def test_weights_and_direction_are_those_of_formed_gradients(monkeypatch, bias, shape, shared):
    x = inputs().reshape(shape)

    def run():
        net = model(bias=bias)
        z = net(x)
        losses = losses_of(z)
        assert left([z] if shared else losses, net) == ([0, 2] if bias else [0, 1])
        features = {"shared": z} if shared else {}
        found = equiangular_backward(losses, net.parameters(), **features)
        return found, [p.grad for p in net.parameters()]

    (found, grads), (wanted, formed) = both(monkeypatch, run)
    np.testing.assert_allclose(found.weights, wanted.weights, rtol=1e-10)
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=1e-12)
    for g, f in zip(grads, formed, strict=True):
        torch.testing.assert_close(g, f, rtol=1e-10, atol=1e-12 * float(f.abs().max()))


def test_cancelling_rows_lose_no_more_than_formed_gradients(monkeypatch):
    """Rows nearly equal, upstream gradients of opposite sign: X X^T would lose all digits."""
    x = 1e3 + inputs(torch.float32)
    signs = torch.tensor([1.0, -1.0]).repeat(ROWS // 2)[:, None]
    a, b, c = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(2))

    def run(dtype=torch.float32):
        torch.manual_seed(0)
        layer = nn.Linear(WIDTH, WIDTH, False).to(dtype)
        z = layer(x.to(dtype)) * signs.to(dtype)
        losses = [(z * v.to(dtype)).sum() for v in (a, a + 0.1 * b, c)]
        assert left(losses, layer) == [0]
        return equiangular_backward(losses, layer.parameters())

    found, formed = both(monkeypatch, run)
    exact = run(torch.float64)
    error, usual = (np.abs(f.norms / exact.norms - 1).max() for f in (found, formed))
    assert error < max(10 * usual, 1e-5)
    np.testing.assert_allclose(found.cosines, exact.cosines, atol=1e-4)


def test_a_loss_that_does_not_touch_a_layer(monkeypatch):
    def run():
        net = model()
        h = net[0](inputs())
        losses = [h.square().mean(), net[2](h).sum(), net[2](h.detach()).square().mean()]
        found = equiangular_backward(losses, net.parameters())
        return found.weights, net[0].weight.grad

    (weights, grad), (wanted, formed) = both(monkeypatch, run)
    np.testing.assert_allclose(weights, wanted, rtol=1e-10)
    torch.testing.assert_close(grad, formed)


def test_only_what_is_a_weight_of_one_layer_and_cheaper_is_left():
    x = inputs()
    net = model()
    assert left(losses_of(net(x)), net) == [0, 2]
    assert left(losses_of(net(x)), net, count=1) == []
    assert left(losses_of(net(x.repeat(40, 1))), net) == []  # many rows
    assert left(losses_of(net(net(x))), net) == []  # used twice
    assert left([*losses_of(net(x)), net[0].weight.square().sum()], net) == [2]
    with torch.autograd.graph.save_on_cpu():
        assert left(losses_of(net(x)), net) == []
    assert left(losses_of(checkpoint(net, x, use_reentrant=False)), net) == []
    z = torch.addmm(net[0].bias, x, net[0].weight.t(), alpha=2)
    assert left(losses_of(z), net) == []
    assert left(losses_of(x @ net[0].weight), net) == []
    with torch.autocast("cpu"):
        assert left(losses_of(net.float()(x.float())), net) == []


def test_hooks_of_a_weight_see_its_gradients():
    net = model()
    handle = net[0].weight.register_hook(torch.zeros_like)
    assert left(losses_of(net(inputs())), net) == [2]
    equiangular_backward(losses_of(net(inputs())), net.parameters())
    assert not net[0].weight.grad.any()
    assert net[2].weight.grad.any()
    handle.remove()
    assert left(losses_of(net(inputs())), net) == [0, 2]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("where", ["layer", "transpose"])
@pytest.mark.parametrize("before", [True, False])
def test_hooks_of_the_graph_run(bias, where, before):
    layer = model(bias=bias)[0]
    directions = []
    for hooked in (True, False):
        z = layer(inputs())
        node = z.grad_fn if where == "layer" else z.grad_fn.next_functions[-1][0]
        if before:
            handle = node.register_prehook(lambda g: (3 * g[0],))
        else:
            handle = node.register_hook(lambda g, _: (*g[:-1], 3 * g[-1]))
        if not hooked:
            handle.remove()
        losses = losses_of(z)
        assert len(unformed_weights(losses, (layer.weight,), COUNT)) == (not hooked)
        layer.zero_grad()
        equiangular_backward(losses, [layer.weight])
        directions.append(layer.weight.grad)
    torch.testing.assert_close(directions[0], 3 * directions[1], rtol=1e-9, atol=1e-12)


def retained(z):
    z.retain_grad()
    z.register_hook(lambda g: g.clamp(-1e-3, 1e-3))


#: By name, what a layer or its output is given: hooks that see or change the gradient there.
HOOKS_OF_LAYERS = {
    "before a module": lambda layer: layer.register_full_backward_pre_hook(
        lambda _, g: (-2 * g[0],)
    ),
    "after a module": lambda layer: layer.register_full_backward_hook(
        lambda _, g, __: None if g[0] is None else (3 * g[0],)
    ),
}
HOOKS_OF_OUTPUTS = {"tensor": lambda z: z.register_hook(lambda g: -2 * g), "retained": retained}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("how", [*HOOKS_OF_LAYERS, *HOOKS_OF_OUTPUTS])
@pytest.mark.parametrize("shared", [False, True])
def test_hooks_of_a_layers_output_run(monkeypatch, bias, place, how, shared):
    def run():
        net = model(bias=bias)
        z, outputs = inputs(), []
        HOOKS_OF_LAYERS.get(how, lambda _: None)(net[place])
        for layer in net:
            z = layer(z)
            outputs.append(z)
        HOOKS_OF_OUTPUTS.get(how, lambda _: None)(outputs[place])
        losses = losses_of(z.tanh())
        assert left(losses, net) == ([0, 2] if bias else [0, 1])
        found = equiangular_backward(losses, net.parameters(), **({"shared": z} if shared else {}))
        kept = [outputs[place].grad] if how == "retained" else []
        return found.norms, [*(p.grad for p in net.parameters()), *kept]

    (norms, grads), (wanted, formed) = both(monkeypatch, run)
    np.testing.assert_allclose(norms, wanted, rtol=1e-12)
    for g, f in zip(grads, formed, strict=True):
        torch.testing.assert_close(g, f, rtol=1e-10, atol=1e-12 * float(f.abs().max()))


def test_errors_are_those_of_formed_gradients():
    net = model()
    losses = losses_of(net(inputs()))
    equiangular_backward(losses, net.parameters())
    with pytest.raises(FreedGraphError, match=r"losses\[0\]"):
        equiangular_backward(losses, net.parameters())
    net = model()
    one = net(inputs())
    bad = [one.sum(), (one * float("inf")).sum(), one.square().sum()]
    with pytest.raises(NonfiniteGradientError) as caught:
        equiangular_backward(bad, net.parameters())
    assert caught.value.objectives == (1,)
    assert net[0].weight.grad is None


def test_steps_by_a_closure_and_by_backward_are_the_same():
    """The latter forms all gradients: between the two calls a layer's input may change."""
    found = []
    for by_closure in (True, False):
        net, x = model(), inputs()
        descent = EquiangularDescent(torch.optim.SGD(net.parameters(), lr=0.1))
        if by_closure:
            descent.step(lambda net=net, x=x: losses_of(net(x)))
        else:
            descent.backward(losses_of(net(x)))
            x.zero_()
            descent.step()
        found.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_a_report_forms_all_gradients():
    net = model()
    descent = EquiangularDescent(torch.optim.SGD(net.parameters(), lr=1e-6), report=True)
    found = descent.step(lambda: losses_of(net(inputs())))
    np.testing.assert_allclose(found.expected, found.decrease, rtol=1e-3)
