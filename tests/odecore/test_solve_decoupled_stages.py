"""Fully implicit stages of large states: one matrix for each conjugate pair of eigenvalues of A."""

import numpy as np
import pytest

from odecore._array import limits, on_host
from odecore.solve import Newton, solve_ivp
from odecore.solve._stage_inverse import Decoupled, Dense, eigenvectors
from odecore.tableaux import tableau


@pytest.mark.parametrize("name", ["gauss2", "lobatto_iiia3", "radau_iia5"])
def test_it_is_the_inverse_of_all_unknowns(name, xp, dtype, array):
    rng, A = np.random.default_rng(0), np.array(tableau(name).A, dtype=float)
    s, n, C = len(A), 6, 0.3 * A
    J, r = rng.standard_normal((n, n)), rng.standard_normal((s, n))
    whole = np.linalg.inv(np.eye(s * n) - np.kron(C, J))
    found = Decoupled(eigenvectors(C), array(J))
    tolerance = 100 * float(limits(array(r)).eps)
    for kind in (found, Dense(array(whole))):
        for value, matrix in ((kind(array(r)), whole), (kind.bound(array(abs(r))), abs(whole))):
            assert value.dtype == array(r).dtype
            entries = r if matrix is whole else abs(r)
            wanted = (matrix @ entries.ravel()).reshape(s, n)
            error = np.abs(on_host(value) - wanted)
            assert error.max() < tolerance * np.abs(wanted).max() * np.linalg.cond(whole)


def test_stages_without_eigenvectors_are_refused():
    assert eigenvectors(np.array([[1.0, 1.0], [0.0, 1.0]])) is None


def reaction(n):
    """Heat with a cubic source on n points, and its derivative."""
    x = np.arange(1, n + 1) / (n + 1)
    L = (n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n)) / 50
    return lambda t, y: L @ y + y - y**3, lambda t, y: L + np.diag(1 - 3 * y**2), np.sin(np.pi * x)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", ["gauss2", "radau_iia3", "lobatto_iiic3"])
def test_a_large_stiff_state(name, given):
    n = 210
    field, jacobian, y0 = reaction(n)
    calls = []

    def counted(t, y):
        calls.append(t)
        return jacobian(t, y)

    newton = Newton(jacobian=counted) if given else Newton()
    found = solve_ivp(field, (0, 0.5), y0, method=name, steps=4, newton=newton)
    wanted = solve_ivp(field, (0, 0.5), y0, method=name, steps=4, newton=Newton(linear_solver="direct"))  # fmt: skip
    fine = solve_ivp(field, (0, 0.5), y0, method="kvaerno54", rtol=1e-9, atol=1e-11, newton=Newton(jacobian=jacobian))  # fmt: skip
    np.testing.assert_allclose(found.y, wanted.y, atol=1e-9)
    np.testing.assert_allclose(found.y[-1], fine.y[-1], atol=1e-5)
    assert len(calls) <= 4 * 5 * given
    assert found.statistics.evaluations < 40 * n * (1 - given) + 300


def test_a_jacobian_that_changes_within_the_step():
    """A source that sets in: the derivative at the start is none of that of the stages."""
    n = 200
    field, jacobian, y0 = reaction(n)
    strong = lambda t, y: field(t, y) - 50 * t * y**3  # noqa: E731
    exact = lambda t, y: jacobian(t, y) - np.diag(150 * t * y**2)  # noqa: E731
    ways = [Newton(jacobian=exact), Newton(jacobian=exact, linear_solver="krylov")]
    one, other = (
        solve_ivp(strong, (0, 2), y0, method="radau_iia3", steps=2, newton=newton).y[-1]
        for newton in ways
    )
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_complex_states_and_single_precision():
    n = 210
    x = np.arange(1, n + 1) / (n + 1)
    L = (n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n)) / 100
    y0 = np.sin(np.pi * x) + 1j * np.sin(2 * np.pi * x)
    found = solve_ivp(lambda t, y: 1j * (L @ y) - 0.2 * y, (0, 1), y0, method="gauss3", steps=10)
    rate = [1j * -4 * (n + 1) ** 2 * np.sin(k * np.pi / 2 / (n + 1)) ** 2 / 100 - 0.2 for k in (1, 2)]  # fmt: skip
    wanted = np.exp(rate[0]) * y0.real + 1j * np.exp(rate[1]) * y0.imag
    np.testing.assert_allclose(found.y[-1], wanted, atol=1e-5)
    field, _, y0 = reaction(n)
    start = y0.astype(np.float32)
    single = solve_ivp(lambda t, y: field(t, y).astype(np.float32), (0, 0.5), start, method="radau_iia3", steps=4)  # fmt: skip
    double = solve_ivp(field, (0, 0.5), y0, method="radau_iia3", steps=4)
    assert single.y.dtype == np.float32
    np.testing.assert_allclose(single.y[-1], double.y[-1], atol=1e-4)
