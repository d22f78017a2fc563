"""Implicit methods: stages by Newton's method, stiff problems, gradients, failures."""

import math
import pickle

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipy_solve_ivp

from odecore import errors
from odecore.solve import Newton, Status, solve_ivp
from odecore.solve._newton import finite_difference_jacobian, iterate
from odecore.tableaux import catalogue, tableau
from tests.helpers.problems import PAIR


def robertson(t, y):
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return np.array([b - a, a - b - c, c])


def robertson_jacobian(t, y):
    return np.array(
        [
            [-0.04, 1e4 * y[2], 1e4 * y[1]],
            [0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]],
            [0, 6e7 * y[1], 0],
        ]
    )


IMPLICIT = [n for n in catalogue() if not tableau(n).is_explicit]
PAIRS = [n for n in IMPLICIT if tableau(n).b_hat is not None]


@pytest.mark.parametrize("name", IMPLICIT)
def test_the_stability_function_is_followed(name):
    # On y' = -1000 y a step multiplies by R(z); explicit methods would need 500 steps.
    from odecore.stability import stability_function

    R = stability_function(tableau(name))
    z = -1000 / 7
    found = solve_ivp(lambda t, y: -1000 * y, (0, 1), [1.0], method=name, steps=7)
    assert found.y[-1, 0] == pytest.approx(float(R(z)) ** 7, rel=1e-6, abs=1e-12)
    assert found.statistics.newton > 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("jacobian", [None, robertson_jacobian], ids=["differences", "exact"])
def test_robertson(name, jacobian):
    wanted = scipy_solve_ivp(robertson, (0, 40), [1.0, 0, 0], "Radau", rtol=1e-10, atol=1e-13).y[:, -1]  # fmt: skip
    # At the loose tolerance a Jacobian of differences from the wrong base was once taken.
    for tolerance in (1e-3, 1e-4 if tableau(name).order < 3 else 1e-6):
        found = solve_ivp(
            robertson,
            (0, 40),
            [1.0, 0, 0],
            method=name,
            rtol=tolerance,
            atol=tolerance * 1e-4,
            newton=Newton(jacobian=jacobian),
        )
        np.testing.assert_allclose(found.y[-1], wanted, rtol=50 * tolerance, atol=1e-9)
        assert found.y[-1].sum() == pytest.approx(1, rel=1e-9)
        assert found.statistics.accepted < 3000


def test_stiff_problems_take_fewer_evaluations_than_explicit_ones():
    def field(t, y):
        return -2000 * (y - np.cos(t))

    implicit = solve_ivp(field, (0, 3), [0.0], method="kvaerno43", rtol=1e-6, atol=1e-6)
    explicit = solve_ivp(field, (0, 3), [0.0], method="dopri5", rtol=1e-6, atol=1e-6)
    assert implicit.statistics.evaluations < explicit.statistics.evaluations / 5
    exact = (2000**2 * math.cos(3) + 2000 * math.sin(3)) / (1 + 2000**2)
    assert implicit.y[-1, 0] == pytest.approx(exact, abs=1e-5)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("name", ["implicit_midpoint", "kvaerno43", "gauss2", "radau_iia3"])
def test_every_array_library_and_precision(name, xp, dtype, array, eps):
    found = solve_ivp(PAIR.field(xp), (0, 2), array(PAIR.exact(0)), method=name, steps=60)
    assert found.y.dtype == array([1.0]).dtype
    for j, wanted in enumerate(PAIR.exact(2.0)):
        error = 2e-3 if tableau(name).order < 3 else 1e-5
        assert float(found.y[-1, j]) == pytest.approx(wanted, abs=error + 3000 * eps)


@pytest.mark.parametrize("name", ["implicit_midpoint", "gauss2", "kvaerno43"])
def test_complex_states(name):
    # y' = i y + conj(y)/10 is not holomorphic: differences in real coordinates see all of it.
    field = lambda t, y: 1j * y + 0.1 * np.conj(y)  # noqa: E731
    real = lambda t, y: np.array([0.1 * y[0] - y[1], y[0] - 0.1 * y[1]])  # noqa: E731
    y0 = np.array([1.0 + 0.5j])
    found = solve_ivp(field, (0, 2), y0, method=name, steps=10)
    same = solve_ivp(real, (0, 2), [1.0, 0.5], method=name, steps=10)
    np.testing.assert_allclose(found.y[-1, 0], same.y[-1] @ [1, 1j], rtol=1e-12)


def brusselator(n):
    """The Brusselator with diffusion on n points (Hairer and Wanner II, section IV.1)."""
    h, alpha = 1 / (n + 1), 0.02

    def laplacian(x, edge):
        padded = np.concatenate([[edge], x, [edge]])
        return alpha / h**2 * (padded[2:] - 2 * x + padded[:-2])

    def field(t, y):
        u, v = y
        return np.stack(
            [1 + u**2 * v - 4 * u + laplacian(u, 1.0), 3 * u - u**2 * v + laplacian(v, 3.0)]
        )

    x = np.arange(1, n + 1) * h
    return field, np.stack([1 + np.sin(2 * np.pi * x), np.full(n, 3.0)])


def test_krylov_solves_what_direct_does():
    field, y0 = brusselator(40)
    options = {"method": "kvaerno43", "rtol": 1e-6, "atol": 1e-8}
    direct = solve_ivp(field, (0, 1), y0, newton=Newton(linear_solver="direct"), **options)
    krylov = solve_ivp(field, (0, 1), y0, newton=Newton(linear_solver="krylov"), **options)
    np.testing.assert_allclose(direct.y[-1], krylov.y[-1], atol=1e-5)
    wanted = scipy_solve_ivp(lambda t, y: field(t, y.reshape(2, -1)).ravel(), (0, 1), y0.ravel(), "Radau", rtol=1e-9, atol=1e-10)  # fmt: skip
    np.testing.assert_allclose(direct.y[-1].ravel(), wanted.y[:, -1], atol=1e-5)


def heat(n):
    """The heat equation on n points: its matrix, and modes 1 and 7."""
    J = (n + 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n))
    x = np.arange(1, n + 1) / (n + 1)
    return J, np.sin(np.pi * x) + np.sin(7 * np.pi * x)


@pytest.mark.parametrize("solver", [None, "krylov"])
def test_a_given_jacobian_of_a_large_state_is_used(solver):
    J, y0 = heat(450)
    calls = []
    newton = Newton(jacobian=lambda t, y: calls.append(t) or J, linear_solver=solver)
    found = solve_ivp(lambda t, y: J @ y, (0, 0.01), y0, method="implicit_euler", steps=2, newton=newton)  # fmt: skip
    wanted = y0
    for _ in range(2):
        wanted = np.linalg.solve(np.eye(450) - 0.005 * J, wanted)
    np.testing.assert_allclose(found.y[-1], wanted, atol=1e-6)
    assert calls
    assert found.statistics.evaluations < 20  # none of them for a derivative


def test_krylov_goes_on_where_one_space_is_too_small():
    J, y0 = heat(200)
    newton = Newton(linear_solver="krylov")
    found = solve_ivp(lambda t, y: J @ y, (0, 0.1), y0, method="implicit_euler", steps=2, newton=newton)  # fmt: skip
    step = np.linalg.inv(np.eye(200) - 0.05 * J)
    np.testing.assert_allclose(found.y[-1], step @ step @ y0, atol=1e-6)


def test_matrices_follow_where_products_stagnate():
    J, y0 = heat(1000)
    found = solve_ivp(lambda t, y: J @ y, (0, 0.02), y0, method="implicit_euler", steps=2)
    step = np.linalg.inv(np.eye(1000) - 0.01 * J)
    np.testing.assert_allclose(found.y[-1], step @ step @ y0, atol=1e-6)
    assert found.statistics.evaluations < 6000


def test_large_states_need_no_matrix():
    field, y0 = brusselator(1000)
    found = solve_ivp(field, (0, 0.1), y0, method="kvaerno43", rtol=1e-3, atol=1e-4)
    assert found.success
    assert found.statistics.evaluations < 20_000  # a matrix alone would take 2,000 a step


@pytest.mark.parametrize("name", ["implicit_euler", "gauss2", "kvaerno43", "trapezoidal"])
def test_gradients_are_those_of_the_implicit_function(name):
    torch = pytest.importorskip("torch")
    jacobian = lambda t, y: torch.func.jacrev(lambda x: field(t, x))(y)  # noqa: E731
    theta = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def field(t, y):
        return torch.stack([y[1], theta * (1 - y[0] ** 2) * y[1] - y[0]])

    def end(y0):
        return solve_ivp(field, (0.0, 1.0), y0, method=name, steps=5, newton=Newton(jacobian=jacobian)).y[-1]  # fmt: skip

    y0 = torch.tensor([2.0, 0.3], dtype=torch.float64, requires_grad=True)
    loss = end(y0) @ torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = torch.autograd.grad(loss, (y0, theta))

    def value(a, b, parameter):
        nonlocal theta
        kept, theta = theta, torch.tensor(parameter, dtype=torch.float64)
        with torch.no_grad():
            y = end(torch.tensor([a, b], dtype=torch.float64))
        theta = kept
        return float(y[0] + 2 * y[1])

    h = 1e-5
    differences = [
        (value(2 + h, 0.3, 1.3) - value(2 - h, 0.3, 1.3)) / (2 * h),
        (value(2, 0.3 + h, 1.3) - value(2, 0.3 - h, 1.3)) / (2 * h),
        (value(2, 0.3, 1.3 + h) - value(2, 0.3, 1.3 - h)) / (2 * h),
    ]
    np.testing.assert_allclose([*found[0].tolist(), float(found[1])], differences, rtol=1e-7)


@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("name", ["implicit_euler", "implicit_midpoint", "gauss2", "kvaerno43"])
def test_given_steps_of_any_length_are_solved_on_a_monotone_problem(name, steps):
    # One solution for each of these methods: -y^3 decreases, and they are algebraically stable, or
    # have stages one by one.
    found = solve_ivp(lambda t, y: -(y**3), (0, 1), [10.0], method=name, steps=steps)
    if name == "implicit_euler":
        y, h = 10.0, 1 / steps
        for _ in range(steps):
            y = max(np.roots([h, 0, 1, -y]), key=lambda root: -abs(root.imag)).real
        assert found.y[-1, 0] == pytest.approx(y, rel=1e-12)
    assert found.success


@pytest.mark.parametrize("name", ["gauss3", "radau_iia3", "lobatto_iiia3"])
def test_stages_are_found_where_corrections_grow_at_first(name):
    def field(t, y):
        return (1 + np.cos(t)) * (y @ y) * np.array([-y[1], y[0]])

    angle = 0.75 + math.sin(0.75)
    found = solve_ivp(field, (0, 0.75), [1.0, 0.0], method=name, steps=1)
    np.testing.assert_allclose(found.y[-1], [math.cos(angle), math.sin(angle)], atol=0.15)
    assert found.statistics.newton < 25


def test_failures_of_newton_are_typed():
    wrong = Newton(jacobian=lambda t, y: np.array([[1e6]]), max_iterations=3)
    with pytest.raises(errors.NewtonFailedError, match=r"method.*diagonally implicit") as caught:
        solve_ivp(lambda t, y: -(y**3), (0, 10), [5.0], method="gauss2", steps=2, newton=wrong)
    assert caught.value.trajectory.status is Status.NEWTON_FAILED
    assert len(caught.value.trajectory.t) == 1
    nan = solve_ivp(
        lambda t, y: np.where(t > 0.5, np.nan, -y), (0, 1), [1.0], method="kvaerno43", throw=False
    )
    assert nan.status is Status.NONFINITE_RHS
    assert nan.t[-1] <= 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linear_solver": "lu"}, "direct' or 'krylov"),
        ({"linear_solver": np.ones(2)}, "direct' or 'krylov"),
        ({"tolerance": 0}, "must be positive"),
        ({"max_iterations": 0}, "must be positive"),
    ],
)
def test_newton_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Newton(**options)


def test_misused_options_are_refused():
    with pytest.raises(ValueError, match="no effect here"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], newton=Newton())
    wrong = Newton(jacobian=lambda t, y: np.eye(3))
    with pytest.raises(ValueError, match=r"shape \(1, 1\)"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method="gauss2", steps=1, newton=wrong)
    wrong = Newton(jacobian=lambda t, y: [[-1.0]])
    with pytest.raises(TypeError, match=r"shape \(1, 1\), got list"):
        solve_ivp(lambda t, y: -y, (0, 1), [1.0], method="gauss2", steps=1, newton=wrong)


@pytest.mark.parametrize("solver", ["direct", "krylov"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_complex_jacobians_are_refused(solver, dtype):
    # Their imaginary parts were dropped.
    wrong = Newton(jacobian=lambda t, y: -np.eye(2) * (1 + 1j), linear_solver=solver)
    y0 = np.ones(2 if dtype is np.float64 else 1, dtype)
    with pytest.raises(TypeError, match="`jacobian` must return real numbers, got complex128"):
        solve_ivp(lambda t, y: -y, (0, 1), y0, method="gauss2", steps=1, newton=wrong)


DECAYS = {
    "implicit_euler": {"steps": 4},
    "radau_iia3": {"steps": 4},
    "gauss2": {"steps": 8},
    "kvaerno43": {"rtol": 1e-5},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("exact", [False, True], ids=["differences", "exact"])
@pytest.mark.parametrize("library", ["numpy", "torch", "torch float32"])
@pytest.mark.parametrize("name", DECAYS)
def test_states_of_any_size_are_solved_alike(name, library, exact):
    # y' = M y - y^2 / s has the solution s u, where u is that for s = 1.
    if library == "numpy":
        make = np.array
    else:
        torch = pytest.importorskip("torch")
        kind = torch.float32 if "32" in library else torch.float64
        make = lambda x: torch.tensor(x, dtype=kind)  # noqa: E731
    M = make([[-1.0, 0.5, 0.0], [0.0, -3.0, 1.0], [1.0, 0.0, -200.0]])

    def solved(s):
        s = float(make(s))  # rounded
        options = dict(DECAYS[name])
        if "rtol" in options:
            options["atol"] = 1e-7 * s
        if exact:
            eye = make(np.eye(3).tolist())
            options["newton"] = Newton(jacobian=lambda t, y: M - 2 * eye * (y / s))
        found = solve_ivp(
            lambda t, y: M @ y - y * (y / s),
            (0, 4),
            make([s, 0.3 * s, 0.0]),
            method=name,
            **options,
        )
        counts = found.statistics
        return np.array(found.y.tolist()) / s, (counts.accepted, counts.rejected, counts.newton)

    powers = (-40, 40) if "32" in library else (-100, -20, 100)
    wanted, counts = solved(1.0)
    for power in powers:  # powers of two change no rounding
        states, same = solved(2.0**power)
        np.testing.assert_array_equal(states, wanted)
        assert same == counts
    eps = 1e-7 if "32" in library else 2e-16
    for s in (1e-12,) if "32" in library else (1e-30, 1e30):
        np.testing.assert_allclose(solved(s)[0], wanted, rtol=0, atol=2e5 * eps if "rtol" in DECAYS[name] else 300 * eps)  # fmt: skip


@pytest.mark.parametrize("exact", [False, True], ids=["differences", "exact"])
@pytest.mark.parametrize("s", [1e-4, 1e-12, 1e-30])
@pytest.mark.parametrize("name", ["implicit_euler", "radau_iia3", "gauss2", "kvaerno43"])
def test_small_components_are_solved_beside_large_ones(name, s, exact):
    jacobian = lambda t, y: np.diag([0.0, -2 * y[1] / s, -1.0])  # noqa: E731
    newton = Newton(jacobian=jacobian) if exact else None
    field = lambda t, y: np.array([0.0, -y[1] * (y[1] / s), s - y[2]])  # noqa: E731
    alone = solve_ivp(lambda t, y: -y * y, (0, 4), [1.0], method=name, steps=8).y[:, 0]
    found = solve_ivp(field, (0, 4), [1.0, s, 0.0], method=name, steps=8, newton=newton)
    np.testing.assert_allclose(found.y[:, 1] / s, alone, rtol=1e-13)
    zero = solve_ivp(lambda t, y: 1 - y, (0, 4), [0.0], method=name, steps=8).y[:, 0]
    np.testing.assert_allclose(found.y[:, 2] / s, zero, rtol=1e-13)


@pytest.mark.parametrize("small", [None, 1e-6, 1e-8])
@pytest.mark.parametrize("name", ["implicit_euler", "radau_iia3", "kvaerno43"])
def test_what_rounding_hides_does_not_keep_newton_from_its_end(name, small):
    # The third slope is what rounding leaves of 1e6 - 1e6; the fourth is rounded beside 1, which
    # differences do not see through.
    def field(t, y):
        rest = 1e6 * (y[0] / 3 + y[0] / 3 + y[0] / 3 - y[1])
        return np.array([-y[0], -y[1], rest, (1 - y[3]) - 1])

    J = np.diag([-1.0, -1, 0, -1])
    J[2, :2] = 1e6, -1e6
    newton = Newton(jacobian=lambda t, y: J) if small else None
    y0 = [1.0, 1.0, 0.0, small or 1.0]
    found = solve_ivp(field, (0, 4), y0, method=name, steps=8, newton=newton)
    assert abs(found.y[-1, 2]) < 1e-9
    assert found.y[-1, 3] == pytest.approx(y0[3] * found.y[-1, 0], rel=1e-7)
    assert found.statistics.newton < 8 * 5 * len(tableau(name).b)


def test_krylov_solves_small_states_like_large_ones():
    field, y0 = brusselator(10)
    newton = Newton(linear_solver="krylov")
    options = {"method": "radau_iia2", "steps": 5, "newton": newton}
    wanted = solve_ivp(field, (0, 0.5), y0, **options)
    for s in (2.0**-100, 2.0**100):
        found = solve_ivp(lambda t, y, s=s: s * field(t, y / s), (0, 0.5), y0 * s, **options)
        np.testing.assert_array_equal(found.y / s, wanted.y)
        assert found.statistics == wanted.statistics


@pytest.mark.parametrize("kind", ["numpy float16", "torch float16", "torch bfloat16"])
@pytest.mark.parametrize("name", ["implicit_euler", "gauss2", "kvaerno43"])
def test_linear_solves_of_half_precision_are_made_in_single(name, kind):
    # Libraries have no inverses of half precision.
    if kind.startswith("numpy"):
        y0 = np.ones(2, np.float16)
    else:
        torch = pytest.importorskip("torch")
        y0 = torch.ones(2, dtype=getattr(torch, kind.split()[1]))
    eps = 2**-7 if "bfloat" in kind else 2**-10
    wanted = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=name, steps=4).y[-1, 0]
    found = solve_ivp(lambda t, y: -y, (0, 1), y0, method=name, steps=4)
    assert found.y.dtype == y0.dtype
    np.testing.assert_allclose(found.y[-1].tolist(), wanted, rtol=8 * eps)


@pytest.mark.skipif(np.finfo(np.longdouble).bits <= 64, reason="long double is double here")
@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
@pytest.mark.parametrize(
    ("name", "top", "bottom", "known"),  # R(-1/4), and how well doubles know the coefficients
    [("implicit_euler", 4, 5, 0), ("implicit_midpoint", 7, 9, 0), ("gauss2", 169, 217, 1e-15)],
)
def test_long_doubles_are_solved_to_their_rounding(name, top, bottom, known, dtype):
    found = solve_ivp(lambda t, y: -y, (0, 1), np.ones(2, dtype), method=name, steps=4)
    assert found.y.dtype == dtype
    wanted = (np.longdouble(top) / bottom) ** 4
    np.testing.assert_allclose(found.y[-1], wanted, rtol=known or 32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("method", ["trapezoidal", "lobatto_iiic4", "kvaerno43"])
@pytest.mark.parametrize("linear_solver", ["direct", "krylov"])
def test_a_jacobian_stays_on_its_side_of_a_jump(method, linear_solver):
    rates = []

    def rate(t):
        return -1.0 if t < 0.5 else -10.0

    def jacobian(t, y):
        rates.append((t, rate(t)))
        return np.array([[rate(t)]])

    steps = {"steps": 4} if method != "kvaerno43" else {}
    newton = Newton(jacobian=jacobian, linear_solver=linear_solver)
    options = {"method": method, "jump_at": [0.5], **steps}
    found = solve_ivp(lambda t, y: rate(t) * y, (0, 1), [1.0], newton=newton, **options)
    plain = solve_ivp(lambda t, y: rate(t) * y, (0, 1), [1.0], **options)
    np.testing.assert_allclose(found.y[-1], plain.y[-1], rtol=1e-6)
    assert rates
    assert all(t != 0.5 for t, _ in rates)
    # Linear on each side: one correction is exact, and the second one sees that.
    if linear_solver == "direct" and steps:
        assert found.statistics.newton <= 8


@pytest.mark.parametrize("method", ["trapezoidal", "radau_iia3"])
def test_gradients_with_a_jacobian_that_jumps_are_those_without(method):
    torch = pytest.importorskip("torch")
    gradients = []
    for exact in (True, False):
        a = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)

        def rate(t, a=a):
            return a if t < 0.5 else 10 * a

        newton = Newton(
            jacobian=(lambda t, y, rate=rate: rate(t).detach() * torch.eye(1)) if exact else None
        )
        found = solve_ivp(
            lambda t, y, rate=rate: rate(t) * y, (0, 1), torch.ones(1, dtype=torch.float64),
            method=method, steps=4, jump_at=[0.5], newton=newton,
        )  # fmt: skip
        found.y[-1, 0].backward()
        gradients.append(float(a.grad))
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-6)


@pytest.mark.parametrize(("size", "converges"), [(1.0, True), (10.0, False)])
def test_corrections_that_grow_below_the_limit_do_not_diverge_yet(size, converges):
    # The first may be the smaller one: a guess that is nearly right, and a Jacobian by differences.
    corrections = iter(size * np.array([[0.2], [0.3], [1e-8]]))

    def sizes(x, change):
        return (float(abs(change[0])),) * 2

    _, count, good = iterate(lambda x: next(corrections), sizes, np.zeros(1), 1.0, 1e-9, 1e-7, 30)
    assert good is converges
    assert count == (3 if converges else 2)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", ["kvaerno43", "kvaerno54", "esdirk436_pair"])
def test_a_jacobian_serves_several_adaptive_steps(method):
    field, start = brusselator(40)
    fun, y0 = lambda t, y: field(t, y.reshape(2, -1)).ravel(), start.ravel()
    calls = []

    def jacobian(t, y):
        calls.append(t)
        return finite_difference_jacobian(fun, t, y, fun(t, y), 1.0)[0]

    options = {"method": method, "rtol": 1e-5, "atol": 1e-7}
    exact = solve_ivp(fun, (0, 10), y0, method=method, rtol=1e-8, atol=1e-10).y[-1]
    for newton in (None, Newton(jacobian=jacobian)):
        found = solve_ivp(fun, (0, 10), y0, newton=newton, **options)
        attempts = found.statistics.accepted + found.statistics.rejected
        assert np.max(np.abs(found.y[-1] - exact) / (1e-2 + np.abs(exact))) < 5e-5
        if newton is None:  # with one in each there are 80 evaluations for it in each
            assert found.statistics.evaluations < 70 * attempts
    assert len(calls) < 0.6 * attempts


def test_a_jacobian_that_no_longer_fits_is_replaced():
    # The rates change their signs and sizes within a step.
    rates = np.linspace(1.0, 1e4, 30)

    def fun(t, y):
        turned = rates if t < 1 else rates[::-1]
        return -turned * (y - np.cos(t)) - np.sin(t)

    options = {"method": "kvaerno43", "rtol": 1e-6, "atol": 1e-8, "jump_at": [1.0]}
    found = solve_ivp(fun, (0.0, 2.0), np.ones(30) + 0.1, **options)
    np.testing.assert_allclose(found.y[-1], math.cos(2.0), atol=1e-5)
    assert found.statistics.newton < 40 * (found.statistics.accepted + found.statistics.rejected)


def swung(t, y):
    """Forty rates that swing between a tenth of their means and twice them."""
    n = np.arange(40)
    return -(10 ** (n / 10)) * (1 + 0.9 * np.sin(20 * t)) * (y - np.cos((1 + n / 10) * t)) ** 3


def test_dense_output_does_not_remember_where_it_was_asked():
    options = {"method": "kvaerno43", "rtol": 1e-4, "atol": 1e-6, "dense": True}
    dense = solve_ivp(swung, (0, 2), np.full(40, 1.5), **options).dense
    size, t = len(pickle.dumps(dense)), np.linspace(0, 2, 300)
    forward, backward = dense(t), dense(t[::-1])
    assert np.array_equal(forward, backward[::-1])
    assert len(pickle.dumps(dense)) < 1.1 * size  # without a matrix for each step


def test_states_of_few_entries_have_a_jacobian_in_each_step():
    calls = []

    def jacobian(t, y):
        calls.append(t)
        return -np.diag([1.0, 50.0])

    fun = lambda t, y: -np.array([1.0, 50.0]) * y  # noqa: E731
    found = solve_ivp(fun, (0, 1), np.ones(2), method="kvaerno54", newton=Newton(jacobian=jacobian))
    assert len(calls) == found.statistics.accepted + found.statistics.rejected


def test_corrections_that_overflow_are_a_failure_of_the_solve():
    rates = np.array([60.0, 1.0, 90.0])

    def jacobian(t, y):
        return (-rates - 0.3 * y**2)[:, None, None]

    with np.errstate(all="ignore"):
        found = solve_ivp(
            lambda t, y: -rates * y - 0.1 * y**3,
            (0.0, 1.0),
            np.ones(3),
            method="lobatto_iiic_star3",  # not stable in these steps
            steps=6,
            newton=Newton(jacobian=jacobian),
            throw=False,
        )
    assert found.status in (Status.NEWTON_FAILED, Status.NONFINITE_RHS)
