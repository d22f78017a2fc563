"""Compiled transposes of steps give the gradients of the discrete adjoint, and of the steps."""

import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from odecore.errors import CompileWarning
from torch_bridge import DenseField, _step_adjoints, odeint, odeint_adjoint
from torch_bridge._adjoint_choice import default_adjoint
from torch_bridge._compiled_transpose import _transposed
from torch_bridge._odeint import prepare

pytestmark = pytest.mark.timeout(300)
LONG = pytest.mark.long
FIXED = {"method": "rk4", "options": {"steps": 7}}
ADAPTIVE = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-6}


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


class Net(nn.Module):
    """With a frozen, an unused and a shared parameter, and a buffer."""

    def __init__(self, dtype=torch.float64, width=3):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        draw = lambda *n: torch.randn(*n, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
        self.inner, self.outer = nn.Linear(width, 8), nn.Linear(8, width)
        self.to(dtype)
        for p in self.parameters():
            p.data = draw(*p.shape) / 2
        self.again = self.inner
        self.unused = nn.Parameter(draw(2))
        self.frozen = nn.Parameter(draw(width), requires_grad=False)
        self.register_buffer("shift", draw(width))

    def forward(self, t, y):
        twice = self.again(torch.tanh(y - self.frozen))
        return self.outer(torch.tanh(self.inner(y)) + twice) * torch.cos(3 * t) + self.shift


@pytest.fixture(name="transposed")
def fixture_transposed(monkeypatch):
    """How many steps the programs have transposed."""
    from torch_bridge import _compiled_transpose as module

    counts, attempted = [], module.attempted

    def counting(func, function, *given, **more):
        found = attempted(func, function, *given, **more)
        if function is _transposed and found is not None:
            counts.append(int(given[3]))
        return found

    monkeypatch.setattr(module, "attempted", counting)
    return counts


def gradients(solve, func, y0, t, weights=None, **options):
    y = solve(func, y0, t, **options)
    parts = y if isinstance(y, tuple) else (y,)
    loss = sum((x.abs().square().flatten(1).sum(1) * torch.cos(3 * t)).sum() for x in parts)
    inputs = (*(y0 if isinstance(y0, tuple) else (y0,)), *weights)
    return torch.autograd.grad(loss, inputs, materialize_grads=True, allow_unused=True)


def check(func, y0, t, options, weights=None, **more):
    """Compiled gradients against those through the same steps, or steps at the same outputs."""
    weights = [p for p in func.parameters() if p.requires_grad] if weights is None else weights
    found = gradients(odeint_adjoint, func, y0, t, weights, compile=True, **options, **more)
    options = {**options, "adjoint": "discrete"}
    plain = gradients(odeint_adjoint, func, y0, t, weights, **options, **more)
    dtype = plain[0].dtype
    tol = 1e4 * torch.finfo(dtype).eps
    for x, z in zip(found, plain, strict=True):
        torch.testing.assert_close(x, z, rtol=tol, atol=tol * float(plain[0].abs().max()))
    return plain


@pytest.mark.usefixtures("untranslated")
@pytest.mark.parametrize("dtype", [torch.float64, pytest.param(torch.float32, marks=LONG)])
@pytest.mark.parametrize(
    "t", [pytest.param(times(0, 1), marks=LONG), times(1.0, 0.6, 0.5, -1.0)], ids=["two", "four"]
)
@pytest.mark.parametrize("options", [FIXED, pytest.param(ADAPTIVE, marks=LONG)])
def test_gradients_are_those_of_the_steps(options, t, dtype, transposed):
    func, y0 = Net(dtype), torch.randn(5, 3, dtype=dtype, requires_grad=True)
    exact = check(func, y0, t, options)
    assert sum(transposed) >= 7
    if options is FIXED:
        weights = [p for p in func.parameters() if p.requires_grad]
        for x, z in zip(exact, gradients(odeint, func, y0, t, weights, **options), strict=True):
            torch.testing.assert_close(x, z, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("untranslated")
def test_states_of_any_structure(transposed):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, t, state):
            y, z = state
            return self.net(t, y), torch.tanh(z) * y.mean()

    y0 = torch.randn(5, 3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    y0 = tuple(y.requires_grad_() for y in y0)
    check(Pair(), y0, times(0, 0.5, 1), FIXED)
    assert transposed


@pytest.mark.usefixtures("untranslated")
def test_complex_states(transposed):
    class Rotation(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3 + 1j, -0.2 + 2j], dtype=torch.complex128))

        def forward(self, t, y):
            return self.w * y - y * y.abs().square()

    y0 = torch.tensor([1.0 + 1j, 0.5j], dtype=torch.complex128, requires_grad=True)
    check(Rotation(), y0, times(0, 0.5, 1), FIXED)
    assert transposed


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
def test_parametrized_weights_and_autocast(transposed):
    func = Net(torch.float32)
    parametrizations.weight_norm(func.outer)
    y0, t = torch.randn(5, 3, requires_grad=True), times(0, 1)
    check(func, y0, t, FIXED)
    assert len(transposed) == 1
    weights = [p for p in func.parameters() if p.requires_grad]
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(odeint_adjoint, func, y0, t, weights, compile=True, **FIXED)
        plain = gradients(odeint_adjoint, func, y0, t, weights, adjoint="discrete", **FIXED)
    assert len(transposed) == 2
    for x, z in zip(found, plain, strict=True):
        assert (x - z).norm() <= 0.05 * z.norm()


@pytest.mark.usefixtures("untranslated")
def test_nothing_is_compiled_for_other_times_steps_or_tolerances(transposed):
    func, y0 = DenseField(3, 8).double(), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    options = {"method": "dopri5"}
    check(func, y0, times(0, 1), {**options, "rtol": 1e-5})
    check(func, y0, times(0, 0.3, 1), {**options, "rtol": 1e-5})
    before = counters["stats"]["unique_graphs"]
    for t in (times(0, 1), times(2, 1.5, -1)):
        for rtol in (1e-3, 1e-9):
            check(func, y0, t, {**options, "rtol": rtol})
    transposed.clear()
    check(func, y0, times(0, 30), {**options, "rtol": 1e-12, "atol": 1e-12})
    assert len(transposed) > 1
    assert transposed[0] == 64
    assert counters["stats"]["unique_graphs"] == before


@pytest.mark.usefixtures("untranslated")
def test_a_function_that_is_no_module_is_transposed_uncompiled(transposed, monkeypatch):
    kernels, discrete = [], _step_adjoints.discrete
    monkeypatch.setattr(
        _step_adjoints,
        "discrete",
        lambda *x, kernel, **more: kernels.append(kernel) or discrete(*x, kernel=kernel, **more),
    )
    net = Net()
    y0 = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights = [net.outer.weight]
    for adjoint in (None, "discrete"):
        options = {**FIXED, "adjoint_params": tuple(net.parameters()), "adjoint": adjoint}
        options["compile"] = True
        found = gradients(odeint_adjoint, net.__call__, y0, times(0, 1), weights, **options)
        plain = gradients(odeint_adjoint, net, y0, times(0, 1), weights, **FIXED)
        for x, z in zip(found, plain, strict=True):
            torch.testing.assert_close(x, z)
    assert not transposed
    assert len(kernels) == 4
    assert all(kernels)  # many steps at once all the same


@pytest.mark.usefixtures("untranslated")
def test_tensors_given_for_one_call_are_those_of_its_backward_pass(transposed):
    func, y0 = Net(), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    other = {k: (1.5 * v).detach().requires_grad_() for k, v in func.named_parameters()}
    other["shift"] = func.shift * 2

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.func = func

        def forward(self, y, **more):
            return odeint_adjoint(self.func, y, times(0, 1), adjoint="discrete", **FIXED, **more)

    found, given = [], {f"func.{k}": v for k, v in other.items()}
    for more in ({}, {"compile": True}):
        y = torch.func.functional_call(Block(), given, (y0,), more)
        found.append(torch.autograd.grad(y.square().sum(), [y0, other["outer.weight"]]))
    for x, z in zip(*found, strict=True):
        torch.testing.assert_close(x, z)
    assert not transposed


@pytest.mark.usefixtures("untranslated")
def test_gradients_that_would_be_lost_are_refused():
    lost = torch.ones(3, dtype=torch.float64, requires_grad=True)

    class Closing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, t, y):
            return self.net(t, y) * lost

    y0 = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = odeint_adjoint(Closing(), y0, times(0, 1), compile=True, **FIXED)
    with pytest.raises(ValueError, match="adjoint_params"):
        y.sum().backward()


@pytest.mark.usefixtures("untranslated")
def test_a_graph_serves_more_than_once_and_many_cotangents(transposed):
    func, y0 = Net(), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = odeint_adjoint(func, y0, times(0, 1), compile=True, **FIXED)[-1]
    first, again = (
        torch.autograd.grad(y[0, 0], (y0, func.outer.weight), retain_graph=True) for _ in range(2)
    )
    assert torch.equal(first[1], again[1])
    units = torch.zeros(2, 5, 3, dtype=torch.float64)
    units[0, 0, 0] = units[1, 2, 1] = 1
    rows = torch.autograd.grad(y, (y0, func.outer.weight), units, is_grads_batched=True)
    for x, z in zip(first, rows, strict=True):
        torch.testing.assert_close(x, z[0])
    assert len(transposed) == 2


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
def test_states_beyond_the_budget_are_made_again(transposed):
    func, y0 = Net(), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    options = {"method": "rk4", "options": {"steps": 30}}
    options["adjoint"] = "discrete"
    check(func, y0, times(0, 1), options, memory=5 * y0.nbytes)
    assert not transposed
    check(func, y0, times(0, 1), options, memory=31 * y0.nbytes)
    assert transposed == [30]


def test_what_can_not_be_compiled_is_transposed_step_by_step(transposed):
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, t, y):
            return self.net(t, y) * (1.0 if y.detach().sum().item() > 1e9 else 2.0)

    y0 = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(Reading(), y0, times(0, 1), FIXED)
    assert {w.category for w in caught} == {CompileWarning}
    assert not transposed


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
@pytest.mark.filterwarnings("ignore::odecore.errors.CompileWarning")
def test_checkpoints_inside_the_function_are_there_when_tracing_has_failed():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, t, y):
            return checkpoint(self.net, t, y, use_reentrant=False)

    y0 = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    check(Checkpointed(), y0, times(0, 1), FIXED)


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
def test_hooks_that_came_after_the_forward_pass_are_called_as_without():
    found = []
    for more in ({}, {"compile": True}):
        func = Net()
        y0 = torch.ones(5, 3, dtype=torch.float64, requires_grad=True)
        y = odeint_adjoint(func, y0, times(0, 1), adjoint="discrete", **FIXED, **more)
        odeint_adjoint(func, y0, times(0, 1), adjoint="discrete", **FIXED, **more).sum().backward()
        func.inner.register_forward_hook(lambda module, given, value: 2 * value)
        found.append(torch.autograd.grad(y.sum(), y0)[0])
    torch.testing.assert_close(*found)


@pytest.mark.long
@pytest.mark.parametrize("options", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
def test_translated_programs(options, transposed):
    func, y0 = Net(torch.float32), torch.randn(5, 3, requires_grad=True)
    check(func, y0, times(0, 0.4, 1), options)
    assert len(transposed) == 1


@pytest.mark.parametrize(
    ("intervals", "options", "plain", "compiled"),
    [
        (8, ADAPTIVE, "restored", "discrete"),
        (9, ADAPTIVE, "restored", "restored"),
        (1, {**ADAPTIVE, "options": {"jump_t": times(0.5)}}, "restored", "restored"),
        (1, {"method": "rk4", "options": {"steps": 64}}, "discrete", "discrete"),
        (1, {"method": "rk4", "options": {"steps": 65}}, "restored", "discrete"),
        (1, {"method": "rk4", "options": {"step_size": 0.3}}, "discrete", "discrete"),
        (1, {"method": "implicit_euler", "options": {"steps": 999}}, "discrete", "discrete"),
        (20, {"method": "kvaerno54"}, "discrete", "discrete"),
        (20, {"method": "kvaerno43"}, "restored", "restored"),  # it does not damp
    ],
)
def test_steps_that_can_be_compiled_choose_the_adjoint(intervals, options, plain, compiled):
    func, y0 = Net(), torch.ones(20, 3, dtype=torch.float64)
    given = {"rtol": 1e-6, "atol": 1e-6, "options": {}, **options}
    t = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
    for f, expected in ((func, compiled), (func.forward, plain)):
        problem = prepare(f, y0, t, **given)
        assert default_adjoint(problem, (), True) == expected
        assert default_adjoint(problem, (), False) == plain
        assert default_adjoint(problem, (None, 9), True) == "restored"
        explicit = problem.solver.method.is_explicit
        assert default_adjoint(problem, (), True, 99) == ("restored" if explicit else plain)
