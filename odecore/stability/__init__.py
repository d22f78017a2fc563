"""Linear and nonlinear stability of Runge-Kutta methods, decided exactly where that is possible."""

from odecore.stability._atlas import Atlas, atlas
from odecore.stability._contractivity import (
    contractivity_radius,
    internal_amplification,
    linear_ssp_coefficient,
    ssp_coefficient,
)
from odecore.stability._decisions import LinearStability, linear_stability
from odecore.stability._function import StabilityFunction, stability_function
from odecore.stability._intervals import StabilityInterval, imaginary_interval, real_interval
from odecore.stability._optimum import Optimum, optimize
from odecore.stability._parametric import ParametricStability, parametric_stability
from odecore.stability._phase import dispersion_order, dissipation_order
from odecore.stability._region import plot_region

__all__ = [
    "Atlas",
    "LinearStability",
    "Optimum",
    "ParametricStability",
    "StabilityFunction",
    "StabilityInterval",
    "atlas",
    "contractivity_radius",
    "dispersion_order",
    "dissipation_order",
    "imaginary_interval",
    "internal_amplification",
    "linear_ssp_coefficient",
    "linear_stability",
    "optimize",
    "parametric_stability",
    "plot_region",
    "real_interval",
    "ssp_coefficient",
    "stability_function",
]
