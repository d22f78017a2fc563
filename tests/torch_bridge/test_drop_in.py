"""What a user of torchdiffeq relies on: names, options, tuples, callbacks, events, dense output."""

import copy
import math
import pickle
from typing import NamedTuple

import pytest
import torch
from torch import nn

from odecore.solve import Adams, Event, Status
from odecore.tableaux import catalogue, tableau
from torch_bridge import odeint, odeint_adjoint, odeint_dense, odeint_event, solve
from torch_bridge._methods import ADAMS, ADAPTIVE, FIXED, METHODS, NAMES

D = torch.float64
both = pytest.mark.parametrize("solver", [odeint, odeint_adjoint])
TIMES = torch.tensor([0.0, 0.4, 1.1], dtype=D)


class Oscillator(nn.Module):
    """q' = w p, p' = -w q, as a tuple; with all that is attached to a field counted."""

    def __init__(self, w=1.3):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=D))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        q, p = y
        return self.w * p, -self.w * q

    def exact(self, t, q, p):
        c, s = torch.cos(self.w * t), torch.sin(self.w * t)
        return c * q + s * p, c * p - s * q


def smooth(t, y):
    return torch.cos(t) * y - 0.3 * y**2


# Names.


def test_there_are_24_names():
    assert len(NAMES) == 24


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [*FIXED, *ADAMS])
def test_every_fixed_name_has_its_order(name):
    order = {"explicit_adams": 4, "implicit_adams": 5, "fixed_adams": 5}.get(name) or tableau(FIXED[name]).order  # fmt: skip
    options = {"max_order": 5} if name in ADAMS else {}
    if name in ("implicit_adams", "fixed_adams"):
        options["max_iters"] = 50
    y0 = torch.tensor([1.0, 0.4], dtype=D)
    reference = odeint(smooth, y0, TIMES[[0, 2]], rtol=1e-12, atol=1e-13)[-1]
    found = []
    for n in (40, 80) if order < 5 else (10, 20):
        grid = torch.linspace(0, 1.1, n + 1, dtype=D)
        y = odeint(smooth, y0, grid, method=name, options=options, rtol=1e-13, atol=1e-14)
        found.append(float((y[-1] - reference).abs().max()))
    assert math.log2(found[0] / found[1]) > min(order, 4.5) - 0.4 or found[1] < 1e-11


@pytest.mark.parametrize("name", ADAPTIVE)
@both
def test_every_adaptive_name_keeps_the_tolerance(name, solver):
    field = nn.Linear(2, 2).double()
    y0 = torch.tensor([1.0, 0.4], dtype=D)
    tolerance = 1e-3 if name in ("fehlberg2", "adaptive_heun") else 1e-7
    wrapped = _Field(field)
    more = {} if solver is odeint else {"nodes": 21}
    found = solver(wrapped, y0, TIMES, method=name, rtol=tolerance, atol=tolerance, **more)
    reference = odeint(wrapped, y0, TIMES, rtol=1e-11, atol=1e-12)
    assert (found - reference).abs().max() < 50 * tolerance


class _Field(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, t, y):
        return torch.tanh(self.net(y)) + torch.sin(t)


def test_scipy_solver():
    y0 = torch.tensor([1.0, 0.4], dtype=torch.float32)
    reference = odeint(smooth, y0.double(), TIMES, rtol=1e-10, atol=1e-11)
    for name in ("LSODA", "Radau", "DOP853"):
        y = odeint(smooth, y0, TIMES, method="scipy_solver", rtol=1e-6, atol=1e-7, options={"solver": name})  # fmt: skip
        assert y.dtype == torch.float32
        torch.testing.assert_close(y.double(), reference, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="LSODA"):
        odeint(smooth, y0, TIMES, method="scipy_solver", options={"solver": "Euler"})
    with pytest.raises(ValueError, match="dense output"):
        odeint_adjoint(_Field(nn.Linear(2, 2)), y0, TIMES, method="scipy_solver")


# Tuples.


@both
@pytest.mark.parametrize("method", ["dopri5", "rk4", "gl4"])
def test_tuples(solver, method):
    field = Oscillator()
    q = torch.tensor([1.0, 0.5], dtype=D, requires_grad=True)
    p = torch.tensor([[0.2], [0.7]], dtype=D, requires_grad=True)
    options = None if method == "dopri5" else {"steps": 40}
    matched = (q, p.reshape(2))
    found = solver(field, matched, TIMES, method=method, options=options, rtol=1e-9, atol=1e-10)
    assert isinstance(found, tuple)
    exact = field.exact(TIMES[:, None], q, p.reshape(2))
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.shape == (3, 2)
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)
    ours = torch.autograd.grad(found[0][-1].sum(), (q, p, field.w))
    theirs = torch.autograd.grad(exact[0][-1].sum(), (q, p, field.w))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_midpoint"])
def test_named_tuples_keep_their_kind(method):
    y0 = Pair(torch.ones(2, dtype=torch.float64, requires_grad=True), torch.ones(3).double())
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    wanted = odeint(lambda t, y: (-y[0] * y[0], y[1]), tuple(y0), t, method=method)

    def field(t, y):
        return Pair(a=-y.a * y.a, b=y.b)

    def event(t, y):
        return y.b[0] - 2

    steps = {} if method == "dopri5" else {"steps": 2}
    for found in (
        odeint(field, y0, t, method=method),
        odeint_adjoint(field, y0, t, method=method, adjoint_params=()),
    ):
        assert isinstance(found, Pair)
        torch.testing.assert_close(tuple(found), wanted, rtol=1e-6, atol=1e-6)
        found.a[-1].sum().backward()
    assert isinstance(odeint_dense(field, y0, 0.0, 1.0, method=method)(0.5), Pair)
    found = solve(field, (0, 1), y0, method="kvaerno43" if steps else "dopri5")
    assert isinstance(found.y, Pair)
    assert isinstance(odeint_event(field, y0, t[0], event_fn=event, method="dopri5")[1], Pair)


@pytest.mark.parametrize("y0", [[torch.ones(2)], {"a": torch.ones(2)}])
def test_what_a_state_may_be_is_said(y0):
    with pytest.raises(TypeError, match=r"a tensor or a tuple of tensors, got (list|dict)"):
        odeint(lambda t, y: y, y0, torch.tensor([0.0, 1.0]))


def test_tuples_of_several_shapes_and_tolerances():
    y0 = (torch.ones(2, 3, dtype=D), torch.zeros((), dtype=D))
    field = lambda t, y: (-y[0], y[0].sum())  # noqa: E731
    a, b = odeint(field, y0, TIMES, rtol=(1e-6, 1e-8), atol=(1e-9, torch.tensor(1e-9)))
    assert a.shape == (3, 2, 3)
    assert b.shape == (3,)
    torch.testing.assert_close(b[-1], torch.tensor(6 * (1 - math.exp(-1.1)), dtype=D), rtol=1e-6, atol=0)  # fmt: skip
    for bad, error, message in [
        ((torch.ones(2), torch.ones(2, device="meta")), TypeError, "on one device"),
        ((), TypeError, "empty tuple"),
        ((torch.ones(2), 3), TypeError, "must be a tensor"),
    ]:
        with pytest.raises(error, match=message):
            odeint(field, bad, TIMES)
    with pytest.raises(ValueError, match="one for each of the 2 tensors"):
        odeint(field, y0, TIMES, rtol=(1e-6, 1e-6, 1e-6))
    with pytest.raises(TypeError, match=r"`atol` must hold numbers .*, got \(1e-06, 'a'\)"):
        odeint(field, y0, TIMES, atol=(1e-6, "a"))
    with pytest.raises(ValueError, match="shapes of the state"):
        odeint(lambda t, y: (y[0], y[0]), y0, TIMES)


def test_the_norm_of_a_tuple_receives_the_tuple():
    seen = []

    def norm(error):
        seen.append(type(error))
        return max(part.abs().max() for part in error)

    odeint(Oscillator(), (torch.ones(1, dtype=D), torch.ones(1, dtype=D)), TIMES, options={"norm": norm})  # fmt: skip
    assert set(seen) == {tuple}


# Options.


def test_outputs_between_fixed_steps():
    y0 = torch.tensor([1.0], dtype=D)
    t = torch.tensor([0.0, 0.25, 1.0], dtype=D)
    step = lambda h: y0 * (1 - h)  # noqa: E731
    decay = lambda t, y: -y  # noqa: E731
    linear = odeint(decay, y0, t, method="euler", options={"step_size": 0.5})
    torch.testing.assert_close(linear[1], step(0.25))  # on the chord from 1 to 1/2
    full = odeint(decay, y0, t, method="rk4", options={"step_size": 0.5, "interp": "full"})
    cubic = odeint(decay, y0, t, method="rk4", options={"step_size": 0.5, "interp": "cubic"})
    torch.testing.assert_close(full[1], y0 * math.exp(-0.25), rtol=1e-3, atol=0)
    torch.testing.assert_close(cubic[1], y0 * math.exp(-0.25), rtol=1e-3, atol=0)
    same = odeint(decay, y0, t.flip(0), method="rk4", options={"step_size": 0.3})
    assert same.shape == (3, 1)


@both
def test_grid_constructor(solver):
    seen = []

    def grid(func, y0, t):
        seen.append(t)
        return torch.tensor([0.0, 0.1, 0.5, 1.1], dtype=D)

    field = _Field(nn.Linear(2, 2).double())
    y0 = torch.ones(2, dtype=D, requires_grad=True)
    found = solver(field, y0, TIMES[[0, 2]], method="rk4", options={"grid_constructor": grid})
    found[-1].sum().backward()
    assert len(seen) == 1
    exact = odeint(field, y0.detach(), TIMES[[0, 2]], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.detach(), exact, rtol=1e-2, atol=1e-2)
    wrong = {"grid_constructor": lambda func, y0, t: t[:-1]}
    with pytest.raises(ValueError, match="must lead from"):
        odeint(field, y0, TIMES, method="rk4", options=wrong)
    with pytest.raises(TypeError, match=r"`grid_constructor` must be callable as .*, got 3"):
        odeint(field, y0, TIMES, method="rk4", options={"grid_constructor": 3})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("perturb", [False, True])
@pytest.mark.parametrize("adjoint", [None, "restored", "reversed", "discrete"])
def test_a_grid_may_be_drawn_at_random(adjoint, perturb):
    def grid(func, y0, t):
        inner = torch.rand(20, dtype=D).sort().values * (t[-1] - t[0])
        return torch.cat([t[:1], t[0] + inner, t[-1:]])

    torch.manual_seed(0)
    field, y0 = _Field(nn.Linear(2, 2).double()), torch.ones(2, dtype=D)
    weight = tuple(field.parameters())
    options = {"method": "rk4", "options": {"grid_constructor": grid, "perturb": perturb}}
    found = odeint_adjoint(field, y0, TIMES, adjoint=adjoint, **options)
    exact = odeint(field, y0, TIMES, rtol=1e-9, atol=1e-9)
    found, exact = (torch.autograd.grad(y[-1].sum(), weight) for y in (found, exact))
    torch.testing.assert_close(found, exact, rtol=1e-2, atol=1e-3)


def test_perturb_and_jumps():
    jump = lambda t, y: torch.where(t < 0.5, 1.0, -2.0) * torch.ones_like(y)  # noqa: E731
    t = torch.tensor([0.0, 1.0])
    for dtype in (torch.float32, D):
        y0 = torch.zeros(1, dtype=dtype)
        adaptive = odeint(jump, y0, t, options={"jump_t": torch.tensor([0.5])}, rtol=1e-5, atol=1e-6)  # fmt: skip
        assert float(adaptive[-1]) == pytest.approx(-0.5, abs=1e-6)
        fixed = odeint(jump, y0, t, method="rk4", options={"step_size": 0.25, "perturb": True})
        assert float(fixed[-1]) == pytest.approx(-0.5, abs=1e-6)
        plain = odeint(jump, y0, t, method="rk4", options={"step_size": 0.25})
        assert abs(float(plain[-1]) + 0.5) > 0.05
    with pytest.raises(ValueError, match=r"`perturb` evaluates .* and not of `steps`"):
        odeint(jump, y0, t, method="rk4", options={"steps": 4, "perturb": True})


def test_options_of_adaptive_steps_reach_the_solver():
    calls = []

    def field(t, y):
        calls.append(float(t))
        return -y

    y0 = torch.ones(1, dtype=D)

    def count(**options):
        calls.clear()
        odeint(field, y0, TIMES, rtol=1e-6, atol=1e-6, options=options)
        return len(calls)

    base = count()
    assert count(max_step=0.01) > 5 * base
    assert count(first_step=1e-6) > base
    assert count(safety=0.3) > base
    assert count(ifactor=1.01) > base
    assert count(controller="PI") != base
    assert count(step_t=torch.tensor([0.1, 0.2, 0.3])) > base
    assert count(min_step=0.4) < base
    with pytest.raises(ValueError, match=r"torch\.float64"):
        count(dtype=torch.float32)
    with pytest.raises(ValueError, match="got both"):
        count(controller="PI", safety=0.5)
    with pytest.raises(ValueError, match="exclude each other"):
        odeint(field, y0, TIMES, method="rk4", options={"step_size": 0.1, "steps": 3})
    with pytest.raises(ValueError, match="`interp` must be one of"):
        odeint(field, y0, TIMES, method="rk4", options={"step_size": 0.1, "interp": "spline"})


# Callbacks.


@pytest.mark.parametrize("flip", [False, True])
def test_callbacks(flip):
    class Watched(_Field):
        def __init__(self):
            super().__init__(nn.Linear(2, 2).double())
            self.seen = {"step": [], "accept": [], "reject": []}

        def callback_step(self, t0, y0, dt):
            self.seen["step"].append((float(t0), float(dt), y0.shape))

        def callback_accept_step(self, t0, y0, dt):
            self.seen["accept"].append(float(t0))

        def callback_reject_step(self, t0, y0, dt):
            self.seen["reject"].append(float(t0))

    field = Watched()
    t = TIMES.flip(0) if flip else TIMES
    odeint(field, torch.ones(3, 2, dtype=D), t, options={"first_step": 5.0}, rtol=1e-9, atol=1e-9)
    seen = field.seen
    assert len(seen["accept"]) + len(seen["reject"]) == len(seen["step"])
    assert seen["reject"]
    assert seen["step"][0] == (float(t[0]), pytest.approx(1.1), (3, 2))
    assert sorted(seen["accept"], reverse=flip) == seen["accept"]
    assert all(dt > 0 for _, dt, _ in seen["step"])


def test_adjoint_callbacks_are_called_in_the_backward_pass():
    field = _Field(nn.Linear(2, 2).double())
    seen = []
    field.callback_step_adjoint = lambda t0, y0, dt: seen.append(y0.shape)
    y = odeint_adjoint(field, torch.ones(3, 2, dtype=D), TIMES)
    assert not seen
    y[-1].sum().backward()
    assert set(seen) == {(3, 2)}


# Adjoint options.


def test_adjoint_norms():
    field = _Field(nn.Linear(2, 2).double())
    y0 = torch.ones(3, 2, dtype=D, requires_grad=True)
    sizes = []

    def norm(parts):
        sizes.append([tuple(part.shape) for part in parts])
        return max(part.abs().max() for part in parts)

    found = odeint_adjoint(field, y0, TIMES, adjoint_options={"norm": "seminorm"})
    assert found.grad_fn.adjoint_options == {"norm": "seminorm"}
    found.grad_fn.adjoint_options["norm"] = norm
    found[-1].sum().backward()
    assert sizes[0] == [(), (3, 2), (3, 2), (2, 2), (2,)]
    pair = odeint_adjoint(Oscillator(), (y0[0], y0[1]), TIMES)
    node = pair[0].grad_fn
    while not hasattr(node, "adjoint_options"):
        node = node.next_functions[0][0]
    assert node.adjoint_options == {}


# Events.


def ball(t, y):
    return torch.stack([y[1], torch.full_like(y[1], -9.81)])


@pytest.mark.parametrize("method", ["dopri5", "rk4", "gl4"])
def test_the_time_of_an_event_and_its_gradient(method):
    options = None if method == "dopri5" else {"step_size": 0.05}
    t0 = torch.tensor(0.2, dtype=D, requires_grad=True)
    y0 = torch.tensor([10.0, 5.0], dtype=D, requires_grad=True)
    level = torch.tensor(1.0, dtype=D, requires_grad=True)
    event_t, y = odeint_event(
        ball, y0, t0, event_fn=lambda t, y: y[0] - level, method=method, options=options
    )
    root = torch.sqrt(y0[1] ** 2 + 2 * 9.81 * (y0[0] - level))
    exact = t0 + (y0[1] + root) / 9.81
    torch.testing.assert_close(event_t, exact, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(y[1], torch.stack([level, -root]), rtol=1e-8, atol=1e-8)
    for ours, theirs in [(event_t, exact), (y[1, 1], -root)]:
        found = torch.autograd.grad(ours, (t0, y0, level), retain_graph=True, allow_unused=True)
        wanted = torch.autograd.grad(theirs, (t0, y0, level), retain_graph=True, allow_unused=True)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-6, atol=1e-8)  # fmt: skip


def test_events_of_tuples_backwards_and_of_several_outputs():
    field = Oscillator(1.0)
    y0 = (torch.ones(1, dtype=D), torch.zeros(1, dtype=D))
    event_t, (_, p) = odeint_event(
        field, y0, torch.tensor(0.0, dtype=D), event_fn=lambda t, y: torch.cat([y[0], y[1] - 0.5]),
        reverse_time=True,
    )  # fmt: skip
    # Back in time p = -sin t rises to 1/2 at t = -pi/6, before q = cos t vanishes.
    assert event_t.item() == pytest.approx(-math.pi / 6, abs=1e-7)
    assert p[1].item() == pytest.approx(0.5, abs=1e-7)
    (gradient,) = torch.autograd.grad(event_t, field.w)
    assert float(gradient) == pytest.approx(math.pi / 6, rel=1e-6)
    event_t, y = odeint(ball, torch.tensor([1.0, 0.0], dtype=D), torch.tensor([0.0, 1.0], dtype=D), event_fn=lambda t, y: y[0])  # fmt: skip
    assert y.shape == (2, 2)
    assert event_t.item() == pytest.approx(math.sqrt(2 / 9.81), rel=1e-7)


def test_an_event_in_given_steps_needs_their_size():
    with pytest.raises(ValueError, match="`step_size`"):
        odeint_event(
            ball, torch.ones(2), torch.tensor(0.0), event_fn=lambda t, y: y[0], method="rk4"
        )


# Dense output and the full trajectory.


def test_dense_output_with_gradients():
    field = Oscillator()
    y0 = (torch.tensor([1.0], dtype=D, requires_grad=True), torch.tensor([0.2], dtype=D))
    solution = odeint_dense(field, y0, 0.0, 2.0)
    t = torch.tensor([0.3, 1.7], dtype=D, requires_grad=True)
    q, _ = solution(t)
    exact, _ = field.exact(t[:, None], *y0)
    torch.testing.assert_close(q, exact, rtol=1e-6, atol=1e-7)
    ours = torch.autograd.grad(q.sum(), (y0[0], field.w, t))
    theirs = torch.autograd.grad(exact.sum(), (y0[0], field.w, t))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert solution(1.0)[0].shape == (1,)
    with pytest.raises(ValueError, match="not extrapolated"):
        solution(2.5)
    fixed = odeint_dense(ball, torch.tensor([1.0, 0.0], dtype=D), 0.0, 1.0, method="rk4", options={"step_size": 0.1})  # fmt: skip
    assert float(fixed(0.55)[0]) == pytest.approx(1 - 9.81 * 0.55**2 / 2, abs=1e-12)


def test_dense_output_moves_with_its_first_time():
    y0 = torch.tensor([0.7, -0.3], dtype=D)
    field = lambda t, y: torch.cos(3 * t) * y  # noqa: E731
    exact = lambda t0, t: y0 * torch.exp((torch.sin(3 * t) - torch.sin(3 * t0)) / 3)  # noqa: E731
    t0, t = (torch.tensor(x, dtype=D, requires_grad=True) for x in (0.2, [0.5, 1.1]))
    for wrapped in (t0, t0.reshape(1)):
        found = odeint_dense(field, y0, wrapped, 2.0, rtol=1e-9, atol=1e-9)(t)
        ours = torch.autograd.grad(found[0].sum() - 2 * found[1].sum(), (t0, t))
        true = exact(t0, t[:, None])
        theirs = torch.autograd.grad(true[0].sum() - 2 * true[1].sum(), (t0, t))
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)
    found = torch.func.jacrev(lambda t0: odeint_dense(field, y0, t0, 2.0)(1.0))(t0.detach())
    assert found.shape == (2,)
    with pytest.raises(TypeError, match="`t1` must be one time"):
        odeint_dense(field, y0, 0.0, torch.tensor([1.0, 2.0]))
    for wrong in ("0", None):
        with pytest.raises(TypeError, match=f"`t0` must be one time, got {wrong!r}"):
            odeint_dense(field, y0, wrong, 1.0)


@pytest.mark.parametrize(
    ("name", "method"),
    [("step_size", "rk4"), ("step_size", "euler"), ("steps", "rk4"), ("jump_t", None)]
    + [(name, None) for name in ("first_step", "min_step", "max_step", "step_t", "dfactor")]
    + [("rtol", None), ("atol", None)],
)
def test_options_that_are_read_refuse_derivatives(name, method):
    number, y0 = torch.tensor(0.25, dtype=D), torch.tensor([0.7, -0.3], dtype=D)

    def solved(x):
        given = {name: x} if name in ("rtol", "atol") else {"options": {name: x}}
        return odeint(smooth, y0, TIMES, method=method, **given)[-1]

    told = pytest.raises(ValueError, match=f"`{name}` must not require a gradient, or have a tan")
    with told:
        solved(number.clone().requires_grad_())
    with told:
        torch.func.jvp(solved, (number,), (number,))
    with told:
        torch.func.grad(lambda x: solved(x).sum())(number)
    if name != "steps":
        with torch.no_grad():  # where nothing is recorded
            solved(number.clone().requires_grad_())
    if name in ("jump_t", "step_t"):
        with told:
            solved([number, number.clone().requires_grad_() * 2])


def test_tolerances_that_are_read_refuse_derivatives():
    for given in (torch.tensor(0.1, dtype=D), torch.tensor([0.1, 0.2], dtype=D)):
        for name in ("rtol", "atol"):
            solved = lambda x: solve(smooth, (0, 1), torch.ones(2, dtype=D), **{name: x}).y  # noqa: B023, E731
            solved(given)
            with pytest.raises(TypeError, match=f"`{name}` is read, and gets no gradient"):
                solved(given.clone().requires_grad_())
            with pytest.raises(TypeError, match=f"`{name}` is read, and gets no gradient"):
                torch.func.jvp(solved, (given,), (given,))


@pytest.mark.parametrize("name", ["t_span", "t_eval", "step_at", "jump_at"])
def test_times_that_are_read_refuse_a_gradient(name):
    times = torch.tensor([0.0, 1.0], dtype=D, requires_grad=True)
    for given in (times, list(times), (0.0, times[1] * 1)):
        options = {name: given} if name != "t_span" else {}
        span = given if name == "t_span" else (0.0, 1.0)
        with pytest.raises(TypeError, match=f"`{name}` is read, and gets no gradient"):
            solve(lambda t, y: -y, span, torch.ones(2, dtype=D), **options)
        for unrecorded in (torch.no_grad(), torch.inference_mode()):
            with unrecorded:
                found = solve(lambda t, y: -y, span, torch.ones(2, dtype=D), dense=True, **options)
                assert torch.allclose(found.y[-1], torch.exp(-times[1]))
                assert torch.allclose(found.dense(times)[-1], torch.exp(-times[1]))


def test_times_without_values_are_not_read():
    times = torch.tensor([0.0, 1.0], dtype=D, requires_grad=True, device="meta")
    for given in (times, list(times)):
        y0 = torch.ones(2, dtype=D, device="meta")
        found = solve(lambda t, y: -y, given, y0, method="classic", steps=2)
        assert found.y.shape == (3, 2)


def test_solve_returns_the_trajectory():
    stiff = lambda t, y: -1000 * (y - torch.cos(t))  # noqa: E731
    found = solve(stiff, (0, 1), torch.zeros(2, dtype=D), method="kvaerno43", rtol=1e-6)
    assert found.statistics.newton > 0
    assert found.statistics.accepted < 200
    event = Event(lambda t, y: y[0][0], terminal=True)
    pair = solve(Oscillator(1.0), (0, 9), (torch.ones(1, dtype=D), torch.zeros(1, dtype=D)), events=event, rtol=1e-9)  # fmt: skip
    assert pair.status is Status.EVENT
    assert pair.t[-1] == pytest.approx(math.pi / 2, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("method", ["dopri5", "gl4"])
def test_complex_states_and_their_gradient(dtype, method):
    w = torch.tensor(1.3, dtype=dtype, requires_grad=True)
    y0 = torch.tensor([1.0 + 0.5j], dtype=dtype)
    options = None if method == "dopri5" else {"steps": 20}
    y = odeint(lambda t, y: 1j * w * y, y0, torch.tensor([0.0, 1.0]), method=method, rtol=1e-5, atol=1e-6, options=options)  # fmt: skip
    exact = y0 * torch.exp(1j * w)
    torch.testing.assert_close(y[-1], exact, rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad(v.abs().sum() + v.real.sum(), w)[0] for v in (y[-1], exact))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [*METHODS, "RK4"])
def test_the_catalogue_knows_torchdiffeqs_names_as_the_bridge_does(name):
    ours = METHODS[name.lower() if name == "RK4" else name]
    if name in catalogue():
        assert name == ours
        return
    books = ", and that of most books 'classic'" if ours == "three_eighths" else ""
    with pytest.raises(ValueError, match=f"torchdiffeq's is '{ours}' here{books}$"):
        tableau(name)


@pytest.mark.parametrize("entries", [2, 500])
@pytest.mark.parametrize("method", ["dopri5", "kvaerno43", Adams()], ids=["dopri5", "kvaerno43", "Adams"])  # fmt: skip
def test_trajectories_with_dense_output_cross_processes(method, entries):
    y0 = torch.full((entries,), 0.5, dtype=D)
    for func, state in ((smooth, y0), (Oscillator(), (y0, 2 * y0))):
        found = solve(func, (0.0, 1.0), state, method=method, dense=True, steps=5)
        with torch.no_grad():
            copies = [pickle.loads(pickle.dumps(found))]  # noqa: S301
            if func is smooth:  # torch does not copy what has a history
                copies.append(copy.deepcopy(found))
            for again in copies:
                torch.testing.assert_close(again.dense(0.37), found.dense(0.37), rtol=0, atol=0)
