"""`odeint` and `odeint_adjoint`: values, gradients, torchdiffeq's call form, bad input."""

import math
import warnings
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from odecore import errors
from odecore.families import RK4
from odecore.solve import solve_ivp, solve_per_sample
from odecore.tableaux import coefficients_at, tableau
from torch_bridge import (
    DenseField,
    NeuralODE,
    _jacobian,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    solve,
)

both = pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
TIMES = torch.tensor([0.0, 0.3, 0.8, 1.1], dtype=torch.float64)


def plain(solve, *parameters):
    """Options for a function that is no Module."""
    return {"adjoint_params": parameters} if solve is odeint_adjoint else {}


class Linear(nn.Module):
    """y' = -3 y, for tensors and tuples."""

    def forward(self, t, y):
        return tuple(-3 * x for x in y) if isinstance(y, tuple) else -3 * y


class Rotation(nn.Module):
    """y' = W y cos(t), whose exact flow is a matrix exponential of the integral of cos."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.W = nn.Parameter(torch.tensor([[-0.2, 1.3], [-0.9, 0.1]], dtype=dtype))
        self.unused = nn.Parameter(torch.ones(3, dtype=dtype))

    def forward(self, t, y):
        return (y @ self.W.T) * torch.cos(t)

    def exact(self, y0, t):
        s = torch.sin(t) - torch.sin(t[0])
        return torch.stack([y0 @ torch.linalg.matrix_exp(self.W * x).T for x in s])


METHODS = {
    "dopri5": {"rtol": 1e-9, "atol": 1e-11},
    "tsit5": {"method": "tsit5", "rtol": 1e-9, "atol": 1e-11},
    "bosh3": {"method": "bosh3", "rtol": 1e-8, "atol": 1e-10},
    "rk4, steps": {"method": "rk4", "options": {"steps": 40}},
    "rk4, step_size": {"method": "rk4", "options": {"step_size": 0.01}},
    "tableau": {"method": tableau("classic"), "options": {"steps": 40}},
    "family": {"method": coefficients_at(RK4, u=0.3, v=0.6), "options": {"steps": 40}},
}


@both
@pytest.mark.parametrize("name", METHODS)
def test_values_and_gradients_are_those_of_the_flow(solve, name):
    field = Rotation()
    y0 = torch.tensor(
        [[1.0, -0.3], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64, requires_grad=True
    )
    t = TIMES.clone().requires_grad_()
    weights = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 3, 2)
    inputs = (y0, t, field.W)
    wanted = field.exact(y0, t)
    found = solve(field, y0, t, **METHODS[name])
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    expected = torch.autograd.grad((wanted * weights).sum(), inputs)
    gradients = torch.autograd.grad((found * weights).sum(), inputs)
    for x, y in zip(gradients, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@both
@pytest.mark.parametrize("value", [1.0, [1.0, 2.0], None, (torch.ones(2),)])
def test_a_value_that_is_no_tensor(solve, value):
    name = type(value).__name__
    with pytest.raises(TypeError, match=rf"`func` must return a tensor .* got {name}.*full_like"):
        solve(lambda t, y: value, torch.ones(2), TIMES, **plain(solve))


@both
def test_names_of_the_catalogue(solve):
    field, y0 = Rotation(), torch.tensor([[1.0, -0.3]], dtype=torch.float64)
    for name, options in {"kvaerno43": None, "ralston": {"steps": 3}, "cash_karp": None}.items():
        found = solve(field, y0, TIMES, method=name, options=options, rtol=1e-4)
        wanted = solve(field, y0, TIMES, method=tableau(name), options=options, rtol=1e-4)
        assert torch.equal(found, wanted)
        if options is None:  # it has an estimate, and takes adaptive steps
            torch.testing.assert_close(found, field.exact(y0, TIMES), rtol=1e-3, atol=1e-3)
    rule = {name: solve(field, y0, TIMES, method=name) for name in ("rk4", "three_eighths")}
    assert torch.equal(*rule.values())  # torchdiffeq's name, and what it means there
    with pytest.raises(ValueError, match="did you mean 'kvaerno54'"):
        solve(field, y0, TIMES, method="kvaerno5")


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 1, 2)])
def test_any_shape_and_precision(solve, dtype, shape):
    rate = nn.Parameter(torch.tensor(0.7, dtype=dtype))
    y0 = torch.rand(shape, dtype=dtype) + 0.5
    found = solve(
        lambda t, y: -rate * y,
        y0,
        torch.tensor([0.0, 0.5, 1.0]),
        rtol=1e-5,
        atol=1e-6,
        **plain(solve, rate),
    )
    assert found.shape == (3, *shape)
    assert found.dtype == dtype
    torch.testing.assert_close(found[-1], y0 * math.exp(-0.7), rtol=1e-4, atol=1e-5)
    found[-1].sum().backward()
    torch.testing.assert_close(rate.grad, (-y0 * math.exp(-0.7)).sum(), rtol=1e-4, atol=1e-4)


@both
def test_backward_time(solve):
    field = Rotation()
    y0 = torch.tensor([1.0, 0.4], dtype=torch.float64)
    found = solve(field, y0, TIMES.flip(0), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found, field.exact(y0, TIMES.flip(0)), rtol=1e-7, atol=1e-8)


def test_the_adjoint_forward_is_the_solve():
    field = DenseField(4, 8).double()
    y0 = torch.randn(5, 4, dtype=torch.float64)
    here = odeint(field, y0, TIMES, rtol=1e-9, atol=1e-10)
    there = odeint_adjoint(field, y0, TIMES, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(here, there, rtol=1e-7, atol=1e-8)


def test_gradcheck_through_the_steps():
    field = DenseField(3, 4, "layer").double()
    y0 = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def end(y0, *parameters):
        return odeint(field, y0, TIMES, method="midpoint", options={"steps": 2})

    assert torch.autograd.gradcheck(end, (y0, *field.parameters()))
    assert torch.autograd.gradgradcheck(end, (y0, *field.parameters()), atol=1e-4)


def test_rk4_is_torchdiffeqs():
    # Kutta's 3/8 rule: one step for y' = y^2 tells it from the classic method.
    y0 = torch.tensor(1.0, dtype=torch.float64)
    t = torch.tensor([0.0, 0.5], dtype=torch.float64)
    square = lambda t, y: y * y  # noqa: E731
    found = odeint(square, y0, t, method="rk4")[-1]
    k1 = 1.0
    k2 = (1 + 0.5 * k1 / 3) ** 2
    k3 = (1 + 0.5 * (k2 - k1 / 3)) ** 2
    k4 = (1 + 0.5 * (k1 - k2 + k3)) ** 2
    assert float(found) == pytest.approx(1 + 0.5 * (k1 + 3 * k2 + 3 * k3 + k4) / 8, rel=1e-14)
    assert float(odeint(square, y0, t, method=tableau("classic"))[-1]) != float(found)


def test_closed_over_tensors_are_not_lost_in_silence():
    W = torch.eye(2, requires_grad=True)
    y0 = torch.ones(2, requires_grad=True)
    t = torch.tensor([0.0, 1.0])
    lost = odeint_adjoint(lambda t, y: W @ y, y0, t, rtol=1e-4, atol=1e-5, adjoint_params=())
    with pytest.raises(ValueError, match=r"shape \(2, 2\) that requires a gradient"):
        lost.sum().backward()
    # Listed, also as a tensor that is not a leaf, it gets its gradient.
    doubled = 2 * W
    found = odeint_adjoint(
        lambda t, y: doubled @ y, y0, t, rtol=1e-5, atol=1e-6, adjoint_params=(doubled,)
    )
    wanted = odeint(lambda t, y: 2 * W @ y, y0, t, rtol=1e-5, atol=1e-6)
    x = torch.autograd.grad(found.sum(), W)
    y = torch.autograd.grad(wanted.sum(), W)
    torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_weights_made_outside_are_not_lost_where_nothing_else_requires_a_gradient(adjoint):
    class Held(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.w = w

        def forward(self, t, y):
            return self.w * y

    made = 2 * torch.ones(2, requires_grad=True)
    data, t = torch.ones(2), torch.tensor([0.0, 1.0])
    options = {"rtol": 1e-4, "atol": 1e-5, "adjoint": adjoint}
    with pytest.raises(ValueError, match="is not among `adjoint_params`"):
        odeint_adjoint(Held(made), data, t, **options)
    with torch.no_grad():
        odeint_adjoint(Held(made), data, t, **options)
    for params, w in (((), made), (None, made.detach())):  # none are asked for, or there are none
        assert not odeint_adjoint(Held(w), data, t, adjoint_params=params, **options).requires_grad


def test_backward_pass_restores_autocast():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, t, y):
            out = self.linear(y)
            seen.append(out.dtype)
            return out

    field = Watched()
    y0 = torch.randn(3, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = odeint_adjoint(field, y0, torch.tensor([0.0, 1.0]), method="rk4", nodes=17)
    assert y.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    y.sum().backward()
    assert set(seen) == {torch.bfloat16}


def test_memory_does_not_grow_with_the_steps():
    field = DenseField(8, 16)
    y0 = torch.randn(10, 8, requires_grad=True)

    def saved(solve, steps, **more):
        found = {}
        kept = []

        def pack(x):
            found[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            kept.append(x)
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            y = solve(
                field, y0, torch.tensor([0.0, 1.0]), method="rk4", options={"steps": steps}, **more
            )
        del y
        return sum(found.values())

    assert saved(odeint_adjoint, 10, nodes=9) == saved(odeint_adjoint, 80, nodes=9)
    parameters = sum(p.numel() * p.element_size() for p in field.parameters())
    assert saved(odeint_adjoint, 10, nodes=9) == 9 * 80 * 4 + parameters
    assert saved(odeint, 80) > 5 * saved(odeint, 10)


def test_too_few_nodes_warn():
    field = lambda t, y: 20 * torch.cos(20 * t) * y  # noqa: E731
    y0 = torch.ones(2, requires_grad=True)
    t = torch.tensor([0.0, 1.0])
    with pytest.warns(errors.UnresolvedInterpolantWarning, match="raise `nodes`"):
        odeint_adjoint(field, y0, t, rtol=1e-4, atol=1e-5, adjoint_params=(), nodes=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        odeint_adjoint(field, y0, t, rtol=1e-4, atol=1e-5, adjoint_params=(), nodes=65)


@pytest.mark.filterwarnings("ignore::odecore.errors.UnresolvedInterpolantWarning")
def test_adjoint_options_are_used():
    calls = []

    class Counted(Rotation):
        def forward(self, t, y):
            calls.append(torch.is_grad_enabled())
            return super().forward(t, y)

    y0 = torch.ones(2, dtype=torch.float64)

    def backward_calls(**options):
        y = odeint_adjoint(
            Counted(), y0, TIMES[:2], method="rk4", options={"steps": 4}, nodes=3, **options
        )
        calls.clear()
        y.sum().backward()
        return len(calls)

    # Each VJP of a step is one call, and all nodes together are one; there are more nodes, and a
    # slope at the end, where they are needed.
    assert 1 <= backward_calls() - 4 * 4 <= 3
    assert 1 <= backward_calls(adjoint_options={"steps": 8}) - 8 * 4 <= 3
    assert 1 <= backward_calls(adjoint_method="euler", adjoint_options={"steps": 10}) - 10 <= 6
    loose = backward_calls(
        adjoint_method="dopri5", adjoint_options={}, adjoint_rtol=1e-3, adjoint_atol=1e-3
    )
    tight = backward_calls(
        adjoint_method="dopri5", adjoint_options={}, adjoint_rtol=1e-10, adjoint_atol=1e-10
    )
    assert tight > loose
    as_forward = backward_calls(adjoint_method="dopri5", adjoint_options={}, rtol=1e-3, atol=1e-3)
    assert as_forward == loose  # given steps do not use them


def test_no_gradient_is_asked_for():
    field = Rotation()
    y0 = torch.ones(2, dtype=torch.float64)
    with torch.no_grad():
        assert not odeint_adjoint(field, y0, TIMES, rtol=1e-5, atol=1e-6).requires_grad
    field.requires_grad_(False)
    assert not odeint_adjoint(field, y0, TIMES, rtol=1e-5, atol=1e-6).requires_grad


y0 = torch.ones(2)
t = torch.tensor([0.0, 1.0])
BAD = {
    "y0 no tensor": (([1.0], t), {}, TypeError, "`y0` must be a tensor or a tuple of tensors, got list"),
    "y0 integers": ((torch.ones(2, dtype=torch.int64), t), {}, TypeError, "floating-point"),
    "t no tensor": ((y0, [0.0, 1.0]), {}, TypeError, "one-dimensional floating-point tensor"),
    "t integers": ((y0, torch.tensor([0, 1])), {}, TypeError, "floating-point tensor of times"),
    "t 0-d": ((y0, torch.tensor(1.0)), {}, TypeError, r"of shape \(\)"),
    "t 2-d": ((y0, torch.zeros(2, 2)), {}, TypeError, r"of shape \(2, 2\)"),
    "no time": ((y0, torch.zeros(0)), {}, ValueError, "at least one time"),
    "repeated": ((y0, torch.tensor([0.0, 1.0, 1.0])), {}, ValueError, "strictly increasing"),
    "zigzag": ((y0, torch.tensor([0.0, 1.0, 0.5])), {}, ValueError, "strictly increasing"),
    "NaN time": ((y0, torch.tensor([0.0, math.nan])), {}, ValueError, "must be finite"),
    "NaN state": ((y0 * math.nan, t), {}, errors.NonfiniteInputError, "NaN or infinite"),
    "NaN state, fixed": ((y0 * math.nan, t), {"method": "rk4"}, ValueError, "NaN or infinite"),
    "method": ((y0, t), {"method": "dorpi5"}, ValueError, "did you mean 'dopri5'"),
    "SciPy's method": ((y0, t), {"method": "RK45"}, ValueError, "nearest to SciPy's is 'dopri5'"),
    "SciPy's in small": ((y0, t), {"method": "rk45"}, ValueError, "nearest to SciPy's is 'dopri5'"),
    "SciPy's Radau": ((y0, t), {"method": "Radau"}, ValueError, "nearest to SciPy's is 'kvaerno54'"),
    "method type": ((y0, t), {"method": 5}, TypeError, "must be a name"),
    "option": ((y0, t), {"options": {"max_stop": 1}}, ValueError, r"unknown options \['max_stop'\].*did you mean 'max_step'"),
    "fixed option": (
        (y0, t), {"method": "rk4", "options": {"first_step": 0.1}}, ValueError, "in fixed steps",
    ),
    "negative rtol": ((y0, t), {"rtol": -1.0}, ValueError, "not negative"),
    "negative atol": ((y0, t), {"atol": -1.0}, ValueError, "not negative"),
    "rtol as text": ((y0, t), {"rtol": "1e-3"}, TypeError, "`rtol` must be a number"),
    "atol as text, fixed": ((y0, t), {"method": "rk4", "atol": "abc"}, TypeError, "`atol` must be a"),
    "rtol None": ((y0, t), {"rtol": None}, TypeError, "`rtol` must be a number, got None"),
    "rtol of a tuple as text": (((y0, y0), t), {"rtol": "10"}, TypeError, "`rtol` must be a number"),
    "step size": ((y0, t), {"method": "rk4", "options": {"step_size": 0}}, ValueError, "positive"),
    "event": ((y0, torch.linspace(0, 1, 3)), {"event_fn": lambda t, y: y}, ValueError, "two times"),
    "steps spent": (
        (y0, t), {"options": {"max_num_steps": 1}}, errors.MaxStepsError, "`max_steps`",
    ),
}  # fmt: skip


@both
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(solve, case):
    arguments, options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        solve(lambda t, y: -y, *arguments, **options, **plain(solve))


@both
def test_bad_fields_are_refused(solve):
    with pytest.raises(TypeError, match="must be callable"):
        solve(3, y0, t, **plain(solve))
    with pytest.raises(ValueError, match="shape of the state"):
        solve(lambda t, y: y[:1], y0, t, **plain(solve))
    with pytest.raises(TypeError, match="dtype of the state"):
        solve(lambda t, y: y.to(torch.complex64), y0, t, **plain(solve))
    with pytest.raises(errors.NonfiniteRHSError) as caught:
        solve(
            lambda t, y: y / (t - 0.5).clamp(max=0),
            y0,
            t,
            method="rk4",
            options={"steps": 8},
            **plain(solve),
        )
    assert torch.isfinite(caught.value.trajectory.y).all()


def test_bad_adjoint_arguments_are_refused():
    field = lambda t, y: -y  # noqa: E731
    with pytest.raises(ValueError, match="is not a Module"):
        odeint_adjoint(field, y0, t)
    with pytest.raises(TypeError, match="must hold tensors, got float"):
        odeint_adjoint(field, y0, t, adjoint_params=(1.0,))
    with pytest.raises(ValueError, match="give `adjoint_options` too"):
        odeint_adjoint(
            field,
            y0,
            t,
            method="rk4",
            options={"steps": 2},
            adjoint_method="euler",
            adjoint_params=(),
        )
    with pytest.raises(ValueError, match="got 'restord'; did you mean 'restored'"):
        odeint_adjoint(field, y0, t, adjoint="restord", adjoint_params=())
    with pytest.raises(ValueError, match="at least 2, got n = 1"):
        odeint_adjoint(field, y0, t, adjoint_params=(), nodes=1)
    outside = coefficients_at(RK4, u=1.5, v=0.3)
    with pytest.raises(ValueError, match=r"outside its steps, at c = \[1.5\]"):
        odeint_adjoint(field, y0, t, method=outside, adjoint_params=(), adjoint_options={})
    inside = {"adjoint_method": "rk4", "adjoint_options": {"steps": 4}}
    odeint_adjoint(field, y0, t, method=outside, adjoint_params=(), **inside)
    trained = coefficients_at(RK4, u=torch.tensor(0.3, requires_grad=True), v=torch.tensor(0.6))
    with pytest.raises(ValueError, match="use `odeint`"):
        odeint_adjoint(field, y0, t, method=trained, adjoint_params=())


# Found by attack: each of these was wrong once.


def test_the_adjoint_under_functional_call_uses_the_weights_it_was_given():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1, bias=False).double().requires_grad_(False)
            nn.init.constant_(self.linear.weight, 0.0)

        def forward(self, t, y):
            return self.linear(y)

    block = NeuralODE(Field(), adjoint="restored", rtol=1e-9, atol=1e-9)
    for base_requires_grad in (False, True):
        block.requires_grad_(base_requires_grad)
        w = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
        y0 = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
        y = torch.func.functional_call(block, {"func.linear.weight": w}, (y0,))
        y.sum().backward()
        assert float(w.grad) == pytest.approx(math.e, rel=1e-6)
        assert float(y0.grad) == pytest.approx(math.e, rel=1e-6)


def test_an_unresolved_parameter_gradient_warns():
    theta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    y = odeint_adjoint(
        lambda t, y: theta * torch.cos(100 * t) + 0 * y,
        torch.zeros(1, dtype=torch.float64),
        times,
        adjoint_params=(theta,),
    )
    with pytest.warns(errors.UnresolvedInterpolantWarning, match="backward"):
        y[-1].sum().backward()


def test_kinks_that_the_nodes_do_not_resolve_are_told():
    torch.manual_seed(9)
    layers = [nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4)]
    net = nn.Sequential(*layers).double()
    for p in net.parameters():
        p.data *= 3
    y0, times = torch.randn(4, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    y = odeint_adjoint(lambda t, y: net(y), y0, times, adjoint_params=tuple(net.parameters()))
    with pytest.warns(errors.UnresolvedInterpolantWarning, match="has kinks"):
        y[-1].sum().backward()


@both
def test_second_derivatives_with_respect_to_time_are_refused(solve):
    times = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    y = solve(lambda t, y: 0.7 * y, torch.ones((), dtype=torch.float64), times, **plain(solve))
    (gradient,) = torch.autograd.grad(y[-1] ** 2, times, create_graph=True)
    with pytest.raises(RuntimeError, match="can not be differentiated again"):
        torch.autograd.grad(gradient[1], times)


@both
def test_mixed_second_derivatives_with_time_are_refused(solve):
    w, b, y0 = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.7, 0.3, 1.0))
    times = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    for loss in (lambda y: y[-1], lambda y: y[1]):  # linear, as is func: so y_grad is constant
        y = solve(lambda t, y: w * t + b - y, y0, times, **plain(solve, w, b))
        (gradient,) = torch.autograd.grad(loss(y), times, create_graph=True)
        for k in range(3):
            for x in (w, b, y0, times):
                with pytest.raises(RuntimeError, match="can not be differentiated again"):
                    torch.autograd.grad(gradient[k], x, allow_unused=True, retain_graph=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside torch
def test_forward_mode_with_respect_to_time_and_state():
    times = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    y0 = torch.ones((), dtype=torch.float64)
    flow = lambda y0, t: odeint(lambda t, y: y, y0, t)  # noqa: E731
    tangents = (
        torch.tensor(0.0, dtype=torch.float64),
        torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
    )
    _, found = torch.func.jvp(flow, (y0, times), tangents)
    torch.testing.assert_close(
        found, torch.tensor([0.0, 0.0, math.e], dtype=torch.float64), rtol=1e-6, atol=1e-9
    )
    tangents = (
        torch.tensor(1.0, dtype=torch.float64),
        torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64),
    )
    _, found = torch.func.jvp(flow, (y0, times), tangents)
    torch.testing.assert_close(
        found, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), rtol=1e-6, atol=1e-6
    )


def test_a_tensor_listed_twice_counts_once():
    w = torch.tensor(0.7, requires_grad=True)
    y = odeint_adjoint(lambda t, y: -w * y, torch.ones(1), t, adjoint_params=(w, w), rtol=1e-5)
    y[-1].sum().backward()
    assert float(w.grad) == pytest.approx(-math.exp(-0.7), rel=1e-3)


def test_a_tensor_used_only_later_is_not_lost_in_silence():
    w = torch.tensor(0.5, requires_grad=True)
    start = torch.ones((), requires_grad=True)
    field = lambda t, y: -w * y if t < 0.5 else -y  # noqa: E731
    y = odeint_adjoint(
        field, start, torch.tensor([0.0, 0.5, 1.0]), adjoint_params=(), method="rk4", nodes=9
    )
    with pytest.raises(ValueError, match="is not among `adjoint_params`"):
        y[-1].backward()


@both
def test_empty_states(solve):
    for options in ({}, {"method": "rk4"}):
        found = solve(
            lambda t, y: -y, torch.zeros(0, requires_grad=True), t, **options, **plain(solve)
        )
        assert found.shape == (2, 0)
        found.sum().backward()


def test_many_given_steps_may_be_asked_for():
    options = {"step_size": 1 / 300, "max_num_steps": 200}
    with pytest.raises(ValueError, match=r"asks for more than 200 steps.*`max_num_steps`"):
        odeint(lambda t, y: -y, y0, t, method="euler", options=options)
    odeint(lambda t, y: -y, y0, t, method="euler", options={**options, "max_num_steps": 300})
    rounded = torch.tensor([0.0, 0.1 * 3], dtype=torch.float32)  # a little above 3 steps
    odeint(
        lambda t, y: -y, y0, rounded, options={"step_size": 0.1, "max_num_steps": 3}, method="rk4"
    )


@both
@pytest.mark.parametrize("state", [torch.ones(2), (torch.ones(2), torch.ones(3))])
def test_a_single_time_gives_a_copy_that_does_not_move_with_it(solve, state):
    kind = type(state)
    parts = state if kind is tuple else (state,)

    def at(t):
        y = solve(Linear(), state, t.reshape(1))
        return y if kind is tuple else (y,)

    t = torch.tensor(0.5, requires_grad=True)
    out = at(t)
    assert all(torch.equal(a, b[None]) for a, b in zip(out, parts, strict=True))
    (slope,) = torch.autograd.grad(sum(x.sum() for x in out), t)
    assert float(slope) == 0
    for transform in (torch.func.jacrev, torch.func.hessian):
        assert not transform(lambda t: at(t)[0])(t.detach()).any()
    for x in at(t.detach()):
        x.add_(5)
    assert all((x == 1).all() for x in parts)


def test_dense_output_gives_copies():
    dense = odeint_dense(lambda t, y: -y, torch.ones(2), 0.0, 1.0)
    for time in (0.0, 1.0):
        before = dense(time).clone()
        out = dense(time)
        out += 7
        assert torch.equal(dense(time), before)


@pytest.mark.parametrize("size", [3e-8, 1e-12, 5e-324])
@pytest.mark.parametrize("most", [{}, {"max_num_steps": 10}])
def test_too_many_given_steps_are_refused_before_they_are_listed(size, most):
    options = {"step_size": size, **most}
    for run in (odeint, partial(odeint_adjoint, adjoint_params=())):
        with pytest.raises(ValueError, match=r"`step_size` = .* raise `max_num_steps`"):
            run(lambda t, y: -y, y0, t, method="rk4", options=options)
    with pytest.raises(ValueError, match=r"`step_size` = .* raise `max_num_steps`"):
        odeint_dense(lambda t, y: -y, y0, 0.0, 1.0, method="rk4", options=options)


def test_the_direction_of_an_event_asks_for_no_steps():
    far = torch.tensor([0.0, 1e9])
    options = {"step_size": 0.05, "max_num_steps": 20}
    event_t, _ = odeint(
        lambda t, y: -y,
        torch.ones(1),
        far,
        event_fn=lambda t, y: y - 0.5,
        method="rk4",
        options=options,
    )
    assert float(event_t) == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("count", ["10", 10.0, 0, True, torch.tensor(2.5), torch.tensor([2, 3])])
def test_counts_that_are_none(count):
    for method in ("rk4", "dopri5"):
        with pytest.raises(ValueError, match="`max_num_steps` must be a positive int"):
            odeint(lambda t, y: -y, y0, t, method=method, options={"max_num_steps": count})


@pytest.mark.parametrize("name", ["first_step", "min_step", "max_step"])
@pytest.mark.parametrize("length", ["0.1", "abc", [0.1], 0.1j, -0.1, torch.tensor([0.1, 0.2])])
def test_lengths_that_are_none(name, length):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        odeint(lambda t, y: -y, y0, t, options={name: length})
    odeint(lambda t, y: -y, y0, t, options={name: torch.tensor([0.1])})


@pytest.mark.parametrize("name", ["step_t", "jump_t"])
def test_times_at_which_steps_end_keep_their_digits(name):
    seen = []

    def func(t, y):
        seen.append(float(t))
        return -y

    for times in ([0.3], 0.3, torch.tensor([0.3], dtype=torch.float64)):
        seen.clear()
        odeint(func, y0.double(), t.double(), options={name: times})
        assert min(abs(s - 0.3) for s in seen) < 1e-15
    for wrong in ("abc", [None], ["0.3"], torch.tensor([[0.3]])):
        with pytest.raises(TypeError, match=f"`{name}` must be a sequence of numbers"):
            odeint(func, y0, t, options={name: wrong})


def test_factors_that_are_none():
    for name in ("safety", "dfactor", "ifactor"):
        with pytest.raises(TypeError, match=r"must be a number, got '0\.5'"):
            odeint(lambda t, y: -y, y0, t, options={name: "0.5"})
    with pytest.raises(ValueError, match="`dfactor` is its shrink and `ifactor` its grow"):
        odeint(lambda t, y: -y, y0, t, options={"dfactor": 2})


def test_vmap_over_a_parameter_that_only_later_stages_see():
    def end(rate):
        def field(t, y):
            return torch.zeros_like(y) if t < 0.3 else rate * y

        return odeint(field, torch.ones(2), TIMES[[0, -1]], method="rk4")[-1]

    rates = torch.tensor([[0.5], [1.0]])
    torch.testing.assert_close(torch.func.vmap(end)(rates), torch.stack([end(r) for r in rates]))


@both
def test_an_overwritten_value_of_the_field_is_refused(solve):
    buffer = torch.empty(2)
    constant = torch.ones(2)
    with pytest.raises(ValueError, match="overwritten; return a new one"):
        solve(lambda t, y: torch.mul(y, -1, out=buffer), y0, t, method="rk4", **plain(solve))
    end = solve(lambda t, y: constant, y0, t, method="rk4", **plain(solve))[-1]
    torch.testing.assert_close(end, torch.full((2,), 2.0))


@both
@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_midpoint"])
def test_a_field_that_changes_its_state_is_refused(solve, method):

    def clamps(t, y):
        return -y.clamp_(min=0.0)

    for field in (lambda t, y: y.mul_(-1), lambda t, y: y[:1].neg_() + 0 * y, clamps):
        with pytest.raises(ValueError, match="must not change the state"):
            solve(field, torch.ones(2), t, method=method, **plain(solve))


@both
def test_tolerances_are_checked_also_where_steps_are_fixed(solve):
    for bad in ({"rtol": -1.0}, {"atol": math.nan}):
        with pytest.raises(ValueError, match="finite and not negative"):
            solve(lambda t, y: -y, y0, t, method="rk4", **bad, **plain(solve))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_in_any_tensor_of_a_tuple_rejects_the_step(place):
    # log(u) is NaN where a step goes below 0.
    def field(t, y):
        pull = 50.0 if t > 5 else 0.0
        return tuple(
            -torch.log(part) * pull if i == place else -0.01 * part for i, part in enumerate(y)
        )

    y0 = tuple(torch.full((1,), 0.02 if i == place else 1.0).double() for i in range(3))
    found = odeint(field, y0, torch.tensor([0.0, 10.0]).double(), rtol=1e-6, atol=1e-9)
    for i, part in enumerate(found):
        wanted = 1.0 if i == place else math.exp(-0.1)
        assert float(part[-1]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("method", ["implicit_euler", "gl4"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_implicit_methods_solve_states_of_any_size(method, dtype):
    t = torch.linspace(0, 4, 5, dtype=dtype)

    def end(s):
        return odeint(lambda t, y: -y * (y / s), torch.tensor([s], dtype=dtype), t, method=method)

    for power in (-30, -17, 40):  # of two, so that nothing is rounded differently
        assert torch.equal(end(2.0**power) / 2.0**power, end(1.0))
    torch.testing.assert_close(end(1e-6) / 1e-6, end(1.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_euler", "implicit_adams", "gl4"])
@pytest.mark.parametrize("shapes", [[(0, 3)], [(0, 3), (0,)], [(0, 3), (2,)]])
@both
def test_empty_tensors_stay_empty(method, shapes, solve):
    t = torch.linspace(0, 1, 3)
    y0 = tuple(torch.ones(shape, requires_grad=True) for shape in shapes)
    if len(shapes) == 1:
        found = (solve(lambda t, y: -y, y0[0], t, method=method, **plain(solve)),)
        again = solve(lambda t, y: (-y[0],), y0, t, method=method, **plain(solve))
        assert again[0].shape == found[0].shape
    else:
        found = solve(lambda t, y: tuple(-x for x in y), y0, t, method=method, **plain(solve))
    assert [tuple(x.shape) for x in found] == [(3, *shape) for shape in shapes]
    sum(x.sum() for x in found).backward()
    assert [x.grad.shape for x in y0] == [x.shape for x in y0]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", ["implicit_euler", "gl4", "trapezoid"])
@pytest.mark.parametrize("kind", ["restored", "discrete"])
def test_adjoints_of_implicit_methods_solve_their_own_equation(method, kind):
    # Newton's method in the backward pass needs the Jacobian of the adjoint's equation.
    A = torch.tensor([[-1.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    y0 = torch.ones(2, dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    found = odeint_adjoint(
        lambda t, y: A @ y, y0, t, method=method, adjoint=kind, adjoint_params=()
    )
    found[-1, 0].backward()
    wanted = torch.linalg.matrix_exp(A)[0]
    torch.testing.assert_close(y0.grad, wanted, rtol=0.1 if method == "implicit_euler" else 1e-3, atol=0)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["implicit_euler", "gl4"])
def test_implicit_methods_in_half_precision(method, dtype):
    def end(dtype):
        y0 = torch.ones(2, dtype=dtype, requires_grad=True)
        y = odeint(lambda t, y: -y, y0, torch.linspace(0, 1, 5), method=method)[-1]
        return y, torch.autograd.grad(y.sum(), y0)[0]

    for found, wanted in zip(end(dtype), end(torch.float32), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), wanted, rtol=8 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(("n", "formed"), [(150, True), (500, False)])
def test_jacobians_of_large_states_are_not_formed(n, formed, monkeypatch):
    made = []
    all_rows = _jacobian._all_rows
    watched = lambda f, x: made.append(f) or all_rows(f, x)  # noqa: E731
    monkeypatch.setattr(_jacobian, "_all_rows", watched)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    y0 = torch.linspace(0, 1, n, dtype=torch.float64, requires_grad=formed)
    y = odeint(lambda t, y: -(y**3), y0, t, method="radauIIA5", options={"step_size": 0.5})
    torch.testing.assert_close(y[-1], y0 / (1 + 2 * y0**2).sqrt(), rtol=1e-3, atol=1e-4)
    assert bool(made) is formed
    if formed:  # of 450 unknowns
        (slopes,) = torch.autograd.grad(y[-1].sum(), y0)
        torch.testing.assert_close(slopes, (1 + 2 * y0**2) ** -1.5, rtol=1e-2, atol=1e-3)


def test_under_autocast_the_remedies_for_half_precision_work():
    layer, block = torch.nn.Linear(3, 4), NeuralODE(DenseField(4, 8))
    x = torch.randn(5, 3)
    wanted = block(layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        with pytest.raises(ValueError, match=r"fixed steps, rtol >= 8e-03, .*autocast"):
            block(y)
        for found in (
            block(y.float()),
            NeuralODE(block.func, solver="rk4", steps=4)(y),
            NeuralODE(block.func, rtol=8e-3)(y),
        ):
            torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("adjoint", ["direct", "discrete"])
def test_under_autocast_the_gradients_of_many_steps_keep_their_digits(adjoint):
    torch.manual_seed(0)
    block = NeuralODE(DenseField(16, 32), solver="rk4", steps=100, adjoint=adjoint, check="off")
    x = torch.randn(64, 16)

    def gradient(enabled):
        block.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = block(x)
        y.square().mean().backward()
        return torch.cat([p.grad.reshape(-1) for p in block.parameters()])

    wanted = gradient(False)
    assert (gradient(True) - wanted).norm() < 8e-3 * wanted.norm()  # eps of bfloat16


@pytest.mark.parametrize("gradients", [True, False])
def test_under_autocast_weights_are_cast_once_where_no_gradient_needs_more(gradients):
    casts = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            if op is torch.ops.aten._to_copy.default and args[0].shape == (8, 4):
                casts.append(op)
            return op(*args, **kwargs or {})

    field, y0 = DenseField(4, 8), torch.randn(3, 4)
    with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype=torch.bfloat16), Casts():
        odeint(field, y0, torch.tensor([0.0, 1.0]), method="euler", options={"steps": 5})
    assert len(casts) == (5 if gradients else 1)


def test_vmap_over_many_outputs_of_a_step():
    y0, t = torch.randn(3, 2), torch.linspace(0, 1, 20)
    given = {"method": "rk4", "options": {"step_size": 0.5, "interp": "cubic"}}

    def each(y):
        return odeint(lambda t, y: -y, y, t, **given)

    torch.testing.assert_close(torch.func.vmap(each, out_dims=1)(y0), each(y0))


def test_solvers_of_scipy_refuse_tangents():
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(2), torch.ones(2))
        with pytest.raises(ValueError, match="`y0` has a tangent"):
            odeint(lambda t, y: -y, dual, torch.tensor([0.0, 1.0]), method="scipy_solver")


IN_AUTOCAST = {
    "odeint": lambda f, y, t: odeint(f, y, t, method="radauIIA5", rtol=1e-6, atol=1e-6),
    "given": lambda f, y, t: odeint(f, y, t, method="gl6"),
    "dense": lambda f, y, t: odeint_dense(f, y, t[0], t[-1], method="kvaerno43")(t),
    "solve": lambda f, y, t: solve(f, (t[0], t[-1]), y, method="kvaerno43", t_eval=t).y,
}


@pytest.mark.parametrize("kind", IN_AUTOCAST)
def test_under_autocast_the_products_of_a_solver_are_not_lowered(kind):
    y0, t = torch.randn(5, 3), torch.linspace(0, 1, 9)

    def pointwise(t, y):  # nothing that autocast lowers
        return torch.sin(t) - y.tanh()

    wanted = IN_AUTOCAST[kind](pointwise, y0, t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(IN_AUTOCAST[kind](pointwise, y0, t), wanted)


def test_under_autocast_functions_of_the_user_run_in_it():
    """A layer of half-precision weights takes single precision there alone."""
    half, t = nn.Linear(4, 1).bfloat16(), torch.tensor([0.0, 1.0])
    y0, seen = torch.randn(8, 4), []

    class Decay(nn.Module):
        def forward(self, t, y):
            return -y

        def callback_accept_step(self, t, y, h):
            seen.append(half(y))

    def event(t, y):
        return t - 0.5 + 0 * half(y).float().sum()

    def norm(error):
        return half(error).float().abs().amax() + error.abs().amax()

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for method in ("dopri5", "kvaerno43"):
            options = {"method": method, "options": {"norm": norm}}
            time, _ = odeint(Decay(), y0, t, event_fn=event, **options)
            assert float(time) == pytest.approx(0.5, abs=1e-5)
            time, _ = odeint_event(Decay(), y0, t[0], event_fn=event, **options)
            assert float(time) == pytest.approx(0.5, abs=1e-5)
            odeint_adjoint(Decay(), y0, t, **options)
            odeint_dense(Decay(), y0, t[0], t[1], **options)(0.3)
            found = solve(
                lambda t, y: -y, (0, 1), y0, method=method, norm=norm, events=[event],
                observe=lambda what, t, y, h: seen.append(half(y)),
                dense=lambda step: seen.append(half(step(step.t))),
            )  # fmt: skip
            assert found.events[0].t == pytest.approx([0.5], abs=1e-5)
    assert {x.dtype for x in seen} == {torch.bfloat16}


METHODS_THAT_READ = [
    {},
    {"method": "gl4", "options": {"steps": 2}},
    {"method": "fixed_adams", "options": {"steps": 4}},
]


@pytest.mark.parametrize("options", METHODS_THAT_READ, ids=["dopri5", "gl4", "fixed_adams"])
def test_vmap_over_steps_that_values_choose_is_refused_with_remedies(options):
    func, t, y0 = DenseField(2, 3), torch.tensor([0.0, 1.0]), torch.randn(3, 2)

    def end(y):
        return odeint(func, y, t, **options)[-1].sum()

    wanted = torch.stack([torch.func.grad(end)(y) for y in y0])
    for transformed in (end, torch.func.grad(end)):
        with pytest.raises(
            ValueError, match=r"use `torch_bridge\.odeint_adjoint`.* an explicit method with"
        ):
            torch.vmap(transformed)(y0)

    def by_adjoint(y):
        return odeint_adjoint(func, y, t, **options)[-1].sum()

    found = torch.vmap(torch.func.grad(by_adjoint))(y0)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_other_solves_under_vmap():
    func, t, y0 = DenseField(2, 3), torch.tensor([0.0, 1.0]), torch.randn(3, 2)
    for run in (
        NeuralODE(func),
        lambda y: solve(func, (0, 1), y).y,
        lambda y: odeint(func, y, t, event_fn=lambda t, y: t - 0.5)[0],
        lambda rate: odeint(lambda t, y: rate * y, y0, t),
    ):
        with pytest.raises(ValueError, match=r"torch\.vmap can not map over values"):
            torch.vmap(run)(y0)
    for batch in (solve_per_sample, solve_ivp):
        with pytest.raises(ValueError, match=r"torch\.vmap can not map over values"):
            torch.vmap(lambda y, batch=batch: batch(lambda t, y: -y, (0.0, 1.0), y).y)(y0)
    with pytest.raises(RuntimeError, match="randomness"):  # not for us to explain
        torch.vmap(lambda y: odeint(lambda t, y: torch.rand_like(y), y, t, method="rk4"))(y0)


def test_steps_per_sample_under_torch_func():
    func, y0 = DenseField(2, 3).double(), torch.randn(4, 2, dtype=torch.float64)

    def end(y):
        return solve_per_sample(lambda t, y: func(t[:, None], y), (0.0, 1.0), y).y[-1].sin().sum()

    start = y0.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(end(start), start)
    assert torch.equal(torch.func.grad(end)(y0), wanted)


def test_second_derivatives_by_forward_mode_are_refused_with_their_reason():
    func, t, y0 = DenseField(2, 3), torch.tensor([0.0, 1.0]), torch.ones(2)

    def end(y):
        return odeint(func, y, t, method="gl4", options={"steps": 2})[-1].sum()

    for second in (torch.func.hessian, lambda f: torch.func.jacfwd(torch.func.jacfwd(f))):
        with pytest.raises(RuntimeError, match="implicit method can not be differentiated again"):
            second(end)(y0)


@pytest.mark.parametrize("passes", list(product((torch.func.jacfwd, torch.func.jacrev), repeat=2)))
def test_times_and_states_have_second_derivatives_under_torch_func(passes):
    """Torch's own nested forward passes give zero for what passes a Function."""

    def by_formula(s):  # y' = -cos(t) y^2
        return 1 / (1 / s[0] + torch.sin(s[2]) - torch.sin(s[1]))

    def by_odeint(s):
        options = {"rtol": 1e-9, "atol": 1e-11}
        return odeint(lambda t, y: -(y**2) * torch.cos(t), s[:1], s[1:], **options)[-1, 0]

    def by_dense(s):
        solution = odeint_dense(
            lambda t, y: -(y**2) * torch.cos(t), s[:1], 0.3, 1.2, rtol=1e-9, atol=1e-11
        )
        return solution(s[2])[0]

    s = torch.tensor([0.5, 0.3, 1.1], dtype=torch.float64)
    outer, inner = passes
    wanted = outer(inner(by_formula))(s)
    torch.testing.assert_close(outer(inner(by_odeint))(s), wanted, rtol=1e-6, atol=1e-7)
    held = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(outer(inner(by_dense))(s), wanted * held, rtol=1e-5, atol=1e-6)
    third = torch.func.jacrev(outer(inner(by_odeint)))(s)
    torch.testing.assert_close(
        third, torch.func.jacrev(outer(inner(by_formula)))(s), rtol=1e-6, atol=1e-6
    )


def forward_by_torch_func(function, x):
    return torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]


def forward_by_dual_numbers(function, x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


@pytest.mark.parametrize("forward", [forward_by_torch_func, forward_by_dual_numbers])
class TestReverseOverForward:
    """Second derivatives by autograd's backward pass through a derivative in forward mode."""

    y0 = torch.tensor([0.5, -0.3], dtype=torch.float64)
    t = torch.tensor([0.1, 0.6, 1.0], dtype=torch.float64)

    def field(self, t, y):
        return -(y**2) * torch.cos(t)

    def test_is_refused_where_it_would_be_wrong(self, forward):
        def event(y):
            found = odeint_event(
                self.field, y, self.t[0], event_fn=lambda t, y: y[0] - 0.4, rtol=1e-8, atol=1e-8
            )
            return found[0] + found[1][-1].sum()

        def implicit(y):
            return odeint(self.field, y, self.t, method="gl4")[-1].sum()

        def times(t):
            return odeint(self.field, y0, t, method="rk4")[-1].sum()

        y0 = self.y0.clone().requires_grad_()
        for function, x, what in (
            (event, y0, "event's time"),
            (implicit, y0, "implicit method"),
            (times, self.t, "respect to times"),
        ):
            first = forward(function, x)
            with pytest.raises(RuntimeError, match=f"{what} can not be differentiated again"):
                torch.autograd.grad(first, y0)

    def test_times_that_do_not_move_forward_are_right_or_refused(self, forward):
        t, y0 = self.t.clone().requires_grad_(), self.y0.clone().requires_grad_()

        def end(y):
            return odeint(self.field, y, t, rtol=1e-9, atol=1e-9)[-1].sum()

        first, c = forward(end, y0), math.sin(1.0) - math.sin(0.1)
        if forward is forward_by_torch_func:
            moves = (2 * self.y0 / (1 + c * self.y0) ** 3).sum() * torch.cos(self.t)
            found = torch.autograd.grad(first, t, retain_graph=True)[0]
            signs = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
            torch.testing.assert_close(found, signs * moves, rtol=1e-6, atol=1e-7)
        else:
            with pytest.raises(RuntimeError, match="respect to times can not be differentiated"):
                torch.autograd.grad(first, t, retain_graph=True)
        found = torch.autograd.grad(first, y0)[0]
        torch.testing.assert_close(found, -2 * c / (1 + c * self.y0) ** 3, rtol=1e-6, atol=1e-7)

    def test_parameters_alone_may_be_differentiated(self, forward):
        def end(rate):
            t = torch.tensor([0.1, 1.0], dtype=torch.float64)
            return odeint(lambda t, y: -rate * y, self.y0, t, rtol=1e-9, atol=1e-9)[-1].sum()

        rate = torch.tensor(0.7, dtype=torch.float64)
        wanted = -0.9 * (self.y0 * torch.exp(-0.9 * rate)).sum()
        torch.testing.assert_close(forward(end, rate), wanted, rtol=1e-6, atol=1e-7)

    def test_is_right_through_states_of_explicit_methods(self, forward):
        y0 = self.y0.clone().requires_grad_()

        def end(y):
            t = torch.tensor([0.1, 1.0], dtype=torch.float64)  # made inside, and not differentiated
            return odeint(self.field, y, t, rtol=1e-9, atol=1e-9)[-1].sum()

        found = torch.autograd.grad(forward(end, y0), y0)[0]
        c = math.sin(1.0) - math.sin(0.1)  # y = y0 / (1 + c y0)
        torch.testing.assert_close(found, -2 * c / (1 + c * self.y0) ** 3, rtol=1e-6, atol=1e-7)


def test_more_derivatives_of_times_than_a_step_has_are_refused():
    def end(t):
        t = torch.stack([torch.zeros_like(t), t])
        return odeint(lambda t, y: -y, torch.ones(1), t, method="rk4")[-1, 0]

    for _ in range(5):
        end = torch.func.grad(end)
    with pytest.raises(RuntimeError, match="times are differentiated at most 4 times, got 5"):
        end(torch.tensor(1.0))


class TestTimesInGivenSteps:
    """The times that `func` gets are its own, in any number of steps."""

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
    def test_they_are_scalars_of_the_dtype_of_the_state(self, dtype):
        seen = []

        def func(t, y):
            seen.append(t)
            return y * t

        t, steps = torch.tensor([0.0, 0.7], dtype=torch.float64), 70
        odeint(func, torch.ones(3, dtype=dtype), t, method="rk4", options={"steps": steps})
        assert {(s.dtype, s.shape) for s in seen} == {(dtype, torch.Size([]))}
        ends = torch.tensor([0.7 * (k / steps) for k in range(steps)], dtype=dtype)
        assert torch.equal(torch.stack(seen[::4]), ends)

    @pytest.mark.parametrize("recording", [True, False])
    def test_func_may_change_them_and_ask_for_their_gradients(self, recording):
        def func(t, y):
            with torch.enable_grad():
                t.requires_grad_()
                (slope,) = torch.autograd.grad(t.sin(), t)
            with torch.no_grad():
                t.requires_grad_(False).mul_(0.0)
            return slope * torch.ones_like(y)

        options = {"method": "rk4", "options": {"steps": 20}}
        with torch.set_grad_enabled(recording):
            y = odeint(func, torch.zeros(2), torch.tensor([0.0, 1.0]), **options)
        assert torch.allclose(y[-1], torch.tensor(1.0).sin())
