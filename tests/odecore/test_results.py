"""Results that hold arrays: compared by identity, since == of arrays is no bool, and readable."""

import copy

import numpy as np
import pytest

from odecore.adjoint import (
    certify,
    collocated,
    event_cotangent,
    node_by_node,
    record_panels,
    record_steps,
)
from odecore.directions import equiangular_weights, min_norm_weights, pareto_stationarity
from odecore.families import RK2
from odecore.interpolation import Interpolant, PiecewiseHermite
from odecore.solve import solve_ivp, solve_per_sample
from odecore.stability import atlas
from odecore.tableaux import hermite_extension

Y = np.array([1.0, 2.0])


def field(t, y):
    return -y


def linearize(t, y):
    return -y, lambda a, parameters: (-a, (a.sum(axis=0),))


def trajectory():
    return solve_ivp(field, (0, 1), Y, dense=True, events=lambda t, y: y[0] - 0.5)


def panels():
    return record_panels(field, (0, 1), Y)[1]


def gradients():
    return collocated(node_by_node(linearize), panels(), [0 * Y, Y])


RESULTS = {
    "Trajectory": trajectory,
    "EventRecord": lambda: trajectory().events[0],
    "Samples": lambda: solve_per_sample(field, (0, 1), np.ones((3, 2))).samples,
    "Panel": lambda: panels()[0],
    "Gradients": gradients,
    "Certificate": lambda: certify(gradients(), node_by_node(linearize), panels(), [0 * Y, Y]),
    "EventCotangent": lambda: event_cotangent(Y, (1.0, Y, (Y,)), Y),
    "StepRecord": lambda: record_steps(field, (0, 1), Y, method="classic", steps=4)[1],
    "EquiangularWeights": lambda: equiangular_weights(np.eye(2)),
    "DirectionWeights": lambda: min_norm_weights(np.eye(2)),
    "ParetoCertificate": lambda: pareto_stationarity(np.eye(2)),
    "Interpolant": lambda: Interpolant(Y),
    "Atlas": lambda: atlas(RK2, (0.5, 1), points=3, quantities="largest coefficient"),
    "ContinuousExtension": lambda: hermite_extension(4),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_with_arrays_are_equal_to_themselves_alone(name):
    found = RESULTS[name]()
    assert type(found).__name__ == name
    for other in (copy.deepcopy(found), copy.copy(found), None, 1.0):
        assert found != other
    assert found in [copy.deepcopy(found), found]
    assert {found: 1}[found] == 1


def test_what_holds_the_solution_says_where():
    dense = trajectory().dense
    assert repr(dense) == f"DenseOutput(interval=(0.0, 1.0), steps={len(dense._steps)})"
    assert repr(dense) in repr(trajectory())
    spline = PiecewiseHermite([0, 1, 2], np.ones((3, 2)), np.ones((3, 2)))
    assert repr(spline) == "PiecewiseHermite(interval=(0.0, 2.0), shape=(3, 2), derivatives=1)"
    steps = []
    solve_ivp(field, (0, 1), Y, method="kvaerno43", dense=steps.append, steps=2)
    assert repr(steps[0]) == "DenseStep(t=0.0, t_new=0.5, degree=None)"


@pytest.mark.parametrize("t_span", [(0, 1), (1, 0)])
@pytest.mark.parametrize("method", ["dopri5", "kvaerno43"])
def test_steps_are_not_extrapolated(t_span, method):
    steps = []
    solve_ivp(field, t_span, Y, method=method, dense=steps.append, steps=2)
    first = steps[0]
    assert np.isfinite(first((first.t + first.t_new) / 2)).all()
    for t in (t_span[1], 2 * first.t - first.t_new, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"must lie in the step from .* not extrapolated"):
            first(t)
