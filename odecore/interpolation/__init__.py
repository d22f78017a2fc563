"""Polynomial interpolation at Chebyshev nodes, its coefficients and its quadrature."""

from odecore.interpolation._barycentric import Interpolant, barycentric_weights, lagrange_rows
from odecore.interpolation._conditioning import chebyshev_coefficients, coefficient_tail
from odecore.interpolation._nodes import chebyshev_points
from odecore.interpolation._quadrature import clenshaw_curtis_weights

__all__ = [
    "Interpolant",
    "barycentric_weights",
    "chebyshev_coefficients",
    "chebyshev_points",
    "clenshaw_curtis_weights",
    "coefficient_tail",
    "lagrange_rows",
]
