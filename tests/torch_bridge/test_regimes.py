"""Drawn solvers and ensembles: their laws, and that every pass sees the draw it should see."""

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore.errors import NearSingularWarning, SingularParameterError
from odecore.families import COLLOCATION2, RK2, RK4, RK4_PAIR, chart
from odecore.tableaux import coefficients_at, tableau
from tests.helpers.two_processes import in_two_processes
from torch_bridge import (
    DenseField,
    ModelEnsemble,
    NeuralODE,
    SmoothedSolver,
    SolvedBy,
    SolverEnsemble,
    SwitchedSolver,
    TrainableSolver,
    drawing,
    smoothing_effect,
)

F = Fraction
THIRDS = {"u": F(1, 3), "v": F(2, 3)}
like = torch.zeros((), dtype=torch.float64)


def smoothed(**more):
    return SmoothedSolver(RK2, {"u": F(2, 3)}, **{"width": 0.1, "radius": F(1, 3), **more})


def draws(solver, count):
    """The parameters u of so many members of RK2(u)."""
    return np.array([solver(like).A[1][0] for _ in range(count)])


# What is drawn.


def test_draws_follow_their_truncated_law():
    from scipy.stats import cauchy, kstest, truncnorm, uniform

    def truncated_cauchy(scale):
        inside = cauchy(scale=scale).cdf(1) - cauchy(scale=scale).cdf(-1)
        return lambda x: (cauchy(scale=scale).cdf(x) - cauchy(scale=scale).cdf(-1)) / inside

    laws = {
        "normal": lambda scale: truncnorm(-1 / scale, 1 / scale, scale=scale).cdf,
        "cauchy": truncated_cauchy,
        "uniform": lambda scale: uniform(-scale, 2 * scale).cdf,
    }
    for name, law in laws.items():
        solver = smoothed(distribution=name, width=1 / 6)  # half of the radius
        x = 3 * (draws(solver, 2000) - 2 / 3)
        assert np.abs(x).max() <= 1
        assert kstest(x, law(0.5)).pvalue > 1e-5, name
        assert kstest(x, law(1.0)).pvalue < 1e-5, name  # the twin
        assert len(np.unique(x)) == len(x)  # drawn again, not snapped to the centre


def test_a_bound_on_the_coefficients_draws_again():
    untruncated = np.random.default_rng(0).standard_cauchy(2000) * 0.1 + 2 / 3
    assert (abs(1 / (2 * untruncated)) > 2).mean() > 0.03  # without, many would be larger
    solver = smoothed(distribution="cauchy", radius=None, bound=2)
    found = [solver(like) for _ in range(2000)]
    largest = np.array([max(abs(a) for a in (*m.A[1], *m.b)) for m in found])
    assert 1.9 < largest.max() <= 2
    assert len(np.unique(largest[largest > 1])) > 50
    assert solver.eval()(like).A[1][0] == pytest.approx(2 / 3)


def test_draws_are_the_members_of_their_family():
    for solver in (
        SmoothedSolver(RK4, THIRDS, width=0.02, radius=F(1, 20)),
        SmoothedSolver(RK4, THIRDS, width=0.02, bound=9),
    ):
        for found in (solver(like), solver.eval()(like)):
            wanted = coefficients_at(solver.family, u=found.c[1], v=found.c[2])
            for row, other in zip((*found.A, found.b), (*wanted.A, wanted.b), strict=True):
                np.testing.assert_allclose(row, other, rtol=1e-12, atol=1e-13)
            assert found.order == 4
    pair = SmoothedSolver(RK4_PAIR, {**THIRDS, "h": F(1, 10)}, width=0.01, bound=99)
    assert pair(like).error is not None
    near = SmoothedSolver(RK2, {"u": F(1, 10**4)}, width=1e-6, radius=F(1, 10**5))
    with pytest.warns(NearSingularWarning):
        near(like)


def test_a_chart_reaches_the_classic_method():
    family = chart(RK4, F(1, 2), F(1, 2))
    solver = SmoothedSolver(family, {"u": F(1, 2), "m": F(-1)}, width=0.02, radius=F(1, 20))
    assert len({solver(like).b for _ in range(5)}) == 5
    np.testing.assert_allclose(solver.eval()(like).b, tableau("classic").coefficients.b, atol=1e-15)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"radius": None}, ValueError, "give `radius`, `bound` or both"),
        ({"bound": 0.7}, ValueError, "must allow the centre, whose largest coefficient is 0.75"),
        ({"bound": float("nan")}, ValueError, "must allow the centre"),
        ({"distribution": "levy"}, ValueError, "must be one of normal, cauchy, uniform"),
        ({"bound": "3"}, ValueError, "must allow the centre"),
        ({"radius": None, "bound": 2, "width": float("inf")}, ValueError, "finite"),
        ({"radius": F(1, 50), "width": 0.21}, ValueError, "at most 10 radius = 1/5; got 0.21"),
        ({"generator": 3}, TypeError, "must be a torch.Generator or None, got int"),
    ],
)
def test_bad_smoothing_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        smoothed(**options)


def test_a_width_of_ten_radii_is_allowed_in_floats():
    assert smoothed(radius=F(1, 50), width=0.2).width == 0.2


@pytest.mark.parametrize("make", [TrainableSolver, partial(SmoothedSolver, width=0.1)])
def test_what_is_no_family_or_centre_is_refused(make):
    for family in ("RK2", tableau("heun"), None):
        with pytest.raises(TypeError, match="`family` must be a Family"):
            make(family, {"u": F(1, 2)}, radius=F(1, 50))
    for center in ([F(1, 2)], None):
        with pytest.raises(TypeError, match="`center` must be a mapping"):
            make(RK2, center, radius=F(1, 50))


def test_what_cannot_be_smoothed_is_refused():
    with pytest.raises(SingularParameterError, match="u = 0"):
        SmoothedSolver(RK2, {"u": F(0)}, width=0.1, bound=10)
    values = {name: F(k + 1, 3) for k, name in enumerate(COLLOCATION2.parameters)}
    with pytest.raises(TypeError, match="for explicit families"):
        SmoothedSolver(COLLOCATION2, values, width=0.1, bound=10)
    with pytest.raises(RuntimeError, match="none of 1000 draws"):
        smoothed(radius=None, width=1e9, bound=0.7500001)(like)


def test_switching_draws_with_its_probabilities():
    from scipy.stats import chisquare

    names = ["euler", "heun2", "rk4"]
    solver = SwitchedSolver(names, probabilities=[0.5, 0.3, 0.2], evaluation=2)
    stages = [len(solver(like).b) for _ in range(2000)]
    counts = np.array([stages.count(s) for s in (1, 2, 4)])
    assert chisquare(counts, 2000 * np.array([0.5, 0.3, 0.2])).pvalue > 1e-5
    assert chisquare(counts, 2000 * np.array([0.4, 0.3, 0.3])).pvalue < 1e-5  # the twin
    solver.eval()
    assert {len(solver(like).b) for _ in range(20)} == {4}
    assert "evaluation=2" in repr(solver)
    assert "heun2: 0.3" in repr(solver)


@pytest.mark.parametrize("make", [SwitchedSolver, SolverEnsemble])
def test_bad_sets_are_refused(make):
    weights = "probabilities" if make is SwitchedSolver else "weights"
    with pytest.raises(TypeError, match="sequence of at least one solver"):
        make([])
    with pytest.raises(TypeError, match="sequence of at least one solver"):
        make("euler")
    with pytest.raises(ValueError, match="did you mean 'euler'"):
        make(["eular"])
    with pytest.raises(TypeError, match="averages several itself"):
        make([SolverEnsemble(["euler"])])
    for bad, message in (([0.5], "must hold 2"), ([0.5, 0.6], "sum 1"), ([-1, 2], "sum 1")):
        with pytest.raises(ValueError, match=message):
            make(["euler", "heun2"], **{weights: bad})
    for number in (2, -1, 1.0, True, "euler"):
        with pytest.raises(ValueError, match=f"0 to 1, got {number!r}"):
            SwitchedSolver(["euler", "heun2"], evaluation=number)


# Which pass sees which draw.


def test_a_resumed_training_draws_what_it_would_have_drawn():
    for make in (smoothed, lambda **more: SwitchedSolver(["euler", "heun2", "rk4"], **more)):
        solver = make(generator=torch.Generator().manual_seed(1))
        [solver(like) for _ in range(5)]
        file = io.BytesIO()
        torch.save(solver.state_dict(), file)
        file.seek(0)
        other = make()
        other.load_state_dict(torch.load(file, weights_only=True))
        fresh = make()
        following = [solver(like).b for _ in range(12)]
        assert [other(like).b for _ in range(12)] == following
        assert [fresh(like).b for _ in range(12)] != following


def test_copies_draw_the_same():
    solver = smoothed()
    other, third = copy.deepcopy(solver), pickle.loads(pickle.dumps(solver))  # noqa: S301
    assert draws(solver, 5).tolist() == draws(other, 5).tolist() == draws(third, 5).tolist()


def test_draws_of_evaluation_leave_those_of_training_alone():
    def following(look):
        solver = smoothed(generator=torch.Generator().manual_seed(1))
        solver(like)
        if look:
            solver.eval()
            with drawing(solver):
                assert len(set(draws(solver, 4))) == 4
            assert set(draws(solver, 4)) == {2 / 3}
            solver.train()
        return draws(solver, 3).tolist()

    assert following(False) == following(True)


def test_the_default_seed_is_that_of_torch():
    def first(seed):
        torch.manual_seed(seed)
        return draws(smoothed(), 2).tolist()

    assert first(1) == first(1) != first(2)


class Two(nn.Module):
    """Two blocks with random numbers of other layers between them."""

    def __init__(self):
        super().__init__()
        self.first = NeuralODE(DenseField(4, 8), solver=smoothed(width=0.3), steps=1)
        self.between = nn.Dropout(0.5)
        self.second = NeuralODE(DenseField(4, 8), solver=smoothed(width=0.3), steps=1)

    def forward(self, x):
        return self.second(self.between(self.first(x)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_sees_its_draw(reentrant):
    torch.manual_seed(3)
    model = Two().double()
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)

    def gradients(keeping):
        one = copy.deepcopy(model)
        torch.manual_seed(5)
        # Two calls before the backward pass: each finds its own draws.
        if keeping:
            first, second = one(x), one(2 * x)
        else:
            first, second = (checkpoint(one, z, use_reentrant=reentrant) for z in (x, 2 * x))
        (first.square().sum() + second.sum()).backward()
        following = torch.rand(3).tolist(), one.first.solver(like).b
        return torch.cat([p.grad.ravel() for p in one.parameters()]), following

    (kept, after_kept), (repeated, after_repeated) = gradients(True), gradients(False)
    torch.testing.assert_close(kept, repeated, rtol=1e-12, atol=1e-14)
    assert after_kept == after_repeated


def test_a_checkpoint_without_random_state_is_refused():
    block = NeuralODE(DenseField(4, 8), solver=smoothed(), steps=1)
    x = torch.randn(6, 4, requires_grad=True)
    y = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    with pytest.raises(RuntimeError, match="preserve_rng_state=True"):
        y.sum().backward()


class Checkpointed(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False)


def test_a_checkpoint_that_would_see_another_solver_is_refused():
    block = NeuralODE(DenseField(4, 8), solver=smoothed(), steps=1)
    inside = Checkpointed(block)
    x = torch.randn(6, 4, requires_grad=True)
    y = SolvedBy(inside, "rk4")(x)
    with pytest.raises(RuntimeError, match="checkpoint outside of SolvedBy"):
        y.sum().backward()
    checkpoint(SolvedBy(block, "rk4"), x, use_reentrant=False).sum().backward()
    block.eval()
    with drawing(block):
        y = inside(x)
    with pytest.raises(RuntimeError, match="inside `drawing` as well"):
        y.sum().backward()
    with drawing(block):
        inside(x).sum().backward()


def _draws_of(rank):
    torch.manual_seed(rank)  # as data is usually shuffled: each process by its own seed
    solver = smoothed()
    block = NeuralODE(DenseField(4, 8), solver=solver, steps=2)
    model = nn.parallel.DistributedDataParallel(block)
    state = None
    found = []
    for k in range(4):
        if k == 2:
            state = copy.deepcopy(block.state_dict())
        model(torch.randn(3, 4)).sum().backward()
        found.append(list(solver._named[True].values())[-1])
        found.append(solver._seed)
        if rank == 0:  # one process looks at it
            smoothing_effect(block, torch.randn(2, 4), draws=2)
    following = draws(solver, 2).tolist()
    block.load_state_dict(state)
    [solver(like) for _ in range(2)]
    assert draws(solver, 2).tolist() == following
    return found + following


def test_all_processes_draw_the_same():
    first, second = in_two_processes(_draws_of)
    assert first == second
    assert len(set(first[-2:])) == 2


def test_draws_under_torch_func():
    block = NeuralODE(DenseField(4, 8), solver=smoothed(), steps=2)
    x = torch.randn(5, 3, 4)
    jacobians = torch.func.vmap(torch.func.jacrev(block))(x[:, 0])
    assert jacobians.shape == (5, 4, 4)


# Ensembles.


def conv_field(t, y):
    kernel = torch.full((2, 2, 3, 3), 0.3, dtype=y.dtype)
    return torch.tanh(nn.functional.conv2d(y, kernel, padding=1)) * (1 + t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("times", [None, torch.tensor([0.0, 0.5, 1.0])])
def test_an_ensemble_is_the_weighted_mean_of_its_solves(dtype, batched, times):
    def make(solver):
        return NeuralODE(conv_field, solver=solver, steps=2)

    x = torch.randn(3, 2, 4, 4, dtype=dtype)
    weights, names = [0.2, 0.5, 0.3], ["midpoint", "heun2", tableau("ralston")]
    block = make(SolverEnsemble(names, weights=weights, batched=batched))
    wanted = sum(w * make(name)(x, times) for w, name in zip(weights, names, strict=True))
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(block(x, times), wanted, rtol=8 * eps, atol=8 * eps)
    assert not torch.allclose(make("midpoint")(x, times), wanted, rtol=1e-4)


@pytest.mark.parametrize("batched", [False, True])
def test_gradients_of_an_ensemble_reach_its_members(batched):
    def loss(block, x):
        return block(x).square().sum()

    torch.manual_seed(1)
    field = DenseField(3, 6).double()
    nn.init.normal_(field.drift)
    trained = TrainableSolver(RK2, {"u": F(2, 3)}, F(1, 4)).double()
    ensemble = SolverEnsemble([trained, "heun2"], weights=[0.7, 0.3], batched=batched)
    block = NeuralODE(field, solver=ensemble, steps=2)
    x = torch.randn(5, 3, dtype=torch.float64)
    loss(block, x).backward()
    h = 1e-5
    with torch.no_grad():
        trained.offset += h
        above = loss(block, x)
        trained.offset -= 2 * h
        below = loss(block, x)
    assert float(trained.offset.grad) == pytest.approx(float((above - below) / (2 * h)), rel=1e-6)
    assert all(p.grad.abs().sum() > 0 for p in field.parameters())
    assert "solver.solvers.0.offset" in block.state_dict()


def test_batched_members_see_their_own_times():
    seen = []

    def field(t, y):
        seen.append(t.shape)
        return -t * y

    x = torch.ones(4, 2, dtype=torch.float64)
    for names, shapes in (
        (["midpoint", "heun2"], [(), (8, 1)]),
        (["midpoint", coefficients_at(RK2, u=0.5)], [(), ()]),
    ):
        seen.clear()
        apart = NeuralODE(field, solver=SolverEnsemble(names), steps=1)(x)
        seen.clear()
        together = NeuralODE(field, solver=SolverEnsemble(names, batched=True), steps=1)(x)
        assert seen[-2:] == shapes
        torch.testing.assert_close(together, apart, rtol=1e-14, atol=0)


def test_bad_ensembles_are_refused():
    with pytest.raises(ValueError, match=r"stages \[1, 2\]"):
        SolverEnsemble(["euler", "heun2"], batched=True)
    with pytest.raises(ValueError, match="1 others"):
        SolverEnsemble(["implicit_euler", "euler"], batched=True)
    ensemble = SolverEnsemble(["midpoint", "heun2"], batched=True)
    block = NeuralODE(lambda t, y: -y, solver=ensemble, steps=1)
    with pytest.raises(ValueError, match="got a scalar"):
        block(torch.ones(()))
    with pytest.raises(ValueError, match='`batched` is for adjoint="direct"'):
        NeuralODE(DenseField(2, 4), solver=ensemble, steps=1, adjoint="restored")
    block = NeuralODE(DenseField(2, 4), solver="rk4", steps=1, adjoint="restored")
    with pytest.raises(ValueError, match='`batched` is for adjoint="direct"'):
        SolvedBy(block, ensemble)(torch.ones(3, 2))


@pytest.mark.parametrize("adjoint", ["restored", "discrete"])
def test_an_ensemble_has_gradients_by_adjoints(adjoint):
    def gradient(adjoint):
        torch.manual_seed(0)
        field = DenseField(2, 4).double()
        block = NeuralODE(field, solver=SolverEnsemble(["rk4", "heun2"]), steps=20, adjoint=adjoint)
        block(torch.ones(3, 2, dtype=torch.float64)).sum().backward()
        return torch.cat([p.grad.ravel() for p in field.parameters()])

    torch.testing.assert_close(gradient(adjoint), gradient("direct"), rtol=1e-3, atol=1e-5)


def test_an_ensemble_of_models_averages_probabilities():
    models = [nn.Linear(3, 4) for _ in range(2)]
    x = torch.randn(5, 3)
    ensemble = ModelEnsemble(models, weights=[0.25, 0.75])
    wanted = 0.25 * models[0](x).softmax(1) + 0.75 * models[1](x).softmax(1)
    torch.testing.assert_close(ensemble(x).exp(), wanted)
    only = ModelEnsemble(models, weights=[0, 1])
    torch.testing.assert_close(only(x).exp(), models[1](x).softmax(1))
    for bad in ([], models[0], [lambda x: x]):
        with pytest.raises(TypeError, match="sequence of at least one Module"):
            ModelEnsemble(bad)


# A model with another solver.


def test_solved_by_changes_nothing_of_the_model():
    block = NeuralODE(DenseField(2, 4), solver="euler", steps=2)
    model = nn.Sequential(nn.Linear(2, 2), block)
    x = torch.randn(3, 2)
    before, names = model(x), set(model.state_dict())
    for solver in ("rk4", smoothed(), SolverEnsemble(["euler", "heun2"])):
        other = SolvedBy(model, solver)
        assert not torch.allclose(other(x), before, rtol=1e-3)
        assert torch.equal(model(x), before)
        assert set(model.state_dict()) == names
    wanted = NeuralODE(block.func, solver="rk4", steps=6)(model[0](x))
    torch.testing.assert_close(SolvedBy(SolvedBy(model, "rk4", refine=3))(x), wanted)
    with pytest.raises(TypeError):
        SolvedBy(model, "rk4")(None)
    assert torch.equal(model(x), before)


def test_bad_uses_of_solved_by_are_refused():
    with pytest.raises(ValueError, match="no NeuralODE"):
        SolvedBy(nn.Linear(2, 2), "rk4")
    with pytest.raises(ValueError, match="`refine` must be"):
        SolvedBy(NeuralODE(DenseField(2, 4)), refine=0)
    for more in ({"solver": "rk4"}, {"refine": 2}):
        with pytest.raises(ValueError, match="has no `steps`"):
            SolvedBy(NeuralODE(DenseField(2, 4)), **more)
    with pytest.raises(TypeError, match="`model` must be a Module, got function"):
        SolvedBy(lambda x: x, "rk4")


# Does it act?


def test_the_effect_of_drawing_is_measured():
    def field(t, y):
        return y - y * y

    # One solver with certainty that evaluation does not use: the perturbation is their difference.
    solver = SwitchedSolver(["euler", "heun2"], probabilities=[0, 1])
    block = NeuralODE(field, solver=solver, steps=4)
    x = torch.rand(20, 3, dtype=torch.float64)
    found = smoothing_effect(block, x, draws=3, refine=256)
    other, exact = (SolvedBy(block, s, refine=r)(x) for s, r in (("heun2", 1), ("rk4", 16)))
    rest = SolvedBy(block, "euler")(x)
    rms = lambda d: float(d.square().mean().sqrt())  # noqa: E731
    assert found.perturbation == pytest.approx(rms(other - rest), rel=1e-12)
    assert found.truncation == pytest.approx(rms(exact - rest), rel=1e-2)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert "ratio" in str(found)
    assert block.training
    assert solver.training


class Meeting(nn.Module):
    """A layer in which so many threads wait for each other."""

    def __init__(self, threads):
        super().__init__()
        self.barrier = threading.Barrier(threads, timeout=20)

    def forward(self, x):
        self.barrier.wait()
        return x


def test_threads_do_not_see_each_others_solvers():
    block, x = NeuralODE(DenseField(2, 4), solver="euler", steps=2), torch.randn(3, 2)
    calls = [lambda m: m, lambda m: SolvedBy(m, "rk4"), lambda m: SolvedBy(m, refine=8)]
    wanted = [call(block)(x) for call in calls]
    assert not torch.equal(wanted[0], wanted[2])
    met = nn.Sequential(Meeting(len(calls)), block, Meeting(len(calls)), block)
    twice = [call(nn.Sequential(block, block))(x) for call in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        found = list(pool.map(lambda call: call(met)(x), calls))
    for one, other in zip(found, twice, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(block(x), wanted[0])
    assert block._replaced == {}


def test_replicas_in_other_threads_take_the_solver():
    class Replicated(nn.Module):  # as DataParallel does it, without its devices
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x):
            replica = self.block._replicate_for_data_parallel()
            replica.func = self.block.func
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(replica, x).result()

    block, x = NeuralODE(DenseField(2, 4), solver="euler", steps=2), torch.randn(3, 2)
    for model in (Replicated(block), block):
        assert torch.equal(SolvedBy(model, "rk4")(x), SolvedBy(block, "rk4")(x))
        assert torch.equal(model(x), block(x))


def test_looking_at_the_effect_disturbs_no_training():
    torch.manual_seed(0)
    solver = SmoothedSolver(RK2, {"u": Fraction(2, 3)}, width=0.1, bound=3)
    block = NeuralODE(DenseField(2, 4), solver=solver, steps=2)
    x, random = torch.randn(3, 2, requires_grad=True), torch.get_rng_state()

    def gradient():  # of a pass whose draw a checkpoint finds by torch's random state
        torch.set_rng_state(random)
        checkpoint(block, x, use_reentrant=False).square().sum().backward()
        return x.grad.clone()

    effect = smoothing_effect(block, x, draws=3)
    assert torch.equal(torch.get_rng_state(), random)
    torch.manual_seed(1)
    with torch.no_grad(), drawing(block.eval()):
        drawn = [block(x) for _ in range(2)]
    block.train()
    assert smoothing_effect(block, x, draws=3) == effect  # the same draws, whatever was drawn
    assert smoothing_effect(block, x, draws=4) != effect
    assert not torch.equal(*drawn)
    assert solver._counts == {True: 0, False: 2}
    torch.set_rng_state(random)
    smoothing_effect(block, x, draws=3)
    assert torch.equal(torch.get_rng_state(), random)
    wanted = copy.deepcopy(block)(x).square().sum()
    (wanted,) = torch.autograd.grad(wanted, x)
    assert torch.equal(gradient(), wanted)


def test_smoothing_does_nothing_on_linear_problems():
    matrix = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    block = NeuralODE(lambda t, y: y @ matrix, solver=smoothed(), steps=4)
    assert smoothing_effect(block, torch.eye(2, dtype=torch.float64)).ratio < 1e-12


def test_bad_questions_about_the_effect_are_refused():
    block = NeuralODE(DenseField(2, 4), solver=smoothed(), steps=2)
    for bad in ({"draws": 0}, {"draws": 2.5}, {"refine": 1}, {"refine": "8"}):
        with pytest.raises(ValueError, match="whole number from 1, `refine` from 2"):
            smoothing_effect(block, torch.ones(3, 2), **bad)
    with pytest.raises(ValueError, match=r"with entries, got shape \(0, 2\)"):
        smoothing_effect(block, torch.ones(0, 2))
    pair = NeuralODE(lambda t, y: y, solver=smoothed(), steps=2)
    with pytest.raises(ValueError, match="one tensor with entries, got tuple"):
        smoothing_effect(pair, (torch.ones(2), torch.ones(3)))
    with pytest.raises(TypeError, match="`model` must be a Module"):
        smoothing_effect(lambda x: x, torch.ones(3, 2))
    with pytest.raises(ValueError, match="no solver of this model is drawn"):
        smoothing_effect(NeuralODE(DenseField(2, 4)), torch.ones(3, 2))


def test_a_checkpoint_is_refused_where_its_draw_can_not_be_known():
    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, t, y):
            return torch.sin(3 * self.layer(y))

    solver = SmoothedSolver(RK2, {"u": F(2, 3)}, width=0.3, bound=3)
    block, x = NeuralODE(Field(), solver=solver, steps=2), torch.randn(5, 3, requires_grad=True)
    out = checkpoint(block, x, use_reentrant=False).sum()
    block.eval()(x.detach())  # an evaluation between the two passes
    with pytest.raises(RuntimeError, match="not now"):
        out.backward()
    block.train()
    total = 0
    for _ in range(2):
        torch.manual_seed(0)
        total = total + checkpoint(block, x, use_reentrant=False).sum()
    with pytest.raises(RuntimeError, match="more than one"):
        total.backward()


@pytest.mark.parametrize("shape", [(4, 1), (4,)])
def test_a_single_logit_has_no_mean_probability(shape):
    class One(nn.Module):
        def forward(self, x):
            return torch.zeros(shape)

    with pytest.raises(ValueError, match="at least two classes"):
        ModelEnsemble([One(), One()])(torch.ones(4, 2))


def test_drawing_is_of_modules():
    with (
        pytest.raises(TypeError, match="`model` must be a Module, got function"),
        drawing(lambda x: x),
    ):
        pass
