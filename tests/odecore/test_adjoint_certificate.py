"""The certificate against true errors, on a random set of problems."""

import numpy as np
import pytest

from odecore.adjoint import certify, collocated, discrete, record_panels, record_steps
from odecore.adjoint._collocation import at_one_node
from odecore.solve import solve_ivp
from tests.helpers.problems import random_field

FEW, MANY = 20, 60  # seeds; the whole set is these, none left out


def relative_error(found, truth, cotangents):
    """The larger one, of dL/dy0 and of the gradient of the parameters; rtol is atol here."""

    def part(pair, smallest):
        x, y = (np.concatenate([np.ravel(x) for x in one]) for one in pair)
        return np.linalg.norm(x - y) / max(np.linalg.norm(y), smallest)

    resolved = 0.01 * np.abs(cotangents).max() * found.y0.size**0.5
    of_y0 = part([[found.y0], [truth.y0]], resolved)
    return max(of_y0, part([found.parameters, truth.parameters], 0)) if found.parameters else of_y0


def solved(seed):
    """A problem, its gradient at a random tolerance, the certificate and the true error."""
    rng = np.random.default_rng(seed)
    fun, nodes, y0 = random_field(rng)
    times, tolerance = [0.0, float(rng.uniform(0.5, 10))], 10 ** rng.uniform(-9, -3)
    cotangents = [np.zeros_like(y0), rng.standard_normal(len(y0))]
    options = {"rtol": tolerance, "atol": tolerance}
    _, panels = record_panels(fun, times, y0, **options)
    found = collocated(nodes, panels, cotangents, **options)
    fine = {"rtol": 1e-13, "atol": 1e-13}
    _, sharp = record_panels(fun, times, y0, method="dop853", **fine)
    error = relative_error(found, collocated(nodes, sharp, cotangents, **fine), cotangents)
    return found, nodes, panels, cotangents, options, error


@pytest.fixture(scope="module", params=[FEW, pytest.param(MANY, marks=pytest.mark.long)])
def ratios(request):
    found = []
    for seed in range(request.param):
        *arguments, options, error = solved(seed)
        found.append(certify(*arguments, **options).error / error)
    return np.array(found)


def test_the_estimate_is_within_a_factor_of_two(ratios):
    # The issue of trust: 95 % within a factor of 10 would do.
    assert np.mean((ratios > 0.5) & (ratios < 2)) >= 0.95
    assert np.all((ratios > 0.1) & (ratios < 10))


def test_a_reference_along_the_same_states_would_not_do():
    # The twin: without the improvement of the trajectory its error is not seen.
    seen = []
    for seed in range(8):
        found, nodes, panels, cotangents, options, error = solved(seed)
        sharp = {k: v / 100 for k, v in options.items()}
        again = collocated(nodes, panels, cotangents, **sharp)
        seen.append(relative_error(found, again, cotangents) / error)
    assert np.mean((np.array(seen) > 0.5) & (np.array(seen) < 2)) < 0.7


def test_steps_that_do_not_resolve_the_sensitivity_are_seen():
    # y = 0 stands still, so the steps grow; its sensitivity grows like exp(6 sin t).
    fun = lambda t, y: 6 * np.cos(t) * np.sin(y)  # noqa: E731
    point = lambda t, y: (fun(t, y), lambda a, _: (6 * np.cos(t) * np.cos(y) * a, ()))  # noqa: E731

    def nodes(t, y):
        t = t.reshape(-1, 1)
        return fun(t, y), lambda a, _: (6 * np.cos(t) * np.cos(y) * a, ())

    times, w = [0.0, 5.0], [np.zeros(1), np.ones(1)]
    options = {"rtol": 1e-6, "atol": 1e-9}
    _, record = record_steps(fun, times, np.zeros(1), **options)
    through_steps = discrete(point, record, w)
    exact = np.exp(6 * np.sin(5.0))
    assert abs(through_steps.y0[0] / exact - 1) > 1  # wrong by more than its size, in silence
    _, panels = record_panels(fun, times, np.zeros(1), **options)
    certificate = certify(through_steps, nodes, panels, w, **options)
    assert certificate.error == pytest.approx(abs(through_steps.y0[0] / exact - 1), rel=0.1)
    restored = collocated(nodes, panels, w, **options)
    assert abs(restored.y0[0] / exact - 1) < 1e-4
    assert certify(restored, nodes, panels, w, **options).error < 1e-4


def bent(t, y):
    return np.maximum(y, 0.3) - 1.2 * y + np.sin(3 * t)


def bent_nodes(t, y):
    slope = (y > 0.3) - 1.2
    return bent(t.reshape(-1, 1), y), lambda a, _: (slope * a, ())


def test_a_kink_is_solved_again_in_small_steps():
    times, w = [0.0, 6.0], [np.zeros(2), np.ones(2)]
    y0 = np.array([1.0, -0.5])
    errors = []
    for tolerance in (1e-3, 1e-7):
        options = {"rtol": tolerance, "atol": tolerance}
        _, panels = record_panels(bent, times, y0, **options)
        found = collocated(bent_nodes, panels, w, **options)
        certificate = certify(found, bent_nodes, panels, w, **options)
        errors.append(certificate.error)
    assert certificate.stepped > 0
    assert errors[1] < errors[0]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(12))
def test_kinks_of_a_network_are_seen(seed):
    # The gradient is not resolved on a panel with a kink in it: nor is the reference if it is
    # collocated there, and the two agree.
    rng = np.random.default_rng(seed)
    B, C, c = (rng.uniform(-1, 1, shape) for shape in ((4, 2), (2, 4), 4))
    y0, w, span = rng.standard_normal(2), np.ones(2), [0.0, 3.0]
    fun = lambda t, y: np.maximum(y @ C + c, 0) @ B - y  # noqa: E731
    slopes = lambda y: y @ C + c > 0  # noqa: E731

    def nodes(t, y):
        return fun(t, y), lambda a, _: (((a @ B.T) * slopes(y)) @ C.T - a, ())

    options = {"rtol": 1e-9, "atol": 1e-9}
    _, panels = record_panels(fun, span, y0, **options)
    found = collocated(nodes, panels, [0 * w, w], **options)
    estimate = certify(found, nodes, panels, [0 * w, w], **options).error

    def sensitivities(t, x):  # steps see the kinks in the derivatives of the state too
        y, V = x[:2], x[2:].reshape(2, 2)
        return np.concatenate([fun(t, y), (((V @ C) * slopes(y)) @ B - V).ravel()])

    start = np.concatenate([y0, np.eye(2).ravel()])
    end = solve_ivp(sensitivities, span, start, rtol=1e-12, atol=1e-12).y[-1]
    truth = end[2:].reshape(2, 2) @ w
    error = np.linalg.norm(found.y0 - truth) / np.linalg.norm(truth)
    assert estimate == pytest.approx(error, rel=0.3, abs=1e-10)


def test_panels_end_where_they_ended():
    rng = np.random.default_rng(3)
    fun, nodes, y0 = random_field(rng)
    times = [0.0, 0.7, 1.0, 2.5]
    cotangents = [rng.standard_normal(len(y0)) for _ in times]
    options = {"rtol": 1e-5, "atol": 1e-5}
    _, panels = record_panels(fun, times, y0, **options)
    found = collocated(nodes, panels, cotangents, **options)
    certificate = certify(found, nodes, panels, cotangents, **options)
    assert 0 < certificate.error < 1e-2
    assert certificate.swept + certificate.stepped == len(panels)
    assert len(certificate.reference.times) == len(times)
    assert certificate.reference.statistics.evaluations > found.statistics.evaluations


@pytest.mark.parametrize("outputs", [40, 80])
def test_gradients_that_are_far_better_than_their_tolerance(outputs):
    # Steps land on the outputs: the gradient is better than a reference relative to the tolerance.
    rng = np.random.default_rng(5)
    fun, nodes, y0 = random_field(rng)
    times, options = np.linspace(0, 1, outputs), {"rtol": 1e-3, "atol": 1e-3}
    cotangents = [rng.standard_normal(len(y0)) for _ in times]
    _, record = record_steps(fun, times, y0, **options)
    found = discrete(at_one_node(nodes), record, cotangents)
    _, panels = record_panels(fun, times, y0, **options)
    fine = {"rtol": 1e-13, "atol": 1e-13}
    _, sharp = record_panels(fun, times, y0, method="dop853", **fine)
    error = relative_error(found, collocated(nodes, sharp, cotangents, **fine), cotangents)
    assert 1e-13 < error < 1e-6
    estimate = certify(found, nodes, panels, cotangents, **options).error
    assert 0.1 < estimate / error < 10


def test_what_is_asked_for_is_told_of_all():
    found, nodes, panels, cotangents, options, _ = solved(0)
    n = len(found.parameters)
    for asked in ([True] * n, [False] * (n + 1)):
        with pytest.raises(ValueError, match="`asked` must tell of y0 and each of the"):
            certify(found, nodes, panels, cotangents, asked=asked, **options)


@pytest.mark.parametrize("seed", range(6))
def test_panels_with_outputs_inside(seed):
    rng = np.random.default_rng(seed)
    fun, nodes, y0 = random_field(rng)
    times, tolerance = np.linspace(0, 2, 40).tolist(), 10 ** rng.uniform(-8, -4)
    cotangents = list(rng.standard_normal((40, len(y0))))
    options = {"rtol": tolerance, "atol": tolerance}
    _, panels = record_panels(fun, times, y0, inside=True, **options)
    assert any(panel.outputs for panel in panels)
    found = collocated(nodes, panels, cotangents, **options)
    certificate = certify(found, nodes, panels, cotangents, **options)
    assert len(certificate.reference.times) == 40
    fine = {"rtol": 1e-13, "atol": 1e-13}
    _, sharp = record_panels(fun, times, y0, method="dop853", **fine)
    truth = collocated(nodes, sharp, cotangents, **fine)
    error = relative_error(found, truth, cotangents)
    assert 0.1 < certificate.error / error < 10


def test_panels_with_outputs_inside_and_a_kink():
    times, y0 = np.linspace(0, 6, 40).tolist(), np.array([1.0, -0.5])
    cotangents = list(np.random.default_rng(0).standard_normal((40, 2)))
    _, panels = record_panels(bent, times, y0, inside=True, rtol=1e-3, atol=1e-3)
    found = collocated(bent_nodes, panels, cotangents, rtol=1e-3, atol=1e-3)
    certificate = certify(found, bent_nodes, panels, cotangents, rtol=1e-3, atol=1e-3)
    assert certificate.stepped > 0
    assert len(certificate.reference.times) == 40
    _, sharp = record_panels(bent, times, y0, rtol=1e-10, atol=1e-10)
    truth = collocated(bent_nodes, sharp, cotangents, rtol=1e-8, atol=1e-8)
    assert 0.1 < certificate.error / relative_error(found, truth, cotangents) < 10
