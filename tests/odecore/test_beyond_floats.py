"""Numbers of which no float is made: ints above all of them, classes, dates."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.adjoint import budget, record_panels
from odecore.directions import equiangular_weights, gramian
from odecore.families import RK4
from odecore.interpolation import Interpolant, PiecewiseHermite, lagrange_rows
from odecore.sketching import ImportanceRows, PoissonRows, moments
from odecore.solve import StepControl, solve_ivp
from odecore.tableaux import coefficients_at, tableau_at

HUGE = 10**400
Y = np.ones(2)


def solve(y0=Y, **options):
    return solve_ivp(lambda t, y: -y, (0, 1), y0, **options)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("y0", solve),
        ("rtol", lambda x: solve(rtol=x)),
        ("atol", lambda x: solve(atol=x)),
        ("first_step", lambda x: solve(first_step=x)),
        ("min_step", lambda x: solve(min_step=x)),
        ("step_size", lambda x: solve(method="classic", step_size=x)),
        (
            "step_size",
            lambda x: record_panels(lambda t, y: -y, (0, 1), Y, method="classic", step_size=x),
        ),
        ("gains", lambda x: StepControl(gains=(x, 0, 0))),
        ("u", lambda x: coefficients_at(RK4, u=x, v=0.5)),
        ("values", Interpolant),
        ("x", lambda x: lagrange_rows(x, [0, 1], [1, -1])),
        ("x", PiecewiseHermite([0, 1], Y)),
        ("jacobian", gramian),
        ("size", PoissonRows),
        ("scores", lambda x: ImportanceRows(2, x)),
        ("X", lambda x: moments(x, np.ones((2, 2)))),
    ],
)
def test_ints_above_all_floats_are_refused_by_name(name, call):
    with pytest.raises((ValueError, TypeError), match=f"`{name}`"):
        call(HUGE)


def test_what_may_be_infinite_may_be_an_int_above_all_floats():
    assert solve(max_step=HUGE).statistics == solve().statistics
    assert budget(HUGE) is None
    with pytest.warns(match="is inf"):
        tableau_at(RK4, u=HUGE, v=Fraction(1, 2))


@pytest.mark.parametrize("wrong", [int, np.datetime64("2020-01-01"), [np.timedelta64(1, "D")]])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("rtol", lambda x: solve(rtol=x)),
        ("x", lambda x: lagrange_rows(x, [0, 1], [1, -1])),
        ("jacobian", gramian),
    ],
)
def test_classes_and_dates_are_no_numbers(name, call, wrong):
    with pytest.raises(TypeError, match=f"`{name}` must be a real number"):
        call(wrong)


def test_masked_numbers_are_none():
    # The mask was dropped without a word.
    masked = np.ma.masked_array([1e-3, 1e-6], [False, True])
    for name, call in (
        ("rtol", lambda x: solve(rtol=x)),
        ("x", lambda x: lagrange_rows(x, [0, 1], [1, -1])),
        ("jacobian", lambda x: gramian(x[None])),
        ("scores", lambda x: ImportanceRows(2, x)),
    ):
        with pytest.raises(TypeError, match=f"`{name}` must be a real number"):
            call(masked)


def test_tensors_without_values_are_told():
    torch = pytest.importorskip("torch")
    nothing = torch.ones(2, 2, device="meta")
    for name, call in (
        ("jacobian", gramian),
        ("gramian", equiangular_weights),
        ("scores", lambda x: ImportanceRows(2, x[0])),
    ):
        with pytest.raises(
            ValueError, match=f"`{name}` must have values, got a tensor on the meta"
        ):
            call(nothing)
