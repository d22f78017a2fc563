"""Numerical analysis for neural ODEs: exact where it can be, for every array library."""

from odecore import (
    adjoint,
    directions,
    errors,
    families,
    interpolation,
    order,
    sketching,
    solve,
    stability,
    tableaux,
)

__all__ = [
    "adjoint",
    "directions",
    "errors",
    "families",
    "interpolation",
    "order",
    "sketching",
    "solve",
    "stability",
    "tableaux",
]
