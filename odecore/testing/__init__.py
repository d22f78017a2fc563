"""Tests for your own steppers and estimators: order asserted, trees named, tableaux deduced."""

from odecore.testing._claim import EstimatorReport
from odecore.testing._deduce import deduce_tableau
from odecore.testing._estimator import assert_unbiased, assert_variance
from odecore.testing._measure import OrderReport, measure_order
from odecore.testing._order import assert_order
from odecore.testing._outcomes import every_outcome
from odecore.testing._problems import PROBLEMS, InitialValueProblem
from odecore.testing._sketch import assert_sketch
from odecore.testing._strategies import family_members, initial_value_problems, tableaux
from odecore.testing._trees import tree_problem, tree_residuals

__all__ = [
    "PROBLEMS",
    "EstimatorReport",
    "InitialValueProblem",
    "OrderReport",
    "assert_order",
    "assert_sketch",
    "assert_unbiased",
    "assert_variance",
    "deduce_tableau",
    "every_outcome",
    "family_members",
    "initial_value_problems",
    "measure_order",
    "tableaux",
    "tree_problem",
    "tree_residuals",
]
