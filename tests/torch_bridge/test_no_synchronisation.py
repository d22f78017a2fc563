"""No host synchronisation and no stray CPU tensor: the meta device stands for a GPU.

On it `.item()` raises, as does an operation that mixes devices. Keep these tests for ever.
"""

import functools

import pytest
import torch

from odecore.families import RK4
from odecore.solve import solve_ivp
from tests.torch_bridge.test_solvers import RADIUS, THIRDS
from torch_bridge import (
    DenseField,
    NeuralODE,
    SketchedLinear,
    SmoothedSolver,
    SolverEnsemble,
    SwitchedSolver,
    TrainableSolver,
    odeint,
    odeint_adjoint,
    odeint_event,
)

LONG = pytest.mark.long


def model(sketch="uniform", normalization="group"):
    linear = functools.partial(SketchedLinear, ratio=0.3, sketch=sketch)
    return DenseField(8, 16, normalization, linear=linear).to("meta")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
@pytest.mark.parametrize("times_on", ["cpu", "meta"])
@pytest.mark.parametrize(
    "method",
    [pytest.param("euler", marks=LONG), pytest.param("heun2", marks=LONG), "rk4", "dopri5"],
)
def test_fixed_steps_and_the_restored_adjoint(solve, times_on, method):
    field = model(normalization="layer")
    y0 = torch.empty(5, 8, device="meta", requires_grad=True)
    # The gradient of times on the host would itself be a copy to the host.
    t = torch.linspace(0, 1, 4, device=times_on, requires_grad=times_on == "meta")
    y = solve(field, y0, t, method=method, options={"steps": 3})
    assert y.shape == (4, 5, 8)
    y.sum().backward()
    assert y0.grad.device.type == "meta"
    assert times_on == "cpu" or t.grad.device.type == "meta"
    assert all(p.grad.device.type == "meta" for p in field.parameters())


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
def test_step_size_with_times_on_the_host(solve):
    y0 = torch.empty(5, 8, device="meta", requires_grad=True)
    t = torch.linspace(0, 1, 4)
    solve(model(), y0, t, method="rk4", options={"step_size": 0.1}).sum().backward()
    assert y0.grad.device.type == "meta"


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
def test_what_needs_values_says_so(solve):
    y0 = torch.empty(5, 8, device="meta")
    t = torch.linspace(0, 1, 4, device="meta")
    with pytest.raises(ValueError, match=r"needs? times that can be read"):
        solve(model(), y0, t, method="rk4", options={"step_size": 0.1})
    with pytest.raises(ValueError, match=r"needs? times that can be read"):
        solve(model(), y0, t)


@pytest.mark.parametrize("sketch", ["uniform", "balanced", "gaussian", "rademacher"])
@pytest.mark.parametrize("shape", [(12, 8), (3, 4, 8)])
def test_sketched_linear(sketch, shape):
    layer = SketchedLinear(8, 6, ratio=0.3, sketch=sketch, device="meta")
    x = torch.empty(shape, device="meta", requires_grad=True)
    y = layer(x)
    assert y.shape == (*shape[:-1], 6)
    y.sum().backward()
    assert layer.weight.grad.shape == (6, 8)
    assert x.grad.device.type == layer.bias.grad.device.type == "meta"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("adjoint", "solver"),
    [
        ("direct", "rk4"),
        ("direct", "smoothed"),
        ("direct", "trained"),
        ("direct", "switched"),
        ("direct", "ensemble"),
        ("restored", "rk4"),
        ("restored", "smoothed"),
    ],
)
def test_a_whole_block(adjoint, solver):
    chosen = {
        "rk4": "rk4",
        "smoothed": SmoothedSolver(RK4, THIRDS, width=0.01, radius=RADIUS),
        "trained": TrainableSolver(RK4, THIRDS, RADIUS),
        "switched": SwitchedSolver(["euler", "rk4"]),
        "ensemble": SolverEnsemble(["midpoint", "heun2"], batched=True),
    }[solver]
    nodes = 5 if adjoint == "restored" else None
    block = NeuralODE(model(), solver=chosen, steps=4, adjoint=adjoint, nodes=nodes).to("meta")
    x = torch.empty(5, 8, device="meta", requires_grad=True)
    block(x).sum().backward()
    assert all(p.grad.device.type == "meta" for p in block.parameters())


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
def test_a_scalar_state_with_times_of_another_precision(solve):
    more = {"adjoint_params": ()} if solve is odeint_adjoint else {}
    y0 = torch.ones((), device="meta", requires_grad=True)
    t = torch.empty(3, dtype=torch.float64, device="meta")
    y = solve(lambda t, y: y * t, y0, t, method="rk4", **more)
    assert y.dtype == torch.float32
    y.sum().backward()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("method", "options"),
    [("dopri5", None), ("kvaerno43", None), ("kvaerno43", {"step_size": 0.25})],
)
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint], ids=["odeint", "adjoint"])
def test_steps_that_need_values_are_refused_with_those_that_do_not(solve, method, options):
    y0, t = torch.empty(3, 8, device="meta"), torch.linspace(0, 1, 3)
    with pytest.raises(ValueError, match="meta device, which have none: give an explicit method"):
        solve(model(), y0, t, method=method, options=options)
    assert solve(model(), y0, t, method="dopri5", options={"steps": 4}).shape == (3, 3, 8)


def test_events_and_other_solvers_that_need_values_are_refused():
    y0, t = torch.empty(3, 8, device="meta"), torch.linspace(0, 1, 3)
    with pytest.raises(ValueError, match=r"events and SciPy's solvers read values, .* meta device"):
        odeint(model(), y0, t, method="scipy_solver")
    with pytest.raises(ValueError, match=r"events and SciPy's solvers read values, .* meta device"):
        odeint_event(model(), y0, t[0], event_fn=lambda t, y: y.sum() - 1)


@pytest.mark.parametrize("start", [torch.ones(3), (torch.ones(2), torch.ones(1))])
def test_a_function_may_speak_of_meta_tensors(start):
    def func(t, y):
        raise RuntimeError("my meta tensor cache is empty")

    t = torch.tensor([0.0, 1.0])
    for method, options in [("rk4", {"steps": 3}), ("dopri5", None), ("scipy_solver", None)]:
        with pytest.raises(RuntimeError, match="my meta tensor cache"):
            odeint(func, start, t, method=method, options=options)
    with pytest.raises(RuntimeError, match="my meta tensor cache"):
        solve_ivp(func, (0, 1), start, method="classic", steps=3)
    with pytest.raises(ValueError, match="on the meta device, which have none"):
        solve_ivp(lambda t, y: {"a": -y["a"]}, (0, 1), {"a": torch.ones(2, device="meta")})
