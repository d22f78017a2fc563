"""Compiled solves that skip the checks: the same results as with them, and used at all."""

from collections import OrderedDict
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from odecore.errors import CallbackWarning, SolveError, StepUnderflowError
from torch_bridge import NeuralODE, odeint, odeint_adjoint, weight_normalization
from torch_bridge import _adjoint as adjoints
from torch_bridge import _odeint as door

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("untranslated")]


class Net(nn.Module):
    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(3, 8, dtype=dtype), nn.Linear(8, 3, dtype=dtype)

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(y))) * torch.cos(3 * t)


@pytest.fixture
def asked(monkeypatch):
    """The solves that were prepared, with all checks."""
    calls, prepare = [], door.prepare

    def counted(*arguments):
        calls.append(arguments)
        return prepare(*arguments)

    for module in (door, adjoints):
        monkeypatch.setattr(module, "prepare", counted)
    return calls


@pytest.fixture
def long_way(monkeypatch):
    def solved(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(door, "straight", lambda *_: None)
            return odeint(*arguments, compile=True, **options)

    return solved


def row(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


GRID = torch.linspace(0, 1, 81, dtype=torch.float64)
CASES = {
    "adaptive": (row(0, 1), {"rtol": 1e-6, "atol": 1e-8}),
    "backward": (row(2, -1), {"rtol": 1e-5, "atol": 0.0, "method": "bosh3"}),
    "steps": (row(0, 1), {"method": "rk4", "options": {"steps": 40}}),
    "many steps": (row(0, 1), {"method": "heun2", "options": {"steps": 140}}),
    "outputs far apart": (row(0, 0.1, 1), {"method": "midpoint", "options": {"steps": 72}}),
    "outputs": (row(1, 0.3, 0.1, -1), {"method": "rk4", "options": {"steps": 5}}),
    "a grid": (GRID, {"method": "rk4"}),
    "step size": (row(0, 1), {"method": "euler", "options": {"step_size": 1 / 11.5}}),
}


QUICK = {("adaptive", torch.float32, True), ("a grid", torch.float64, False)}


@pytest.mark.parametrize(
    ("case", "dtype", "tuples"),
    [
        pytest.param(*given, marks=[] if given in QUICK else pytest.mark.long)
        for given in product(CASES, [torch.float32, torch.float64], [False, True])
    ],
)
def test_the_same_as_the_long_way(case, dtype, tuples, asked, long_way):
    t, options = CASES[case]
    if dtype == torch.float32 and "rtol" in options:
        options = {**options, "rtol": 1e-4}
    net, y0 = Net(dtype), torch.randn(5, 3, dtype=dtype)
    f = net
    if tuples:
        f, y0 = (lambda t, y: (net(t, y[0]), y[0][:, :1])), (y0, y0[:, :1])
    with torch.no_grad():
        found = [long_way(f, y0, t, **options) for _ in range(2)][-1]
        before = len(asked)
        straight = odeint(f, y0, t, compile=True, **options)
    assert len(asked) == before > 0
    parts = zip(found, straight, strict=True) if tuples else [(found, straight)]
    for wanted, given in parts:
        assert given.dtype == dtype
        torch.testing.assert_close(given, wanted, rtol=0, atol=0)


CHANGES = [
    {"t": row(0, 0.5, 1)},
    {"t": row(0, 0)},
    {"t": row(0)},
    {"t": row(0, float("nan"))},
    {"t": torch.tensor([0, 1])},
    {"y0": torch.zeros(0, 3, dtype=torch.float64)},
    {"y0": torch.full((5, 3), float("nan"), dtype=torch.float64)},
    {"rtol": 1e-30, "atol": 1e-30},
    {"rtol": 2.0},
    {"atol": -1.0},
    {"rtol": torch.tensor(1e-5)},
    {"method": "dopri6"},
    {"method": "implicit_adams"},
    {"method": "gl4"},
    {"options": {"max_num_steps": 3}},
    {"options": {"first_step": 0.01, "max_step": 0.02}},
    {"options": {"frst_step": 0.01}},
    {"options": ["steps"]},
    {"options": []},
    {"options": torch.ones(3)},
    {"options": {}},
    {"method": "rk4", "options": OrderedDict(steps=4)},
    {"method": "rk4", "options": {"steps": 0}},
    {"method": "rk4", "options": {"steps": 40.0}},
    {"method": "rk4", "options": {"steps": True}},
    {"method": "rk4", "options": {"step_size": float("nan")}},
    {"method": "rk4", "options": {"step_size": -0.1}},
    {"options": {"step_size": 0.1}},
]


def test_other_arguments_go_the_long_way(long_way):
    """As do wrong ones, which then raise what they always do."""
    f, y0 = Net(), torch.ones(5, 3, dtype=torch.float64)
    usual = {"y0": y0, "t": row(0, 1), "rtol": 1e-5, "atol": 1e-7}

    def outcome(solve, arguments):
        try:
            return solve(f, **arguments)
        except (ValueError, TypeError, SolveError) as error:
            return f"{type(error).__name__}: {error}"

    with torch.no_grad():
        odeint(f, y0, row(0, 1), method="rk4", options={"steps": 40}, compile=True)
        odeint(f, **usual, compile=True)
        errors = 0
        for change in CHANGES:
            found, wanted = (
                outcome(way, usual | change) for way in (partial(odeint, compile=True), long_way)
            )
            if isinstance(wanted, str):
                assert found == wanted
                errors += 1
            else:
                torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert errors == 20


def test_what_changes_between_two_solves_is_seen(asked):
    f, y0, seen = Net(), torch.ones(5, 3, dtype=torch.float64), []
    solved = lambda: odeint(f, y0, row(0, 1), rtol=1e-6, atol=1e-8, compile=True)  # noqa: E731
    plain = lambda: odeint(f, y0, row(0, 1), rtol=1e-6, atol=1e-8)  # noqa: E731
    with torch.no_grad():
        solved(), solved()
        f.outer.weight.mul_(2)
        torch.testing.assert_close(solved(), plain(), rtol=1e-9, atol=0)
        y0 = y0.float().double() * 0.5
        torch.testing.assert_close(solved(), plain(), rtol=1e-9, atol=0)
        y0 = torch.full_like(y0, float("inf"))
        with pytest.raises(SolveError):
            solved()
        y0 = torch.ones_like(y0)
        f.callback_step = lambda *given: seen.append(given)
        solved()
        assert seen
        del f.callback_step
        f.inner.register_forward_hook(lambda layer, given, value: value * 0.5)
        torch.testing.assert_close(solved(), plain(), rtol=1e-9, atol=0)
    before = len(asked)
    y = solved()
    assert len(asked) == before + 1
    assert y.requires_grad


@pytest.mark.long
def test_a_failure_is_told_as_ever():
    def f(t, y):
        return y * y

    y0 = torch.ones(3, dtype=torch.float64)
    with torch.no_grad():
        for end in (0.5, 0.6, 2):
            solved = partial(odeint, f, y0, row(0, end), compile=True)
            if end < 1:
                torch.testing.assert_close(solved()[-1], y0 / (1 - end), rtol=1e-5, atol=0)
            else:
                with pytest.raises(StepUnderflowError, match=r"1\.0"):
                    solved()


@pytest.mark.long
def test_weights_that_a_solve_computes_once(long_way):
    f = Net()
    f.inner = weight_normalization(f.inner, "spectral")
    y0 = torch.ones(5, 3, dtype=torch.float64)
    with torch.no_grad():
        wanted = [long_way(f, y0, row(0, 1)) for _ in range(2)][-1]
        torch.testing.assert_close(odeint(f, y0, row(0, 1), compile=True), wanted)


@pytest.mark.parametrize(
    ("t", "options"),
    [
        (row(0, 1), {"rtol": 1e-5}),
        pytest.param(row(0, 9), {"rtol": 1e-9, "atol": 1e-11}, marks=pytest.mark.long),
        pytest.param(
            row(0, 0.4, 1), {"method": "rk4", "options": {"steps": 9}}, marks=pytest.mark.long
        ),
        pytest.param(
            row(0, 1), {"method": "rk4", "options": {"steps": 80}}, marks=pytest.mark.long
        ),
    ],
)
def test_evaluation_after_training_needs_no_other_program(t, options, asked):
    f, y0 = Net(), torch.randn(5, 3, dtype=torch.float64)
    trained = [odeint_adjoint(f, y0, t, compile=True, **options) for _ in range(2)][-1]
    before, programs = len(asked), counters["stats"]["unique_graphs"]
    with torch.no_grad():
        found = odeint_adjoint(f, y0, t, compile=True, **options)
    assert len(asked) == before
    assert counters["stats"]["unique_graphs"] <= programs + 1  # without gradients, or with
    torch.testing.assert_close(found, trained.detach(), rtol=0, atol=0)


@pytest.mark.long
def test_adjoints_with_options_are_asked(asked):
    f, y0, t = Net(), torch.ones(2, 3, dtype=torch.float64), row(0, 1)
    y = odeint_adjoint(f, y0, t, compile=True)
    options = [{"adjoint": "restored"}, {"nodes": 17}, {"memory": 2**20}, {"adjoint_rtol": 1e-3}]
    with torch.no_grad():
        for given in options:
            before = len(asked)
            found = odeint_adjoint(f, y0, t, compile=True, **given)
            assert len(asked) == before + 1
            torch.testing.assert_close(found, y.detach(), rtol=1e-6, atol=1e-8)
        for wrong in ({"adjoint": "discret"}, {"adjoint": "reversed"}, {"nodes": 1}):
            with pytest.raises(ValueError, match=r"adjoint|points"):
                odeint_adjoint(f, y0, t, compile=True, **wrong)
        f.callback_step_adjoint = print
        with pytest.warns(CallbackWarning):
            odeint_adjoint(f, y0, t, compile=True, adjoint="discrete")


@pytest.mark.long
def test_a_block_in_evaluation(asked):
    block, y0 = NeuralODE(Net(), compile=True, check="off"), torch.ones(2, 3, dtype=torch.float64)
    y = block(y0)
    y.sum().backward()
    with torch.no_grad():
        block(y0)
        before = len(asked)
        torch.testing.assert_close(block.eval()(y0), y.detach(), rtol=0, atol=0)
        assert len(asked) == before
