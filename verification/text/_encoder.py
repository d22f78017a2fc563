"""The encoder of BERT in plain modules, and a classifier on its mean state.

Devlin et al., BERT (arXiv 1810.04805), with the layer of Vaswani et al. (arXiv 1706.03762, section
3.1): normalization after each residual sum. Every product with a weight is an `nn.Linear` of its
own, so that each can be replaced: query, key, value and output of the attention, widen and narrow
of the feed-forward part. There is no dropout inside, one run differs from another by its batches
only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

__all__ = ["Classifier", "Encoder", "Shape", "mean_over_tokens"]


@dataclass(frozen=True)
class Shape:
    """Sizes of an encoder.

    Parameters
    ----------
    vocabulary, positions : int
        Rows of the two embedding tables; positions is the longest text.
    width : int
        Entries of one token's state.
    layers, heads : int
        Layers, and attention heads in each; heads must divide width.
    hidden : int
        Width between the two linear layers of the feed-forward part.
    """

    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    hidden: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}")
        if self.width % self.heads:
            raise ValueError(
                f"`heads` must divide `width`, got {self.heads} and {self.width}; "
                "each head reads width / heads entries"
            )


class Encoder(nn.Module):
    """States of all tokens, from their numbers.

    Called with tokens (n, length), integers, and mask (n, length), true where a token is real; the
    result is (n, length, width). Where the mask is false the state is a number without meaning:
    nothing that is real attends to it, and if the reader leaves it out, as `mean_over_tokens` does,
    the gradient with respect to every linear layer's output is exactly zero in its row.
    """

    TYPES = 2  # first and second text of a pair; a single text is all first
    EPSILON = 1e-12

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.types = nn.Embedding(self.TYPES, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=self.EPSILON)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        length = tokens.shape[-1]
        if length > self.shape.positions:
            raise ValueError(
                f"a text has at most {self.shape.positions} tokens, got {length}; "
                "truncate with `token_ids(texts, length=...)`"
            )
        if mask.shape != tokens.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"`mask` must be bool of shape {tuple(tokens.shape)}, got {mask.dtype} of shape "
                f"{tuple(mask.shape)}; `pad` makes tokens and mask together"
            )
        state = self.words(tokens) + self.positions.weight[:length] + self.types.weight[0]
        state = self.norm(state)
        for layer in self.layers:
            state = layer(state, mask)
        return state


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        self.attention_norm = nn.LayerNorm(shape.width, eps=Encoder.EPSILON)
        self.widen = nn.Linear(shape.width, shape.hidden)
        self.narrow = nn.Linear(shape.hidden, shape.width)
        self.feed_norm = nn.LayerNorm(shape.width, eps=Encoder.EPSILON)

    def forward(self, state: Tensor, mask: Tensor) -> Tensor:
        state = self.attention_norm(state + self.attention(state, mask))
        return self.feed_norm(state + self.narrow(gelu(self.widen(state))))


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.output = nn.Linear(shape.width, shape.width)

    def forward(self, state: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            linear(state).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for linear in (self.query, self.key, self.value)
        )
        found = scaled_dot_product_attention(q, k, v, attn_mask=mask[..., None, None, :])
        return self.output(found.transpose(-2, -3).flatten(-2))


class Classifier(nn.Module):
    """Class scores (n, classes) from the mean state of each text, by one linear layer.

    Parameters
    ----------
    encoder : Encoder
        Trained together with the linear layer.
    classes : int
        Number of classes.
    dropout : float, default 0
        Share of the mean state's entries set to zero while training.
    """

    def __init__(self, encoder: Encoder, classes: int, /, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.shape.width, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.dropout(mean_over_tokens(self.encoder(tokens, mask), mask)))


def mean_over_tokens(states: Tensor, mask: Tensor, /) -> Tensor:
    """Mean of states (n, length, width) over the tokens where mask (n, length) is true."""
    weights = mask.to(states.dtype)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights[..., None, :] @ states).squeeze(-2)
