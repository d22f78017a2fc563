"""Habits of torchdiffeq's users that are easy to break; values from torchdiffeq 0.2.5 where named."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from odecore.errors import MaxStepsError
from odecore.solve import Adams
from torch_bridge import check_rhs, odeint, odeint_adjoint, odeint_event, solve

D = torch.float64
Y = torch.tensor([[0.3, -0.5], [1.0, 0.2]], dtype=D)
T = torch.linspace(0, 1.3, 6, dtype=D)


class Hamiltonian(nn.Module):
    """Differentiates inside, with leaves of its own."""

    def __init__(self, kind):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.4, -0.7]], dtype=D))
        self.kind = kind

    def forward(self, t, y):
        with torch.enable_grad():
            if self.kind == "t":
                t.requires_grad_(True)
                return torch.tanh(y @ self.weight.T) * y * t
            y = y.requires_grad_(True) if self.kind == "y" else y.detach().requires_grad_(True)
            energy = torch.tanh(y @ self.weight.T).sum()
            (g,) = torch.autograd.grad(energy, y, create_graph=True)
            return g.flip(-1)


@pytest.mark.parametrize("kind", ["y", "t", "detached"])
def test_fields_that_make_leaves_have_adjoints(kind):
    found = []
    for solver in (odeint, odeint_adjoint):
        func = Hamiltonian(kind)
        solver(func, Y.clone(), T)[-1].sum().backward()
        found.append(func.weight.grad)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-8)
    assert found[1].abs().min() > 0


def test_a_tensor_from_outside_is_still_refused():
    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones((), dtype=D))

        def forward(self, t, y):
            y = y.requires_grad_(True) if y.is_leaf else y
            return self.rate * y + outside

    outside = torch.ones(2, dtype=D, requires_grad=True)
    func = Closed()
    y = odeint_adjoint(func, Y.clone(), T)
    with pytest.raises(ValueError, match="its gradient would be lost"):
        y[-1].sum().backward()


def growth(t, y):
    return y * torch.cos(3 * t)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("explicit_adams", None),
        ("implicit_adams", {"max_iters": 50}),
        ("euler", {"step_size": 0.1}),
        ("rk4", {"step_size": 0.13}),
        ("rk4", None),
        ("midpoint", {"steps": 3}),
        ("gl4", {"step_size": 0.13}),
    ],
)
def test_the_adjoint_takes_the_steps_of_odeint(method, options):
    grid = T if method != "euler" else T[[0, 5]]
    plain = odeint(growth, Y, grid, method=method, options=options, rtol=1e-10, atol=1e-12)
    adjoint = odeint_adjoint(
        growth, Y, grid, method=method, options=options, rtol=1e-10, atol=1e-12, adjoint_params=()
    )
    torch.testing.assert_close(adjoint[-1], plain[-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [None, "dopri5", "bosh3"])
@pytest.mark.parametrize("option", [{"step_size": 0.1}, {"grid_constructor": lambda f, y, t: t}])
def test_fixed_steps_of_adaptive_names_are_refused(method, option):
    with pytest.raises(ValueError, match="takes adaptive ones"):
        odeint(growth, Y, T, method=method, options=option)


def test_jumps_hold_in_solves_until_an_event():
    calls = 0

    def func(t, y):
        nonlocal calls
        calls += 1
        return torch.where(t < 0.5, 1.0, 3.0) * torch.ones_like(y)

    def event(t, y):
        return y[0] - 2

    start = torch.zeros(1, dtype=D), torch.tensor(0.0, dtype=D)
    times = {}
    for options in ({"jump_t": torch.tensor([0.5])}, {"jump_t": torch.tensor(0.5)}, {}):
        calls = 0
        times[len(times)] = odeint_event(func, *start, event_fn=event, options=options)[0]
        assert calls < 100 or not options
    assert abs(float(times[0]) - 1) < 1e-12
    assert times[0] == times[1]
    fixed = {"method": "rk4", "options": {"step_size": 0.25, "perturb": True}}
    assert abs(float(odeint_event(func, *start, event_fn=event, **fixed)[0]) - 1) < 1e-12
    fixed["options"]["perturb"] = False  # the twin
    assert abs(float(odeint_event(func, *start, event_fn=event, **fixed)[0]) - 1) > 1e-3


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_impacts_of_a_bouncing_ball_that_starts_just_above_ground(interface):
    class Fall(nn.Module):
        def __init__(self):
            super().__init__()
            self.g = nn.Parameter(torch.tensor(2.0, dtype=D))

        def forward(self, t, y):
            return torch.stack((y[1], -self.g))

    def impacts(above):
        fall, t, y = Fall(), torch.tensor(0.0, dtype=D), torch.tensor([1.0, 0.0], dtype=D)
        for _ in range(3):
            t, ends = odeint_event(
                fall, y, t, event_fn=lambda t, y: y[0], odeint_interface=interface
            )
            y = torch.stack((0 * ends[-1][0] + above, -ends[-1][1] / 2))
        t.backward()
        return t.item(), fall.g.grad.item()

    assert impacts(1e-9) == pytest.approx((2.5, -0.625), abs=1e-7)  # 2.5 sqrt(2 / g)
    assert impacts(0.0)[0] == pytest.approx(1.0)  # the twin: zero is the event, as in torchdiffeq


def test_perturbed_steps_have_adjoints():
    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones((), dtype=D))

        def forward(self, t, y):
            return self.rate * torch.where(t < 0.5, 1.0, 3.0) * y

    func, t = Switch(), torch.tensor([0.0, 0.5, 1.0], dtype=D)
    y = odeint_adjoint(
        func, Y, t, method="rk4", options={"step_size": 1 / 16, "perturb": True}, nodes=9
    )
    torch.testing.assert_close(y[-1], Y * math.exp(2), rtol=1e-4, atol=0)
    (found,) = torch.autograd.grad(y[-1].sum(), [func.rate])
    torch.testing.assert_close(found, 2 * y[-1].sum().detach(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"step_size": 0.25}}])
def test_an_event_at_the_start(options):
    y0 = torch.zeros(1, dtype=D)
    time, y = odeint(
        lambda t, y: torch.ones_like(y), y0, T[:2], event_fn=lambda t, y: y[0], **options
    )
    assert float(time) == 0
    assert y.tolist() == [[0.0], [0.0]]


def test_events_in_inference_mode():
    with torch.inference_mode():
        time, _ = odeint_event(
            lambda t, y: torch.ones_like(y), torch.zeros(1, dtype=D), torch.tensor(0.0, dtype=D),
            event_fn=lambda t, y: y[0] - 2,
        )  # fmt: skip
    assert abs(float(time) - 2) < 1e-9


@pytest.mark.sampled(2)
@pytest.mark.parametrize("in_state", [False, True])
@pytest.mark.parametrize("in_field", [False, True])
def test_tensors_of_inference_mode_are_solved_for_outside_of_it(in_state, in_field):
    with torch.inference_mode(in_field):
        rates = torch.tensor([1.0, 50.0], dtype=D)
        A = -torch.diag(rates)  # which a product would save for its backward pass
    with torch.inference_mode(in_state):
        y0 = torch.ones(2, dtype=D)
    for options in ({"method": "kvaerno43"}, {"method": "radauIIA5", "options": {"steps": 20}}):
        found = odeint(lambda t, y: A @ y, y0, T, **options)
        assert torch.allclose(found[-1], torch.exp(-rates * T[-1]), atol=1e-5)


def test_replicas_of_data_parallel_have_gradients():
    class Rate(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones((), dtype=D))

        def forward(self, t, y):
            return self.rate * growth(t, y)

    func = Rate()
    replica = func._replicate_for_data_parallel()
    replica._parameters = {}
    replica.__dict__["rate"] = func.rate * 1.0  # a copy on another device, with its history
    odeint_adjoint(replica, Y, T)[-1].sum().backward()
    copied, func.rate.grad = func.rate.grad, None
    odeint_adjoint(func, Y, T)[-1].sum().backward()
    torch.testing.assert_close(copied, func.rate.grad)


@pytest.mark.parametrize("method", ["explicit_adams", "implicit_adams"])
def test_tolerances_of_multistep_methods_for_each_part(method):
    def func(t, y):
        return -y[0], -y[1]

    tight = {"rtol": (1e-7, torch.full((2, 2), 1e-7)), "atol": (1e-9, 1e-9)}
    y = odeint(func, (Y, Y), T, method=method, options={"max_iters": 20}, **tight)
    assert y[0].shape == (6, 2, 2)
    one = odeint(lambda t, y: -y, Y, T, method=method, options={"max_iters": 20})
    torch.testing.assert_close(y[1], one, rtol=1e-8, atol=0)
    assert Adams().rtol == 1e-7


def test_options_that_torchdiffeq_takes_without_a_word():
    odeint(growth, Y, T, method="rk4", options={"norm": lambda e: e.abs().max()})
    odeint(growth, Y, T, options={"max_num_steps": torch.tensor(99)})
    y = odeint_adjoint(
        growth, Y, T, method="rk4", options={"step_size": 0.05}, adjoint_method="rk4",
        adjoint_params=(),
    )  # fmt: skip
    assert y.shape == (6, 2, 2)


def test_precision_is_promoted_as_torchdiffeq_does():
    def func(t, y):
        return -y[0], -y[1]

    y = odeint(func, (Y, Y.float()), T, method="rk4")
    assert y[0].dtype == y[1].dtype == D
    for method in ("rk4", "dopri5", "explicit_adams", "gl4"):
        y = odeint(lambda t, y: (-y).double(), Y.float(), T, method=method)
        assert y.dtype == torch.float32
    with pytest.raises(TypeError, match="dtype of the state"):
        odeint(lambda t, y: 1j * y, Y, T)


def test_the_trace_of_a_flow_may_drop_its_axis():
    def func(t, y):
        return -y[0], y[0].sum(1)

    y = odeint(func, (Y, torch.zeros(2, 1, dtype=D)), T)[1]
    exact = Y.sum(1, keepdim=True) * (1 - math.exp(-1.3))
    torch.testing.assert_close(y[-1], exact, rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="shapes of the state"):
        odeint(lambda t, y: (-y[0], y[0].sum()), (Y, torch.zeros(2, 1, dtype=D)), T)


def decay(t, y):
    return -y


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        (lambda t, y: torch.log(y[0]) - 1, ValueError, "nan at t = 0.0"),
        (lambda t, y: torch.stack([y[0] - 1, y[0] / y[1]]), ValueError, "nan at t = 0.0"),
        (lambda t, y: y[:0], ValueError, "no entries"),
        (lambda t, y: t > 0.5, TypeError, "torch.bool.*return a difference"),
        (lambda t, y: 1j * y, TypeError, "torch.complex128"),
        (lambda t, y: float(y[0]), TypeError, "got float"),
    ],
)
def test_events_without_a_sign_at_the_start_are_refused(event, error, message):
    def func(t, y):
        return -y

    y0, t0 = torch.tensor([-2.0, math.nan], dtype=D), torch.tensor(0.0, dtype=D)
    for interface in (odeint, partial(odeint_adjoint, adjoint_params=())):
        with pytest.raises(error, match=f"`event_fn`.*{message}"):
            odeint_event(func, y0, t0, event_fn=event, odeint_interface=interface)
        with pytest.raises(error, match=f"`event_fn`.*{message}"):
            interface(func, y0, torch.stack([t0, t0 + 1]), event_fn=event)


WAYS = [{}, {"method": "rk4", "options": {"step_size": 0.1}}]


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    ("event", "entry"),
    [
        (lambda t, y: torch.stack([y[0] - 0.2, 1 + torch.sqrt(y[1] - 0.5)]), 1),  # hides the other
        (lambda t, y: 1 + torch.sqrt(y[1] - 0.5), 0),
    ],
)
def test_events_that_become_nan_are_told(options, event, entry):
    t0 = torch.tensor(0.0, dtype=D)
    for interface in (odeint, partial(odeint_adjoint, adjoint_params=())):
        find = partial(odeint_event, event_fn=event, odeint_interface=interface, **options)
        with pytest.raises(ValueError, match=rf"entry {entry} of `event_fn` is nan at t = 0\.[78]"):
            find(decay, torch.ones(2, dtype=D), t0)


@pytest.mark.parametrize("options", WAYS)
def test_events_before_an_entry_becomes_nan_are_found(options):
    def event(t, y):
        return torch.stack([y[0] - 0.52, 1 + torch.sqrt(y[1] - 0.5)])  # within one step

    t0 = torch.tensor(0.0, dtype=D)
    t, _ = odeint_event(decay, torch.ones(2, dtype=D), t0, event_fn=event, **options)
    assert abs(t + math.log(0.52)) < 1e-5


@pytest.mark.parametrize("times", [(math.nan, 1.0), (math.inf, 1.0), (0.0, math.nan)])
def test_events_are_not_looked_for_from_no_time(times):
    with pytest.raises(ValueError, match="finite time"):
        odeint(growth, Y, torch.tensor(times), event_fn=lambda t, y: y.sum() - 99)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(D, marks=pytest.mark.long)])
def test_a_search_for_an_event_that_never_comes_ends(dtype):
    y0, t0 = torch.ones(1, dtype=dtype), torch.tensor(0.0, dtype=dtype)
    search = {"event_fn": lambda t, y: y[0] - 2}
    with pytest.raises(MaxStepsError, match="no event"):
        odeint_event(lambda t, y: 0 * y, y0, t0, **search)
    with pytest.raises(MaxStepsError, match="used up"):
        odeint_event(lambda t, y: -y, y0, t0, **search, options={"max_num_steps": 300})
    given = {"method": "euler", "options": {"step_size": 0.5, "max_num_steps": 3000}}
    with pytest.raises(MaxStepsError, match=r"no event .* raise `max_num_steps`"):
        odeint_event(lambda t, y: -y, y0, t0, **search, **given)
    if dtype is D:  # a limit without one given
        given["options"] = {"step_size": 0.5}
        with pytest.raises(MaxStepsError, match=r"no event up to t = 50000.0"):
            odeint_event(lambda t, y: 0 * y, y0, t0, **search, **given)


@pytest.mark.parametrize("reverse_time", [False, True])
def test_events_are_looked_for_in_the_direction_that_was_asked_for_at_any_time(reverse_time):
    found = odeint_event(
        lambda t, y: torch.ones_like(y),
        torch.zeros(1, dtype=D),
        torch.tensor(1e9),
        event_fn=lambda t, y: (y[0] - 0.5) * (y[0] + 3),
        reverse_time=reverse_time,
    )
    assert found[1][-1].item() == pytest.approx(-3 if reverse_time else 0.5)
    with pytest.raises(ValueError, match="says the direction"):
        odeint(lambda t, y: y, Y, torch.zeros(2), event_fn=lambda t, y: y[0, 0])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", ["gl4", "radauIIA5", "implicit_euler", "trbdf2"])
def test_second_derivatives_through_implicit_steps_are_refused(method):
    def end(y0):
        return odeint(lambda t, y: -(y**3), y0, T, method=method)[-1].sum()

    y0 = torch.tensor([0.7], dtype=D, requires_grad=True)
    (first,) = torch.autograd.grad(end(y0), y0, create_graph=True)
    shift = torch.full_like(y0, 1e-5)
    with torch.no_grad():
        difference = (end(y0 + shift) - end(y0 - shift)) / 2e-5
    torch.testing.assert_close(first[0], difference, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.func.jacrev(end)(y0.detach()), first)
    torch.testing.assert_close(torch.func.jacfwd(end)(y0.detach()), first)
    with pytest.raises(RuntimeError, match="implicit method can not be differentiated again"):
        torch.autograd.grad(first.sum(), y0)
    found = solve(lambda t, y: -(y**3), (0, 1), y0, method="kvaerno43")
    (first,) = torch.autograd.grad(found.y[-1].sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="implicit method can not be differentiated again"):
        torch.autograd.grad(first.sum(), y0)


def test_second_derivatives_of_an_event_are_refused():
    y0 = torch.tensor([1.0], dtype=D, requires_grad=True)
    t, y = odeint_event(
        lambda t, y: -(y**2), y0, torch.tensor(0.0, dtype=D), event_fn=lambda t, y: y[0] - 0.5
    )
    for value in (t, y[-1].sum() + y0.sum()):
        (first,) = torch.autograd.grad(value, y0, create_graph=True, retain_graph=True)
        assert first.item() == pytest.approx(1.0, abs=1e-6)  # t = 1/0.5 - 1/y0
        with pytest.raises(RuntimeError, match="event's time can not be differentiated again"):
            torch.autograd.grad(first.sum(), y0)


def test_perturbed_steps_are_those_of_the_method():
    def end(method, **options):
        field, t = (lambda t, y: -y * torch.cos(t)), torch.tensor([0.0, 1.0], dtype=D)
        return odeint(field, Y, t, method=method, options={"step_size": 0.05, **options})[-1]

    for method in ("implicit_adams", "explicit_adams", "rk4"):
        torch.testing.assert_close(end(method, perturb=True), end(method), rtol=1e-12, atol=1e-12)
    assert (end("implicit_adams") - end("rk4")).abs().max() > 1e-9


def test_events_of_solve_get_tensors_as_the_field_does():
    found = solve(lambda t, y: -y, (0, 5), torch.ones(1), events=lambda t, y: torch.cos(t))
    assert found.events[0].t == pytest.approx([math.pi / 2, 3 * math.pi / 2], abs=1e-5)
    pair = (torch.ones(1), torch.ones(2))
    found = solve(lambda t, y: (-y[0], -y[1]), (0, 5), pair, events=lambda t, y: y[1][0] - t / t * 0.5)  # fmt: skip
    assert found.events[0].t == pytest.approx([math.log(2)], abs=1e-4)


def test_a_real_value_for_a_complex_state_is_promoted():
    y = odeint(lambda t, y: y.abs(), torch.ones(1, dtype=torch.complex64), torch.tensor([0.0, 1.0]))
    assert y[-1].item() == pytest.approx(math.e, rel=1e-5)


def test_times_with_forward_derivatives():
    with forward_ad.dual_level():
        t = forward_ad.make_dual(T, torch.arange(6, dtype=D))
        y = odeint(lambda t, y: -y, Y, t, method="rk4")
        tangent = forward_ad.unpack_dual(y).tangent
    wanted = -y * torch.arange(6, dtype=D)[:, None, None]
    torch.testing.assert_close(tangent, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.long
def test_as_many_fixed_steps_as_times_ask_for():
    t = torch.linspace(0, 1, 100_002, dtype=D)
    y = odeint(lambda t, y: -y, torch.ones(1, dtype=D), t, method="euler")
    assert y[-1].item() == pytest.approx(math.exp(-1), rel=1e-4)


class OfStateAlone(nn.Linear):
    def forward(self, y):
        return super().forward(y)


class NeedsMore(nn.Linear):
    def forward(self, t, y, u):
        return super().forward(y)


SOLVES = {
    "adaptive": odeint,
    "given steps": partial(odeint, method="rk4", options={"steps": 2}),
    "implicit": partial(odeint, method="gl4", options={"steps": 2}),
    "compiled": partial(odeint, compile=True),
    "scipy": partial(odeint, method="scipy_solver"),
    "adjoint": partial(odeint_adjoint, adjoint_params=()),
    "times": lambda func, y, t: odeint(func, y, t.clone().requires_grad_()),
    "tuple": lambda func, y, t: odeint(func, (y,), t),
    "mapped": lambda func, y, t: torch.vmap(
        lambda y: odeint_adjoint(func, y, t, adjoint_params=())
    )(y[None]),
    "event": lambda func, y, t: odeint_event(func, y, t[0], event_fn=lambda t, y: y.sum()),
    "solve": lambda func, y, t: solve(func, (0, 1), y),
    "check": lambda func, y, t: check_rhs(func, 0.0, y),
}


@pytest.mark.parametrize("name", SOLVES)
@pytest.mark.parametrize(
    ("func", "found"),
    [
        (lambda y: -y, r"got function of \(y\)"),
        (OfStateAlone(2, 2), r"got OfStateAlone of \(y\)"),
        (NeedsMore(2, 2), r"got NeedsMore of \(t, y, u\)"),
        (OfStateAlone, r"got the class OfStateAlone: give an object"),
    ],
)
def test_functions_of_other_arguments_are_told_how_they_are_called(name, func, found):
    with pytest.raises(TypeError, match=rf"`func` must .*func\(t, y\), {found}"):
        SOLVES[name](func, torch.ones(2), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("name", SOLVES)
def test_errors_inside_of_a_function_are_its_own(name):
    def inner(y):
        return -y

    def func(t, y):
        return inner(t, y)

    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        SOLVES[name](func, torch.ones(2), torch.tensor([0.0, 1.0]))


def test_functions_of_events_are_told_how_they_are_called():
    t = torch.tensor([0.0, 1.0])
    for find in (
        lambda event: odeint_event(lambda t, y: -y, torch.ones(2), t[0], event_fn=event),
        lambda event: odeint(lambda t, y: -y, torch.ones(2), t, event_fn=event),
    ):
        with pytest.raises(TypeError, match=r"`event_fn` must take two.*got function of \(y\)"):
            find(lambda y: y[0] - 0.5)
        with pytest.raises(TypeError, match=r"`event_fn` must be callable .*got int"):
            find(3)
