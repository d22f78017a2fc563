"""A mean over seeds with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t as student

__all__ = ["Estimate"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with the half width of its 95 % interval, None for a single seed."""

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Student's t interval."""
        if len(values) < 2:
            return cls(mean(values), None)
        quantile = student.ppf((1 + LEVEL) / 2, len(values) - 1)
        return cls(mean(values), float(quantile * stdev(values) / len(values) ** 0.5))

    @classmethod
    def paired(cls, values: Sequence[float], others: Sequence[float]) -> Estimate:
        """Of differences, seed by seed."""
        return cls.of([a - b for a, b in zip(values, others, strict=True)])

    @property
    def is_loss(self) -> bool:
        """Whether the whole interval is below zero; never of a single seed."""
        return self.half_width is not None and self.mean + self.half_width < 0

    def text(self, digits: int, sign: str = "") -> str:
        """With so many digits behind the point."""
        shown = f"{self.mean:{sign}.{digits}f}"
        return shown if self.half_width is None else f"{shown} ± {self.half_width:.{digits}f}"

    def percent(self, sign: str = "") -> str:
        """In per cent."""
        width = None if self.half_width is None else 100 * self.half_width
        return Estimate(100 * self.mean, width).text(1, sign)
