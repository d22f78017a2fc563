"""Polynomial interpolation at Chebyshev nodes, its coefficients and its quadrature."""

from odecore.interpolation._barycentric import Interpolant, barycentric_weights, lagrange_rows
from odecore.interpolation._calculus import differentiation_matrix, integration_matrix
from odecore.interpolation._conditioning import (
    chebyshev_coefficients,
    coefficient_tail,
    decay_ratio,
)
from odecore.interpolation._hermite import PiecewiseHermite
from odecore.interpolation._lebesgue import lebesgue_constant
from odecore.interpolation._nodes import chebyshev_points
from odecore.interpolation._quadrature import clenshaw_curtis_weights

__all__ = [
    "Interpolant",
    "PiecewiseHermite",
    "barycentric_weights",
    "chebyshev_coefficients",
    "chebyshev_points",
    "clenshaw_curtis_weights",
    "coefficient_tail",
    "decay_ratio",
    "differentiation_matrix",
    "integration_matrix",
    "lagrange_rows",
    "lebesgue_constant",
]
