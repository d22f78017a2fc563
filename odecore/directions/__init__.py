"""Directions that serve several objectives at once, from their Gramian alone."""

from odecore.directions._equiangular import EquiangularWeights, equiangular_weights
from odecore.directions._gramian import gramian

__all__ = ["EquiangularWeights", "equiangular_weights", "gramian"]
