"""Regimes: which member of a family solves which batch."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Rational

import torch
from torch import Tensor, nn

from odecore.families import Family
from odecore.tableaux import Coefficients, coefficients_at
from torch_bridge._family import exact_box

__all__ = ["SmoothedSolver"]


class SmoothedSolver(nn.Module):
    """Solver smoothing: in training each call draws a member of the family around a centre.

    Parameters
    ----------
    family : Family
    center : mapping from str to int or Fraction
        The member that evaluation uses.
    width : float
        Standard deviation of the normal draws, one for each parameter.
    radius : int or Fraction
        Draws outside centre +- radius are drawn again, so that they follow the truncated normal
        distribution; the box is proved to be free of singular parameters.
    generator : torch.Generator, optional
        On the CPU; by default torch's own, which `torch.manual_seed` sets.

    Raises
    ------
    TypeError, ValueError, odecore.errors.SingularParameterError
        As `TrainableSolver`; ValueError also unless 0 <= width <= 10 radius, beyond which the
        truncated normal is all but uniform and most draws would be thrown away.

    Notes
    -----
    arXiv 2103.08561, which draws untruncated and so meets tableaux with huge coefficients near the
    singular set. Numbers are drawn on the host: no device is waited for.
    """

    def __init__(
        self,
        family: Family,
        center: Mapping[str, Rational],
        *,
        width: float,
        radius: Rational,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.center, self.radius = exact_box(family, center, radius)
        if not 0 <= width <= 10 * radius:
            raise ValueError(
                f"`width` must be between 0 and 10 radius = {10 * radius}, got {width}"
            )
        self.width = float(width)
        self.generator = generator

    def forward(self, like: Tensor) -> Coefficients:
        """Coefficients for one solve: drawn in training, those of the centre in evaluation."""
        values = {name: float(value) for name, value in self.center.items()}
        if self.training:
            values = {name: value + self._deviation() for name, value in values.items()}
        return coefficients_at(self.family, **values)

    def _deviation(self) -> float:
        while True:
            deviation = self.width * float(torch.randn((), generator=self.generator, device="cpu"))
            if abs(deviation) <= self.radius:
                return deviation

    def extra_repr(self) -> str:
        """Show the family and the distribution."""
        box = ", ".join(f"{name}={value}" for name, value in self.center.items())
        return f"{self.family.name}, {box}, width={self.width}, radius={self.radius}"
