"""The rows of the demo's table: what each changes against the plain one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

from torch import Tensor, nn

from odecore.families import RK4
from odecore.tableaux import tableau
from torch_bridge import (
    DenseField,
    NeuralODE,
    SketchedLinear,
    SmoothedSolver,
    TrainableSolver,
)

__all__ = ["PAIR_ROWS", "ROWS", "Classifier", "Row"]

WIDTH = HIDDEN = 64
STEPS = 4
THIRDS = {"u": Fraction(1, 3), "v": Fraction(2, 3)}


@dataclass(frozen=True)
class Row:
    """One way to train the same model.

    Parameters
    ----------
    name, about : str
        For the table and for the page.
    solver : callable
        Makes the solver of the block.
    linear : callable
        Makes a linear layer.
    normalization : str
    block : dict
        Further arguments of NeuralODE.
    budget : float, optional
        Share of the bytes kept by a step that planned sketches leave.
    tasks : int
        Number of labels for each image.
    equiangular : bool
        Whether the tasks' losses are combined by equiangular descent rather than summed.
    """

    name: str
    about: str
    solver: Callable[[], Any] = lambda: tableau("classic")
    linear: Callable[[int, int], nn.Module] = nn.Linear
    normalization: str = "none"
    block: dict[str, Any] = field(default_factory=dict)
    budget: float | None = None
    tasks: int = 1
    equiangular: bool = False


def _smoothed() -> SmoothedSolver:
    return SmoothedSolver(RK4, THIRDS, width=0.05, radius=Fraction(1, 20))


def _trained() -> TrainableSolver:
    return TrainableSolver(RK4, THIRDS, Fraction(1, 20))


PLAIN = Row("plain", "classic RK4, backpropagation through the steps, nn.Linear, no normalization")

ROWS = (
    PLAIN,
    replace(
        PLAIN,
        name="solver smoothing",
        about="each batch draws its RK4(u, v) from a truncated normal around (1/3, 2/3)",
        solver=_smoothed,
    ),
    replace(
        PLAIN,
        name="trained solver",
        about="u and v of RK4(u, v) are trained with the weights",
        solver=_trained,
    ),
    replace(
        PLAIN,
        name="restored adjoint",
        about="gradients along the interpolant through 13 Chebyshev nodes",
        block={"adjoint": "restored", "nodes": 13},
    ),
    replace(
        PLAIN,
        name="sketched layers",
        about="every linear layer keeps a fifth of its rows for the weight gradient",
        linear=partial(SketchedLinear, ratio=0.2),
    ),
    replace(
        PLAIN,
        name="planned sketches",
        about="layers and sizes chosen by one step, to keep 85 % of its bytes at the least noise",
        budget=0.85,
    ),
    replace(PLAIN, name="layer norm", about="GroupNorm, one group", normalization="layer"),
    replace(PLAIN, name="group norm", about="GroupNorm, four groups", normalization="group"),
    replace(
        PLAIN,
        name="batch norm",
        about="BatchNorm, for comparison",
        normalization="batch",
        block={"check": "off"},  # which would warn of it, rightly
    ),
)

PAIR_ROWS = (
    replace(
        PLAIN,
        name="pairs, sum of losses",
        about="overlaid pairs, the losses of left and right digit added",
        tasks=2,
    ),
    replace(
        PLAIN,
        name="pairs, equiangular",
        about="overlaid pairs, the two losses by equiangular descent",
        tasks=2,
        equiangular=True,
    ),
)


class Classifier(nn.Module):
    """Linear stem, neural ODE, one linear head for each task."""

    def __init__(self, row: Row, pixels: int) -> None:
        super().__init__()
        self.stem = row.linear(pixels, WIDTH)
        self.field = DenseField(WIDTH, HIDDEN, row.normalization, linear=row.linear)
        self.block = NeuralODE(self.field, solver=row.solver(), steps=STEPS, **row.block)
        self.heads = nn.ModuleList(row.linear(WIDTH, 10) for _ in range(row.tasks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits (batch, 10) for each task."""
        y = self.block(self.stem(x).tanh())
        return [head(y) for head in self.heads]
