"""Fully implicit stages of large states: one matrix for each conjugate pair of eigenvalues of A."""

import numpy as np
import pytest

from odecore._array import limits, on_host
from odecore.solve import Newton, _stage_inverse, solve_ivp
from odecore.solve._stage_inverse import Decoupled, Dense, eigenvectors, inverse_of
from odecore.tableaux import tableau


@pytest.mark.long_on_jax
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


@pytest.mark.long_on_jax
@pytest.mark.parametrize("spread", [0.0, 0.3, 30.0])  # from one Jacobian to such as do not converge
@pytest.mark.parametrize("name", ["gauss2", "lobatto_iiia3", "radau_iia5"])
def test_it_is_the_inverse_with_jacobians_of_their_own(name, spread, xp, dtype, array, monkeypatch):
    monkeypatch.setattr(_stage_inverse, "FEW", 0)
    rng, C = np.random.default_rng(0), 0.3 * np.array(tableau(name).A, dtype=float)
    s, n = len(C), 6
    stiff = -np.diag(10.0 ** np.arange(n))
    J = [
        stiff + rng.standard_normal((n, n)) + spread * rng.standard_normal((n, n)) for _ in range(s)
    ]
    whole = np.eye(s * n) - np.block([[C[i, j] * J[i] for j in range(s)] for i in range(s)])
    r = rng.standard_normal((s, n))
    found = inverse_of(array(C), [array(x) for x in J], eigenvectors(C))
    assert isinstance(found, Dense) == (spread > 1)
    wanted = np.linalg.solve(whole, r.ravel()).reshape(s, n)
    tolerance = 100 * float(limits(array(r)).eps) * np.linalg.cond(whole)
    assert np.abs(on_host(found(array(r))) - wanted).max() < tolerance * np.abs(wanted).max()


def test_gradients_of_large_states_form_no_matrix_of_all_stages(monkeypatch):
    torch = pytest.importorskip("torch")
    n = 340
    _, _, start = reaction(n)
    x = np.arange(1, n + 1) / (n + 1)
    L = torch.tensor((n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n)) / 50)
    rate = torch.tensor(np.cos(x), requires_grad=True)

    def gradients():
        y0 = torch.tensor(start, requires_grad=True)

        def field(t, y):
            return L @ y + rate * y - y**3

        def jacobian(t, y):
            return L + torch.diag(rate - 3 * y**2)

        newton = Newton(jacobian=jacobian)
        y = solve_ivp(field, (0, 0.5), y0, method="radau_iia3", steps=2, newton=newton).y[-1]
        return torch.autograd.grad(y.square().sum(), [y0, rate])

    with monkeypatch.context() as patched:
        patched.setattr(_stage_inverse, "FEW", 10**9)
        wanted = gradients()
    monkeypatch.setattr(Dense, "of", None)
    for found, exact in zip(gradients(), wanted, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-8, atol=1e-10)


def test_stages_without_eigenvectors_are_refused():
    assert eigenvectors(np.array([[1.0, 1.0], [0.0, 1.0]])) is None


def reaction(n):
    """Heat with a cubic source on n points, and its derivative."""
    x = np.arange(1, n + 1) / (n + 1)
    L = (n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n)) / 50
    return lambda t, y: L @ y + y - y**3, lambda t, y: L + np.diag(1 - 3 * y**2), np.sin(np.pi * x)


@pytest.mark.sampled(2)
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
