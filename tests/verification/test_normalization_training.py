"""Trainings by normalization: what they say is measured, and the scripts run and continue."""

import json

import numpy as np
import pytest
import torch

from verification.experiments import cifar10, normalization_training
from verification.experiments._images import DATA
from verification.experiments.normalization_training import Setting, accuracies, line, train


@pytest.mark.long
def test_data_leave_the_generators_as_they_were():
    np.random.seed(3)
    wanted = np.random.rand()
    np.random.seed(3)
    found = DATA["mnist1d"]()
    assert np.random.rand() == wanted
    assert sorted(torch.cat([found.train_y, found.test_y]).bincount().tolist()) == [500] * 10
    assert (found.train_x.shape, found.test_x.shape) == ((4000, 1, 40), (1000, 1, 40))
    images = DATA["digits"]()
    assert (images.train_x.shape, images.dimensions) == ((1437, 1, 8, 8), 2)


@pytest.mark.parametrize("choice", ["layer", "time batch"])
def test_a_training_learns(choice):
    data = DATA["digits"]()
    setting = Setting("digits", "ODENet4", choice, 2, 150, 8, 1)
    found = accuracies(setting, train(setting, data), data)
    assert found["as trained"] > 0.6
    assert set(found) == {"as trained", "Euler, 4 x", "RK2", "RK4", "batches"}
    start = Setting("digits", "ODENet4", choice, 2, 0, 8, 1)
    assert accuracies(start, train(start, data), data)["as trained"] < 0.4


def test_differences_are_paired():
    runs = [
        {"as trained": a, "Euler, 4 x": a - 0.1, "RK2": a, "RK4": a, "batches": a}
        for a in (0.5, 0.7)
    ]
    assert line("x", 2, runs).startswith("| x | 2 | 60.0 ± 127.1 | -10.0 ± 0.0 | +0.0 ± 0.0 |")


def test_the_quick_form_runs_and_continues(tmp_path, capsys, monkeypatch):
    more = ["--quick", "--data", "digits", "--choices", "layer", "spectral"]
    more += ["--keep", str(tmp_path / "runs.json")]
    assert normalization_training.main(more) == 0
    text = capsys.readouterr().out
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 2
    monkeypatch.setattr(normalization_training, "train", None)  # nothing is trained again
    assert normalization_training.main(more) == 0
    assert capsys.readouterr().out == text
    (tmp_path / "runs.json").write_text("[")
    with pytest.raises(SystemExit):
        normalization_training.main(more)
    assert "holds no runs of this experiment" in capsys.readouterr().err


def test_the_rate_is_the_published_one():
    assert [cifar10.rate(k) for k in (0, 149, 150, 249, 250)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001]
    )


def test_images_are_shifted_and_mirrored():
    x = torch.arange(2 * 3 * 32 * 32.0).reshape(2, 3, 32, 32) + 1
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    for seed in range(5):
        moved = cifar10.shifted_and_mirrored(x, torch.Generator().manual_seed(seed))
        for k in range(2):
            crops = [padded[k, :, i : i + 32, j : j + 32] for i in range(9) for j in range(9)]
            assert any(torch.equal(moved[k], z) or torch.equal(moved[k], z.flip(2)) for z in crops)


def test_cifar10_runs_on_generated_images_and_continues(tmp_path, capsys):
    more = ["--limit", "40", "--width", "4", "--steps", "2", "--batch", "20", "--device", "cpu"]
    kept = ["--keep", str(tmp_path / "kept.pt")]
    assert cifar10.main([*more, "--epochs", "3"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert len(whole) == 3
    assert cifar10.main([*more, *kept, "--epochs", "2"]) == 0
    assert cifar10.main([*more, *kept, "--epochs", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == whole
    assert cifar10.main([*more, *kept, "--epochs", "3"]) == 0
    assert "has its 3 epochs already" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is of another setting"):
        cifar10.main([*more, *kept, "--ode", "none"])


def test_cifar10_tells_what_is_no_network():
    with pytest.raises(SystemExit, match="no such network: no method 'eular'"):
        cifar10.main(["--limit", "4", "--width", "4", "--solver", "eular"])
    with pytest.raises(SystemExit, match="no such network: `groups` must divide the 3 channels"):
        cifar10.main(["--limit", "4", "--width", "3"])
