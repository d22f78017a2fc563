"""Trainings with several losses: their parts measure what they say, and the whole runs."""

import numpy as np
import pytest
import torch

from odecore.directions import equiangular_weights, gramian, min_norm_weights, pareto_stationarity
from verification.experiments import direction_paths, direction_training
from verification.experiments._objective_tasks import Imbalanced, Model, Pairs, class_counts
from verification.experiments.direction_paths import PROBLEMS, path
from verification.experiments.direction_training import (
    Run,
    answers,
    chosen_rate,
    jacobian,
    train,
    weighted,
)

EQUIANGULAR = weighted(equiangular_weights)


def sum_of_losses(J):
    return J.sum(0)


def test_pairs_share_no_images_between_sides():
    sides = Pairs(count=500).data(3)
    for k, (x, y) in enumerate(sides):
        assert y.shape == (len(x), 2)
        for other in sides[k + 1 :]:
            left = {row.numpy().tobytes() for row in x.view(-1, 8, 13)[:, :, :5]}
            theirs = {row.numpy().tobytes() for row in other[0].view(-1, 8, 13)[:, :, :5]}
            assert not left & theirs
    again, another = Pairs(count=500).data(3), Pairs(count=500).data(4)
    assert torch.equal(sides[0][0], again[0][0])
    assert not torch.equal(sides[0][0], another[0][0])


def test_numbers_of_images_fall_from_class_to_class():
    task = Imbalanced(ratio=50)
    (x, y), held, test = task.data(1)
    counts = torch.bincount(y[:, 0]).tolist()
    assert counts == sorted(counts, reverse=True)
    assert class_counts(torch.arange(10).repeat(200)[:, None], 100)[::9] == [200, 2]
    assert counts[0] / counts[-1] == pytest.approx(50, rel=0.3)
    assert set(torch.bincount(held[1][:, 0]).tolist()) == {20}
    assert len(x) == sum(counts)
    assert torch.bincount(test[1][:, 0]).min() > 30


def test_a_jacobian_has_a_gradient_for_each_loss():
    torch.manual_seed(0)
    model = Model(6, 2).double()
    x, y = torch.randn(9, 6, dtype=torch.float64), torch.randint(0, 10, (9, 2))
    trunk, heads = list(model.trunk.parameters()), list(model.heads.parameters())
    J = jacobian(Pairs().losses(model(x), y), trunk, heads)
    for k in range(2):
        model.zero_grad()
        Pairs().losses(model(x), y)[k].backward()
        torch.testing.assert_close(J[k], torch.cat([p.grad.flatten() for p in trunk]))
        own = [p.grad.clone() for p in model.heads[k].parameters()]
        jacobian(Pairs().losses(model(x), y), trunk, heads)
        for p, g in zip(model.heads[k].parameters(), own, strict=True):
            torch.testing.assert_close(p.grad, g)


def test_a_scaled_loss_turns_the_sum_and_not_the_equiangular_direction():
    def last(direction, kappa):
        seen = []

        def watched(J):
            seen.append(direction(J))
            return seen[-1]

        train(Pairs(kappa, steps=1, count=200), watched, 0.1, 0, final=False)
        return seen[0] / seen[0].norm()

    turned = [float(last(d, 1.0) @ last(d, 100.0)) for d in (EQUIANGULAR, sum_of_losses)]
    assert turned[0] == pytest.approx(1, abs=1e-5)
    assert turned[1] < 0.9


def test_recall_and_precision():
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    confusion[0, 0], confusion[0, 1], confusion[1, 1] = 6, 2, 4
    run = Run((confusion,))
    assert run.recalls[:2] == [0.75, 1.0]
    assert run.precisions[:3] == pytest.approx([1.0, 4 / 6, 0.0])
    assert run.accuracies == pytest.approx([10 / 12])
    model = Model(64, 1)
    side = Imbalanced().data(0)[1]
    found = answers(model, side)
    right = float((model(side[0])[0].argmax(1) == side[1][:, 0]).float().mean())
    assert found.accuracies == pytest.approx([right])
    assert found.score == pytest.approx(right)  # as many images of each class


def test_training_learns_and_a_wrong_sign_does_not():
    task = Pairs(steps=150, count=2000)
    assert train(task, EQUIANGULAR, 0.1, 0, final=True).score > 0.6
    assert train(task, lambda J: -EQUIANGULAR(J), 0.1, 0, final=True).score < 0.4


def test_the_rate_is_chosen_on_the_validation_side():
    task = Pairs(steps=40, count=500)
    scores = {r: train(task, EQUIANGULAR, r, 1000, final=False).score for r in (1e-4, 0.1)}
    assert max(scores, key=scores.get) == chosen_rate(task, EQUIANGULAR, (1e-4, 0.1))
    assert train(task, EQUIANGULAR, 1e9, 0, final=False).score < 0.3  # diverges, and is no error


@pytest.mark.parametrize(("lost", "code"), [(0.01, 0), (0.1, 1)])
def test_the_verdict(lost, code, monkeypatch):
    def runs_of(task, *_):
        good, bad = torch.eye(10) * 100, torch.eye(10) * 100
        bad[0, 0], bad[0, 1] = 100 - 1000 * lost * (task.kappa > 1), 1000 * lost * (task.kappa > 1)
        return 0.1, [Run((good, bad)), Run((good, bad))]

    monkeypatch.setattr(direction_training, "runs_of", runs_of)
    monkeypatch.setattr(direction_training, "directions", lambda: {"equiangular": EQUIANGULAR})
    assert direction_training.main(["--only", "pairs"]) == code


@pytest.mark.parametrize("plane", PROBLEMS, ids=lambda plane: plane.title)
def test_the_fronts_of_the_pictures_are_stationary(plane):
    for x in plane.front[1:-1:20]:
        J = torch.func.jacrev(plane.scaled)(x)
        assert pareto_stationarity(gramian(J), tolerance=1e-6).stationary
        moved = torch.func.jacrev(plane.scaled)(x + torch.tensor([0.1, -0.1]))
        assert not pareto_stationarity(gramian(moved), tolerance=1e-6).stationary


def test_only_equiangular_paths_do_not_depend_on_the_scale(monkeypatch):
    monkeypatch.setattr(direction_paths, "STEP", 0.03)
    _, plane, scaled = PROBLEMS
    for direction, same in (
        (EQUIANGULAR, True),
        (weighted(min_norm_weights), False),
        (sum_of_losses, False),
    ):
        ends = [path(p, direction, plane.starts[0])[-1] for p in (plane, scaled)]
        assert np.allclose(*ends, atol=1e-6) is same
    values = path(plane, EQUIANGULAR, plane.starts[0])
    assert (np.diff(values, axis=0) < 0).all()
    front = plane.losses(plane.front).numpy()
    assert np.abs(front - values[-1]).max(1).min() < 0.1


@pytest.mark.long
def test_the_quick_forms_run(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torchjd.aggregation")
    pytest.importorskip("cvxpy")
    pytest.importorskip("quadprog")
    direction_training.main(["--quick"])
    text = capsys.readouterr().out
    assert text.count("| equiangular |") == 4 + 2
    assert text.count("mean over images") == 2
    monkeypatch.setattr(direction_paths, "STEP", 0.2)
    direction_paths.main(["--out", str(tmp_path / "paths.svg")])
    assert (tmp_path / "paths.svg").read_text().count("<path") > 3 * 3 * 5
