"""Backward passes of given steps take the steps of the forward ones, wherever the outputs are."""

import functools

import pytest
import torch

from odecore.errors import UnresolvedInterpolantWarning
from odecore.solve import Newton
from torch_bridge import odeint, odeint_adjoint
from torch_bridge._methods import solver_of

D = torch.float64


class Stiff(torch.nn.Module):
    """y' = -k (y - sin t): steps that miss the region of stability by a little show it."""

    def __init__(self, k):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(k, dtype=D))

    def forward(self, t, y):
        return -self.k * (y - torch.sin(t))


class Turning(torch.nn.Module):
    """y' = k tanh(A y)."""

    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(1.0, dtype=D))

    def forward(self, t, y):
        return self.k * torch.tanh(y @ torch.tensor([[0.0, -3.0], [3.0, 0.0]], dtype=D))


class Decaying(torch.nn.Module):
    """y' = -k y / (t + 1e-3)."""

    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(0.7, dtype=D))

    def forward(self, t, y):
        return -self.k * y / (t + 1e-3)


def gradients(solve, func, t, **options):
    y0 = torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)
    y = solve(func, y0, torch.tensor(t, dtype=D), **options)
    return torch.autograd.grad(y[-1].sum(), (y0, func.k))


@pytest.mark.filterwarnings("ignore:.*nodes do not resolve")  # no matter for y0
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("adjoint", ["reversed", "restored"])
@pytest.mark.parametrize(("method", "k"), [("euler", 15.0), ("rk4", 20.0)])
def test_an_early_output_leaves_the_steps_as_small_as_they_are(method, k, adjoint, own):
    more = {"adjoint_options": {"step_size": 0.1}} if own else {}
    y0_grad, _ = gradients(
        odeint_adjoint, Stiff(k), [0.0, 0.01, 4.0], method=method, options={"step_size": 0.1},
        adjoint=adjoint, **more,
    )  # fmt: skip
    assert y0_grad.abs().max() < 1e-10  # exp(-60) and less


@pytest.mark.parametrize("backward", [{}, {"adjoint_options": {"step_size": 0.1}}])
def test_several_outputs_in_the_beginning(backward):
    options = {"method": "rk4", "options": {"step_size": 0.1}}
    t = [0.0, 0.1, 0.2, 0.3, 0.4, 4.0]
    wanted = gradients(odeint, Turning(), t, **options)
    found = gradients(odeint_adjoint, Turning(), t, adjoint="reversed", **options, **backward)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


def test_a_stretched_grid_is_that_of_the_backward_pass():
    def grid(func, y0, t):
        s = torch.linspace(0, 1, 41, dtype=t.dtype) ** 4
        return s if t[-1] > t[0] else s.flip(0)

    options = {"method": "rk4", "options": {"grid_constructor": grid}}
    wanted = gradients(odeint, Decaying(), [0.0, 1.0], **options)
    for own in ({}, {"adjoint_options": {"grid_constructor": grid}}):
        found = gradients(
            odeint_adjoint, Decaying(), [0.0, 1.0], adjoint="reversed", **options, **own
        )
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=5e-3, atol=0)


@pytest.mark.parametrize("adjoint", ["reversed", "restored"])
@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 0.25, 1.0]])
@pytest.mark.parametrize("own", [False, True])
def test_perturbed_steps_stay_on_their_side_backward(adjoint, t, own):
    """f jumps from a y to b y at an end of steps that is not an output: exp((a + b)/2)."""

    class Jump(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(torch.tensor(1.0, dtype=D))

        def forward(self, t, y):
            return self.k * torch.where(t < 0.5, 0.7, -2.5) * y

    options = {"step_size": 0.125, "perturb": True}
    more = {"adjoint_options": options} if own else {}
    y0_grad, k_grad = gradients(
        odeint_adjoint, Jump(), t, method="rk4", options=options, adjoint=adjoint, **more
    )
    exact = torch.exp(torch.tensor(-0.9, dtype=D))
    torch.testing.assert_close(y0_grad, exact.expand(2), rtol=5e-4, atol=0)
    torch.testing.assert_close(k_grad, -0.9 * exact * 3, rtol=2e-3, atol=0)


def test_a_norm_of_the_reversed_adjoint_gets_the_parts_of_a_tuple():
    shapes = []

    def norm(parts):
        shapes.append([tuple(part.shape) for part in parts])
        return max(part.abs().max() for part in parts if part.numel())

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(torch.ones((), dtype=D))

        def forward(self, t, y):
            return -self.k * y[0], y[1].sin()

    y0 = (torch.ones(2, 2, dtype=D), torch.ones(1, dtype=D))
    y = odeint_adjoint(
        Two(), y0, torch.tensor([0.0, 1.0], dtype=D), adjoint="reversed",
        adjoint_options={"norm": norm},
    )  # fmt: skip
    y[0].sum().backward()
    assert shapes
    assert set(map(str, shapes)) == {str([(), (2, 2), (1,), (2, 2), (1,), ()])}


class Controlled(torch.nn.Module):
    """y' = tanh(A y) - y + u, with u smooth, or constant or linear in pieces of length 0.4."""

    def __init__(self, control):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.A = torch.nn.Parameter(torch.randn(3, 3, dtype=D, generator=generator))
        self.u = torch.nn.Parameter(2 * torch.randn(11, 3, dtype=D, generator=generator))
        self.control, self.calls = control, 0

    def forward(self, t, y):
        self.calls += 1
        x = min(max(float(t) / 0.4 + 1e-9, 0.0), 9.999)
        k, part = int(x), {"constant": 0.0, "linear": x % 1.0}.get(self.control, 0.0)
        u = self.u[k] * (1 - part) + self.u[k + 1] * part
        if self.control == "smooth":
            u = self.u[0] * torch.sin(3 * t)
        return torch.tanh(y @ self.A.T) - y + u


def controlled(solve, control, method, steps, outputs, **options):
    """The gradient, the evaluations backward, and how many of them solving back would take."""
    func, y0 = Controlled(control), torch.ones(3, dtype=D, requires_grad=True)
    t = torch.linspace(0, 4, outputs, dtype=D)
    y = solve(func, y0, t, method=method, options={"step_size": 4 / steps}, **options)
    forward = func.calls
    (y**2).mean().backward()
    return torch.cat([y0.grad, func.A.grad.ravel(), func.u.grad.ravel()]), func.calls - forward


@functools.cache
def exact_gradient(control, outputs):
    return controlled(odeint, control, "rk4", 800, outputs)[0]


def errors(control, method, steps, outputs, **options):
    """Relative errors of the gradient of the steps, and of the restored one."""
    exact = exact_gradient(control, outputs)
    ways = (odeint, {}), (odeint_adjoint, {"adjoint": "restored", **options})
    found = [controlled(way, control, method, steps, outputs, **more) for way, more in ways]
    return [float((g - exact).norm() / exact.norm()) for g, _ in found], found[1][1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("outputs", [pytest.param(2, marks=pytest.mark.long), 5])
@pytest.mark.parametrize("method", ["midpoint", "rk4"])
@pytest.mark.parametrize("control", ["smooth", "constant", "linear"])
def test_nodes_resolve_what_the_steps_do(control, method, outputs):
    (steps, restored), _ = errors(control, method, 80, outputs)
    more = {"smooth": 0, "linear": 2e-4, "constant": 6e-3}[control]  # the integrand's kinks, jumps
    assert restored < 6 * steps + more


@pytest.mark.long
def test_nodes_resolve_what_implicit_steps_do():
    (steps, restored), _ = errors("linear", "implicit_midpoint", 20, 2)
    assert restored < 6 * steps


def test_nodes_that_do_not():
    with pytest.warns(UnresolvedInterpolantWarning):
        (steps, restored), _ = errors("linear", "rk4", 80, 2, nodes=17)
    assert restored > 100 * steps


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("outputs", "most"), [(2, 1.3), (9, 1.5), (81, 2.5)], ids=["one", "some", "many"]
)
def test_evaluations_backward(outputs, most):
    _, evaluations = errors("smooth", "rk4", 80, outputs)
    assert evaluations <= most * 4 * 80 + 8


def test_equal_steps_of_an_interval_are_not_those_of_each_of_its_panels():
    func, y0 = Controlled("smooth"), torch.ones(3, dtype=D, requires_grad=True)
    t = torch.tensor([0.0, 4.0], dtype=D)
    y = odeint_adjoint(func, y0, t, method="rk4", options={"steps": 100})
    forward = func.calls
    y[-1].sum().backward()
    assert func.calls - forward < 1.3 * 4 * 100


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"adjoint": "restored"},
        {"adjoint": "restored", "nodes": 17},
        {"adjoint": "restored", "memory": 10**6},
        {"adjoint": "reversed"},
        {"adjoint": "discrete"},
    ],
    ids=str,
)
@pytest.mark.parametrize("sign", [1, -1])
def test_steps_of_their_own_in_each_interval(more, sign):
    t = sign * torch.tensor([0.0, 0.2, 1.5, 2.0], dtype=D)
    options = {"method": "rk4", "options": {"steps": [3, 60, 25]}}
    y0 = torch.tensor([0.5, -0.2], dtype=D, requires_grad=True)
    rate = torch.tensor(0.7, dtype=D, requires_grad=True)

    def func(t, y):
        return -rate * y**2 * torch.cos(t)

    def gradient(solve, **more):
        return torch.autograd.grad(solve(func, y0, t, **options, **more).sum(), (y0, rate))

    wanted = gradient(odeint)
    found = gradient(odeint_adjoint, adjoint_params=(rate,), **more)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)
    for wrong, message in (([3, 60], "each of the 3 intervals"), ([3, 0, 2], "positive int")):
        options["options"] = {"steps": wrong}
        with pytest.raises(ValueError, match=message):
            gradient(odeint_adjoint, adjoint_params=(rate,), **more)


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_outputs_between_steps_and_a_last_step_of_rounding(adjoint):
    t = torch.tensor([1e5, 1e5 + 0.033, 1e5 + 0.1], dtype=D)  # seven steps of 0.1 / 7 end beyond
    y0 = torch.ones(2, dtype=D, requires_grad=True)
    options = {"method": "rk4", "options": {"step_size": 0.1 / 7}}
    y = odeint_adjoint(lambda t, y: -y, y0, t, adjoint_params=(), adjoint=adjoint, **options)
    (gradient,) = torch.autograd.grad(y[1:].sum(), y0)
    wanted = torch.exp(-t[1:] + t[0]).sum().expand(2)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["rk4", "gl6"])
def test_a_large_step_is_resolved_as_it_is(method):
    gradient, _ = controlled(odeint_adjoint, "smooth", method, 8, 9)
    assert gradient.isfinite().all()


def distance_to_steps(steps=80, outputs=21, **options):
    """Of the gradient from the exact one of the steps, and the evaluations backward."""
    wanted, _ = controlled(odeint, "smooth", "rk4", steps, outputs)
    found, evaluations = controlled(odeint_adjoint, "smooth", "rk4", steps, outputs, **options)
    return float((found - wanted).abs().max()), evaluations


@pytest.mark.parametrize(("steps", "outputs"), [(80, 21), (64, 2), (60, 5), (80, 11), (66, 2)])
def test_few_steps_are_transposed(steps, outputs):
    gap, evaluations = distance_to_steps(steps, outputs)
    assert gap < 1e-13
    # One to see how much it keeps, and torch.vmap is tried, in which the controls can not be read.
    assert evaluations == 4 * steps + 2


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 79},
        {"nodes": 9},
        {"adjoint_rtol": 1e-6},
        {"certificate": 1.0},
    ],
    ids=[
        "steps pass outputs",
        "nodes",
        "adjoint_rtol",
        "certificate",
    ],
)
def test_others_are_not(given):
    assert distance_to_steps(**given)[0] > 1e-8


def test_a_certificate_that_is_none_chooses_no_adjoint():
    assert distance_to_steps(certificate=False)[0] < 1e-13


@pytest.mark.parametrize("steps", ["3", 2.5, 0, True, [2, "a"], [2, 3, 4], [0, 2]])
def test_steps_that_are_no_counts(steps):
    y0, t = torch.ones(2, requires_grad=True), torch.tensor([0.0, 1.0, 2.0])
    options = {"method": "rk4", "options": {"steps": steps}, "adjoint_params": ()}
    with pytest.raises(ValueError, match="`steps` must be"):
        odeint_adjoint(lambda t, y: -y, y0, t, **options)


@pytest.mark.parametrize(("steps", "own"), [(None, 1), ([1, 3], [1, 3])])
def test_steps_of_each_interval(steps, own):
    t, found = torch.tensor([0.0, 1.0, 2.0], dtype=D), []
    for solve, count in ((odeint_adjoint, steps), (odeint, own)):
        y0 = torch.ones(2, dtype=D, requires_grad=True)
        more = {"adjoint_params": ()} if solve is odeint_adjoint else {}
        y = solve(lambda t, y: -y * t, y0, t, method="rk4", options={"steps": count}, **more)
        found.append(torch.autograd.grad(y[-1].sum(), y0)[0])
    torch.testing.assert_close(*found, rtol=1e-13, atol=0)


def test_ends_of_single_precision_steps_are_output_times():
    t = torch.linspace(0, 1, 11)
    solver = solver_of("rk4", {"step_size": 0.05}, 1e-7, 1e-9, Newton)
    ends = solver.grid(None, None, t, t.tolist())
    assert len(ends) == 21
    assert set(t.tolist()) <= set(ends)


class Switching(Turning):
    """The same with a factor that jumps."""

    def forward(self, t, y):
        return torch.where(t < 0.5, 1.0, -0.7) * super().forward(t, y)


@pytest.mark.parametrize("t", [[0.0, 0.7, 1.0], [1.0, 0.5, 0.0]])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "rk4", "options": {"perturb": True, "step_size": 0.1}},
        {"method": "trapezoid", "options": {"perturb": True, "step_size": 0.1}},
        {
            "options": {
                "jump_t": torch.tensor([0.5], dtype=D),
                "step_t": torch.tensor([0.7], dtype=D),
            }
        },
    ],
    ids=["perturbed", "implicit", "adaptive"],
)
def test_the_discrete_adjoint_stays_on_the_side_of_its_steps(options, t):
    wanted = gradients(odeint, Switching(), t, **options)
    found = gradients(odeint_adjoint, Switching(), t, adjoint="discrete", memory=64, **options)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("adjoint", ["restored", "discrete", "reversed"])
@pytest.mark.parametrize("output", [0.5 + 2.0**-52, 0.5 - 2.0**-53])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_beside_an_output_by_rounding(adjoint, output, sign):
    def grid(func, y0, t):
        return torch.linspace(t[0], t[-1], 41, dtype=D)

    t = [0.0, output, 0.7, 1.0][::sign]
    for given in (
        {"options": {"jump_t": torch.tensor([0.5], dtype=D)}},
        {"method": "rk4", "options": {"perturb": True, "grid_constructor": grid}},
    ):
        wanted = gradients(odeint, Switching(), t, **given)
        found = gradients(odeint_adjoint, Switching(), t, adjoint=adjoint, **given)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_outputs_that_rounding_keeps_apart_in_given_steps():
    t, options = [0.0, 0.5, 0.5 + 2.0**-52, 1.0], {"step_size": 0.05}
    wanted = gradients(odeint, Turning(), t, method="rk4", options=options)
    found = gradients(
        odeint_adjoint, Turning(), t, method="rk4", options=options, adjoint="restored"
    )
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_few_perturbed_steps_are_transposed():
    t, options = torch.linspace(0, 1, 6, dtype=D).tolist(), {"perturb": True, "step_size": 0.1}
    wanted = gradients(odeint, Switching(), t, method="rk4", options=options)
    found = gradients(odeint_adjoint, Switching(), t, method="rk4", options=options)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "options",
    [{"step_size": 0.3}, {"grid_constructor": lambda *_: torch.tensor([0.0, 0.3, 0.7, 1.0])}],
)
def test_outputs_inside_steps_are_interpolated_by_odeint_and_landed_on_by_the_transpose(options):
    """As the page for users of torchdiffeq says; the gradient is that of the states given."""
    func, t = Turning(), [0.0, 0.5, 1.0]

    def states(**adjoint):
        y0, solve = torch.tensor([1.0, 2.0], dtype=D), odeint_adjoint if adjoint else odeint
        given = {"method": "midpoint", "options": dict(options), **adjoint}
        return solve(func, y0, torch.tensor(t, dtype=D), **given)

    torch.testing.assert_close(states(adjoint="reversed"), states(), rtol=0, atol=0)
    y = states(adjoint="discrete")
    assert abs(y - states()).max() > 1e-5
    (found,) = torch.autograd.grad(y.sin().sum(), func.k)
    h = 1e-5
    sums = []
    for k in (1 + h, 1 - h):
        with torch.no_grad():
            func.k.fill_(k)
            sums.append(states(adjoint="discrete").sin().sum())
    torch.testing.assert_close(found, (sums[0] - sums[1]) / (2 * h), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("interp", ["linear", "cubic", "full"])
@pytest.mark.parametrize("adjoint", [None, "restored", "discrete", "reversed"])
def test_an_interpolation_that_an_adjoint_does_not_have_is_refused(adjoint, interp):
    y0 = torch.tensor([1.0, 2.0], dtype=D)

    def states(t, **given):
        options = {"step_size": 0.3, "interp": interp}
        solve = odeint_adjoint if given else odeint
        return solve(
            Turning(), y0, torch.tensor(t, dtype=D), method="rk4", options=options, **given
        )

    landing = [0.0, 0.3, 0.9]  # no output is inside of a step
    torch.testing.assert_close(states(landing, adjoint=adjoint), states(landing))
    inside = [0.0, 0.4, 0.9]
    if adjoint == "reversed" or (interp == "full" and adjoint != "discrete"):
        torch.testing.assert_close(states(inside, adjoint=adjoint), states(inside))
    else:
        told = rf"`interp` has no effect with adjoint='{adjoint or 'restored'}'.* leave it out"
        with pytest.raises(ValueError, match=told):
            states(inside, adjoint=adjoint)
