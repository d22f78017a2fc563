"""Small states are collocated, larger ones stepped through in groups of nodes: one gradient."""

import math

import pytest
import torch
from torch import nn

from torch_bridge import Certifier, _restored_adjoint, odeint, odeint_adjoint

SMALL = 2**14  # bytes, as documented


class Rotation(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[-0.1, 1.0], [-1.0, -0.1]], dtype=dtype))

    def forward(self, t, y):
        return torch.tanh(y @ self.matrix) + torch.cos(t)


class Stiff(nn.Module):
    """x follows c cos(z) within 1e-4 of time."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        x, z = y
        return torch.stack([-1e4 * (x - self.c * torch.cos(z)), 1 - z * z / 10])


def state(size, dtype):
    """Of so many bytes."""
    n = size // torch.empty((), dtype=dtype).element_size()
    return torch.linspace(-1, 1, n, dtype=dtype).reshape(-1, 2)


@pytest.fixture
def seen(monkeypatch):
    """Which of the two solved backwards, and in which groups of nodes."""
    found = []

    def watched(name):
        solve = getattr(_restored_adjoint, name)

        def watching(*arguments, **options):
            found.append((name, options.get("batch")))
            return solve(*arguments, **options)

        monkeypatch.setattr(_restored_adjoint, name, watching)

    watched("collocated")
    watched("restored")
    return found


def gradients(solve, y, times, **options):
    field = Rotation(y.dtype)
    y = y.clone().requires_grad_()
    solution = solve(field, y, torch.linspace(0, 1, times, dtype=y.dtype), **options)
    weights = torch.linspace(-1, 1, solution.numel(), dtype=y.dtype).reshape(solution.shape)
    return torch.autograd.grad((weights * solution).sum(), [y, field.matrix])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("size", "options", "way"),
    [
        (SMALL, {}, ("collocated", None)),
        (SMALL + 16, {}, ("restored", 63)),
        (4 * SMALL, {}, ("restored", 16)),
        (16 * SMALL, {}, ("restored", 4)),
        (4 * SMALL, {"adjoint_method": "collocation"}, ("collocated", None)),
        (16 * SMALL, {"memory": float("inf")}, ("restored", 4)),
        (SMALL, {"memory": 10**9}, ("collocated", None)),
        (4 * SMALL, {"method": "kvaerno54", "adjoint": "restored"}, ("collocated", None)),
        (32, {"adjoint_method": "dopri5"}, ("restored", None)),
        (4 * SMALL, {"adjoint_method": "dopri5"}, ("restored", 16)),
    ],
)
def test_the_size_of_a_state_decides(seen, dtype, size, options, way):
    gradients(odeint_adjoint, state(size, dtype), 2, rtol=1e-2, atol=1e-2, **options)
    assert seen == [way]


@pytest.mark.parametrize("size", [SMALL, SMALL + 16, 4 * SMALL])
def test_the_gradient_is_the_same(size):
    y = state(size, torch.float64)
    found = gradients(odeint_adjoint, y, 2, rtol=1e-6, atol=1e-6)
    exact = gradients(odeint, y, 2, rtol=1e-7, atol=1e-7)
    for g, e in zip(found, exact, strict=True):
        assert torch.linalg.vector_norm(g - e) < 2e-5 * torch.linalg.vector_norm(e)


def test_many_output_times_are_collocated_for_larger_states(seen):
    y = state(2 * SMALL, torch.float64)
    found = gradients(odeint_adjoint, y, 33, rtol=1e-6, atol=1e-6)
    assert seen == [("collocated", None)]
    exact = gradients(odeint, y, 33, rtol=1e-7, atol=1e-7)
    for g, e in zip(found, exact, strict=True):
        assert torch.linalg.vector_norm(g - e) < 2e-5 * torch.linalg.vector_norm(e)


@pytest.mark.parametrize("method", ["kvaerno43", pytest.param("kvaerno54", marks=pytest.mark.long)])
def test_stiff_problems_are_stepped_through_by_implicit_steps(method):
    # Stability asks 6,000 explicit steps of the adjoint, in 38,000 evaluations.
    field, y0 = Stiff(), torch.tensor([1.0, 0.0], dtype=torch.float64)
    t = torch.tensor([0.0, 2.0], dtype=torch.float64)
    options = {"method": method, "rtol": 1e-5, "atol": 1e-7}
    y = odeint_adjoint(field, y0, t, adjoint="restored", **options)
    field.calls = 0
    y[-1, 0].backward()
    assert field.calls < 6000
    z = 10**0.5 * math.tanh(2 / 10**0.5)
    exact = math.cos(z) + 1e-4 * (1 - z * z / 10) * math.sin(z)  # x lags behind
    assert float(field.c.grad) == pytest.approx(exact, rel=1e-4)


def test_the_transpose_of_steps_that_do_not_damp_is_far_from_the_flow():
    # R(inf) = 0.72 for kvaerno43. The state asks for eight steps; its derivative begins off its
    # slow curve, and six hundredths of the distance are left at the end.
    field, y0 = Stiff(), torch.tensor([1.0, 0.0], dtype=torch.float64)
    t = torch.tensor([0.0, 2.0], dtype=torch.float64)
    options = {"method": "kvaerno43", "rtol": 1e-5, "atol": 1e-7}
    y = odeint_adjoint(field, y0, t, adjoint="discrete", **options)
    y[-1, 0].backward()
    z = 10**0.5 * math.tanh(2 / 10**0.5)
    assert abs(float(field.c.grad) - math.cos(z)) > 0.03


@pytest.mark.long
def test_their_certificates_take_implicit_steps_too():
    certifier, field = Certifier(limit=1e-2), Stiff()
    y0, t = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    options = {"method": "kvaerno43", "rtol": 1e-4, "atol": 1e-6, "certificate": certifier}
    y = odeint_adjoint(field, y0, t, **options)
    field.calls = 0
    y[-1, 0].backward()
    assert field.calls < 12000
    z = 10**0.5 * math.tanh(2 / 10**0.5)
    exact = math.cos(z) + 1e-4 * (1 - z * z / 10) * math.sin(z)
    assert certifier.errors[0] == pytest.approx(abs(float(field.c.grad) / exact - 1), rel=0.5)


def test_a_budget_counts_what_one_evaluation_saves(seen):
    func, y0 = Rotation(torch.float64), state(2**15, torch.float64).requires_grad_()
    memory = 21 * 2**15  # of states and tanh of them at 10 nodes, and half of those at one more
    y = odeint_adjoint(func, y0, torch.tensor([0.0, 1.0]), rtol=1e-5, atol=1e-5, memory=memory)
    y[-1].sum().backward()
    assert seen == [("restored", 10)]
