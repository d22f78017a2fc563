"""Options of blocks, networks, regimes and evaluations that are no numbers: refused by name."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from torch_bridge import (
    Accuracy,
    Attack,
    DenseField,
    NeuralODE,
    ODENet4,
    ODENet10,
    PairedGap,
    ResidualField,
    SolverEnsemble,
    SwitchedSolver,
    TimeBatchNorm,
    adapt_steps,
    certified_step,
    descent_flow,
    equiangular_backward,
    normalization,
    one_solve,
    robustness,
    solver_consistency,
)

X = torch.ones(4, 3)


def attack(**options):
    return Attack(lambda model, x, y: x, **{"eps": 0.1, **options})


def block():
    torch.manual_seed(0)
    return NeuralODE(DenseField(3, 8), solver="rk4", steps=2)


def adapted(x=X, **options):
    return adapt_steps(block(), x, **{"tolerance": 1.0, **options})


def compared(**options):
    return solver_consistency(block(), [X], **{"task": "regression", "tolerance": 1.0, **options})


def drawn(probabilities):
    return SwitchedSolver(["rk4", "euler"], probabilities=probabilities)


@pytest.mark.parametrize(
    "wrong",
    [
        "0.1",
        None,
        [0.1],
        torch.ones(2),
        float("nan"),
        torch.tensor(1j),
        torch.ones((), device="meta"),
    ],
)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: attack(eps=x), "eps"),
        (lambda x: certified_step(torch.square, X[0], X[0], largest=x), "largest"),
        (lambda x: descent_flow(torch.square, X, x), "duration"),
        (lambda x: descent_flow(torch.square, X, 1.0, worst_cosine=x), "worst_cosine"),
        (lambda x: Accuracy(1, 2).interval(x), "level"),
        (lambda x: Accuracy(x, 2), "correct"),
        (lambda x: PairedGap(0, 1, 2).interval(x), "level"),
        (lambda x: PairedGap(x, 1, 2), "lost"),
        (lambda x: adapted(target=x), "target"),
        (lambda x: adapted(most=x), "most"),
        (lambda x: compared(tolerance=x), "tolerance"),
        (lambda x: TimeBatchNorm(3, momentum=x), "momentum"),
        (lambda x: TimeBatchNorm(3, eps=x), "eps"),
        (TimeBatchNorm, "channels"),
        (lambda x: normalization("group", x), "channels"),
        (lambda x: normalization("group", 8, groups=x), "groups"),
        (lambda x: DenseField(3, 8, "group", groups=x), "groups"),
        (lambda x: DenseField(x, 8), "width"),
        (lambda x: DenseField(3, x), "hidden"),
        (ResidualField, "channels"),
        (lambda x: ResidualField(8, stride=x), "stride"),
        (lambda x: ODENet4(1, x), "classes"),
        (lambda x: ODENet10(x, 10), "inputs"),
        (lambda x: ODENet4(1, 10, width=x), "width"),
    ],
)
def test_what_is_no_number_is_refused_by_name(make, name, wrong):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*got"):
        make(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: DenseField(x, 8),
        lambda x: TimeBatchNorm(3, intervals=x),
        lambda x: ResidualField(8, outputs=x),
        lambda x: adapted(most=x),
        lambda x: robustness(torch.nn.Linear(3, 2), X, X[:, 0].long(), attack(), batch=x),
    ],
)
def test_bools_are_no_sizes(make):
    with pytest.raises(ValueError, match="must be a whole number from 1, got True"):
        make(True)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: attack(steps=x, step_size=1.0), "steps"),
        (lambda x: attack(steps=10, step_size=x), "step_size"),
        (lambda x: attack(low=x), "low"),
        (lambda x: attack(high=x), "high"),
        (lambda x: compared(order=x), "order"),
        (lambda x: adapted(order=x), "order"),
        (lambda x: compared(task="classification", tolerance=x), "tolerance"),
        (lambda x: ResidualField(8, outputs=x), "outputs"),
    ],
)
def test_text_is_no_number_where_none_is_allowed(make, name):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*got .*'1'"):
        make("1")


@pytest.mark.parametrize("wrong", ["01", ("0", "1"), 1.0, X[0, 0], None, [None, 1.0], [X, X]])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: NeuralODE(DenseField(3, 8), t=x), "t"),
        (lambda x: ODENet4(1, 10, ode="time batch", t=x), "t"),
        (lambda x: TimeBatchNorm(3, span=x), "span"),
        (lambda x: drawn("01" if x is None else x), "probabilities"),
        (lambda x: SolverEnsemble(["rk4"] * 2, weights=1.0 if x is None else x), "weights"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_by_name(make, name, wrong):
    with pytest.raises(TypeError, match=rf"`{name}` must be a sequence of numbers, got"):
        make(wrong)


def test_numbers_of_all_libraries_are_taken():
    for one in (np.float64(0.5), np.float32(0.5), np.array(0.5), torch.tensor(0.5)):
        assert TimeBatchNorm(3, momentum=one, span=(0, one)).span == (0.0, 0.5)
        assert attack(eps=one).eps == 0.5
    half = Fraction(1, 2)
    for one in (half, torch.tensor(0.5)):
        assert certified_step(lambda x: x[0] ** 2, X[0], X[0], largest=one).step == 0.5
        assert compared(tolerance=one) == compared(tolerance=0.5)
        assert adapted(tolerance=one) == adapted(tolerance=0.5)
        layer = TimeBatchNorm(3, momentum=one, eps=one)
        with one_solve():
            layer(torch.tensor(0.0), X)
    assert drawn(np.array([0.25, 0.75])).solvers.weights == (0.25, 0.75)
    assert NeuralODE(DenseField(np.int64(3), 8), t=torch.tensor([0.0, 2.0])).t == (0.0, 2.0)


def test_counts_of_numpy_are_taken():
    two, model = np.int64(2), torch.nn.Linear(3, 2)
    y = X[:, 0].long()
    assert robustness(model, X, y, attack(eps=9.0), batch=two).clean.total == 4
    out = model(X)
    losses = [out[:, 0].sum(), out[:, 1].square().sum()]
    for chunk in (two, np.int64(1)):
        equiangular_backward(losses, model.parameters(), chunk=chunk, retain_graph=True)
    z = model(X)
    losses = [(z + k).square().mean() for k in range(3)]
    equiangular_backward(losses, model.parameters(), shared=z, chunk=two)


def test_networks_blame_what_is_wrong():
    for times in ((0, 0), (0,), (1.0, 0.5, 2.0)):
        with pytest.raises(ValueError, match="`t` must hold"):
            ODENet4(1, 10, ode="time batch", t=times)
    for wrong in ({"classes": 0}, {"inputs": 0}, {"classes": 10.0}, {"width": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be a whole number"):
            ODENet4(**{"inputs": 1, "classes": 10, **wrong})
    with pytest.raises(ValueError, match=r"`norm` must be one of inf, 2, 1, got \['inf'\]"):
        attack(norm=["inf"])
    with pytest.raises(ValueError, match="`tolerance`, and only it: got -1 for classification"):
        compared(task="classification", tolerance=-1)
    for wrong, error in ((None, TypeError), (X[:0], ValueError), (X[0, 0], ValueError)):
        with pytest.raises(error, match="`x` must"):
            adapted(wrong)
