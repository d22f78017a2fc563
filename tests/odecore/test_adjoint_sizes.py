"""Memory and work of adjoints do not grow with the product of panels and parameters or steps."""

import tracemalloc

import numpy as np
import pytest

from odecore.adjoint import collocated, record_panels, restored

PARAMETERS = 100_000


def decay(t, y):
    return -y


def linearize(t, y):
    """Of y' = -(1 + sum of many parameters that are zero) y, at a point or at nodes."""

    def pull(a, parameters):
        return -a, (np.full(PARAMETERS, -np.sum(a * y)),) if parameters else ()

    return -y, pull


def peak(adjoint, count, nodes):
    """The most bytes that are allocated at a time in going back over `count` panels."""
    times = list(np.linspace(0, 1, count + 1))
    _, panels = record_panels(decay, times, np.ones(2), nodes=nodes)
    cotangents = [np.ones(2)] * len(times)
    tracemalloc.start()
    try:
        adjoint(panels, cotangents)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "adjoint",
    [
        lambda *a: restored(linearize, *a, linearize_nodes=linearize),
        lambda *a: collocated(linearize, *a),
    ],
    ids=["restored", "collocated"],
)
def test_gradients_of_parameters_are_not_kept_for_each_panel(adjoint):
    size = 8 * PARAMETERS
    assert peak(adjoint, 16, 5) < peak(adjoint, 2, 5) + 2 * size


def test_gradients_of_parameters_are_not_kept_for_each_group_of_nodes():
    def adjoint(batch):
        return lambda *a: restored(linearize, *a, linearize_nodes=linearize, batch=batch)

    size = 8 * PARAMETERS
    assert peak(adjoint(1), 1, 33) < peak(adjoint(33), 1, 33) + 4 * size


def test_the_sum_is_that_of_the_panels():
    times = list(np.linspace(0, 1, 9))
    _, panels = record_panels(decay, times, np.array([1.0, 2.0]), rtol=1e-10, atol=1e-12)
    cotangents = [np.ones(2) * k for k in range(len(times))]
    found = restored(linearize, panels, cotangents, rtol=1e-10, atol=1e-12)
    # dL/dtheta of sum_k k (1 + 2) exp(-(1 + theta) t_k)
    wanted = -sum(3 * k * t * np.exp(-t) for k, t in enumerate(times))
    np.testing.assert_allclose(found.parameters[0], wanted, rtol=1e-8)
