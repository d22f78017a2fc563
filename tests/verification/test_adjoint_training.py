"""The training experiments: their parts measure what they say, and the whole runs."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from torch_bridge import odeint
from verification.experiments import adjoint_training
from verification.experiments._tasks import TASKS, Density
from verification.experiments.adjoint_training import WAYS, Run, same_loss_for_less, train

DIGITS, DENSITY = TASKS
THROUGH = partial(odeint, rtol=1e-8, atol=1e-8)


def test_the_density_of_a_flow_integrates_to_one():
    torch.manual_seed(0)
    model = Density().double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
        s = torch.linspace(-9, 9, 181, dtype=torch.float64)
        grid = torch.cartesian_prod(s, s)
        density = model.log_density(THROUGH, grid).exp()
        model.field.layers.outer.bias.zero_()
        products = model.field.layers.inner.weight * model.field.layers.outer.weight.T
        assert products.sum().abs() > 0.1  # the divergence matters here
    assert float(density.sum() * 0.1**2) == pytest.approx(1, abs=1e-6)
    assert float((density * (grid[:, 0] + 1)).sum() * 0.1**2) != pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    "task", [DIGITS, pytest.param(DENSITY, marks=pytest.mark.long)], ids=lambda task: task.name
)
def test_all_ways_start_from_the_same_model_and_see_the_same_batches(task):
    runs = {name: train(replace(task, steps=3), way, 1) for name, way in WAYS.items()}
    losses = [run.loss for run in runs.values()]
    assert max(losses) - min(losses) < 1e-3 * abs(losses[0])
    assert max(run.error for run in runs.values()) < 1e-3
    assert runs["restored, stepping"].calls < runs["reversed"].calls
    assert runs["restored, collocated"].calls < 4
    assert losses[0] != train(replace(task, steps=3), WAYS["reversed"], 2).loss


def test_work_is_counted_in_units_of_one_evaluation():
    # Through six stages: two products back for each one forward, but for the state at the start.
    model = DIGITS.model()
    x = DIGITS.data()[0][:64]
    way = partial(odeint, method="euler", options={"step_size": 1 / 6})
    calls, work = adjoint_training._cost(model, way, x)
    head = 2 * 16 * 10 / (2 * 16 * 64)  # of one evaluation
    stem = 64 * 16 / (2 * 16 * 64)
    assert calls == 0
    assert work == pytest.approx(6 * 2 + head + stem, rel=1e-12)


def test_the_verdict():
    def runs(losses, calls):
        return [Run(loss, 0.0, calls, 1.0, 1.0) for loss in losses]

    base = runs([1.00, 1.10, 0.90], 50)
    assert same_loss_for_less(runs([1.005, 1.10, 0.90], 40), base)
    assert not same_loss_for_less(runs([1.005, 1.10, 0.90], 60), base)
    assert not same_loss_for_less(runs([1.06, 1.16, 0.96], 40), base)
    # The same mean, but too few seeds for so large differences.
    assert not same_loss_for_less(runs([0.90, 1.10, 1.00], 40), base)


@pytest.mark.long
def test_a_wrong_gradient_does_not_reach_the_loss():
    def flipped(field, y0, t):
        y = WAYS["restored, collocated"](field, y0, t)
        return 2 * y.detach() - y

    task = replace(DIGITS, steps=15)
    against = [train(task, WAYS["reversed"], seed) for seed in (0, 1)]
    assert same_loss_for_less(
        [train(task, WAYS["restored, collocated"], s) for s in (0, 1)], against
    )
    assert not same_loss_for_less([train(task, flipped, seed) for seed in (0, 1)], against)


@pytest.mark.long
def test_the_quick_form_runs(capsys):
    assert adjoint_training.main(["--quick"]) == 0
    text = capsys.readouterr().out
    assert text.count("restored, collocated") == 2 * 2
    assert text.count("yes") == 4
