"""Given steps with nothing else to do at each are those made one by one, to the last bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odecore.solve import solve_ivp

METHODS = ("euler", "midpoint", "classic", "ralston", "dopri5", "bosh3")
TIMES = st.lists(st.integers(-400, 400), min_size=2, max_size=90, unique=True)


def rotation(t, y):
    return y[::-1] * (1 + t)


def both(fun, span, y0, **options):
    """The solve, and the same with something to do at each step."""
    found = solve_ivp(fun, span, y0, **options)
    return found, solve_ivp(fun, span, y0, observe=lambda *_: None, **options)


def agree(found, single):
    assert list(found.t) == list(single.t)
    assert np.array_equal(np.asarray(found.y), np.asarray(single.y))
    assert found.statistics == single.statistics
    assert found.status is single.status


@given(st.sampled_from(METHODS), TIMES, st.data(), st.booleans())
def test_steps_on_a_grid_with_outputs_at_and_between_its_times(name, times, data, backward):
    grid = sorted((t / 100 for t in times), reverse=backward)
    between = [a + (b - a) * 0.3 for a, b in pairwise(grid)]
    chosen = data.draw(st.lists(st.sampled_from(grid[1:] + between), unique=True))
    outputs = sorted({grid[0], *chosen}, reverse=backward)
    options = {"method": name, "grid": grid}
    if data.draw(st.booleans()) and len(outputs) > 1:
        options["t_eval"] = outputs
    agree(*both(rotation, (grid[0], grid[-1]), np.array([1.0, -0.5]), **options))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("steps", [1, 64, 65, 200, [3, 70]])
def test_steps_between_outputs(name, steps):
    options = {"method": name, "steps": steps, "t_eval": [0.0, 0.5, 2.0]}
    agree(*both(rotation, (0.0, 2.0), np.array([1.0 + 0.5j, -0.5]), **options))


def test_every_array_library_and_precision(xp, dtype):
    y0 = xp.asarray([1.0, -0.5], dtype=getattr(xp, dtype))
    found, single = both(
        lambda t, y: xp.flip(y) * (1 + t), (1.0, 0.0), y0, method="classic", steps=70
    )
    agree(found, single)
    assert found.y.dtype == y0.dtype


def test_a_state_that_leaves_the_numbers_ends_as_it_does_step_by_step():
    options = {"method": "euler", "steps": 100, "throw": False}
    with np.errstate(all="ignore"):
        found, single = both(lambda t, y: y**3, (0.0, 30.0), np.array([2.0]), **options)
    agree(found, single)
    assert not found.success


def test_progress_is_told_of_each_step():
    told = []
    options = {"method": "classic", "steps": 70, "progress": told.append}
    solve_ivp(rotation, (0.0, 1.0), np.ones(2), **options)
    assert told == pytest.approx([k / 70 for k in range(1, 71)])


def test_times_may_be_turned_at_once_into_what_the_right_hand_side_takes():
    seen, lots = [], []

    def fun(t, y):
        seen.append(t)
        return -y * float(t)

    def as_times(times):
        lots.append(len(times))
        return [np.array(t) for t in times]

    fun.as_times = as_times
    found = solve_ivp(fun, (0.0, 1.0), np.ones(2), method="classic", steps=70)
    single = solve_ivp(
        lambda t, y: -y * float(t), (0.0, 1.0), np.ones(2), method="classic", steps=70
    )
    agree(found, single)
    assert lots == [64 * 4, 6 * 4]
    assert all(isinstance(t, np.ndarray) for t in seen[1:])
