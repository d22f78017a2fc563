"""Steps of their own for each sample of a batch."""

import math
import warnings

import numpy as np
import pytest

from odecore import errors
from odecore.solve import Status, _batch, solve_ivp, solve_per_sample

RATES = [0.3, 2.0, 40.0, 500.0]


def decay(xp, array):
    rates = array([[r] for r in RATES])
    return lambda t, y: -rates * (y - xp.cos(t)[:, None]) - xp.sin(t)[:, None]


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "verner65"])
def test_each_sample_is_the_solution_alone(method, rng):
    A = rng.standard_normal((4, 3, 3))
    y0 = rng.standard_normal((4, 3))
    times = np.linspace(0, 2, 9)
    field = lambda t, y: np.tanh(np.einsum("nij,nj->ni", A, y)) + np.sin(t)[:, None]  # noqa: E731
    found = solve_per_sample(field, (0, 2), y0, method=method, t_eval=times, rtol=1e-7, atol=1e-8)
    for i in range(4):
        alone = solve_ivp(
            lambda t, y, i=i: np.tanh(A[i] @ y) + np.sin(t), (0, 2), y0[i], method=method,
            t_eval=times, rtol=1e-7, atol=1e-8,
        )  # fmt: skip
        np.testing.assert_allclose(found.y[:, i], alone.y, rtol=1e-8, atol=1e-10)
        assert found.samples.accepted[i] == alone.statistics.accepted
        assert found.samples.rejected[i] == alone.statistics.rejected


def test_options_of_joint_steps_are_refused_with_where_they_are():
    solve = lambda **options: solve_per_sample(lambda t, y: -y, (0, 1), np.ones((2, 1)), **options)  # noqa: E731
    with pytest.raises(
        TypeError, match=r"solve_per_sample\(\) got .* 'events'; solve_ivp has that"
    ):
        solve(events=lambda t, y: y[0])
    with pytest.raises(TypeError, match="did you mean 'rtol'"):
        solve(rtoll=1e-3)


@pytest.mark.long_on_jax
def test_every_array_library_and_precision(xp, dtype, array, eps):
    y0 = array([[1.0]] * 4)
    tolerance = max(100 * eps, 1e-7)
    found = solve_per_sample(
        decay(xp, array), (0, 1), y0, t_eval=[0.0, 0.5, 1.0], rtol=tolerance, atol=tolerance
    )
    assert found.y.dtype == y0.dtype
    assert found.y.shape == (3, 4, 1)
    for k, t in enumerate((0.0, 0.5, 1.0)):
        for i in range(4):
            assert float(found.y[k, i, 0]) == pytest.approx(math.cos(t), abs=max(1e-6, 3000 * eps))


def test_mixed_stiffness_costs_less_than_joint_steps():
    field = decay(np, np.array)
    y0 = np.full((4, 1), 3.0)
    joint = solve_ivp(lambda t, y: field(np.full(4, t), y), (0, 10), y0, rtol=1e-6)
    own = solve_per_sample(field, (0, 10), y0, rtol=1e-6)
    assert own.samples.accepted[0] < joint.statistics.accepted / 20
    assert list(own.samples.accepted) == sorted(own.samples.accepted)


@pytest.mark.parametrize("span", [(0, 1), (1, 0)])
def test_both_directions_and_an_end_that_is_not_recorded(span):
    y0 = np.ones((2, 1))
    times = [span[0], 0.5]
    found = solve_per_sample(lambda t, y: -y, span, y0, t_eval=times, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(found.t, times)
    np.testing.assert_allclose(found.y[1], np.exp(-(0.5 - span[0])), rtol=1e-8)
    assert set(found.samples.t) == {span[1]}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_sample_that_fails_does_not_end_the_others():
    y0 = np.array([[1.0], [1.0], [np.nan], [0.1]])
    power = np.array([[1.0], [2.0], [1.0], [2.0]])
    found = solve_per_sample(lambda t, y: y**power, (0, 2), y0, throw=False, t_eval=[0, 0.5, 2])
    status = found.samples.status
    assert status[0] is status[3] is Status.SUCCESS
    assert status[1] in (Status.STEP_UNDERFLOW, Status.NONFINITE_RHS)
    assert status[2] is Status.NONFINITE_INPUT
    assert found.status is status[1]
    assert found.y[-1, 0, 0] == pytest.approx(math.exp(2), rel=1e-5)
    assert found.y[-1, 3, 0] == pytest.approx(0.125, rel=1e-5)
    assert found.y[1, 1, 0] == pytest.approx(2, rel=1e-4)
    assert np.isnan(found.y[-1, 1, 0])
    assert found.samples.t[1] == pytest.approx(1, abs=1e-3)
    with pytest.raises(errors.SolveError, match="sample 1, the first of 2 of 4"):
        found.raise_for_status()
    few = solve_per_sample(lambda t, y: -y, (0, 1), y0[:2], max_steps=2, throw=False)
    assert set(few.samples.status) == {Status.MAX_STEPS}


def test_gradients_go_through_the_steps():
    torch = pytest.importorskip("torch")
    rate = torch.tensor([[0.5], [3.0]], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    found = solve_per_sample(lambda t, y: -rate * y, (0, 1), y0, t_eval=[0, 0.3, 1], rtol=1e-9, atol=1e-10)  # fmt: skip
    exact = torch.exp(-rate * torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)[:, None, None]) * y0  # fmt: skip
    ours = torch.autograd.grad(found.y.square().sum(), (rate, y0))
    theirs = torch.autograd.grad(exact.square().sum(), (rate, y0))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_bounds_controllers_and_counts():
    calls = 0

    def field(t, y):
        nonlocal calls
        calls += 1
        return -y

    y0 = np.ones((3, 2))
    found = solve_per_sample(field, (0, 1), y0, max_step=0.1, controller="PID", first_step=0.05)
    assert found.statistics.evaluations == calls
    assert min(found.samples.accepted) >= 10
    assert found.statistics.accepted == sum(found.samples.accepted)
    forced = solve_per_sample(lambda t, y: -300 * y, (0, 0.1), y0, min_step=0.01, rtol=1e-9)
    assert forced.statistics.forced > 0


@pytest.mark.parametrize(
    ("y0", "options", "message"),
    [
        (1.0, {}, "first axis of samples"),
        (np.ones(2), {"method": "kvaerno43"}, "explicit"),
        (np.ones(2), {"method": "classic"}, "error estimate"),
        (np.ones(2), {"max_steps": 0}, "positive int"),
        (np.ones(2), {"rtol": -1}, "not negative"),
    ],
)
def test_bad_input_is_refused(y0, options, message):
    with pytest.raises(ValueError, match=message):
        solve_per_sample(lambda t, y: -y, (0, 1), y0, **options)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("span", [(0.0, 2.0), pytest.param((2.0, 0.0), marks=pytest.mark.long)])
def test_samples_that_are_not_done_go_on_alone(xp, dtype, array, eps, span):
    rates = array([[0.5], [30.0], [8.0], [1.5]])
    sizes = []

    def fun(t, y, rates):
        assert t.shape[0] == y.shape[0] == rates.shape[0]
        sizes.append(y.shape[0])
        return (1.0 if span[1] > span[0] else -1.0) * rates * (xp.cos(t)[:, None] - y)

    options = {
        "args": (rates,), "t_eval": [span[0], 0.3 * span[1] + 0.7 * span[0], span[1]],
        "rtol": max(100 * eps, 1e-6), "atol": array([[1e-3 * (i + 1)] for i in range(4)]),
    }  # fmt: skip
    y0 = array([[0.1 * i] for i in range(4)])
    whole = solve_per_sample(fun, span, y0, **options)
    assert set(sizes) == {4}
    sizes.clear()
    shrunk = solve_per_sample(fun, span, y0, shrink=True, **options)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    np.testing.assert_allclose(np.asarray(shrunk.y), np.asarray(whole.y), rtol=1e3 * eps)
    for name in ("t", "accepted", "rejected"):
        np.testing.assert_array_equal(getattr(shrunk.samples, name), getattr(whole.samples, name))
    assert shrunk.statistics == whole.statistics


def test_a_sample_that_fails_keeps_its_place_in_a_batch_that_shrinks():
    rates = np.array([[1.0], [1.0], [-1.0], [1.0], [400.0]])

    def fun(t, y, rates):
        with np.errstate(invalid="ignore"):
            return np.where(rates < 0, np.sqrt(0.5 - t)[:, None], -rates * y)

    found = solve_per_sample(
        fun, (0, 1), np.ones((5, 1)), args=[rates], shrink=True, throw=False, rtol=1e-8
    )
    names = [status.name for status in found.samples.status]
    assert names == ["SUCCESS", "SUCCESS", "NONFINITE_RHS", "SUCCESS", "SUCCESS"]
    np.testing.assert_allclose(found.y[-1, [0, 1, 3, 4], 0], np.exp(-rates[[0, 1, 3, 4], 0]), atol=1e-6)  # fmt: skip
    assert np.isnan(found.y[-1, 2, 0])
    few = solve_per_sample(fun, (0, 1), np.ones((5, 1)), args=[rates], shrink=True, max_steps=20, throw=False)  # fmt: skip
    assert few.samples.status[4] is Status.MAX_STEPS
    assert few.samples.status[0] is Status.SUCCESS


def test_gradients_of_a_batch_that_shrinks():
    torch = pytest.importorskip("torch")
    rates = torch.tensor([[1.0], [30.0], [2.0], [0.5]], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(4, 1, dtype=torch.float64)
    found = solve_per_sample(
        lambda t, y, rates: -rates * y, (0, 1), y0, args=(rates,), shrink=True, rtol=1e-9
    )
    found.y[-1].sum().backward()
    torch.testing.assert_close(rates.grad, -torch.exp(-rates.detach()), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("bad", [np.ones((3, 1)), np.float64(1), 2.0, np.ones(())])
def test_arguments_without_a_row_for_each_sample_are_refused(bad):
    with pytest.raises(ValueError, match="2 samples along their first axis"):
        solve_per_sample(lambda t, y, a: -y, (0, 1), np.ones((2, 1)), args=(bad,))


@pytest.mark.parametrize("bad", [np.ones((2, 1)), np.ones((1, 1)), 3, None])
def test_arguments_are_a_sequence(bad):
    # The rows of one array were taken for as many arrays: one of one sample lost its first axis.
    with pytest.raises(TypeError, match=r"`args` must be a sequence of arrays, got .*array,"):
        solve_per_sample(lambda t, y, a: -a * y, (0, 1), np.ones((1, 1)), args=bad)


@pytest.mark.parametrize("start", [1e6, 1.7e9, -1.7e9])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_times_far_from_zero_are_not_rounded_to_the_state(start, dtype):
    y0 = np.zeros((2, 1), dtype)
    found = solve_per_sample(
        lambda t, y: np.cos(t)[:, None] + 0 * y, (start, start + 10), y0, rtol=1e-5, atol=1e-5
    )
    assert found.y.dtype == dtype
    wanted = math.sin(start + 10) - math.sin(start)
    np.testing.assert_allclose(found.y[-1, :, 0], wanted, atol=1e-4)


@pytest.mark.parametrize("span", [(200, 205), (1e5, 1e5 + 3)])
def test_times_of_half_precision_states_are_single_at_least(span):
    y0 = np.zeros((1, 1), np.float16)
    found = solve_per_sample(
        lambda t, y: np.cos(2 * t)[:, None] + 0 * y, span, y0, rtol=1e-2, atol=1e-2
    )
    assert found.y.dtype == np.float16
    wanted = (math.sin(2 * span[1]) - math.sin(2 * span[0])) / 2
    assert float(found.y[-1, 0, 0]) == pytest.approx(wanted, abs=0.03)


def test_times_that_a_library_can_not_hold_are_refused():
    jax = pytest.importorskip("jax")
    y0 = jax.numpy.zeros((1, 1), jax.numpy.float32)
    with jax.enable_x64(False), pytest.raises(ValueError, match="let the interval start at 0"):
        solve_per_sample(lambda t, y: jax.numpy.cos(t)[:, None], (1e9, 1e9 + 1), y0)


def test_jax_in_single_precision_is_asked_for_nothing_wider():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        rates = jax.numpy.asarray([[1.0], [200.0], [0.5]])
        found = solve_per_sample(
            lambda t, y, rates: -rates * y, (0, 1), jax.numpy.ones((3, 1)), args=(rates,),
            shrink=True, rtol=1e-4, atol=1e-4,
        )  # fmt: skip
    np.testing.assert_allclose(found.y[-1], np.exp(-np.asarray(rates)), atol=1e-3)


def test_a_state_at_rest_is_solved_at_any_time():
    found = solve_per_sample(lambda t, y: 0 * y, (1.7e12, 1.7e12 + 1e6), np.ones((2, 1)))
    np.testing.assert_array_equal(found.y[-1], 1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_progress_goes_on_behind_a_sample_that_failed():
    shares, rates = [], np.array([[5.0], [0.1]])
    found = solve_per_sample(lambda t, y: rates * y**2, (0, 3), np.ones((2, 1)), throw=False, progress=shares.append)  # fmt: skip
    assert not found.success
    assert shares[-1] == 1


@pytest.mark.parametrize("transformation", ["jit", "grad", "vmap"])
def test_what_reads_values_is_refused_under_transformations(transformation):
    jax = pytest.importorskip("jax")

    def end(y):
        return solve_per_sample(lambda t, y: -y, (0.0, 1.0), y).y[-1].sum()

    with pytest.raises(TypeError, match=r"`steps` to an explicit method.*adaptive_leap"):
        getattr(jax, transformation)(end)(jax.numpy.ones((2, 3, 1)))


def test_outputs_are_recorded_once_a_step_however_many_they_are(monkeypatch):
    """Each of 1000 outputs was a pass through the batch for each step that came to it."""
    calls = []
    plain = _batch.take_rows
    monkeypatch.setattr(_batch, "take_rows", lambda *a: calls.append(1) or plain(*a))
    rates = np.linspace(1, 5, 40)[:, None]
    counts = []
    for n in (30, 600):
        calls.clear()
        times = np.linspace(0, 1, n)
        found = solve_per_sample(lambda t, y: -rates * y, (0, 1), np.ones((40, 1)), t_eval=times)
        counts.append(len(calls))
        exact = np.exp(-rates * times[:, None, None])
        np.testing.assert_allclose(found.y, exact, rtol=1e-4)
    assert counts[1] <= 1.5 * counts[0]


def test_a_sample_that_fails_leaves_the_gradients_of_the_others():
    torch = pytest.importorskip("torch")
    y0 = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    blows_up = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
    found = solve_per_sample(
        lambda t, y: -y + blows_up * y**2 * 100, (0, 1), y0, t_eval=np.linspace(0, 1, 5),
        throw=False, max_steps=200,
    )  # fmt: skip
    assert [status is Status.SUCCESS for status in found.samples.status] == [True, False, True]
    y = found.y[:, [0, 2]]
    (gradient,) = torch.autograd.grad(y[-1].sum(), y0)
    assert gradient[[0, 2], 0].tolist() == pytest.approx([np.exp(-1.0)] * 2, rel=1e-4)
