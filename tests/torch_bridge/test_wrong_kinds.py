"""Functions, tensors and reports given as something else: told by name."""

import pytest
import torch
from torch import nn

from torch_bridge import (
    DenseField,
    EquiangularDescent,
    NeuralODE,
    SolverConsistencyReport,
    certified_step,
    descent_flow,
    equiangular_backward,
    odeint_dense,
    plan,
    saved_bytes,
    sketched_linear,
    solver_consistency,
)

X = torch.ones(4, 3)


def descent(**options):
    return EquiangularDescent(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1), **options)


def backward(shared):
    p = nn.Parameter(torch.ones(2))
    return equiangular_backward([p[0] * 2, p[1] * 2], [p], shared=shared)


@pytest.mark.parametrize("wrong", [3, "abc", [None], lambda one, two, three: one])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: certified_step(x, X[0], X[0], largest=1.0), "losses"),
        (lambda x: descent_flow(x, X, 1.0), "losses"),
        (lambda x: plan(nn.Linear(3, 2), X, budget=0.5, loss=x), "loss"),
        (saved_bytes, "forward"),
        (lambda x: DenseField(3, 8, linear=x), "linear"),
        (lambda x: descent().step(x), "closure"),
    ],
)
def test_functions_are_asked_for(make, name, wrong):
    with pytest.raises(TypeError, match=f"`{name}` must be callable as .*, got"):
        make(wrong)


@pytest.mark.parametrize("wrong", [3, "abc", [None]])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (backward, "shared"),
        (lambda x: descent(task_specific=x), "task_specific"),
        (lambda x: saved_bytes(lambda: X, besides=x), "besides"),
        (lambda x: sketched_linear(X, x), "weight"),
        (lambda x: sketched_linear(X, X, x), "bias"),
    ],
)
def test_tensors_are_asked_for(make, name, wrong):
    with pytest.raises(
        TypeError, match=f"`{name}` must (be a (list of )?[Tt]ensors?|hold tensors)"
    ):
        make(wrong)


def test_batches_times_and_reports_are_asked_for():
    block = NeuralODE(DenseField(3, 4), solver="rk4", steps=2)
    with pytest.raises(TypeError, match="`loader` must give batches, got 3: give a list"):
        solver_consistency(block, 3, task="regression", tolerance=1.0)
    for wrong in (int, [0.0], None, "0"):
        with pytest.raises(TypeError, match="`t1` must be one time, got"):
            odeint_dense(lambda t, y: -y, X, 0.0, wrong)
    with pytest.raises(ValueError, match="`t1` must be finite, got an int above all floats"):
        odeint_dense(lambda t, y: -y, X, 0.0, 10**400)
    for wrong in (None, "abc", "1", "{}", '{"gaps": [1]}'):
        with pytest.raises(ValueError, match="not a report, as `to_json` writes them"):
            SolverConsistencyReport.from_json(wrong)
