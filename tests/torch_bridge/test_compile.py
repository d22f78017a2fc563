"""`odeint(compile=True)`: the same results, and no compilation for other times or tolerances."""

import warnings
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn.modules.module import register_module_forward_hook

from odecore.errors import CompileWarning, MaxStepsError, SolveError
from torch_bridge import DenseField, NeuralODE, SwitchedSolver, odeint, odeint_adjoint

pytestmark = pytest.mark.timeout(300)


class Net(nn.Module):
    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)

    def forward(self, t, y):
        return self.net(y) * torch.cos(3 * t)


def graphs():
    return counters["stats"]["unique_graphs"]


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("method", "tight"), [("fehlberg2", 1e-7), pytest.param("dopri5", 1e-9, marks=pytest.mark.long)]
)
def test_a_whole_adaptive_solve(method, tight, request):
    if method == "fehlberg2":
        request.getfixturevalue("untranslated")
    f, y0 = Net(), torch.randn(5, 3, dtype=torch.float64)
    solved, none = partial(odeint, f, y0, method=method), graphs()
    with torch.no_grad():
        solved(times(0, 1), compile=True, rtol=1e-6)
        before = graphs()
        assert before > none
        for t in (times(0, 0.3, 0.31, 2), times(1, -1), times(0, 1e-3)):
            for options in ({"rtol": 1e-4}, {"rtol": tight, "atol": tight / 10}):
                compiled = solved(t, compile=True, **options)
                torch.testing.assert_close(compiled, solved(t, **options), rtol=1e-9, atol=0)
        for options in ({"first_step": 0.01}, {"max_step": 0.02}, {"min_step": 1e-3}):
            compiled = solved(times(0, 1), compile=True, options=options)
            plain = solved(times(0, 1), options=options)
            torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=0)
        assert graphs() == before
        with pytest.raises(MaxStepsError):
            solved(times(0, 1), compile=True, rtol=1e-9, options={"max_num_steps": 3})
        assert graphs() <= before + 1  # the single step, which says how a solve fails


@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")
@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_many_outputs_are_recorded_in_one_loop(dtype):
    rate = torch.tensor([-1.0, 2.0, 0.3]).to(dtype)
    y0 = torch.randn(2, 3, dtype=torch.float64).to(dtype)
    t = torch.linspace(0, 1, 40, dtype=torch.float64)
    with torch.no_grad():
        compiled, plain = (
            odeint(lambda t, y: rate * y * torch.cos(9 * t), y0, t, compile=c, rtol=1e-5)
            for c in (True, False)
        )
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_single_steps_carry_the_gradient_of_an_adaptive_solve():
    f, t = Net(), times(0, 0.4, 1)
    y0 = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    found, none = [], graphs()
    for compiled in (False, True):
        y = odeint(f, y0, t, compile=compiled, rtol=1e-6)
        found.append(torch.autograd.grad(y.square().sum(), [y0, *f.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    before = graphs()
    assert before > none
    y = odeint(f, y0, 2 * t, compile=True, rtol=1e-5)
    y.sum().backward()
    assert graphs() == before
    with torch.no_grad():
        odeint(f, y0, t, compile=True, rtol=1e-6)  # as a whole
    f.zero_grad()
    y = odeint(f, y0.detach(), t, compile=True, rtol=1e-6)
    y.square().sum().backward()
    torch.testing.assert_close(f.net[0].weight.grad, found[0][1], rtol=1e-8, atol=1e-10)


@pytest.mark.long
def test_chunks_of_given_steps_and_their_gradient():
    f = Net(torch.float32)
    y0 = torch.randn(5, 3, requires_grad=True)
    options = {"method": "midpoint", "options": {"step_size": 1 / 16}}
    t = times(0, 0.5, 0.77, 1)
    found, none = [], graphs()
    for compiled in (False, True):
        y = odeint(f, y0, t, compile=compiled, **options)
        found.append([y, *torch.autograd.grad(y.square().sum(), [y0, *f.parameters()])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    before = graphs()
    assert before >= none + 2  # a chunk, and single steps around the output inside one
    odeint(f, y0, t, compile=True, method="midpoint", options={"step_size": 0.051})
    assert graphs() == before


@pytest.mark.usefixtures("untranslated")
def test_given_steps_go_on_in_the_same_loop():
    f, y0, none = Net(), torch.randn(4, 3, dtype=torch.float64), graphs()
    with torch.no_grad():
        for t in (times(0, 1), times(1, 0)):  # three loops each
            options = {"method": "heun2", "options": {"step_size": 1 / 136}}
            compiled, plain = (odeint(f, y0, t, compile=c, **options) for c in (True, False))
            torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=0)
    assert graphs() == none + 1


def test_what_can_not_be_compiled_goes_on_with_a_warning():
    @dataclass
    class DataDependent:  # and not hashable
        rate: float

        def __call__(self, t, y):
            return -self.rate * y if float(y.sum()) > 0 else -2 * y

    y0 = torch.ones(3, dtype=torch.float64)
    with torch.no_grad(), pytest.warns(CompileWarning) as caught:
        y = odeint(DataDependent(1.0), y0, times(0, 1), compile=True)
    assert len(caught) == 2  # the loop, then the step
    torch.testing.assert_close(y[1], torch.exp(-y0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"step_size": 0.25}}])
def test_a_function_that_counts_its_calls_is_not_compiled(options):
    class Counts(Net):
        calls = 0

        def __init__(self):
            super().__init__()
            self.nfe, self.rate = 0, 1.0

        def forward(self, t, y):
            self.nfe += 1
            return self.rate * super().forward(t, y)

    f, y0 = Counts(), torch.ones(2, 3, dtype=torch.float64)
    with torch.no_grad(), pytest.warns(CompileWarning, match=r"nfe.*statistics") as caught:
        y = odeint(f, y0, times(0, 3), compile=True, **options)
    assert len(caught) == 1
    before, calls = graphs(), f.nfe
    with torch.no_grad():
        assert torch.equal(odeint(f, y0, times(0, 3), compile=True, **options)[1], y[1])
    assert graphs() == before
    if not options:
        assert f.nfe == 2 * calls  # all of them are counted


RATE = 1.0


@pytest.mark.usefixtures("untranslated")
def test_what_a_function_reads_is_compared_at_each_call(monkeypatch):
    """Guards on the code of libraries are left out, not those on what a user may change."""
    rate, net = [1.0], nn.Linear(2, 2)
    y0, t = torch.ones(2), torch.tensor([0.0, 1.0])

    def f(t, y):
        return RATE * rate[0] * net(y)

    def solved():
        options = {"method": "euler", "options": {"step_size": 0.1}}
        with torch.no_grad():
            plain, found = (odeint(f, y0, t, compile=c, **options) for c in (False, True))
        torch.testing.assert_close(found, plain)
        return found

    first = solved()
    before = graphs()
    monkeypatch.setitem(globals(), "RATE", 2.0)
    rate[0] = 3.0
    assert not torch.equal(solved(), first)
    monkeypatch.undo()
    rate[0] = 1.0
    assert torch.equal(solved(), first)
    assert graphs() == before + 1


@pytest.mark.parametrize("kind", ["a cell", "a list", "a record"])
def test_a_function_that_counts_outside_of_itself_is_not_compiled(kind):
    calls, listed, recorded = 0, [0], []

    def counts(t, y):
        nonlocal calls
        if kind == "a cell":
            calls += 1
        elif kind == "a list":
            listed[0] += 1
        else:
            recorded.append(t)
        return -y if kind else later

    none, y0 = graphs(), torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    with pytest.warns(CompileWarning, match=r"calls|listed|recorded") as caught:
        odeint(counts, y0, times(0, 3), compile=True)
    later = None  # bound after the solve
    assert len(caught) == 1
    assert graphs() == none


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
def test_values_of_any_layout_and_states_themselves_go_through_the_loop():
    layer = nn.Conv2d(2, 2, 3, padding=1).to(memory_format=torch.channels_last)
    constant = torch.ones(1, 2, 4, 4)
    y0 = torch.randn(1, 2, 4, 4).to(memory_format=torch.channels_last)
    for f in (lambda t, y: torch.tanh(layer(y)), lambda t, y: y, lambda t, y: constant):
        for options in ({"rtol": 1e-4}, {"method": "rk4", "options": {"steps": 40}}):
            none, solve = graphs(), partial(odeint, f, y0, times(0, 1), **options)
            with torch.no_grad():
                found, wanted = solve(compile=True), solve()
            torch.testing.assert_close(found, wanted)
            assert graphs() == none + 1


@pytest.mark.long
@pytest.mark.parametrize("kind", ["module", "function"])
@pytest.mark.usefixtures("untranslated")
def test_hooks_that_come_and_go_are_called(kind):
    net = Net()
    f = net if kind == "module" else partial(net)
    y0, t = torch.randn(2, 3, dtype=torch.float64), times(0, 1)

    def both():
        with torch.no_grad():
            found, wanted = (odeint(f, y0, t, compile=c, rtol=1e-6) for c in (True, False))
        torch.testing.assert_close(found, wanted)
        return found

    plain = both()
    for register in (
        lambda: net.register_forward_hook(lambda module, inputs, output: 2 * output),
        lambda: net.net[0].register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],)),
        lambda: register_module_forward_hook(
            lambda module, inputs, output: -output if isinstance(module, nn.Linear) else None
        ),
    ):
        hook = register()
        assert not torch.allclose(both(), plain)
        hook.remove()
        before = graphs()
        assert torch.equal(both(), plain)
        assert graphs() == before


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"steps": 40}}])
@pytest.mark.usefixtures("untranslated")
def test_states_of_any_layout_are_solved_in_the_loop(options):
    f, none = Net(), graphs()
    with torch.no_grad():
        for y0 in (torch.randn(3, 4).double().T, torch.randn(3).double().expand(4, 3)):
            found, wanted = (
                odeint(f, y0, times(0, 1), compile=c, **options) for c in (True, False)
            )
            torch.testing.assert_close(found, wanted)
    assert graphs() == none + 1


@pytest.mark.long
def test_tuples_and_a_failure():
    def grows(t, y):
        return y[0] ** 2, -y[1]

    y0 = (torch.ones(2), torch.ones(2, 2))
    with torch.no_grad():
        compiled = odeint(grows, y0, torch.tensor([0.0, 0.9]), compile=True, rtol=1e-5)
        plain = odeint(grows, y0, torch.tensor([0.0, 0.9]), rtol=1e-5)
        for a, b in zip(compiled, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=0)
        with pytest.raises(SolveError):
            odeint(grows, y0, torch.tensor([0.0, 2.0]), compile=True, rtol=1e-5)


@pytest.mark.parametrize("method", ["bosh3", pytest.param("dopri5", marks=pytest.mark.long)])
def test_an_adjoint_as_a_whole(method, request):
    if method == "bosh3":
        request.getfixturevalue("untranslated")
    f, y0 = Net(), torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    none, before = graphs(), None
    for t, tolerance in ((times(0, 1), 1e-6), (times(0.5, 1.5), 1e-6), (times(0, 0.9), 1e-7)):
        found = []
        for solve, options in (
            (odeint, {"rtol": 1e-10, "atol": 1e-11}),
            (
                odeint_adjoint,
                {"rtol": tolerance, "atol": tolerance, "compile": True, "adjoint": "restored"},
            ),
        ):
            options["method"] = method if solve is odeint_adjoint else "dopri5"
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                warnings.simplefilter("error", FutureWarning)
                y = solve(f, y0, t, **options)[-1]
                found.append(torch.autograd.grad(y.square().sum(), [y0, *f.parameters()]))
        for exact, g in zip(*found, strict=True):
            assert (g - exact).norm() < 20 * tolerance * exact.norm()
        if before is None:
            before = graphs()
            assert before == none + 2  # the loop of steps, and the adjoint
    assert graphs() == before


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
def test_a_norm_that_can_not_be_compiled_leaves_other_norms_alone():
    f, y0 = Net(), torch.randn(4, 3, dtype=torch.float64)

    def branching(error):
        largest = error.abs().max()
        return largest if float(largest) > 0.5 else error.square().mean().sqrt()

    def compiled(norm):
        before, options = graphs(), {} if norm is None else {"options": {"norm": norm}}
        with warnings.catch_warnings(record=True) as found, torch.no_grad():
            warnings.simplefilter("always", CompileWarning)
            y = odeint(f, y0, times(0, 1), compile=True, **options)
        torch.testing.assert_close(y, odeint(f, y0, times(0, 1), **options), rtol=1e-9, atol=0)
        return graphs() > before, len([x for x in found if x.category is CompileWarning])

    assert compiled(branching) == (False, 2)  # of the loop, and of the step
    assert compiled(branching) == (False, 0)
    assert compiled(lambda error: error.abs().max()) == (True, 0)
    assert compiled(None) == (True, 0)
    bounds = [lambda error, k=k: branching(error) * k for k in (1, 1)]  # made anew, of one code
    assert [compiled(norm) for norm in bounds] == [(False, 2), (False, 0)]


@pytest.mark.long
@pytest.mark.usefixtures("untranslated")
@pytest.mark.parametrize(("method", "more"), [("rk4", 1), ("dopri5", 0)])
def test_compiled_given_steps_begin_with_an_evaluation(method, more):
    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, t, y):
            return torch.tanh(self.norm(y))

    def evaluations(compiles):
        f = Normalized()
        options = {"method": method, "options": {"steps": 20}, "compile": compiles}
        odeint(f, torch.linspace(0, 1, 12).reshape(4, 3), times(0, 1), **options)
        return int(f.norm.num_batches_tracked)

    assert evaluations(True) == evaluations(False) + more


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"steps": 3}}])
def test_an_empty_batch_is_solved_as_it_is(options):
    f, y0, none = Net(), torch.zeros(0, 3, dtype=torch.float64, requires_grad=True), graphs()
    for solve in (odeint, odeint_adjoint):
        y = solve(f, y0, times(0, 1), compile=True, **options)
        assert y.shape == (2, 0, 3)
        y.sum().backward()
    with torch.no_grad():
        odeint(f, y0, times(0, 1), compile=True, **options)
    assert all(not p.grad.any() for p in f.parameters())
    assert graphs() == none


@pytest.mark.long
def test_a_compiled_adjoint_loses_no_gradient():
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    y = odeint_adjoint(lambda t, y: -w * y, y0, times(0, 1), adjoint_params=(), compile=True)
    with pytest.raises(ValueError, match="adjoint_params"):
        y.sum().backward()


def test_the_reversed_adjoint_is_not_compiled():
    with pytest.raises(ValueError, match="restored and discrete"):
        odeint_adjoint(Net(), torch.ones(3), times(0, 1), adjoint="reversed", compile=True)


def test_implicit_methods_are_refused():
    with pytest.raises(ValueError, match="explicit"):
        odeint(Net(), torch.ones(3), times(0, 1), method="implicit_euler", compile=True)


@pytest.mark.parametrize("adjoint", ["direct", "restored", "discrete", "reversed"])
def test_a_compiled_model_leaves_its_solves_alone(adjoint):
    torch.compiler.reset()
    options = {} if adjoint != "direct" else {"solver": "rk4", "steps": 4}
    block = NeuralODE(DenseField(3, 8), adjoint=adjoint, **options)
    model = nn.Sequential(nn.Linear(3, 3), block, nn.Tanh())
    compiled = torch.compile(model, backend="aot_eager")
    none = graphs()
    for seed in range(4):
        torch.manual_seed(seed)
        x = torch.randn(5, 3)
        (wanted,) = torch.autograd.grad(model(x).square().sum(), block.func.drift)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Dynamo detected")
            (found,) = torch.autograd.grad(compiled(x).square().sum(), block.func.drift)
        torch.testing.assert_close(found, wanted)
    assert graphs() - none <= 3  # before the block and after it


def test_a_whole_graph_with_a_solve_is_refused_with_a_reason():
    model = torch.compile(NeuralODE(Net(torch.float32), check="off"), fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="compile the solve by `compile=True`"):
        model(torch.ones(2, 3))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile of the user's
def test_a_right_hand_side_compiled_by_itself_stays_so_in_a_compiled_model():
    torch.compiler.reset()
    field, traced = Net(torch.float32), []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    block = NeuralODE(torch.compile(field, backend=backend), solver="rk4", steps=3)
    x = torch.ones(2, 3)
    wanted = NeuralODE(field, solver="rk4", steps=3)(x)
    torch.testing.assert_close(torch.compile(block, backend=backend)(x), wanted)
    assert 1 <= len(traced) <= 2  # the time is a tensor: no program for each of its values


@pytest.mark.long
@pytest.mark.parametrize("adjoint", ["direct", "restored"])
def test_a_compiled_block_is_the_block(adjoint):
    field = Net(torch.float64)
    blocks = [
        NeuralODE(field, solver="dopri5", adjoint=adjoint, compile=compiles)
        for compiles in (False, True)
    ]
    y0 = torch.randn(7, 3, dtype=torch.float64)  # no other test has compiled this shape
    none = graphs()
    wanted, found = (
        torch.autograd.grad(block(y0).square().sum(), list(field.parameters())) for block in blocks
    )
    assert graphs() > none
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_block_that_can_not_be_compiled_is_refused():
    for options in ({"adjoint": "reversed"}, {"solver": SwitchedSolver(["rk4"]), "steps": 2}):
        with pytest.raises(ValueError, match="leave it out"):
            NeuralODE(Net(), compile=True, **options)


@pytest.mark.parametrize("adjoint", ["direct", "restored", "reversed", "discrete"])
def test_a_function_compiled_for_one_backward_pass_serves_adjoints_too(adjoint):
    torch.compiler.reset()
    field, y0 = DenseField(16, 32), torch.randn(64, 16, requires_grad=True)
    compiled = torch.compile(field, backend="aot_eager")
    times = torch.tensor([0.0, 1.0])
    odeint(compiled, y0, times, method="euler")[-1].sum().backward()  # keeps no graph

    def gradients(func):
        method = "gl4" if adjoint == "direct" else "rk4"
        solve = odeint if adjoint == "direct" else partial(odeint_adjoint, adjoint=adjoint)
        y = solve(func, y0, times, method=method, options={"steps": 2})[-1]
        return torch.autograd.grad(y.square().sum(), (y0, *field.parameters()))

    torch.testing.assert_close(gradients(compiled), gradients(field))


@pytest.mark.parametrize(("rows", "most"), [(1, 64), (2**11, 16), (2**12, None)])
def test_of_large_states_a_loop_records_fewer_steps(rows, most, monkeypatch):
    """Of width 16 in single precision they have up to 256 KiB, and a step of dopri5 8 of them."""
    kept = []

    def refused(func, what, *arguments, **_):
        kept.extend(x for x in arguments if isinstance(x, tuple) and x[-1].ndim > 2)

    monkeypatch.setattr("torch_bridge._compiled.attempted", refused)
    func, y0, t = DenseField(16, 4), torch.randn(rows, 16), torch.linspace(0, 1, 12)
    with torch.no_grad():
        odeint(func, y0, t, compile=True, rtol=1e-3)
    assert bool(kept) is (most is not None)
    for times, each in kept[:1]:
        assert len(times) == len(each) == most
        assert each.shape[1:] == (8, rows, 16)


def test_given_steps_of_an_interpolant_are_not_compiled(monkeypatch):
    """A compiled program records an interpolant of them, which takes longer in both passes."""
    tried = []
    monkeypatch.setattr("torch_bridge._compiled.attempted", lambda *_, **__: tried.append(1))
    func, y0, t = DenseField(3, 4), torch.randn(5, 3, requires_grad=True), times(0, 1)
    options = {"method": "rk4", "options": {"steps": 12}}
    odeint_adjoint(func, y0, t, adjoint="restored", compile=True, **options)
    assert not tried
