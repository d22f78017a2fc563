"""What a slope is measured from: states in any unit, and runs that show something."""

import numpy as np
import pytest

from odecore.testing import InitialValueProblem, assert_order, measure_order, tree_problem


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


def test_states_may_be_complex():
    def exact(t):
        return np.array([np.exp(1j * t * t), 1j * np.exp(-t)])

    problem = InitialValueProblem(
        "spiral",
        lambda t, y: np.array([2j * t * y[0] * y[0] / exact(t)[0], -y[1]]),
        exact,
        (0.2, 1.3),
    )
    assert_order(kutta, 4, problems=problem)
    assert measure_order(kutta, problem).order == pytest.approx(4, abs=0.1)
    single = measure_order(
        lambda f, t, y, h: kutta(f, t, y.astype("complex64"), h).astype("complex64"), problem
    )
    assert single.errors[single.used[1] - 1] > 1e-6
    with pytest.raises(AssertionError, match=r"spiral shows 4"):
        assert_order(kutta, 5, problems=problem)


def test_a_complex_step_of_a_real_state_is_told_so():
    with pytest.raises(ValueError, match=r"\(2,\), in real numbers; got complex128 \(ndarray\)"):
        measure_order(lambda f, t, y, h: kutta(f, t, y, h) + 0j)


def test_options_are_those_of_measuring():
    assert len(assert_order(kutta, 4, coarsest=4, levels=5)[0].steps) == 5
    with pytest.raises(TypeError, match=r"assert_order\(\).* 'level'"):
        assert_order(kutta, 4, level=3)


@pytest.mark.parametrize("exactly", [True, False])
def test_trees_of_a_higher_order_are_asked_only_where_it_must_fail(exactly):
    sizes = set()

    def step(f, t, y, h):
        sizes.add(len(y))
        return kutta(f, t, y, h)

    assert_order(step, 4, exactly=exactly, levels=8)
    trees, _ = tree_problem(5 if exactly else 4)
    assert max(sizes) == len(trees)
