"""Callbacks of the backward solve see what torchdiffeq's do, or what is documented, or warn."""

import pytest
import torch

from odecore.errors import CallbackWarning
from torch_bridge import odeint_adjoint

T = torch.tensor([0.0, 0.5, 1.5], dtype=torch.float64)
NAMES = [f"callback_{what}step_adjoint" for what in ("", "accept_", "reject_")]


def ones(n):
    return torch.ones(n, dtype=torch.float64)


class Decay(torch.nn.Module):
    def __init__(self, names=NAMES[:1]):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor([0.7, 0.2], dtype=torch.float64))
        self.seen = []
        for name in names:
            setattr(self, name, lambda *call: self.seen.append(call))

    def forward(self, t, y):
        if isinstance(y, tuple):
            return -self.k * t * y[0], self.k[0] * y[1] * y[0].sum()
        return -self.k * t * y


def seen_by(solve, start, t, **options):
    func = Decay()
    given = {"method": "rk4", "options": {"step_size": 0.5}, **options}
    y = solve(func, start, t, **given)
    assert not func.seen
    parts = y if isinstance(y, tuple) else (y,)
    sum(3.0 * part.square().sum() for part in parts).backward()
    return func.seen


@pytest.mark.parametrize("start", [ones(2), (ones(2), ones(1))], ids=["tensor", "tuple"])
def test_reversed_steps_are_torchdiffeqs(start):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    theirs = seen_by(torchdiffeq.odeint_adjoint, start, T)
    ours = seen_by(odeint_adjoint, start, T, adjoint="reversed")
    assert len(ours) == len(theirs) == 3
    for (t, state, dt), (t1, (_, *state1), dt1) in zip(ours, theirs, strict=True):
        assert (float(t), float(dt)) == (float(t1), float(dt1))
        assert state[0] == 0.0  # theirs is what is left of a gradient that nobody asked for
        torch.testing.assert_close(list(state[1:]), state1, rtol=1e-13, atol=1e-13)


def test_reversed_steps_have_the_gradient_of_time_where_it_is_wanted():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    fine = {"options": {"step_size": 0.05}}
    theirs = seen_by(torchdiffeq.odeint_adjoint, ones(2), T.clone().requires_grad_(), **fine)
    times = T.clone().requires_grad_()
    ours = seen_by(odeint_adjoint, ones(2), times, adjoint="reversed", **fine)
    found = [torch.stack([call[1][0] for call in calls]) for calls in (ours, theirs)]
    assert found[0].abs().min() > 0.01
    torch.testing.assert_close(*found, rtol=1e-5, atol=0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("start", [ones(2), (ones(2), ones(1))], ids=["tensor", "tuple"])
def test_restored_steps_see_the_adjoint_in_the_users_time_and_unit(start, flip):
    t = T.flip(0) if flip else T
    fine = {"options": {"step_size": 0.05}}
    restored = seen_by(odeint_adjoint, start, t, **fine)
    steps = seen_by(odeint_adjoint, start, t, adjoint="reversed", **fine)
    assert len(restored) == len(steps) == 30
    for (t0, a, dt), (t1, (_, _, a1, _), dt1) in zip(restored, steps, strict=True):
        assert float(t0) == pytest.approx(float(t1), abs=1e-14)
        assert float(dt) == pytest.approx(float(dt1), abs=1e-14)
        assert isinstance(a, tuple) == isinstance(start, tuple)
        flat = torch.cat(a) if isinstance(a, tuple) else a
        torch.testing.assert_close(flat, a1, rtol=1e-5, atol=0)


@pytest.mark.parametrize("adjoint", ["restored", "reversed"])
def test_adaptive_steps_are_counted(adjoint):
    func = Decay(NAMES)
    calls = dict.fromkeys(NAMES, 0)
    for name in NAMES:

        def count(t, state, dt, name=name):
            calls[name] += 1

        setattr(func, name, count)
    odeint_adjoint(func, ones(2), T, adjoint=adjoint)[-1].sum().backward()
    assert calls[NAMES[0]] == calls[NAMES[1]] + calls[NAMES[2]] > 2


@pytest.mark.parametrize("options", [{"adjoint": "discrete"}, {"adjoint_method": "collocation"}])
def test_adjoints_without_steps_of_their_own_warn(options):
    func = Decay()
    with pytest.warns(CallbackWarning, match="callback_step_adjoint") as found:
        y = odeint_adjoint(func, ones(2), T, **options)
    assert found[0].filename == __file__
    y[-1].sum().backward()
    assert not func.seen


def test_callbacks_that_scipy_can_not_call_in_the_forward_pass_warn():
    func = Decay(["callback_step"])
    scipy = {"method": "scipy_solver", "options": {"solver": "RK45"}, "adjoint": "reversed"}
    with pytest.warns(CallbackWarning, match="callback_step will") as found:
        odeint_adjoint(func, ones(2), T, adjoint_method="dopri5", adjoint_options={}, **scipy)
    assert found[0].filename == __file__
