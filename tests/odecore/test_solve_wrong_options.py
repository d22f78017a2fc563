"""Options and values of a wrong kind, told by name."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.solve import Adams, Newton, Status, StepControl, solve_ivp, solve_per_sample


def fun(t, y):
    return -y


def solve(t_span=(0, 1), **options):
    return solve_ivp(fun, t_span, np.ones(2), **options)


ADAMS = {"steps": 10}
WRONG = {
    "newton": (lambda: solve(newton=3, method="kvaerno43"), TypeError),
    "kernels": (lambda: solve(kernels=3), TypeError),
    "dense": (lambda: solve(dense=1), TypeError),
    "dense, text": (lambda: solve(dense="yes"), TypeError),
    "norm": (lambda: solve(norm="max"), TypeError),
    "observe": (lambda: solve(observe=3), TypeError),
    "observe, given": (lambda: solve(observe=3, steps=3), TypeError),
    "interpolation": (lambda: solve(interpolation=["full"]), ValueError),
    "jacobian": (lambda: Newton(jacobian=np.eye(2)), TypeError),
    "differentiate": (lambda: Newton(differentiate=3), TypeError),
    "max_iterations": (lambda: Newton(max_iterations=2.5), TypeError),
    "tolerance": (lambda: Newton(tolerance="a"), TypeError),
    "safety": (lambda: StepControl(safety="a"), TypeError),
    "grow": (lambda: StepControl(grow=None), TypeError),
    "gains": (lambda: StepControl(gains=1.0), ValueError),
    "gains, text": (lambda: StepControl(gains="abc"), ValueError),
    "max_order": (lambda: Adams(max_order=2.5), TypeError),
    "max_iterations, Adams": (lambda: Adams(max_iterations=1.5), TypeError),
    "rtol": (lambda: solve(method=Adams(rtol=-1), **ADAMS), ValueError),
    "rtol, text": (lambda: solve(method=Adams(rtol="a"), **ADAMS), TypeError),
    "rtol, shape": (lambda: solve(method=Adams(rtol=np.ones(3)), **ADAMS), ValueError),
    "atol": (lambda: solve(method=Adams(atol=float("nan")), **ADAMS), ValueError),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_message_names_the_option(name):
    call, kind = WRONG[name]
    with pytest.raises(kind, match=f"^`{name.split(',')[0]}` "):
        call()


TIMES = ["01", b"01", {0: 1, 1: 2}, {0, 1}, ("0", "1"), np.array(["0", "1"]), 3, (0, "x")]


@pytest.mark.parametrize("times", TIMES)
def test_what_holds_no_times_in_order_is_refused(times):
    for options in ({"t_span": times}, {"t_eval": times}, {"grid": times}):
        label = next(iter(options))
        with pytest.raises(TypeError, match=f"`{label}` must be a sequence of times"):
            solve(**options)
    with pytest.raises(TypeError, match="`t_span` must be a sequence of times"):
        solve_per_sample(fun, times, np.ones((2, 1)))
    if not isinstance(times, set):  # whose order does not matter here
        with pytest.raises(TypeError, match="`jump_at` must be a sequence of times"):
            solve(jump_at=times)


def test_times_from_integers_sets_and_generators():
    with pytest.raises(ValueError, match="`t_span` must hold finite times"):
        solve((0, 10**400))
    with pytest.raises(ValueError, match="`t_eval` must hold finite times"):
        solve(t_eval=[0, 10**400])
    assert 0.3 in solve(step_at={0.3, 0.7}).t
    assert solve((t for t in (0, 1)), t_eval=(t for t in (0, 1))).t.tolist() == [0, 1]


def test_bools_of_numpy_are_bools():
    assert solve(dense=np.True_)(0.5).shape == (2,)
    assert solve(dense=np.False_).dense is None


@pytest.mark.parametrize(
    ("tolerance", "path"),
    [
        ({"a": np.ones(3) * 1e-3, "b": 1e-3}, r"\['a'\]"),
        ({"a": 1e-3, "b": [1e-3, np.ones(2) * 1e-3]}, r"\['b'\]\[1\]"),
        ([1e-3, 1e-3, np.ones((1, 1, 1)) * 1e-3], r"\['b'\]\[1\]"),
    ],
)
def test_tolerances_of_structures_have_shapes_that_fit(tolerance, path):
    y0 = {"a": np.ones(2), "b": [np.ones(2), np.ones((2, 3))]}

    def decay(t, y):
        return {"a": -y["a"], "b": [-part for part in y["b"]]}

    for label in ("rtol", "atol"):
        with pytest.raises(ValueError, match=rf"`{label}{path}` of shape .* does not broadcast"):
            solve_ivp(decay, (0, 1), y0, **{label: tolerance})
    good = {"a": np.ones(1) * 1e-3, "b": [1e-3, np.ones((2, 1)) * 1e-3]}
    assert solve_ivp(decay, (0, 1), y0, rtol=good).success


@pytest.mark.parametrize("y0", [np.ones(2), {"a": np.ones(2)}])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (float("nan"), ValueError),
        (-1.0, ValueError),
        (None, TypeError),
        ("1", TypeError),
        (1j, TypeError),
        (np.ones(2), TypeError),
    ],
)
def test_norms_return_one_number_that_is_not_negative(y0, value, kind):
    rhs = fun if hasattr(y0, "shape") else (lambda t, y: {"a": -y["a"]})
    with pytest.raises(kind, match="`norm` must return"):
        solve_ivp(rhs, (0, 1), y0, norm=lambda e: value)
    assert solve_ivp(rhs, (0, 1), y0, norm=lambda e: np.array(0.5)).success


def test_a_norm_of_what_is_not_finite_is_no_error_of_the_norm():
    def late(t, y):
        return y * (np.nan if t > 0.5 else 1.0)

    found = solve_ivp(late, (0, 1), np.ones(2), norm=lambda e: np.abs(e).max(), throw=False)
    assert found.status is Status.NONFINITE_RHS
    assert 0.4 < found.t[-1] <= 0.5


@pytest.mark.parametrize("y0", [None, [None, 1.0], "1", ["1", "2"]])
def test_what_is_no_state_does_not_become_one(y0):
    with pytest.raises(TypeError, match="`y0` must be a floating-point array"):
        solve_ivp(fun, (0, 1), y0)
    assert solve_ivp(fun, (0, 1), [Fraction(1, 2), 1]).y[0].tolist() == [0.5, 1]


def test_dense_output_that_is_not_there_says_why():
    with pytest.raises(ValueError, match=r"kept with dense=True$"):
        solve()(0.5)
    failed = solve_ivp(lambda t, y: y * np.nan, (0, 1), [1.0], dense=True, throw=False)
    with pytest.raises(ValueError, match=r"without a step \(NONFINITE_RHS\) there is none"):
        failed(0.5)


def test_sizes_of_steps_that_ask_for_a_gradient_are_refused():
    torch = pytest.importorskip("torch")
    size = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    for options in ({"method": "euler", "step_size": size}, {"max_step": size}):
        with pytest.raises((TypeError, ValueError), match=f"`{[*options][-1]}` must be"):
            solve_ivp(lambda t, y: -y, (0.0, 1.0), torch.ones(2, dtype=torch.float64), **options)
