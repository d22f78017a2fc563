"""Small residual networks with ODE blocks, and their choice of normalization for each place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge._block_arguments import times_of_block
from torch_bridge._blocks import NeuralODE
from torch_bridge._normalization import NORMALIZATIONS, normalization, normalized
from torch_bridge._numbers import require_whole
from torch_bridge._time_batch_norm import TimeBatchNorm
from torch_bridge._unknown_options import keywords_of, refuse_unknown, require_choice
from torch_bridge._weight_normalization import WEIGHT_NORMALIZATIONS, weight_normalization

__all__ = ["ODENet4", "ODENet10", "ResidualField"]

CONVOLUTIONS = (None, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ACTIVATIONS = ("post", "pre")
Choice = str | tuple[str, str]


class ResidualField(nn.Module):
    """Right-hand side of an ODE block, or the branch of a residual one: two convolutions.

    "post": convolution, normalization, ReLU, convolution, normalization. "pre": normalization,
    ReLU, convolution, normalization, ReLU, convolution.

    Parameters
    ----------
    channels : int
    choice : str or (str, str), optional
        A normalization of outputs (see `normalization`), or of weights ("weight", "spectral"), or
        a pair of both.
    dimensions : {0, 1, 2, 3}, optional
        Axes after the channels; with 0 the convolutions are linear layers.
    activation : {"post", "pre"}, optional
    outputs : int, optional
        Channels of the value, by default as many; for residual branches.
    stride : int, optional
        Of the first convolution; for residual branches.
    groups : int, optional
        For "group".
    **options
        Of `TimeBatchNorm`, for "time batch".

    Raises
    ------
    ValueError
        For unknown names and options, sizes that are no whole numbers from 1, and groups that do
        not divide the channels.

    Notes
    -----
    Those of arXiv 2004.09222, section 3. In its published code the block overwrites the result of
    its first convolution, whose weights are never trained; `check_rhs` finds that.
    """

    def __init__(
        self,
        channels: int,
        choice: Choice = "group",
        *,
        dimensions: int = 2,
        activation: str = "post",
        outputs: int | None = None,
        stride: int = 1,
        groups: int = 4,
        **options: Any,
    ) -> None:
        super().__init__()
        require_choice("activation", activation, ACTIVATIONS)
        refuse_unknown(options, keywords_of(ResidualField, TimeBatchNorm), "a ResidualField")
        norm, weights = _pair(choice)
        outputs = channels if outputs is None else outputs
        require_whole(channels=channels, outputs=outputs, stride=stride)
        more = {"dimensions": dimensions, "groups": groups, **options}
        self.activation = activation
        self.conv1 = _convolution(channels, outputs, weights, dimensions, stride)
        self.norm1 = normalization(norm, channels if activation == "pre" else outputs, **more)
        self.conv2 = _convolution(outputs, outputs, weights, dimensions)
        self.norm2 = normalization(norm, outputs, **more)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the time `t` and the states `y` (batch, channels, ...)."""
        if self.activation == "pre":
            y = self.conv1(torch.relu(normalized(self.norm1, t, y)))
            return self.conv2(torch.relu(normalized(self.norm2, t, y)))
        y = torch.relu(normalized(self.norm1, t, self.conv1(y)))
        return normalized(self.norm2, t, self.conv2(y))


class _Residual(nn.Module):
    """A residual block: y + branch(y), through a convolution of size 1 where the shapes differ."""

    def __init__(self, channels: int, outputs: int, stride: int, **options: Any) -> None:
        super().__init__()
        self.branch = ResidualField(channels, outputs=outputs, stride=stride, **options)
        same = channels == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else _convolution(channels, outputs, "none", options["dimensions"], stride, size=1)
        )

    def forward(self, y: Tensor) -> Tensor:
        """Evaluate at `y`; a post-activated block ends with a ReLU."""
        found = self.shortcut(y) + self.branch(y.new_zeros(()), y)
        return torch.relu(found) if self.branch.activation == "post" else found


class _Network(nn.Module, ABC):
    """Stem, blocks, mean over the axes after the channels, linear head."""

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        width: int = 64,
        dimensions: int = 2,
        first: Choice = "group",
        ode: Choice = "group",
        activation: str = "post",
        groups: int = 4,
        intervals: int = 8,
        span: tuple[float, float] | None = None,
        solver: Any = "euler",
        steps: int | None = 8,
        **block: Any,
    ) -> None:
        super().__init__()
        known = keywords_of(type(self), _Network, NeuralODE)
        refuse_unknown(block, known, f"an {type(self).__name__}")
        require_whole(inputs=inputs, classes=classes, width=width)
        norm, weights = _pair(first)
        if norm == "time batch":
            raise ValueError("'time batch' is for ODE blocks; outside of them there is no time")
        convolution = _convolution(inputs, width, weights, dimensions)
        norm = normalization(norm, width, groups=groups, dimensions=dimensions)
        self.stem = nn.Sequential(convolution, norm, nn.ReLU())
        self._shared = {"dimensions": dimensions, "activation": activation, "groups": groups}
        self._ode: dict[str, Any] = {"choice": ode, **self._shared}
        if _pair(ode)[0] == "time batch":
            times = times_of_block(block.get("t", (0.0, 1.0)))
            span = (min(times), max(times)) if span is None else span
            self._ode["intervals"] = intervals
        if span is not None:  # which blocks without time-aware statistics refuse
            self._ode["span"] = span
        self._block = {"solver": solver, "steps": steps, **block}
        self.blocks, width = self._blocks(width)
        self.head = nn.Linear(width, classes)

    @abstractmethod
    def _blocks(self, width: int) -> tuple[nn.Sequential, int]:
        """The blocks after the stem, and their width."""

    def _flow(self, width: int) -> NeuralODE:
        return NeuralODE(ResidualField(width, **self._ode), **self._block)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of inputs `x` (batch, inputs, ...)."""
        y = self.blocks(self.stem(x))
        return self.head(y.flatten(2).mean(2) if y.ndim > 2 else y)


class ODENet4(_Network):
    """Convolution, normalization, ReLU, ODE block, mean, linear layer: four layers.

    Parameters
    ----------
    inputs, classes : int
        Channels of the input, and number of logits.
    width : int, optional
        Channels of the ODE block.
    dimensions : {0, 1, 2, 3}, optional
        Axes after the channels; with 0 all layers are linear.
    first, ode : str or (str, str), optional
        Normalization of the first convolution and of the ODE block, as for `ResidualField`.
    activation : {"post", "pre"}, optional
        Order in the blocks.
    groups : int, optional
        For "group".
    intervals, span : optional
        Of `TimeBatchNorm`, for "time batch"; the span is by default that of the block's times, and
        must be wider for stages outside of their steps, as a `SmoothedSolver` may draw them. A span
        is refused with other normalizations.
    solver, steps, **block
        As for `NeuralODE`; by default eight steps of Euler.

    Raises
    ------
    ValueError
        As `ResidualField` and `NeuralODE`, and for options that neither it nor `NeuralODE` has.

    Notes
    -----
    The networks of arXiv 2004.09222. Solver and steps of a trained network are attributes of its
    `NeuralODE` blocks, which a test with another solver sets.

    Examples
    --------
    >>> import torch
    >>> ODENet4(1, 10, width=8, ode="spectral")(torch.randn(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def _blocks(self, width: int) -> tuple[nn.Sequential, int]:
        return nn.Sequential(self._flow(width)), width


class ODENet10(_Network):
    """Convolution, residual and ODE block, these again at twice the width, mean, linear layer.

    Parameters
    ----------
    inputs, classes : int
        Channels of the input, and number of logits.
    residual : str or (str, str), optional
        Normalization of the residual blocks, the second of which doubles the width, with stride 2.
    **options
        All others of `ODENet4`, with its defaults: `width`, `dimensions`, `first`, `ode`,
        `activation`, `groups`, `intervals`, `span`, `solver`, `steps`, and those of `NeuralODE`.

    Raises
    ------
    ValueError
        As `ODENet4`.

    Examples
    --------
    >>> import torch
    >>> network = ODENet10(3, 10, width=8, residual="batch", ode=("layer", "weight"))
    >>> network(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, inputs: int, classes: int, *, residual: Choice = "group", **options: Any
    ) -> None:
        if _pair(residual)[0] == "time batch":
            raise ValueError("'time batch' is for ODE blocks; outside of them there is no time")
        self._residual = residual
        super().__init__(inputs, classes, **options)

    def _blocks(self, width: int) -> tuple[nn.Sequential, int]:
        more = {"choice": self._residual, **self._shared}
        blocks = nn.Sequential(
            _Residual(width, width, 1, **more),
            self._flow(width),
            _Residual(width, 2 * width, 2, **more),
            self._flow(2 * width),
        )
        return blocks, 2 * width


def _pair(choice: Choice) -> tuple[str, str]:
    """Normalization of outputs and of weights."""
    pair: Any = choice
    if isinstance(choice, str):
        pair = ("none", choice) if choice in WEIGHT_NORMALIZATIONS else (choice, "none")
    known = NORMALIZATIONS, WEIGHT_NORMALIZATIONS
    several = isinstance(pair, tuple | list) and len(pair) == 2
    if not several or any(x not in names for x, names in zip(pair, known, strict=True)):
        raise ValueError(
            f"a normalization is one of outputs ({', '.join(NORMALIZATIONS)}), one of weights "
            f"({', '.join(WEIGHT_NORMALIZATIONS)}), or a pair of both; got {choice!r}"
        )
    return pair[0], pair[1]


def _convolution(
    channels: int, outputs: int, weights: str, dimensions: int, stride: int = 1, size: int = 3
) -> nn.Module:
    if not isinstance(dimensions, Integral) or dimensions not in range(len(CONVOLUTIONS)):
        raise ValueError(f"`dimensions` must be 0, 1, 2 or 3, got {dimensions!r}")
    kind: Any = CONVOLUTIONS[dimensions]
    if kind is None:
        return weight_normalization(nn.Linear(channels, outputs), weights)
    layer = kind(channels, outputs, size, stride=stride, padding=size // 2)
    return weight_normalization(layer, weights)
