"""What users of torchdiffeq write besides the plain call."""

import math
import warnings
from functools import partial

import pytest
import torch

from odecore.errors import CallbackWarning
from torch_bridge import odeint, odeint_adjoint, odeint_event

T = torch.tensor([0.0, 1.0], dtype=torch.float64)


def ones(n):
    return torch.ones(n, dtype=torch.float64)


@pytest.mark.parametrize("t0", [0.0, 3.0, -1e9])
def test_an_event_may_end_at_a_fixed_time(t0):
    """As in torchdiffeq's example learn_physics: a value without a history, behind a time."""
    rate = ones(()).requires_grad_()
    start = torch.tensor(t0, dtype=torch.float64)

    def event_fn(t, y):
        return torch.zeros_like(t) if t > t0 + 2 else y[0]

    time, y = odeint_event(lambda t, y: -rate * y, ones(2), start, event_fn=event_fn)
    assert time.item() == pytest.approx(t0 + 2, rel=1e-12, abs=1e-6)
    assert y.requires_grad
    with pytest.raises(RuntimeError, match="event_fn"):  # nothing says how the time moves
        time.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="event_fn"):
        y[-1].sum().backward()


@pytest.mark.parametrize("event_fn", [
    lambda t, y: (y[0] - 0.5).detach(),
    lambda t, y: torch.where(y[0] > 0.5, 1.0, -1.0),
    lambda t, y: 0 * (t + y[0]) + (1.0 if y[0] > 0.5 else -1.0),
])  # fmt: skip
def test_an_event_without_a_derivative_is_found_and_its_gradient_refused(event_fn):
    y0 = ones(1).requires_grad_()
    time, _ = odeint_event(lambda t, y: -y, y0, T[0], event_fn=event_fn, atol=1e-9, rtol=1e-9)
    assert time.item() == pytest.approx(0.6931471805599453, abs=1e-6)
    with pytest.raises(RuntimeError, match="event_fn"):
        time.backward()


@pytest.mark.parametrize("cast", [torch.float32, torch.float64])
def test_the_direction_of_an_event_survives_a_cast(cast):
    """From t0 = 0 the second time is not the smallest number beside it."""

    def interface(func, y0, t, **options):
        assert abs(float(t[1] - t[0])) >= 1
        return odeint(func, y0, t.to(cast), **options)

    for reverse, end in ((False, 0.5), (True, 2.0)):
        time, _ = odeint_event(
            lambda t, y: -y, ones(2), T[0], event_fn=lambda t, y, end=end: y[0] - end,
            reverse_time=reverse, odeint_interface=interface,
        )  # fmt: skip
        assert float(time) == pytest.approx((-1) ** reverse * 0.6931471805599453, abs=1e-5)


def test_a_tensor_holds_one_tolerance_for_each_part():
    def run(rtol):
        return odeint(lambda t, y: (-y[0], -y[1].cos()), (ones(2), ones(1)), T, rtol=rtol, atol=0.1)

    by_list, by_tensor = run([1e-3, 1e-5]), run(torch.tensor([1e-3, 1e-5], dtype=T.dtype))
    assert all(torch.equal(a, b) for a, b in zip(by_list, by_tensor, strict=True))
    assert not torch.equal(by_list[0], run(0.5)[0])


def test_a_tolerance_of_another_dtype_is_converted():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = odeint(
            lambda t, y: -y, torch.ones(2), T, rtol=torch.tensor([1e-3, 1e-5], dtype=torch.float64)
        )
    assert y.dtype == torch.float32


def test_callbacks_that_scipy_can_not_call_warn():
    class Decay(torch.nn.Module):
        def forward(self, t, y):
            return -y

        def callback_step(self, t, y, dt):
            raise AssertionError

    with pytest.warns(CallbackWarning, match="callback_step"):
        odeint(Decay(), ones(1), T, method="scipy_solver")


@pytest.mark.parametrize("solver", ["LSODA", "Radau"])
def test_scipys_solvers_have_gradients_by_the_reversed_adjoint(solver):
    class Decay(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(0.7 * ones(()))

        def forward(self, t, y):
            return -self.k * y[0], -2 * self.k * y[1]

    func, y0 = Decay(), (ones(2).requires_grad_(), ones(1))
    options = {"method": "scipy_solver", "options": {"solver": solver}, "rtol": 1e-9, "atol": 1e-9}
    backward = {"adjoint_method": "dopri5", "adjoint_options": {}}
    y = odeint_adjoint(func, y0, T, adjoint="reversed", **options, **backward)
    (y[0][-1].sum() + y[1][-1].sum()).backward()
    decay = torch.exp(-0.7 * T[1])
    torch.testing.assert_close(y0[0].grad, decay.expand(2), rtol=1e-6, atol=0)
    torch.testing.assert_close(func.k.grad, -2 * decay - 2 * decay**2, rtol=1e-6, atol=0)
    for refused in (
        backward,
        {"adjoint": "reversed"},
        {"certificate": True, "adjoint": "reversed"},
    ):
        with pytest.raises(ValueError, match="adjoint_method"):
            odeint_adjoint(func, y0, T, **options, **refused)


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete", None])
def test_the_time_of_an_event_is_held_aloud(adjoint):
    """exp(-k (t - t0)) at the time at which it is 1/2; `odeint_event` moves it."""
    k, y0 = (0.7 * ones(())).requires_grad_(), ones(1).requires_grad_()
    t = torch.tensor([0.1, 1.0], dtype=T.dtype, requires_grad=True)
    more = {} if adjoint is None else {"adjoint": adjoint, "adjoint_params": [k]}
    solve = partial(odeint if adjoint is None else odeint_adjoint, **more)

    def run(y0):
        parts = {"event_fn": lambda t, y: y[0][0] - 0.5}
        return solve(lambda t, y: (-k * y[0], 0 * y[1]), (y0, ones(1)), t, **parts)

    time, (y, _) = run(y0)
    found = torch.autograd.grad(y[-1].sum(), (y0, k, t), retain_graph=True)
    held = math.log(2) / 0.7
    wanted = 0.5 * ones(1), -0.5 * held * ones(()), torch.tensor([0.35, 0.0], dtype=T.dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert time.requires_grad is (adjoint is not None)
    if adjoint is not None:
        with pytest.raises(RuntimeError, match="odeint_event"):
            (time + y[-1].sum()).backward()
    assert time.detach().item() == pytest.approx(0.1 + held, abs=1e-5)
    assert run(y0.detach())[0].requires_grad is (adjoint is not None)  # by its parameter


def test_torchdiffeqs_odeint_event_finds_the_gradient_with_our_solver():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    y0 = ones(1).requires_grad_()
    interface = partial(odeint_adjoint, adjoint_params=())
    time, _ = torchdiffeq.odeint_event(
        lambda t, y: -y, y0, T[0], event_fn=lambda t, y: y - 0.5, odeint_interface=interface
    )
    time.backward()
    assert y0.grad.item() == pytest.approx(1, abs=1e-5)


class Density(torch.nn.Module):
    """The flow y' = W y with its log determinant, by a derivative inside."""

    def __init__(self):
        super().__init__()
        self.W = torch.nn.Parameter(torch.tensor([[0.3, -0.2], [0.5, -0.1]], dtype=T.dtype))

    def forward(self, t, state):
        dz, trace = self.divergence(state[0])
        return dz, -trace

    def divergence(self, z):
        with torch.enable_grad():
            if not z.requires_grad:
                z.requires_grad_(True)
            dz = z @ self.W.T
            rows = [torch.autograd.grad(dz[:, k].sum(), z, create_graph=True)[0] for k in (0, 1)]
        return dz, rows[0][:, :1] + rows[1][:, 1:]


@pytest.mark.parametrize("adjoint", [None, "restored", "reversed", "discrete"])
def test_learned_times_go_with_a_derivative_inside_of_func(adjoint):
    func, times = Density(), T.clone().requires_grad_()
    z = ones((4, 2)).requires_grad_()
    y0 = z, torch.zeros(4, 1, dtype=T.dtype)
    solve = odeint if adjoint is None else partial(odeint_adjoint, adjoint=adjoint)
    points, change = solve(func, y0, times, method="rk4", options={"steps": 20})
    found = torch.autograd.grad(points[-1].sum() + change[-1].sum(), (z, times, func.W))

    end = T.clone().requires_grad_()
    flow = torch.linalg.matrix_exp(func.W * (end[1] - end[0]))
    exact = (z @ flow.T).sum() - 4 * func.W.trace() * (end[1] - end[0])
    wanted = torch.autograd.grad(exact, (z, end, func.W))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_events_go_with_a_derivative_inside_of_event_fn(solve):
    func, z = Density(), ones((4, 2)).requires_grad_()

    def event_fn(t, state):
        return t - 0.5 * func.divergence(state[0])[1].mean() / func.W.trace()

    time, (points, _) = odeint_event(
        func, (z, torch.zeros(4, 1, dtype=T.dtype)), T[0], event_fn=event_fn,
        odeint_interface=solve, method="rk4", options={"step_size": 0.05},
    )  # fmt: skip
    assert time.item() == pytest.approx(0.5, abs=1e-9)
    (found,) = torch.autograd.grad(points[-1].sum(), z)
    wanted = torch.linalg.matrix_exp(func.W.detach() / 2).sum(0).expand(4, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
