"""What a slope is measured from: states in any unit, and runs that show something."""

import numpy as np
import pytest

from odecore.testing import InitialValueProblem, assert_order, measure_order


def kutta(f, t, y, h):
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def hyperbola(size, f):
    return InitialValueProblem("hyperbola", f, lambda t: np.full(2, size / (1 + t)), (0.0, 1.0))


@pytest.mark.parametrize("size", [1e200, 1e-200, 1.0])
def test_states_are_measured_in_any_unit(size):
    problem = hyperbola(size, lambda t, y: -(y / size) * y)
    assert measure_order(kutta, problem).order == pytest.approx(4, abs=0.05)
    assert_order(kutta, 4, problems=problem, runge_kutta=False)
    with pytest.raises(AssertionError, match=r"hyperbola shows 4\.0"):
        assert_order(kutta, 5, problems=problem, runge_kutta=False)


def test_what_shows_no_order_does_not_pass():
    line = InitialValueProblem("line", lambda t, y: 1 + 0 * y, lambda t: np.array([t]), (0.0, 1.0))
    with pytest.raises(ValueError, match=r"between 10 % error and rounding.*problems=\(\)"):
        assert_order(kutta, 4, problems=line)
    assert assert_order(kutta, 4, problems=()) == ()
    overflows = hyperbola(1e200, lambda t, y: -y * y / 1e200)
    with pytest.raises(ValueError, match=r"no run ends in finite numbers.*another unit"):
        assert_order(kutta, 4, problems=overflows)
