"""The trainings of consistency: rows differ by the steps only, and the whole runs."""

import torch

from verification.experiments import consistency_training
from verification.experiments._images import handwritten
from verification.experiments.consistency_training import ADAPTED, classifier, line, train


def test_all_rows_start_from_the_same_weights():
    states = []
    for steps in (1, 16):
        torch.manual_seed(3)
        states.append(classifier(64, steps).state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


def test_calls_and_steps_are_counted():
    data = handwritten()
    few = train(data, 2, 0, updates=3)
    assert (few.evaluations, few.steps) == (6, 2)
    assert few.report.samples == 1797
    again = train(data, 2, 0, updates=3)
    assert again.report == few.report
    assert line("digits", 2, [few]).count("|") == consistency_training.HEAD.count("|")


def test_adapted_steps_grow_in_training():
    run = train(handwritten(), ADAPTED, 0, updates=80)
    assert run.steps > 1
    assert run.evaluations > 80


def test_the_whole_runs(capsys):
    assert consistency_training.main(["--quick", "--only", "digits", "--updates", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count("| digits |") == 3
