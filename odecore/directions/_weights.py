"""Weights of the gradients in a direction, with the certificate that comes along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["DirectionWeights", "EquiangularWeights", "directed", "kept_objectives"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DirectionWeights:
    """Weights of the gradients in the direction d = sum_i w_i g_i, with a certificate.

    Parameters
    ----------
    weights : (m,) ndarray of float64
        w >= 0; all zero where the objectives are Pareto stationary.
    cosines : (m,) ndarray of float64
        Cosine between d and each g_i; zero where d or g_i is zero.
    duality_gap : float
        By how much the conditions of optimality are missed, in products of unit vectors: zero up
        to rounding. For equiangular weights, the duality gap of the squared worst cosine.
    stationary : bool
        Whether no direction descends on all objectives, to the precision of the Gramian.
    norms : (m,) ndarray of float64
        Norms of the gradients.
    multipliers : (m,) ndarray of float64
        Convex weights, also where d is zero: there they combine the gradients to zero.
    length : float
        Norm of d.
    """

    weights: Vector
    cosines: Vector
    duality_gap: float
    stationary: bool
    norms: Vector
    multipliers: Vector
    length: float

    @property
    def worst_cosine(self) -> float:
        """The smallest cosine; of equiangular weights no other direction exceeds it.

        Over the gradients that are not zero; 0 where all are.
        """
        cosines = self.cosines[self.norms != 0]
        return float(cosines.min()) if len(cosines) else 0.0

    @property
    def active(self) -> NDArray[np.bool_]:
        """Objectives with a positive multiplier, which hold the others back."""
        return self.multipliers > 0

    @property
    def rates(self) -> Vector:
        """Inner products of d with each g_i: decrease of objective i per step size, at first order.

        They are the product of the Gramian and the weights, so no pass over the parameters is due.
        """
        return self.cosines * self.norms * self.length

    @classmethod
    def at_zero(cls, norms: Vector) -> Self:
        """Stationary because gradients are zero: each of those whose `norms` (m,) are."""
        m = len(norms)
        zero = (norms == 0).astype(np.float64)
        return cls(np.zeros(m), np.zeros(m), 0.0, True, norms, zero / zero.sum(), 0.0)


class EquiangularWeights(DirectionWeights):
    """Weights of the equiangular direction: the cosines of active objectives are equal.

    Those of the other objectives are larger.
    """


def kept_objectives(norms: Vector, on_zero: str) -> NDArray[np.bool_]:
    """Which objectives a direction is made of; none where a zero gradient stops it."""
    if on_zero not in ("stop", "drop"):
        raise ValueError(f'`on_zero` must be "stop" or "drop", got {on_zero!r}')
    kept = norms > 0
    if on_zero == "stop" and not kept.all():
        return np.zeros_like(kept)
    return kept


def directed(
    norms: Vector, C: Vector, precision: float, b: Vector, v: Vector, scaling: str
) -> tuple[Any, ...]:
    """Fields of the result for the direction gamma sum_i b_i u_i, where b minimises on v^T b = 1.

    With `scaling` as of `equiangular_weights`; u_i are the unit gradients, C their cosines; b and v
    are zero where an objective was dropped.
    """
    products = C @ b
    squared = float(b @ products)
    kept = v > 0
    gap = float((v * squared - products)[kept].max() / b.sum())
    # Against the smallest norm first, so that 1/norm can not overflow.
    least = float(norms[kept].min())
    ratios = b * np.divide(least, norms, out=np.zeros_like(norms), where=kept)
    total = float(ratios.sum())
    multipliers = ratios / total
    # The products have an error of `precision`, the combination has weights of sum b.sum().
    if squared <= precision * float(b.sum()) ** 2:
        zero = np.zeros(len(norms))
        return zero, zero, gap, True, norms, multipliers, 0.0
    angles = products / squared**0.5
    angles[norms == 0] = 0.0
    size = {"harmonic": least / total, "min": least, "unit": 1.0}[scaling]
    weights = multipliers * (size * total / least)
    return weights, angles, gap, False, norms, multipliers, size * squared**0.5
