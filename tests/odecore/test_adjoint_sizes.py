"""Memory and work of adjoints grow with their panels, not with panels times parameters or steps."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore._times import read_times
from odecore.adjoint import (
    _step_ends,
    backsolve,
    collocated,
    record_panels,
    record_steps,
    restored,
)
from odecore.adjoint._nodes import times_inside
from odecore.adjoint._step_ends import ends_between

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


@pytest.mark.parametrize("way", ["restored", "backsolve", "discrete"])
def test_a_grid_is_not_gone_through_for_each_interval(way, monkeypatch):
    """The times that are read and checked are about as many as the steps."""
    seen = []

    def read(times, label):
        times = read_times(times, label)
        seen.append(len(times))
        return times

    monkeypatch.setattr(_step_ends, "read_times", read)
    outputs, each = 41, 20
    grid = list(np.linspace(0, 1, (outputs - 1) * each + 1))
    times, y0 = grid[::each], np.ones(2)
    cotangents = [np.ones(2)] * outputs

    def small(t, y):
        return -y, lambda a, parameters: (-a, ())

    if way == "discrete":
        record_steps(decay, times, y0, method="classic", grid=grid)
    else:
        _, panels = record_panels(decay, times, y0, method="classic", grid=grid)
        if way == "restored":
            restored(small, panels, cotangents, method="classic", grid=grid)
        else:
            states = [np.exp(-t) * y0 for t in times]
            backsolve(small, times, states, cotangents, method="classic", grid=grid)
    assert sum(seen) < 4 * len(grid)


@given(
    st.lists(st.integers(-40, 40), min_size=2, max_size=30, unique=True),
    st.lists(st.integers(-50, 50), max_size=40),
    st.booleans(),
    st.sampled_from([0.0, 1e-16, -1e-16, 3e-15]),
)
def test_ends_of_steps_between_two_times_are_those_of_a_search_through_all(ends, grid, back, off):
    first, last = (min(ends) / 7, max(ends) / 7)
    first, last = (last, first) if back else (first, last)
    times = [t / 7 * (1 + off) for t in grid]
    low, high = sorted((first, last))
    gap = 16 * 2.0**-52 * max(abs(low), abs(high))
    inside = sorted({t for t in times if low + gap < t < high - gap}, reverse=back)
    assert ends_between(times)(first, last) == [first, *inside, last]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30, unique=True), st.booleans(), st.data())
def test_outputs_inside_of_a_panel_are_those_of_a_search_through_all(numbers, back, data):
    times = sorted((n / 7 for n in numbers), reverse=back)
    start, end = sorted(data.draw(st.tuples(st.integers(0, 50), st.integers(0, 50))), reverse=back)
    if start == end:
        return
    start, end = start / 7, end / 7
    low, high = sorted((start, end))
    wanted = tuple((t - start) / (end - start) for t in times if low < t < high)
    assert times_inside(times, start, end) == wanted
