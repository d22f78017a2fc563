"""Gradients are homogeneous in the cotangents, whatever their size."""

import numpy as np
import pytest

from odecore.adjoint import (
    backsolve,
    certify,
    collocated,
    discrete,
    node_by_node,
    record_panels,
    record_steps,
    restored,
)
from odecore.solve import solve_ivp
from tests.odecore.test_adjoint import TIMES, Y0, A, W, linear

KINDS = ("restored", "collocated", "backsolve", "discrete", "implicit")
SCALES = (2.0**-660, 1e-200, 1e-20, 1e200, 2.0**660)


def gradients(kind, cotangents, xp=np, matrix=A, y0=Y0, rtol=1e-4, atol=1e-4):
    """Of a linear problem, by one of the adjoints."""
    field, linearize = linear(xp, matrix)
    options = {"rtol": rtol, "atol": atol}
    if kind == "backsolve":
        states = solve_ivp(field, (TIMES[0], TIMES[-1]), y0, t_eval=TIMES, **options).y
        return backsolve(linearize, TIMES, states, cotangents, parameters=[matrix], **options)
    if kind in ("discrete", "implicit"):
        method = "dopri5" if kind == "discrete" else "alexander2"
        record = record_steps(field, TIMES, y0, method=method, steps=3)[1]
        return discrete(linearize, record, cotangents)
    panels = record_panels(field, TIMES, y0, **options)[1]
    if kind == "restored":
        return restored(linearize, panels, cotangents, **options)
    return collocated(node_by_node(linearize), panels, cotangents, **options)


def numbers(found):
    parts = found.y0, *found.parameters, *found.times
    return np.concatenate([np.ravel(np.asarray(x)) for x in parts])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_homogeneous(kind, scale):
    wanted = numbers(gradients(kind, W))
    found = numbers(gradients(kind, [scale * w for w in W])) / scale
    rounding = 0.0 if np.log2(scale) % 1 == 0 else 1e-12 * np.max(np.abs(wanted))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rounding)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("kind", ["collocated", "backsolve", "discrete"])
def test_gradients_are_homogeneous_in_any_library(kind, xp, dtype, array, eps):
    solve = lambda scale: gradients(kind, [array(scale * w) for w in W], xp, array(A), array(Y0))  # noqa: E731
    wanted, scale = solve(1.0), 2.0**-90
    found = solve(scale)
    assert found.y0.dtype == found.parameters[0].dtype == array(Y0).dtype
    np.testing.assert_array_equal(numbers(found) / np.asarray(scale, dtype), numbers(wanted))


def test_complex_gradients_are_homogeneous():
    wanted = gradients("collocated", [(1 + 2j) * w for w in W], matrix=A + 0j, y0=Y0 + 0j)
    found = gradients(
        "collocated", [2.0**-600 * (1 + 2j) * w for w in W], matrix=A + 0j, y0=Y0 + 0j
    )
    np.testing.assert_array_equal(numbers(found) * 2.0**600, numbers(wanted))


@pytest.mark.long
def test_values_that_may_not_be_read_are_homogeneous():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    matrix, y0 = jax.numpy.asarray(A), jax.numpy.asarray(Y0)
    field, linearize = linear(jax.numpy, matrix)
    panels = record_panels(field, TIMES, y0)[1]
    solve = jax.jit(lambda w: collocated(node_by_node(linearize), panels, list(w)).y0)
    wanted = np.asarray(solve(np.stack(W)))
    for scale in SCALES:
        np.testing.assert_allclose(solve(scale * np.stack(W)) / scale, wanted, rtol=1e-12)
    assert np.all(np.isnan(solve(np.nan * np.stack(W))))
    assert not np.any(solve(0 * np.stack(W)))


def test_a_kernel_sees_cotangents_in_their_unit():
    seen = []
    field, linearize = linear(np, A)
    panels = record_panels(field, TIMES, Y0)[1]
    kernel = lambda t, y, end, *rest: seen.append(end)  # noqa: E731
    collocated(node_by_node(linearize), panels, [1e-9 * w for w in W], kernel=kernel)
    largest = max(np.max(np.abs(w)) for w in W)
    np.testing.assert_allclose(seen[0], W[-1] / largest, rtol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_cotangents_that_are_not_finite_are_nan(kind, bad):
    found = gradients(kind, [W[0], W[1], np.array([0.0, bad, 1.0])])
    assert np.all(np.isnan(numbers(found)))
    assert not np.any(numbers(gradients(kind, [0 * w for w in W])))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_certificates_do_not_depend_on_the_size_of_cotangents(kind, scale):
    field, linearize = linear(np, A)
    options = {"rtol": 1e-4, "atol": 1e-4}
    panels = record_panels(field, TIMES, Y0, **options)[1]
    errors = []
    for cotangents in (W, [scale * w for w in W]):
        found = gradients(kind, cotangents)
        errors.append(certify(found, node_by_node(linearize), panels, cotangents, **options).error)
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)
    assert errors[0] > 1e-9
