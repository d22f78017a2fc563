"""The fine-tuning experiment on a small encoder: it runs, and sees a wrong formula."""

import numpy as np
import pytest
import torch

from verification.experiments import text_training
from verification.experiments.text_training import BATCH, WAYS, _Texts, noise_table, prepared
from verification.text import Encoder, Reviews, Shape

SMALL = Shape(vocabulary=60, positions=48, width=32, layers=2, heads=2, hidden=64)


@pytest.fixture
def texts(monkeypatch):
    """Sequences that tell their label by their first token, in place of real texts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 96)
    sequences = {
        f"text {k}": [1, 2 + int(y), *rng.integers(4, 60, rng.integers(3, 20)).tolist()]
        for k, y in enumerate(labels)
    }
    names = list(sequences)

    def reviews(**_):
        both = torch.from_numpy(labels)
        return Reviews(tuple(names[:64]), both[:64], tuple(names[64:]), both[64:])

    def encoder(**_):
        return Encoder(SMALL)

    monkeypatch.setattr(text_training, "movie_reviews", reviews)
    monkeypatch.setattr(text_training, "token_ids", lambda t, **_: [sequences[k] for k in t])
    monkeypatch.setattr(text_training, "minilm", encoder)
    return _Texts(reviews())


@pytest.mark.long
def test_it_runs_and_keeps_what_was_planned(texts, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # two would compete here
    assert text_training.main(["--quick"]) == 0
    out = capsys.readouterr().out
    assert all(f"| {name} |" in out for name in WAYS)
    batch, labels = next(texts.batches(torch.Generator().manual_seed(1)))
    kept = {}
    for name, way in WAYS.items():
        model, found = prepared(way, 0, batch, labels)
        with text_training._rows(way, batch):
            kept[name] = text_training.kept(model, batch, labels)
        if found is not None:
            assert kept[name] == pytest.approx(found.bytes_planned, rel=0.02)
    assert kept["checkpointed"] < kept["ratio 0.1"] < kept["ratio 0.5"] < kept["exact"]
    assert kept["padding left out"] < kept["exact"]


def test_a_wrong_formula_is_seen(texts, monkeypatch):
    way = WAYS["ratio 0.1, padding left out"]
    assert max(abs(one.z) for one in noise_table(texts, way, 200)) < 5
    right = text_training.variance
    monkeypatch.setattr(text_training, "variance", lambda *a: 1.5 * right(*a))
    assert max(abs(one.z) for one in noise_table(texts, way, 200)) > 5


def test_every_batch_is_full(texts):
    sizes = [len(labels) for _, labels in texts.batches(torch.Generator().manual_seed(0))]
    assert sizes == [BATCH, BATCH]
