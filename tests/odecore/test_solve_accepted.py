"""`Accepted`: an observer of accepted steps, which gets the stages of implicit ones."""

import numpy as np
import pytest

from odecore.solve import Accepted, solve_ivp
from odecore.tableaux import tableau

STATE = {"a": np.ones(3), "b": (np.zeros(()),)}


def field(t, y):
    return {"a": -(y["a"] ** 3), "b": (y["b"][0] + t,)}


@pytest.mark.parametrize("method", ["kvaerno43", "radau_iia3", "dopri5", "classic"])
def test_accepted_steps_with_their_stages(method):
    steps, seen = [], []
    given = {} if tableau(method).b_hat else {"steps": 7}
    observe = Accepted(lambda *step: steps.append(step), lambda *attempt: seen.append(attempt))
    found = solve_ivp(field, (0, 2), STATE, method=method, observe=observe, **given)
    assert len(steps) == found.statistics.accepted
    assert [what for what, *_ in seen].count("accept") == len(steps)
    ends = [y for _, y, _, _ in steps[1:]]
    implicit = not tableau(method).is_explicit
    b = [float(x) for x in tableau(method).b]
    for (_, y, h, stages), after in zip(steps, ends, strict=False):
        assert len(stages) == (len(b) if implicit else 0)
        if implicit:
            moved = y["a"] + h * sum(w * k["a"] for w, k in zip(b, stages, strict=True))
            np.testing.assert_allclose(moved, after["a"], rtol=1e-13)


@pytest.mark.parametrize("name", ["take", "observe"])
def test_what_can_not_be_called_is_refused(name):
    with pytest.raises(TypeError, match=f"`{name}` must be callable"):
        Accepted(**{"take": None, name: 3})
