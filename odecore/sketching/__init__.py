"""Randomized matrix products with exact means and variances."""

from odecore.sketching._alignment import Alignment, alignment
from odecore.sketching._bucketing import BalancedCountSketch, CountSketch, SparseSignSketch
from odecore.sketching._centring import Centred
from odecore.sketching._importance import ImportanceRows, PoissonRows, WinnerTakeAllRows
from odecore.sketching._independent import GaussianSketch, RademacherSketch
from odecore.sketching._matmul import sketched_product
from odecore.sketching._moments import Moments, moments
from odecore.sketching._noise import minibatch_variance
from odecore.sketching._ranks import optimal_ranks
from odecore.sketching._reweighting import Masked, Weighted
from odecore.sketching._sampling import UniformRows
from odecore.sketching._scores import leverage_scores, row_products, squared_rows
from odecore.sketching._self_report import unsketched_moments
from odecore.sketching._sketch import Draw, MomentSketch, Sketch
from odecore.sketching._trigonometric import CosineSketch, HadamardSketch
from odecore.sketching._variance import variance

__all__ = [
    "Alignment",
    "BalancedCountSketch",
    "Centred",
    "CosineSketch",
    "CountSketch",
    "Draw",
    "GaussianSketch",
    "HadamardSketch",
    "ImportanceRows",
    "Masked",
    "MomentSketch",
    "Moments",
    "PoissonRows",
    "RademacherSketch",
    "Sketch",
    "SparseSignSketch",
    "UniformRows",
    "Weighted",
    "WinnerTakeAllRows",
    "alignment",
    "leverage_scores",
    "minibatch_variance",
    "moments",
    "optimal_ranks",
    "row_products",
    "sketched_product",
    "squared_rows",
    "unsketched_moments",
    "variance",
]
