"""Paths of several directions in the plane of two losses, with the Pareto front, as a picture.

`python -m verification.experiments.direction_paths --out direction_paths.svg`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odecore.directions import gramian, pareto_stationarity
from verification._options import file_to_write
from verification.experiments.direction_training import Direction, directions

__all__ = ["PROBLEMS", "Plane", "drawing", "main", "path"]

STEP, MOST = 0.004, 3000
STATIONARY = 0.02  # the worst cosine at which a path ends
STYLES = {
    "sum of losses": ("#4477aa", "--"),
    "min-norm (MGDA)": ("#aa3377", "-."),
    "PCGrad": ("#ccbb44", ":"),
    "CAGrad, c = 0.5": ("#66ccee", (0, (6, 1, 1, 1, 1, 1))),
    "equiangular": ("#ee6677", "-"),
}


@dataclass(frozen=True)
class Plane:
    """Two losses of a point in the plane.

    Parameters
    ----------
    title : str
    losses : callable
        From points (..., 2) to losses (..., 2).
    front : (k, 2) Tensor
        Points that are Pareto optimal.
    starts : tuple of pairs
    factor : float
        Of the first loss.
    """

    title: str
    losses: Callable[[Tensor], Tensor]
    front: Tensor
    starts: tuple[tuple[float, float], ...]
    factor: float = 1.0

    def scaled(self, x: Tensor) -> Tensor:
        """Losses, the first times its factor."""
        return self.losses(x) * torch.tensor([self.factor, 1.0], dtype=x.dtype)


def _bells(x: Tensor) -> Tensor:
    """Fonseca and Fleming, Evolutionary Computation 3 (1995), 1: minima at +-(1, 1)/sqrt(2)."""
    r = 0.5**0.5
    return torch.stack([1 - torch.exp(-(x - s).square().sum(-1)) for s in (r, -r)], dim=-1)


CURVATURES = torch.tensor([[1.0, 4.0], [3.0, 1.0]], dtype=torch.float64)
MINIMA = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)


def _bowls(x: Tensor) -> Tensor:
    return (CURVATURES * (x[..., None, :] - MINIMA).square()).sum(-1) / 2


def _problems() -> tuple[Plane, ...]:
    s = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
    weights = torch.stack([1 - s, s], dim=1) * CURVATURES  # (201, 2, 2)
    bowls = Plane(
        "two quadratics",
        _bowls,
        (weights * MINIMA).sum(1) / weights.sum(1),
        ((1.5, 2.2), (-1.6, -0.8), (0.9, -1.5)),
    )
    diagonal = (2 * s - 1) * 0.5**0.5 * torch.ones(2, dtype=torch.float64)
    bells = Plane("Fonseca and Fleming", _bells, diagonal, ((-0.6, 1.0), (1.3, -0.2), (0.3, -1.1)))
    return bells, bowls, replace(bowls, title="the first loss times 100", factor=100.0)


PROBLEMS = _problems()


def path(plane: Plane, direction: Direction, start: tuple[float, float]) -> NDArray[np.float64]:
    """Unscaled losses (k, 2) along small steps of equal length, to where they come to rest.

    They end where the next step turns back, or at Pareto stationarity.
    """
    x = torch.tensor(start, dtype=torch.float64)
    points, last = [x], torch.zeros(2, dtype=torch.float64)
    for _ in range(MOST):
        J = torch.func.jacrev(plane.scaled)(x)
        d = direction(J)
        if pareto_stationarity(gramian(J), tolerance=STATIONARY).stationary or d @ last < 0:
            break
        last = d / d.norm()
        x = x - STEP * last
        points.append(x)
    found: NDArray[np.float64] = plane.losses(torch.stack(points)).numpy()
    return found


def drawing(problems: tuple[Plane, ...], ways: dict[str, Direction], out: Path) -> None:
    """A panel for each problem."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "paths"
    figure, axes = plt.subplots(1, len(problems), figsize=(4.2 * len(problems), 4.4), squeeze=False)
    for axis, plane in zip(axes[0], problems, strict=True):
        front = plane.losses(plane.front).numpy()
        axis.plot(*front.T, color="0.8", linewidth=6, solid_capstyle="round", label="Pareto front")
        for name, way in ways.items():
            color, style = STYLES[name]
            for k, start in enumerate(plane.starts):
                values = path(plane, way, start)
                label = name if k == 0 else None
                axis.plot(*values.T, color=color, linestyle=style, linewidth=1.8, label=label)
                axis.plot(*values[-1], "o", color=color, markersize=4)
                axis.plot(*values[0], "ks", markersize=4)
        axis.set(title=plane.title, xlabel="first loss", ylabel="second loss")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Draw all problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=file_to_write, default="direction_paths.svg")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    ways = {name: way for name, way in directions().items() if name in STYLES}
    drawing(PROBLEMS, ways, options.out)


if __name__ == "__main__":
    main()
