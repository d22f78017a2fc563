"""Tests for your own steppers and estimators: order asserted, trees named, tableaux deduced."""

from odecore.testing._deduce import deduce_tableau
from odecore.testing._measure import OrderReport, measure_order
from odecore.testing._order import assert_order
from odecore.testing._problems import PROBLEMS, InitialValueProblem
from odecore.testing._strategies import family_members, initial_value_problems, tableaux
from odecore.testing._trees import tree_problem, tree_residuals

__all__ = [
    "PROBLEMS",
    "InitialValueProblem",
    "OrderReport",
    "assert_order",
    "deduce_tableau",
    "family_members",
    "initial_value_problems",
    "measure_order",
    "tableaux",
    "tree_problem",
    "tree_residuals",
]
