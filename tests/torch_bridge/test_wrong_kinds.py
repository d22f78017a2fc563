"""Functions, tensors and reports given as something else: told by name."""

import numpy as np
import pytest
import torch
from torch import nn

from torch_bridge import (
    DenseField,
    EquiangularDescent,
    NeuralODE,
    SketchedConv2d,
    SketchedLinear,
    SolverConsistencyReport,
    SolverEnsemble,
    TimeBatchNorm,
    certified_step,
    check_rhs,
    descent_flow,
    equiangular_backward,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    one_solve,
    plan,
    saved_bytes,
    sketch_rows,
    sketched_linear,
    solve,
    solver_consistency,
)

X = torch.ones(4, 3)


def decay(t, y):
    return -y


def descent(**options):
    return EquiangularDescent(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1), **options)


def backward(shared, **options):
    p = nn.Parameter(torch.ones(2))
    return equiangular_backward([p[0] * 2, p[1] * 2], [p], shared=shared, **options)


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


@pytest.mark.parametrize("wrong", [torch.ones(3), np.ones(3), "no", 1, None])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: sketched_linear(X, X, centred=x), "centred"),
        (lambda x: sketch_rows(X, centred=x), "centred"),
        (lambda x: SketchedLinear(3, 2, centred=x), "centred"),
        (lambda x: SketchedLinear(3, 2, report=x), "report"),
        (lambda x: plan(nn.Linear(3, 2), X, budget=0.5, centred=x), "centred"),
        (lambda x: odeint(lambda t, y: -y, X, torch.arange(2.0), compile=x), "compile"),
        (lambda x: NeuralODE(DenseField(3, 4), compile=x), "compile"),
        (lambda x: SolverEnsemble(["rk4", "heun3"], batched=x), "batched"),
        (lambda x: SketchedLinear(3, 2, x), "bias"),
        (lambda x: SketchedLinear(3, 2, report=True).noise_report(reset=x), "reset"),
        (lambda x: SketchedConv2d(3, 2, bias=x), "bias"),
        (lambda x: TimeBatchNorm(3, affine=x), "affine"),
        (lambda x: one_solve(records=x), "records"),
        (lambda x: odeint_event(decay, X, X[0, 0], event_fn=decay, reverse_time=x), "reverse_time"),
        (lambda x: solve(decay, (0, 1), X, throw=x), "throw"),
        (lambda x: descent(report=x), "report"),
        (lambda x: descent(synchronize=x), "synchronize"),
    ],
)
def test_flags_are_bools(make, name, wrong):
    with pytest.raises(TypeError, match=f"`{name}` must be a bool, got"):
        make(wrong)


@pytest.mark.parametrize("wrong", [torch.ones(3), np.ones(3), "no", 1])
@pytest.mark.parametrize("method", ["rk4", "fixed_adams"])
@pytest.mark.parametrize("name", ["perturb", "check_finite"])
def test_flags_in_options_are_bools(name, method, wrong):
    t = torch.linspace(0, 1, 8)
    for given in ({}, {name: None}, {name: np.False_}):
        odeint(decay, X, t, method=method, options=given)
    for solver in (odeint, odeint_adjoint):
        with pytest.raises(TypeError, match=f"`{name}` must be a bool, got"):
            solver(decay, X, t, method=method, options={name: wrong})


def test_a_graph_is_retained_as_torch_would():
    assert backward(None, retain_graph=None).weights.shape == (2,)
    for wrong in ("no", 1, torch.ones(3)):
        with pytest.raises(TypeError, match="`retain_graph` must be a bool, got"):
            backward(None, retain_graph=wrong)
        with pytest.raises(TypeError, match="`retain_graph` must be a bool, got"):
            descent().backward([X.sum()], retain_graph=wrong)


@pytest.mark.parametrize("wrong", ["a", None, 1j, [0.0], X[0], float("nan"), 10**400])
def test_a_right_hand_side_is_checked_at_a_time(wrong):
    with pytest.raises(TypeError, match="`t` must be a finite number, or a Tensor of one, got"):
        check_rhs(lambda t, y: -y, wrong, X)
    for t in (0, 0.5, np.float64(0.5), np.array(0.5), torch.tensor(0.5)):
        assert not check_rhs(lambda t, y: -y * t, t, X).findings


@pytest.mark.parametrize("wrong", ["a", None, 1j, 10**400])
def test_a_certificate_models_a_step_of_a_size(wrong):
    found = certified_step(lambda p: [p.square().sum()], X[0], X[0], largest=1.0)
    with pytest.raises(TypeError, match="`step` must be a real number, got"):
        found.modelled(wrong)
    assert found.modelled(0.5) == found.modelled(torch.tensor(0.5)) == 0.5 * 6 - 0.125 * 6
    assert found.modelled(np.array([[0.0], [0.5]])).tolist() == [[0.0], [2.25]]


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
