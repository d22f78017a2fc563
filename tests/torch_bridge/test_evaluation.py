"""Modes are put back after evaluations: at a time, of shared modules, that fail."""

from contextlib import ExitStack
from threading import Thread

import pytest
import torch
from torch import nn

from torch_bridge import (
    Attack,
    DenseField,
    NeuralODE,
    SwitchedSolver,
    adapt_steps,
    robustness,
    smoothing_effect,
    solver_consistency,
    transfer,
)
from torch_bridge._evaluation import evaluating


def layers():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    model[1].eval()
    return model


def test_evaluations_that_overlap():
    model, first, second = layers(), ExitStack(), ExitStack()
    first.enter_context(evaluating(model))
    second.enter_context(evaluating(model))
    first.close()
    assert not any(module.training for module in model.modules())
    second.close()
    assert [module.training for module in model.modules()] == [True, True, False]
    with evaluating(model):
        assert not model.training
    assert model.training


def test_evaluations_of_models_that_share_a_module():
    model, first, second = layers(), ExitStack(), ExitStack()
    other = nn.Sequential(model[0], nn.Linear(2, 2)).train()
    first.enter_context(evaluating(model))
    second.enter_context(evaluating(other))
    first.close()
    assert model.training
    assert not model[0].training
    assert not other.training
    second.close()
    assert [module.training for module in (model[0], *other.modules())] == [True] * 4


def test_evaluations_in_one_another_that_fail():
    class Refuses(nn.Module):
        def train(self, mode=True):
            if not mode:
                raise RuntimeError("only for training")
            return super().train(mode)

    model = layers()
    refuses = nn.Sequential(model[0], Refuses())

    def evaluate():
        with evaluating(model):
            with pytest.raises(RuntimeError, match="only for"), evaluating(refuses):
                pass
            assert not model[0].training
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        evaluate()
    assert [module.training for module in model.modules()] == [True, True, False]


def test_threads_leave_a_training_model_in_training():
    model = nn.Sequential(NeuralODE(DenseField(3, 8), solver="rk4", steps=2), nn.Linear(3, 3))
    x = torch.rand(400, 3)
    modes = []

    def compare():
        solver_consistency(model, [x] * 2, solvers=(), halvings=2)

    def look(done):
        modes.append(model.training)

    threads = [Thread(target=compare) for _ in range(4)]
    for thread in threads:
        thread.start()
    solver_consistency(model, [x] * 4, solvers=(), halvings=2, progress=look)
    for thread in threads:
        thread.join()
    assert modes == [False] * 4
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda model, x, y: solver_consistency(model, [x]),
        lambda model, x, y: solver_consistency(model, [(x, y)]),
        lambda model, x, y: adapt_steps(model, x),
        lambda model, x, y: robustness(model, x, y, Attack(lambda model, x, y: x, 0.1)),
        lambda model, x, y: transfer({"one": model}, x, y, Attack(lambda model, x, y: x, 0.1)),
        lambda model, x, y: smoothing_effect(model, x),
    ],
    ids=["consistency", "labels", "adapt_steps", "robustness", "transfer", "smoothing_effect"],
)
@pytest.mark.parametrize("devices", [("meta", "meta"), ("cpu", "meta"), ("meta", "cpu")])
def test_nothing_is_evaluated_without_values(evaluate, devices):
    model = NeuralODE(DenseField(3, 8), solver=SwitchedSolver(["rk4", "euler"]), steps=2)
    x, y = torch.randn(5, 3, device=devices[1]), torch.zeros(5, dtype=torch.long)
    modes = [module.training for module in model.modules()]
    with pytest.raises(ValueError, match=r"must have values.* on the meta device.*to_empty"):
        evaluate(model.to(devices[0]), x, y)
    assert [module.training for module in model.modules()] == modes
