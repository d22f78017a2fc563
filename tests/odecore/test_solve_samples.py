"""Implicit steps of samples that do not see each other: a Jacobian block for each."""

import numpy as np
import pytest
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

from odecore.adjoint import discrete, node_by_node, record_steps, steps_at_once
from odecore.solve import (
    Newton,
    _newton,
    _stage_equations,
    _stage_inverse,
    implicit_step,
    solve_ivp,
    transposed_inverse,
)
from odecore.tableaux import catalogue, tableau

IMPLICIT = sorted(n for n in catalogue() if not tableau(n).is_explicit)
PAIRS = [n for n in IMPLICIT if tableau(n).b_hat is not None]


def apart(t, y):
    """Two entries in each sample, stiff, in any array library."""
    xp = array_namespace(y)
    a, b = y[..., 0], y[..., 1]
    return xp.stack([b, 40 * xp.sin(a) * xp.cos(b) - 60 * b - a], axis=-1)


def jacobian(t, y):
    """(m, 2, 2), of NumPy."""
    a, b = y[..., 0], y[..., 1]
    along = 40 * np.cos(a) * np.cos(b) - 1, -40 * np.sin(a) * np.sin(b) - 60
    return np.stack([np.stack([0 * a, 1 + 0 * a], -1), np.stack(along, -1)], axis=1)


def start(m):
    return np.stack([np.linspace(-2, 2, m), np.linspace(0.5, -1, m)], -1)


def solved(samples, m=7, **options):
    return solve_ivp(apart, (0.0, 1.0), start(m), newton=Newton(samples=samples), **options)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("method", IMPLICIT)
def test_given_steps_are_those_of_one_matrix(method):
    alone, whole = (solved(samples, method=method, steps=20) for samples in (True, False))
    np.testing.assert_allclose(alone.y[-1], whole.y[-1], rtol=1e-9, atol=1e-9)
    assert alone.statistics.evaluations < whole.statistics.evaluations


@pytest.mark.sampled(3)
@pytest.mark.parametrize("method", PAIRS)
def test_adaptive_steps_are_as_good(method):
    wanted = solved(True, 60, method="kvaerno54", rtol=1e-8, atol=1e-8).y[-1]
    counts = []
    for samples in (True, False):
        found = solved(samples, 60, method=method, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.y[-1], wanted, atol=1e-3)
        counts.append(found.statistics.evaluations)
    few = len(tableau(method).b) < 4  # a block is cheap, and not kept from step to step
    assert counts[0] < (1.5 if few else 1.0) * counts[1]


@pytest.mark.long_on_jax
@pytest.mark.parametrize("method", ["alexander2", "radau_iia2"])
def test_every_library(method, array, dtype):
    y, options = array(start(5)), {"steps": 4}
    newton = Newton(samples=True)
    found = solve_ivp(apart, (0.0, 0.5), y, method=method, newton=newton, **options).y[-1, ...]
    assert found.dtype == y.dtype
    wanted = solve_ivp(apart, (0.0, 0.5), start(5), method=method, **options).y[-1]
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", ["kvaerno54", "radau_iia3"])
def test_a_given_jacobian_may_have_a_block_for_each_sample(method):
    options = {"method": method, "steps": 20}
    found = solve_ivp(apart, (0, 1), start(300), newton=Newton(jacobian=jacobian), **options)
    alone = [solve_ivp(apart, (0, 1), y, **options).y[-1] for y in start(300)[::60]]
    np.testing.assert_allclose(found.y[-1, ::60], alone, rtol=1e-9, atol=1e-9)
    assert found.statistics.evaluations < 10_000  # 600 entries, by products 100,000


def test_wrong_blocks_cost_iterations_and_no_digits():
    def coupled(t, y):
        return apart(t, y) - 3 * (y - y.mean(axis=0))

    options = {"method": "kvaerno43", "rtol": 1e-6, "atol": 1e-6}
    found, wanted = (
        solve_ivp(coupled, (0, 1), start(6), newton=Newton(samples=samples), **options)
        for samples in (True, False)
    )
    np.testing.assert_allclose(found.y[-1], wanted.y[-1], atol=1e-4)


def of_stages(coupling, blocks):
    return _stage_inverse.Dense.of(coupling, blocks)


def decoupled(coupling, blocks):
    return _stage_inverse.Decoupled(_stage_inverse.eigenvectors(coupling), blocks[0])


def corrected(coupling, blocks):
    vectors = _stage_inverse.eigenvectors(coupling)
    return _stage_inverse.inverse_of(coupling, blocks, vectors)


@pytest.mark.parametrize(("inverse", "differs"), [(of_stages, 1), (decoupled, 0), (corrected, 0.1)])
def test_the_inverse_is_that_of_the_whole(inverse, differs, monkeypatch):
    monkeypatch.setattr(_stage_inverse, "FEW", 0)
    rng = np.random.default_rng(0)
    coupling, r = 0.2 * rng.normal(size=(3, 3)), rng.normal(size=(3, 8))
    mean = rng.normal(size=(4, 2, 2))
    blocks = [mean + differs * rng.normal(size=(4, 2, 2)) for _ in range(3)]
    whole = []
    for block in blocks:
        J = np.zeros((8, 8))
        for k in range(4):
            J[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block[k]
        whole.append(J)
    few, one = (inverse(coupling, J) for J in (blocks, whole))
    np.testing.assert_allclose(few(r), one(r))
    if inverse is not corrected:
        np.testing.assert_allclose(few.bound(abs(r)), one.bound(abs(r)))
    products = (_stage_inverse.product_of(coupling, J)(few(r)) for J in (blocks, whole))
    for product in products:
        np.testing.assert_allclose(product, r)


def test_the_transposed_inverse_is_that_of_the_whole():
    rng = np.random.default_rng(1)
    coupling, blocks = rng.normal(size=(2, 2)), rng.normal(size=(4, 3, 3))
    r = rng.normal(size=(2, 12))
    x = transposed_inverse(coupling, blocks)(r)
    pulled = np.einsum("mij,smi->smj", blocks, x.reshape(2, 4, 3)).reshape(2, 12)
    np.testing.assert_allclose(x - coupling.T @ pulled, r, atol=1e-12)


@pytest.mark.parametrize("method", ["kvaerno43", "radau_iia3"])
def test_unknowns_are_those_of_one_sample(method, monkeypatch):
    """Matrices are formed for 1000 entries, of which five depend on each other."""
    monkeypatch.setattr(_stage_equations, "restarted_gmres", None)
    monkeypatch.setattr(_stage_equations, "Decoupled", None)
    rates = np.geomspace(1, 1e4, 5)
    found = solve_ivp(
        lambda t, y: -rates * (y - np.cos(t)), (0, 1), np.ones((200, 5)), method=method,
        newton=Newton(samples=True), **({"steps": 5} if method == "radau_iia3" else {}),
    )  # fmt: skip
    assert found.status.name == "SUCCESS"


@pytest.mark.parametrize("steps", [8, 12])
def test_steps_that_are_made_again_form_the_matrices_of_samples(steps, monkeypatch):
    """A budget of memory without room for the stages."""
    monkeypatch.setattr(_stage_equations, "restarted_gmres", None)
    linearize, y0 = linearized(), start(300)
    newton = Newton(samples=True)
    _, record = record_steps(
        value_of(linearize), [0.0, 1.0], y0, method="kvaerno43", steps=steps, newton=newton,
        memory=3 * y0.nbytes,
    )  # fmt: skip
    found = discrete(linearize, record, [np.zeros_like(y0), np.ones_like(y0)])
    few = record_steps(value_of(linearize), [0, 1], y0[::50], method="kvaerno43", steps=steps)[1]
    wanted = discrete(linearize, few, [np.zeros((6, 2)), np.ones((6, 2))])
    np.testing.assert_allclose(found.y0[::50], wanted.y0, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("y0", "message"),
    [
        (np.ones((2, 2), dtype=complex), "needs a real state with a first axis of samples"),
        (np.array(1.0), r"needs a real state with a first axis of samples, got shape \(\)"),
        ((np.ones(2), np.ones(2)), "a state that is one array"),
    ],
)
def test_states_without_samples_are_refused(y0, message):
    newton = Newton(samples=True)
    with pytest.raises(ValueError, match=message):
        solve_ivp(lambda t, y: y, (0, 1), y0, method="implicit_euler", steps=2, newton=newton)


def test_other_shapes_are_refused():
    for shape in [(2, 7, 7), (14, 1, 1), (7, 2), (7, 2, 1), (14, 14, 1)]:
        newton = Newton(jacobian=lambda t, y, shape=shape: np.ones(shape))
        with pytest.raises(ValueError, match=r"\(14, 14\) or \(7, 2, 2\) for a state of 14 entrie"):
            implicit_step(apart, 0.0, start(7), 0.1, tableau("alexander2").coefficients, newton=newton)  # fmt: skip
    with pytest.raises(TypeError, match="`samples` must be a bool"):
        Newton(samples=7)


def linearized(coupled=0.0):
    """f and its transposed derivative in NumPy; theta multiplies the sine."""

    def linearize(t, y):
        a, b = y[..., 0], y[..., 1]
        value = apart(t, y) + coupled * y[::-1]

        def pull(v, parameters):
            J = jacobian(t, y)
            moved = np.einsum("mij,mi->mj", J, v) + coupled * v[::-1]
            return moved, (np.sum(v[..., 1] * 40 * np.sin(a) * np.cos(b)),) if parameters else ()

        return value, pull

    return linearize


def value_of(linearize):
    return lambda t, y: linearize(t, y)[0]


@pytest.mark.long
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_samples_go_back_at_once_as_one_by_one(data):
    method = data.draw(st.sampled_from(IMPLICIT))
    m, coupled = data.draw(st.integers(1, 60)), data.draw(st.sampled_from([0.0, 0.0, 0.5]))
    linearize = linearized(coupled)
    times = [0.0, 0.3, 1.0]
    options = {"method": method, "steps": data.draw(st.integers(8, 12))}
    newton = Newton(samples=not coupled and data.draw(st.booleans()))
    fun = value_of(linearize)
    _, record = record_steps(fun, times, start(m), newton=newton, **options)
    rng = np.random.default_rng(m)
    cotangents = [rng.normal(size=(m, 2)) for _ in times]
    answers, kernel = [], steps_at_once(node_by_node(linearize))

    def watched(*arguments):
        answers.append(kernel(*arguments))
        return answers[-1]

    found = discrete(linearize, record, cotangents, kernel=watched)
    wanted = discrete(linearize, record, cotangents)
    np.testing.assert_allclose(found.y0, wanted.y0, rtol=1e-6, atol=1e-6 * abs(wanted.y0).max())
    np.testing.assert_allclose(found.parameters[0], wanted.parameters[0], rtol=1e-6)
    at_once = all(x is not None for x in answers)
    assert at_once is (coupled == 0.0 or 2 * m <= 64 or m == 1)
    if at_once and not coupled:
        assert found.statistics.newton == 2 * len(answers)  # passes, whatever m is


def test_memory_bounds_the_steps_at_once(monkeypatch):
    from odecore.adjoint import _steps_at_once

    linearize = linearized()
    fun = value_of(linearize)
    _, record = record_steps(fun, [0.0, 1.0], start(50), method="trapezoidal", steps=40)
    kernel = steps_at_once(node_by_node(linearize))
    a = np.ones((50, 2))
    assert kernel(record.method, record, 40, a, {}).count == 40
    monkeypatch.setattr(_steps_at_once, "NUMBERS", 50 * 4 * 2 * 10)
    assert kernel(record.method, record, 40, a, {}).count == 10


def test_differences_in_all_samples_at_once():
    y, calls = start(5), []

    def flat(t, v):
        calls.append(t)
        return apart(t, v.reshape(5, 2)).reshape(-1)

    value = flat(0.0, y.reshape(-1))
    found, count = _newton.finite_difference_jacobian(flat, 0.0, y.reshape(-1), value, 0.1, 5)
    assert count == len(calls) - 1 == 2
    np.testing.assert_allclose(found, jacobian(0.0, y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["kvaerno43", "gauss2", "radau_iia3"])
@pytest.mark.parametrize("last", [None, "whole"])
def test_a_given_jacobian_may_turn_whole_or_end(method, last):
    def given(t, y):
        if t < 0.33:
            return jacobian(t, y)
        if last is None:
            return None
        whole = np.zeros((7, 2, 7, 2))
        whole[np.arange(7), :, np.arange(7), :] = jacobian(t, y)
        return whole.reshape(14, 14)

    found, wanted = (
        solve_ivp(apart, (0, 1), start(7), method=method, steps=4, newton=newton).y[-1]
        for newton in (Newton(jacobian=given), Newton())
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
