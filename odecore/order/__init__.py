"""Rooted trees and the order conditions of Runge-Kutta methods, in exact arithmetic."""

from odecore.order._conditions import (
    failing_trees,
    order_condition_residuals,
    order_of_accuracy,
    rounding_bounds,
)
from odecore.order._dense_output import dense_output_order, dense_output_residuals
from odecore.order._enumeration import rooted_trees
from odecore.order._principal_error import (
    EmbeddedMetrics,
    embedded_metrics,
    error_coefficients,
    principal_error,
)
from odecore.order._rooted_tree import RootedTree
from odecore.order._simplifying import (
    SimplifyingAssumptions,
    simplifying_assumptions,
    stage_order,
)
from odecore.order._structure import is_symmetric, is_symplectic, symplectic_residuals
from odecore.order._typo import Typo, locate_typo
from odecore.order._weights import elementary_weights

__all__ = [
    "EmbeddedMetrics",
    "RootedTree",
    "SimplifyingAssumptions",
    "Typo",
    "dense_output_order",
    "dense_output_residuals",
    "elementary_weights",
    "embedded_metrics",
    "error_coefficients",
    "failing_trees",
    "is_symmetric",
    "is_symplectic",
    "locate_typo",
    "order_condition_residuals",
    "order_of_accuracy",
    "principal_error",
    "rooted_trees",
    "rounding_bounds",
    "simplifying_assumptions",
    "stage_order",
    "symplectic_residuals",
]
