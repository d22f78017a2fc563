"""Trainable and smoothed solvers, and the layer that uses them."""

import copy
import functools
import math
import pickle
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
import torch

from odecore.errors import SingularParameterError
from odecore.families import RK2, RK3, RK4, SDIRK2, chart
from odecore.order import order_of_accuracy
from odecore.tableaux import tableau, tableau_at
from torch_bridge import (
    NORMALIZATIONS,
    Certifier,
    DenseField,
    NeuralODE,
    SmoothedSolver,
    SwitchedSolver,
    TrainableSolver,
    normalization,
    odeint,
    one_solve,
)

F = Fraction
THIRDS = {"u": F(1, 3), "v": F(2, 3)}
RADIUS = F(1, 20)
like = torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize(
    ("family", "center"),
    [(RK2, {"u": F(2, 3)}), (RK3, {"u": F(1, 2), "v": F(3, 4)}), (RK4, THIRDS)],
)
def test_trained_parameters_start_at_the_center_and_stay_in_the_box(family, center):
    solver = TrainableSolver(family, center, RADIUS)
    start = solver.parameters_of_family(like)
    assert {n: float(x.detach()) for n, x in start.items()} == {
        n: float(x) for n, x in center.items()
    }
    with torch.no_grad():
        solver.offset.fill_(50.0)
    for name, value in solver.parameters_of_family(like).items():
        assert float(value.detach()) == pytest.approx(float(center[name] + RADIUS))


def test_gradient_of_the_solver_parameters_against_differences():
    solver = TrainableSolver(RK4, THIRDS, F(1, 10)).double()
    field = DenseField(3, 6).double()
    y0 = torch.randn(4, 3, dtype=torch.float64)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)

    def loss():
        y = odeint(lambda t, y: 3 * field(t, y), y0, times, method=solver(y0), options={"steps": 2})
        return y[-1].square().sum()

    (gradient,) = torch.autograd.grad(loss(), solver.offset)
    assert (gradient != 0).all()
    for k in range(2):
        h = 1e-4
        with torch.no_grad():
            values = []
            for shift in (h, -h):
                solver.offset[k] += shift
                values.append(float(loss().detach()))
                solver.offset[k] -= shift
        assert float(gradient[k]) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-4)


def test_training_lowers_the_error_of_the_solver():
    # One RK2(u) step for y' = -y^2 is exact at h = 1/2 for u = 4/3.
    solver = TrainableSolver(RK2, {"u": F(1)}, F(1, 2)).double()
    times = torch.tensor([0.0, 0.5], dtype=torch.float64)
    y0 = torch.tensor([1.0], dtype=torch.float64)
    exact = 1 / 1.5

    def error():
        y = odeint(lambda t, y: -y * y, y0, times, method=solver(y0), options={"steps": 1})
        return (y[-1] - exact).square().sum()

    before = float(error().detach())
    optimizer = torch.optim.Adam(solver.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert float(error().detach()) < before / 100
    u = float(solver.parameters_of_family(like)["u"].detach())
    assert u == pytest.approx(4 / 3, abs=0.02)


def test_smoothing_draws_in_training_and_rests_in_evaluation():
    solver = SmoothedSolver(RK4, THIRDS, width=0.02, radius=RADIUS)
    drawn = {solver(like).b for _ in range(5)}
    assert len(drawn) == 5
    solver.eval()
    assert {solver(like).b for _ in range(5)} == {solver(like).b}
    np.testing.assert_allclose(solver(like).b, [1 / 8, 3 / 8, 3 / 8, 1 / 8], rtol=1e-14)
    assert all(method.order == 4 for method in (solver(like), solver.train()(like)))


def test_a_generator_repeats_its_draws():
    def draws(seed):
        generator = torch.Generator().manual_seed(seed)
        solver = SmoothedSolver(RK4, THIRDS, width=0.02, radius=RADIUS, generator=generator)
        return [solver(like).b for _ in range(3)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_every_corner_of_an_accepted_box_is_a_method_of_full_order():
    SmoothedSolver(RK4, THIRDS, width=0.1, radius=F(1, 10))
    for u in (F(1, 3) - F(1, 10), F(1, 3) + F(1, 10)):
        for v in (F(2, 3) - F(1, 10), F(2, 3) + F(1, 10)):
            assert order_of_accuracy(tableau_at(RK4, u=u, v=v)) == 4


@pytest.mark.parametrize("kind", ["trained", "smoothed"])
@pytest.mark.parametrize(
    ("center", "radius", "error", "message"),
    [
        (THIRDS, F(1, 5), SingularParameterError, "2\\*u - 1 vanishes in the box"),
        ({"u": F(1, 2), "v": F(1, 2)}, RADIUS, SingularParameterError, "vanishes"),
        ({"u": F(1, 3)}, RADIUS, TypeError, "has the parameters u, v"),
        ({"u": 0.3, "v": F(2, 3)}, RADIUS, TypeError, "`u` must be exact"),
        (THIRDS, 0.05, TypeError, "`radius` must be exact"),
        (THIRDS, F(0), ValueError, "must be positive, got 0"),
    ],
)
def test_bad_boxes_are_refused(kind, center, radius, error, message):
    make = TrainableSolver if kind == "trained" else functools.partial(SmoothedSolver, width=0.01)
    with pytest.raises(error, match=message):
        make(RK4, center, radius=radius)


def test_implicit_families_are_not_trained():
    with pytest.raises(TypeError, match=r"SDIRK2 is implicit.*SmoothedSolver"):
        TrainableSolver(SDIRK2, {"gamma": F(3, 10), "c": F(1)}, F(1, 50))


@pytest.mark.parametrize("width", [-0.1, 1.0, float("nan")])
def test_bad_widths_are_refused(width):
    with pytest.raises(
        ValueError, match="`width` must not be negative, and at most 10 radius = 1/2"
    ):
        SmoothedSolver(RK4, THIRDS, width=width, radius=RADIUS)


# The layer.


@pytest.mark.sampled(2)
@pytest.mark.parametrize("adjoint", ["direct", "restored"])
@pytest.mark.parametrize(
    "solver", ["dopri5", "rk4", tableau("classic")], ids=lambda s: getattr(s, "name", s)
)
def test_neural_ode_trains(adjoint, solver):
    torch.manual_seed(0)
    how = {"rtol": 1e-3, "atol": 1e-4} if solver == "dopri5" else {"steps": 4}
    block = NeuralODE(
        DenseField(2, 16),
        solver=solver,
        adjoint=adjoint,
        nodes=15 if adjoint == "restored" else None,
        **how,
    )
    x = torch.randn(64, 2)
    wanted = torch.stack([x[:, 1], -x[:, 0]], dim=1)
    optimizer = torch.optim.Adam(block.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (block(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 10


def test_neural_ode_returns_all_times_on_request():
    block = NeuralODE(DenseField(2, 4), rtol=1e-5, atol=1e-6, t=(0, 2))
    x = torch.randn(3, 2)
    t = torch.tensor([0.0, 1.0, 2.0])
    assert block(x, t).shape == (3, 3, 2)
    torch.testing.assert_close(block(x, t)[-1], block(x), rtol=1e-3, atol=1e-4)


def test_state_dict_and_repr():
    block = NeuralODE(
        DenseField(2, 4, "layer"), solver=TrainableSolver(RK4, THIRDS, RADIUS), steps=2
    )
    other = NeuralODE(
        DenseField(2, 4, "layer"), solver=TrainableSolver(RK4, THIRDS, RADIUS), steps=2
    )
    other.load_state_dict(block.state_dict())
    assert "solver.offset" in block.state_dict()
    x = torch.randn(3, 2)
    torch.testing.assert_close(block(x), other(x), rtol=0, atol=0)
    assert "RK4, u=1/3, v=2/3, radius=1/20" in repr(block)


@pytest.mark.parametrize("adjoint", ["direct", "reversed", "discrete"])
def test_what_an_adjoint_would_ignore_is_refused_at_once(adjoint):
    with pytest.raises(ValueError, match=rf"nodes have no effect with adjoint='{adjoint}'"):
        NeuralODE(DenseField(2, 4), adjoint=adjoint, nodes=5)
    if adjoint == "direct":
        with pytest.raises(ValueError, match="nodes, certificate have no effect"):
            NeuralODE(DenseField(2, 4), certificate=Certifier(), nodes=5)
    given = False if adjoint == "direct" else Certifier()
    NeuralODE(DenseField(2, 4), adjoint=adjoint, certificate=given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"solver": "rk5", "steps": 2}, ValueError, "no method 'rk5'"),
        ({"solver": 4, "steps": 2}, TypeError, "`solver` must be a name.* got 4"),
        ({"solver": 3}, TypeError, "`solver` must be a name.* got 3"),
        ({"solver": ["rk4"]}, TypeError, r"`solver` must be a name.* got \['rk4'\]"),
        ({"solver": torch.nn.Linear}, TypeError, "`solver` must be a name.* got .*Linear"),
        ({"solver": "rk4", "steps": 0}, ValueError, "`steps` must be a positive int, got 0"),
        ({"solver": "rk4", "steps": -1}, ValueError, "positive int, got -1"),
        ({"steps": 2.0}, ValueError, r"positive int, got 2\.0"),
        ({"solver": "rk4"}, ValueError, "give `steps`"),
        ({"solver": "scipy_solver", "steps": 2}, ValueError, "unknown options"),
        ({"adjoint": "backwards"}, ValueError, "`adjoint` must be one of direct, restored"),
        ({"t": (0.0,)}, ValueError, "at least 2 times"),
        ({"t": (0.0, 0.0)}, ValueError, "strictly increasing or strictly decreasing"),
        ({"t": (0.0, 2.0, 1.0)}, ValueError, "strictly increasing or strictly decreasing"),
        ({"t": (0.0, float("nan"))}, ValueError, "finite times"),
        ({"rtol": -1.0}, ValueError, "`rtol` must be finite and not negative"),
        ({"rtol": 2.0}, ValueError, "0 <= rtol < 1"),
        ({"rtol": "1e-3"}, TypeError, "`rtol` must be a number, .* got '1e-3'"),
        ({"rtol": 1e-3j}, TypeError, "`rtol` must be a number"),
        ({"atol": {"a": 1e-3}}, TypeError, "`atol` must be a number"),
        ({"atol": [1e-3, "1e-3"]}, TypeError, "`atol` must be a number"),
        ({"rtol": 0.0, "atol": 0.0}, ValueError, "must be positive"),
        ({"adjoint": "restored", "nodes": 1}, ValueError, "`nodes` must be an int of at least 2"),
        ({"adjoint": "restored", "certificate": -1.0}, ValueError, "`limit` must be positive"),
        ({"solver": "scipy_solver", "adjoint": "restored"}, ValueError, "choose another method"),
        ({"solver": "gl4", "steps": 2, "compile": True}, ValueError, "needs an explicit"),
    ],
)
def test_arguments_are_checked_when_a_block_is_made(arguments, error, message):
    with pytest.raises(error, match=message):
        NeuralODE(DenseField(2, 4), **arguments)


def test_solver_and_steps_are_set_as_they_are_made():
    block = NeuralODE(DenseField(2, 4), solver=SwitchedSolver(["midpoint", "heun2"]), steps=2)
    x = torch.randn(3, 2)
    for solver in ("rk4", tableau("heun"), TrainableSolver(RK4, THIRDS, RADIUS), "euler"):
        block.solver, block.steps = solver, 3
        assert block.solver is solver
        wanted = NeuralODE(block.func, solver=solver, steps=3)
        assert wanted.state_dict().keys() == block.state_dict().keys()
        assert repr(wanted) == repr(block)
        for other in (block, copy.deepcopy(block), pickle.loads(pickle.dumps(block))):  # noqa: S301
            assert torch.equal(other(x), wanted(x))
    with pytest.raises(ValueError, match="no method 'rk5'"):
        block.solver = "rk5"
    with pytest.raises(ValueError, match="give `steps`"):
        block.steps = None
    with pytest.raises(ValueError, match="`steps` must be a positive int, got 0"):
        block.steps = 0
    with pytest.raises(TypeError, match="`rtol` must be a number"):
        block.rtol = "1e-3"
    assert (block.solver, block.steps) == ("euler", 3)
    block.solver = "dopri5"
    block.steps = None
    with pytest.raises(ValueError, match="give `steps`"):
        block.solver = "rk4"
    compiled = NeuralODE(DenseField(2, 4), solver="rk4", steps=2, compile=True)
    with pytest.raises(ValueError, match="no Module, got a Module"):
        compiled.solver = SwitchedSolver(["midpoint", "heun2"])


def test_times_and_check_are_set_as_they_are_made():
    block = NeuralODE(DenseField(2, 4), solver="rk4", steps=2)
    block.t = torch.tensor([0.0, 2.0])
    assert block.t == (0.0, 2.0)
    x = torch.randn(3, 2)
    assert torch.equal(block(x), NeuralODE(block.func, solver="rk4", steps=2, t=(0, 2))(x))
    for wrong in ((0.0,), (0.0, 0.0), (0.0, math.nan)):
        with pytest.raises(ValueError, match="`t` must hold"):
            block.t = wrong
    with pytest.raises(ValueError, match="`check` must be one of warn, raise, off, got 'rise'"):
        block.check = "rise"
    assert (block.t, block.check) == ((0.0, 2.0), "warn")


def test_tolerances_that_given_steps_would_ignore_are_refused():
    for given in ({"rtol": 1e-3}, {"atol": 1e-3}, {"rtol": 1e-3, "atol": 1e-3}):
        for solver in ("rk4", "dopri5", TrainableSolver(RK4, THIRDS, RADIUS)):
            with pytest.raises(ValueError, match=f"{', '.join(given)} have no effect in 2 given"):
                NeuralODE(DenseField(2, 4), solver=solver, steps=2, **given)
        with pytest.raises(ValueError, match="have no effect in 2 given steps"):
            NeuralODE(DenseField(2, 4), **given).steps = 2
    NeuralODE(DenseField(2, 4), solver="implicit_adams", steps=2, rtol=1e-3)(torch.ones(3, 2))


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
def test_a_solver_that_is_trained_later_names_the_adjoint_it_needs(adjoint):
    solver = TrainableSolver(RK4, THIRDS, RADIUS).requires_grad_(False)
    block = NeuralODE(DenseField(2, 4), solver=solver, steps=2, adjoint=adjoint)
    solver.requires_grad_(True)
    with pytest.raises(ValueError, match='in a NeuralODE adjoint="direct"'):
        block(torch.ones(3, 2))


def test_a_function_of_the_state_alone_is_refused():
    for func in (torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2), lambda y: y):
        with pytest.raises(TypeError, match=r"two arguments, func\(t, y\).*lambda t, y: network"):
            NeuralODE(func)
    with pytest.raises(TypeError, match="must be callable"):
        NeuralODE(None)
    NeuralODE(torch.mul)  # nothing is known of its arguments
    decorated = functools.wraps(torch.nn.Linear(2, 2).forward)(lambda t, y: -y)
    NeuralODE(decorated, steps=1, solver="euler")(torch.ones(2))


def test_a_block_takes_a_name_of_the_catalogue():
    block, x = NeuralODE(DenseField(2, 4), solver="kvaerno43", rtol=1e-3), torch.randn(3, 2)
    block(x).sum().backward()
    assert all(p.grad.any() for p in block.parameters())
    with pytest.raises(ValueError, match="give `steps`"):
        NeuralODE(DenseField(2, 4), solver="ralston")


def test_a_certifier_of_a_block_is_asked():
    certifier = Certifier()
    block = NeuralODE(DenseField(2, 4), adjoint="restored", nodes=9, certificate=certifier)
    block(torch.randn(3, 2)).sum().backward()
    assert len(certifier.errors) == 1


# Normalization.


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 5), (6, 8, 5, 4), (6, 8, 3, 5, 4)])
def test_normalization_by_name(name, shape):
    x = 3 + 2 * torch.randn(shape)
    if name == "instance" and len(shape) == 2:
        with pytest.raises(ValueError, match="of one number nothing is left"):
            normalization(name, 8)
        return
    layer = normalization(name, 8, groups=2, dimensions=len(shape) - 2)
    with one_solve():
        y = layer(torch.tensor(0.3), x) if name == "time batch" else layer(x)
    assert y.shape == shape
    if name == "none":
        assert torch.equal(y, x)
        return
    groups = {"layer": 1, "group": 2, "instance": 8}.get(name)
    flat = y.transpose(0, 1).flatten(1) if "batch" in name else y.reshape(6 * groups, -1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat)), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat.var(1, correction=0), torch.ones(len(flat)), rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("batches", 8), "must be one of none, layer"),
        (("group", 7), "must divide the 7 channels, got 4"),
    ],
)
def test_bad_normalizations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        normalization(*arguments)


def test_bad_normalization_options_are_refused():
    with pytest.raises(ValueError, match="must divide the 8 channels, got 3"):
        normalization("group", 8, groups=3)
    with pytest.raises(ValueError, match="`dimensions` must be"):
        normalization("batch", 8, dimensions=4)
    with pytest.raises(ValueError, match=r"4 groups of 4 channels .* one number nothing is left"):
        DenseField(3, 4, "group")  # its value would not depend on its state
    assert normalization("group", 4, dimensions=1).num_groups == 4
    with pytest.raises(ValueError, match="intervals: options of 'time batch', not of 'layer'"):
        normalization("layer", 8, intervals=3)


@pytest.mark.parametrize("family", [RK2, RK3, RK4], ids=lambda f: f.name)
def test_solvers_are_copied_and_pickled(family):
    center = {"u": F(1, 3), "v": F(2, 3)} if family is not RK2 else {"u": F(1, 3)}
    block = NeuralODE(DenseField(2, 4), solver=TrainableSolver(family, center, RADIUS), steps=2)
    assert family.A  # fills what is computed lazily
    x = torch.randn(3, 2)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):  # noqa: S301
        assert torch.equal(other(x), block(x))


def test_solvers_of_a_chart_are_saved_whole():
    family = chart(RK4, F(1, 2), F(1, 2))
    solver = SmoothedSolver(family, {"u": F(1, 2), "m": F(1, 3)}, width=0.2, bound=5)
    block, x, file = (
        NeuralODE(DenseField(3, 8), solver=solver, steps=2),
        torch.randn(2, 3),
        BytesIO(),
    )
    torch.save(block, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert torch.equal(other(x), block(x))


def test_smoothing_draws_on_the_host_whatever_the_default_device():
    solver = SmoothedSolver(RK4, THIRDS, width=0.02, radius=RADIUS)
    with torch.device("meta"):
        assert isinstance(solver(like).b[0], float)


def test_parameters_are_smoothed_independently():
    solver = SmoothedSolver(RK4, THIRDS, width=0.02, radius=RADIUS)
    draws = np.array([solver(like).c[1:3] for _ in range(400)]) - [1 / 3, 2 / 3]
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.3
    assert (draws.std(axis=0) > 0.01).all()


def test_the_offset_moves_a_parameter_by_the_radius_at_first():
    solver = TrainableSolver(RK4, THIRDS, RADIUS).double()
    (gradient,) = torch.autograd.grad(solver.parameters_of_family(like)["u"], solver.offset)
    assert gradient.tolist() == [0.05, 0]


def test_options_of_a_block_reach_the_solve():
    calls = []

    class Counted(DenseField):
        def forward(self, t, y):
            calls.append(float(t))
            return super().forward(t, y)

    def count(**options):
        calls.clear()
        NeuralODE(Counted(2, 4), check="off", **options)(torch.ones(3, 2))
        return len(calls)

    assert count(rtol=1e-2, atol=1e-2) < count(rtol=1e-6, atol=1e-7)
    assert count(solver="rk4", steps=6) == 24
    restored = {"solver": "rk4", "steps": 1, "adjoint": "restored"}
    assert (
        count(**restored, nodes=9) == 4 + 1
    )  # four stages, and the slope at the end for dense output


def test_dense_field_is_its_formula():
    field = DenseField(3, 5)
    with torch.no_grad():
        field.drift.normal_()
    y, t = torch.randn(4, 3), torch.tensor(0.7)
    inner = y @ field.inner.weight.T + field.inner.bias + t * field.drift
    wanted = torch.tanh(inner) @ field.outer.weight.T + field.outer.bias
    torch.testing.assert_close(field(t, y), wanted)
