"""`odeint_adjoint` with many output times: one collocated solve for all of a panel."""

import pytest
import torch
from torch import nn

from odecore.errors import UnresolvedInterpolantWarning
from torch_bridge import Certifier, NeuralODE, odeint, odeint_adjoint

D = torch.float64


class Driven(nn.Module):
    """y' = tanh(A y) + b cos 5t."""

    def __init__(self, dtype=D):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.A = nn.Parameter(torch.randn(4, 4, dtype=D, generator=generator).to(dtype))
        self.b = nn.Parameter(torch.randn(4, dtype=D, generator=generator).to(dtype))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        parts = (y,) if isinstance(y, torch.Tensor) else y
        found = [self.at(t, part) for part in parts]
        return found[0] if isinstance(y, torch.Tensor) else tuple(found)

    def at(self, t, y):
        z = y @ self.A.T.to(y.dtype)
        wave = self.b * torch.cos(5 * t).to(y.real.dtype)
        return z / (1 + z.abs() ** 2).sqrt() + wave


def gradients(solve, t, kind="tensor", seed=0, dtype=D, **options):
    func = Driven(dtype)
    y0 = torch.ones(3, 4, dtype=torch.complex128 if kind == "complex" else dtype)
    y0.requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(len(t), 3, 4, dtype=torch.float64, generator=generator)
    y = solve(func, (y0, 2 * y0) if kind == "tuple" else y0, t, **options)
    parts = y if kind == "tuple" else (y,)
    forward = func.calls
    loss = sum((w * (p.real if p.is_complex() else p)).sum() for p in parts)
    found = torch.autograd.grad(loss, [y0, func.A, func.b, *([t] if t.requires_grad else [])])
    return found, parts, func.calls - forward


def assert_near(found, wanted, rtol):
    for a, b in zip(found, wanted, strict=True):
        scale = float(b.abs().max())
        torch.testing.assert_close(a.to(b.dtype), b, rtol=0, atol=rtol * scale)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("tol", [1e-4, 1e-7])
@pytest.mark.parametrize("span", [(0.0, 2.0), (3.0, -1.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("kind", ["tensor", "tuple", "complex"])
def test_gradients(kind, span, tol):
    t = torch.linspace(*span, 60, dtype=D)
    wanted, _, _ = gradients(odeint, t, kind, rtol=1e-11, atol=1e-11)
    found, states, evaluations = gradients(odeint_adjoint, t, kind, rtol=tol, atol=tol)
    _, direct, _ = gradients(odeint, t, kind, rtol=tol, atol=tol)
    assert all(torch.equal(a, b) for a, b in zip(states, direct, strict=True))
    assert_near(found, wanted, 50 * tol)
    assert evaluations < 40


def test_gradients_of_times():
    t = torch.linspace(0, 2, 30, dtype=D).requires_grad_()
    wanted, found = (
        gradients(solve, t, rtol=tol, atol=tol)[0]
        for solve, tol in ((odeint, 1e-11), (odeint_adjoint, 1e-7))
    )
    assert_near(found, wanted, 1e-5)


def test_single_precision():
    t = torch.linspace(0, 2, 80)
    wanted = gradients(odeint, t.double(), rtol=1e-11, atol=1e-11)[0]
    found = gradients(odeint_adjoint, t, dtype=torch.float32, rtol=1e-5, atol=1e-5)[0]
    assert_near(found, wanted, 1e-4)


def test_jumps_between_many_outputs():
    class Kicked(Driven):
        def at(self, t, y):
            return super().at(t, y) + torch.where(t < 0.731, 0.0, 3.0)

    t, y0 = torch.linspace(0, 2, 50, dtype=D), torch.ones(4, dtype=D)
    found = []
    for solve, tol in ((odeint, 1e-11), (odeint_adjoint, 1e-6)):
        func = Kicked()
        y = solve(func, y0, t, rtol=tol, atol=tol, options={"jump_t": torch.tensor([0.731])})
        found.append(torch.autograd.grad(y.square().sum(), [func.A, func.b]))
    assert_near(found[1], found[0], 1e-4)


@pytest.mark.parametrize(
    "given",
    [{"certificate": Certifier(1.0)}, {"nodes": 9}, {"memory": 10**6}],
    ids=["certificate", "nodes", "memory"],
)
def test_gradients_with_other_options(given):
    t = torch.linspace(0, 2, 20, dtype=D)
    wanted = gradients(odeint, t, rtol=1e-11, atol=1e-11)[0]
    assert_near(gradients(odeint_adjoint, t, rtol=1e-7, atol=1e-7, **given)[0], wanted, 1e-5)


def test_in_a_transform_of_torch_func():
    func, t = Driven(), torch.linspace(0, 1, 12, dtype=D)

    def loss(y0):
        return odeint_adjoint(func, y0, t, rtol=1e-8, atol=1e-8).square().sum()

    y0 = torch.ones(2, 4, dtype=D)
    found = torch.func.vmap(torch.func.grad(loss))(y0 * torch.tensor([[1.0], [0.5]], dtype=D))
    leaf = (y0[1] * 0.5).clone().requires_grad_()
    y = odeint(func, leaf, t, rtol=1e-10, atol=1e-10)
    (wanted,) = torch.autograd.grad(y.square().sum(), leaf)
    torch.testing.assert_close(found[1], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_training_with_observations_at_many_times():
    block = NeuralODE(Driven(), adjoint="restored", t=tuple(k / 99 for k in range(100)), rtol=1e-5)
    block(torch.ones(3, 4, dtype=D)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())


class Diffusion(nn.Module):
    """On a graph, with a force that no number of nodes resolves."""

    def __init__(self, force, rate=1.0):
        super().__init__()
        self.rate, self.force = nn.Parameter(torch.tensor(rate, dtype=D)), force
        random = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
        edges = (random > 0.5).to(D).triu(1)
        edges = edges + edges.T
        self.laplacian = edges.sum(1).diag() - edges

    def forward(self, t, y):
        flow = self.rate * (self.laplacian @ y)
        return -flow + self.force * (1 + self.rate) * (150 * t).sin().abs()


def diffused(func, **options):
    torch.manual_seed(0)
    y0, t = torch.ones(8, dtype=D), torch.linspace(0, 3, 40, dtype=D)
    y = odeint_adjoint(func, y0, t, rtol=1e-6, atol=1e-6, **options)
    return torch.autograd.grad((y - 1 - 0.01 * torch.randn(40, 8, dtype=D)).abs().mean(), func.rate)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("options", [{}, {"memory": 10**9}, {"adjoint_method": "dopri5"}])
def test_a_gradient_that_is_zero_is_not_said_to_be_unresolved(options):
    (found,) = diffused(Diffusion(0.0), **options)  # at rest, whatever the rate
    assert abs(found) < 1e-15


@pytest.mark.parametrize(("force", "rate"), [(1e-8, 1.0), (1e-8, 0.0)])
def test_a_small_gradient_that_is_unresolved_is_said_to_be(force, rate):
    with pytest.warns(UnresolvedInterpolantWarning, match="integrand of the backward pass"):
        diffused(Diffusion(force, rate), memory=10**9)


def kept_and_found(**options):
    """Bytes kept for the backward pass, and the gradients, of a linear field with 50 outputs."""
    generator = torch.Generator().manual_seed(0)
    matrix = (torch.randn(4, 4, dtype=D, generator=generator) / 2).requires_grad_()
    y0, t, kept = torch.ones(4, dtype=D, requires_grad=True), torch.linspace(0, 2, 50, dtype=D), []

    def keep(x):
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        y = odeint_adjoint(
            lambda t, y: y @ matrix.T, y0, t, rtol=1e-6, atol=1e-9, adjoint_params=(matrix,),
            **options,
        )  # fmt: skip
    found = torch.autograd.grad(y.square().sum(), [y0, matrix])
    return sum(x.nbytes for x in kept), found


@pytest.mark.parametrize(
    "options",
    [{"memory": 10**5}, {"memory": float("inf")}, {"certificate": True}],
    ids=["budget", "no bound", "certificate"],
)
def test_a_budget_above_the_need_and_a_certificate_change_nothing(options):
    kept, wanted = kept_and_found()
    assert kept < 1000  # 50 outputs are 1600 bytes
    again, found = kept_and_found(**options)
    assert again == kept
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
def test_certificates(adjoint):
    t = torch.linspace(0, 2, 40, dtype=D)
    options = {"rtol": 1e-4, "atol": 1e-5, "adjoint": adjoint}
    certifier = Certifier(1.0)
    found, *_ = gradients(odeint_adjoint, t, certificate=certifier, **options)
    wanted, *_ = gradients(odeint, t, rtol=1e-11, atol=1e-11)
    groups = [(found[:1], wanted[:1]), (found[1:], wanted[1:])]
    error = max(
        float(torch.cat([(x - y).ravel() for x, y in zip(*pair, strict=True)]).norm())
        / float(torch.cat([y.ravel() for y in pair[1]]).norm())
        for pair in groups
    )
    assert 0.1 < certifier.errors[0] / error < 10


@pytest.mark.filterwarnings("ignore:.*nodes do not resolve")
@pytest.mark.parametrize("memory", [600, 300])
def test_a_budget_below_the_need_steps_and_has_fewer_nodes(memory):
    kept, wanted = kept_and_found()
    again, found = kept_and_found(memory=memory)
    assert again <= kept
    assert (again < kept) == (memory == 300)
    assert_near(found, wanted, 1e-5 if memory > 300 else 1e-2)
