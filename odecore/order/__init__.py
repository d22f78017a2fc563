"""Rooted trees and the order conditions of Runge-Kutta methods, in exact arithmetic."""

from odecore.order._conditions import (
    order_condition_residuals,
    order_of_accuracy,
    principal_error,
)
from odecore.order._enumeration import rooted_trees
from odecore.order._rooted_tree import RootedTree
from odecore.order._weights import elementary_weights

__all__ = [
    "RootedTree",
    "elementary_weights",
    "order_condition_residuals",
    "order_of_accuracy",
    "principal_error",
    "rooted_trees",
]
