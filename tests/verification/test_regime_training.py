"""The trainings of solver regimes: pairs differ by the regime only, and the whole runs."""

import pytest
import torch
from torch import nn

from torch_bridge import ModelEnsemble, NeuralODE
from verification._digits import Data
from verification.experiments import regime_training
from verification.experiments.regime_training import (
    DRAWN,
    PROBLEMS,
    REGIMES,
    Run,
    line,
    model_of,
    train,
)


def test_all_regimes_start_from_the_same_weights():
    found = []
    for name in REGIMES:
        torch.manual_seed(4)
        model = model_of(name, 64)
        found.append(model.models[0] if isinstance(model, ModelEnsemble) else model)
    for model in found:
        torch.testing.assert_close(model[0].weight, found[0][0].weight, rtol=0, atol=0)
        blocks = [m for m in model if isinstance(m, NeuralODE)]
        assert torch.equal(blocks[0].func.inner.weight, found[0][2].func.inner.weight)


def test_the_attack_finds_what_it_can_find():
    # A model that sees one pixel only, at most EPS away from its threshold or further.
    model = nn.Linear(64, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([0.5, 0.0]))
        model.weight[1, 7] = 1.0
    x = torch.full((4, 64), 0.5)
    x[:, 7] = torch.tensor([0.3, 0.45, 0.55, 0.7])
    data = Data(x, x, x, torch.tensor([0, 0, 1, 1])[:, None])
    found = regime_training.judge("standalone", model, data, PROBLEMS["digits"].attack(20))
    assert found == Run(1.0, 0.5, None, None)


def test_seeds_repeat_and_differ():
    problem = PROBLEMS["digits"]
    data = problem.load()
    first, again, other = (
        train("smoothing, 0.2", problem, data, s, steps=4, fgsm=True)(data.test_x)
        for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_pixels_have_an_end():
    def upwards(attack):  # of a loss that falls with every input
        x_adv = attack(nn.Linear(3, 2), 0.99 * torch.ones(2, 3), torch.tensor([0, 1]))
        return float(x_adv.max())

    torch.manual_seed(0)
    assert upwards(PROBLEMS["digits"].attack(20)) == 1.0
    assert upwards(PROBLEMS["mnist1d"].attack(20)) == pytest.approx(1.09)


def test_a_line_is_paired_by_seed():
    runs = [Run(0.9, 0.5, 0.4, 0.1), Run(0.7, 0.3, 0.2, 0.3)]
    against = [Run(0.8, 0.5, None, None), Run(0.6, 0.3, None, None)]
    shown = line("name", runs, against)
    assert "+10.0 ± 0.0" in shown
    assert "+0.0 ± 0.0" in shown
    assert shown.endswith("| 0.20 |")


@pytest.mark.long
def test_the_quick_form_runs(capsys):
    assert regime_training.main(["--quick"]) == 0
    text = capsys.readouterr().out
    for name in REGIMES:
        assert text.count(f"| {name} |") == 2 * len(PROBLEMS)
    assert set(DRAWN) < set(REGIMES)
    with pytest.raises(SystemExit):
        regime_training.main(["--seeds", "none"])
