"""Randomized matrix products with exact means and variances."""

from odecore.sketching._independent import GaussianSketch
from odecore.sketching._matmul import sketched_product
from odecore.sketching._noise import minibatch_variance
from odecore.sketching._sampling import UniformRows
from odecore.sketching._sketch import Sketch
from odecore.sketching._variance import Moments, moments, variance

__all__ = [
    "GaussianSketch",
    "Moments",
    "Sketch",
    "UniformRows",
    "minibatch_variance",
    "moments",
    "sketched_product",
    "variance",
]
