"""The stability function."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest

from odecore._array import as_float
from odecore.exact import QuadraticNumber
from odecore.families import RK4
from odecore.solve import explicit_step
from odecore.stability import stability_function
from odecore.tableaux import ButcherTableau, catalogue, tableau, tableau_at

F = Fraction


def test_s_equals_p_gives_the_truncated_exponential():
    for method in (
        *map(tableau, ("euler", "midpoint", "heun", "classic")),
        tableau_at(RK4, u=F(2, 5), v=F(3, 7)),
    ):
        found = stability_function(method)
        assert found.numerator == tuple(F(1, factorial(k)) for k in range(method.stages + 1))
        assert found.denominator == (1,)


def test_implicit_methods_are_rational():
    midpoint = ButcherTableau(((F(1, 2),),), (1,))
    trapezoid = ButcherTableau(((0, 0), (F(1, 2), F(1, 2))), (F(1, 2), F(1, 2)))
    for method in (midpoint, trapezoid):
        found = stability_function(method)
        assert (found.numerator, found.denominator) == ((1, F(1, 2)), (1, F(-1, 2)))
    radau = ButcherTableau(((F(5, 12), F(-1, 12)), (F(3, 4), F(1, 4))), (F(3, 4), F(1, 4)))
    found = stability_function(radau)  # the (1, 2) Pade approximation of exp
    assert (found.numerator, found.denominator) == ((1, F(1, 3)), (1, F(-2, 3), F(1, 6)))


def test_dormand_prince_has_the_published_polynomial():
    assert stability_function(tableau("dopri5")).numerator[6] == F(1, 600)  # HNW II, IV.2


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [n for n, m in catalogue().items() if not m.is_explicit])
def test_implicit_methods_against_a_linear_solve(name, rng):
    method = tableau(name)
    A, b = np.array([[float(a) for a in r] for r in method.A]), np.array(list(map(float, method.b)))
    for z in rng.standard_normal(5) + 1j * rng.standard_normal(5):
        one = np.ones(len(b))
        expected = 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * A, one)
        np.testing.assert_allclose(stability_function(method)(z), expected, rtol=1e-10)


@pytest.mark.parametrize("name", [n for n, m in catalogue().items() if m.is_explicit])
def test_a_step_on_the_test_equation_multiplies_by_r(name, rng):
    z = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    step = explicit_step(
        lambda t, y: z * y, 0.0, np.ones(5, dtype=complex), 1.0, tableau(name).coefficients
    )
    method = tableau(name)
    largest = max(1.0, *(abs(float(a)) for row in method.A for a in row))
    tolerance = 1e-13 * largest**2 + 100 * float(method.uncertainty)
    np.testing.assert_allclose(step.y, stability_function(method)(z), rtol=tolerance)


@pytest.mark.parametrize("name", ["dopri5", "radau_iia3"])
def test_r_is_taken_at_exact_numbers_and_at_no_others(name):
    R = stability_function(tableau(name))
    for exact in (Fraction(-1, 3), QuadraticNumber(1, -1, 2), 10**400):
        assert R(exact) == R(as_float(exact))
    assert np.array_equal(R([Fraction(1, 2), -1]), R([0.5, -1.0]))
    for wrong in (None, "1", [[1], [1, 2]], object()):
        with pytest.raises(TypeError, match="`z` must be a real or complex number"):
            R(wrong)


def test_a_name_is_no_tableau():
    with pytest.raises(TypeError, match="must be a ButcherTableau or a Family, got str"):
        stability_function("classic")
