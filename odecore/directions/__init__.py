"""Directions that serve several objectives at once, from their Gramian alone."""

from odecore.directions._equiangular import equiangular_weights
from odecore.directions._gramian import gramian
from odecore.directions._min_norm import min_norm_weights
from odecore.directions._pareto import ParetoCertificate, pareto_stationarity
from odecore.directions._weights import DirectionWeights, EquiangularWeights

__all__ = [
    "DirectionWeights",
    "EquiangularWeights",
    "ParetoCertificate",
    "equiangular_weights",
    "gramian",
    "min_norm_weights",
    "pareto_stationarity",
]
