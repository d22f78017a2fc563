"""What jax traces is a solve's when it need not be read, and refused in plain words where it is."""

import math

import numpy as np
import pytest

from odecore.solve import Newton, solve_ivp, solve_per_sample

jax = pytest.importorskip("jax")


def fun(t, y):
    return -y


CASES = {
    "grid": {"grid": "grid"},
    "jump_at": {"jump_at": "inside", "steps": 4},
    "jump_at, adaptive": {"jump_at": "inside"},
    "step_at": {"step_at": "inside"},
    "rtol": {"rtol": "number"},
    "atol": {"atol": "number"},
    "atol of each entry": {"atol": "numbers"},
    "step_size": {"step_size": "number"},
    "first_step": {"first_step": "number"},
    "min_step": {"min_step": "number"},
    "max_step": {"max_step": "number"},
}


@pytest.mark.parametrize("name", CASES)
def test_options_that_are_traced_are_refused(name):
    def end(x):
        traced = {
            "number": x,
            "numbers": x * np.ones(2),
            "inside": [x],
            "grid": jax.numpy.asarray([0, x, 1]),
        }
        options = {key: traced.get(value, value) for key, value in CASES[name].items()}
        return solve_ivp(fun, (0.0, 1.0), np.ones(2), **options).y[-1]

    with pytest.raises(TypeError, match=r"jax's transformations"):
        jax.jit(end)(0.5)
    assert end(0.5).shape == (2,)


@pytest.mark.parametrize("option", ["rtol", "first_step", "max_step"])
def test_options_of_samples_that_are_traced_are_refused(option):
    with pytest.raises(TypeError, match=r"jax's transformations"):
        jax.jit(lambda x: solve_per_sample(fun, (0.0, 1.0), np.ones((2, 1)), **{option: x}).y)(0.1)


@pytest.mark.parametrize("t_eval", [[0.2, 0.5], [0.0, 0.5], [0.5]])
def test_outputs_with_other_ends_than_traced_times_are_refused(t_eval):
    y0 = jax.numpy.ones(2)
    with pytest.raises(ValueError, match=r"`t_eval` .* where .*can not be read"):
        jax.jit(lambda t: solve_ivp(fun, (0.0, t), y0, t_eval=t_eval, steps=5).y)(1.0)
    with pytest.raises(ValueError, match=r"`t_eval` .* where .*can not be read"):
        jax.jit(lambda t: solve_ivp(fun, (0.0, t), y0, t_eval=[0.2, t], steps=5).y)(1.0)
    with pytest.raises(ValueError, match=r"`t_eval` .* where .*can not be read"):
        jax.jit(lambda t: solve_ivp(fun, (0.0, t), y0, t_eval=[t], steps=5).y)(1.0)
    solve = jax.jit(lambda t: solve_ivp(fun, (0.0, t), y0, t_eval=[0.0, 0.5, t], steps=5).y)
    np.testing.assert_allclose(solve(1.0)[:, 0], np.exp([0, -0.5, -1]), rtol=1e-5)


def test_states_and_times_are_returned_from_what_jax_transforms():
    def solve(y0, parts):
        found = solve_ivp(fun, (0.0, 1.0), y0, method="classic", steps=8, t_eval=[0.0, 0.5, 1.0])
        return (found.y, found.t) if parts else found

    with pytest.raises(TypeError, match="Trajectory"):  # as the page for users of diffrax says
        jax.jit(lambda y0: solve(y0, False))(jax.numpy.ones(2))
    y, t = jax.jit(lambda y0: solve(y0, True))(jax.numpy.ones(2))
    np.testing.assert_allclose(y[:, 0], np.exp(-t), rtol=1e-4)
    y, t = jax.vmap(lambda y0: solve(y0, True))(jax.numpy.ones((5, 2)))
    np.testing.assert_allclose(y[0, :, 0], np.exp(-t[0]), rtol=1e-4)


def test_dense_output_at_times_that_can_not_be_read():
    found = solve_ivp(fun, (0.0, 1.0), np.ones(1), dense=True)
    for times in (0.5, np.array([0.25, 0.5])):
        with pytest.raises(TypeError, match=r"dense output.*jax's transformations"):
            jax.jit(found.dense)(times)
    assert found(jax.numpy.asarray(0.5))[0] == pytest.approx(math.exp(-0.5), rel=1e-5)


def test_dense_output_at_times_that_want_gradients():
    torch = pytest.importorskip("torch")
    found = solve_ivp(fun, (0.0, 1.0), np.ones(1), dense=True)
    times = torch.tensor([0.5], requires_grad=True)
    with pytest.raises(TypeError, match=r"no gradient: give `t.detach\(\)`"):
        found(times)
    with pytest.raises(TypeError, match="`t` is read, and gets no gradient"):
        found([*times])
    with pytest.raises(TypeError, match="`rtol` is read, and gets no gradient"):
        solve_ivp(fun, (0.0, 1.0), np.ones(1), rtol=[*times])
    assert found(times.detach())[0, 0] == pytest.approx(math.exp(-0.5), rel=1e-5)


@pytest.mark.parametrize("method", ["trapezoidal", "kvaerno43", "gauss4"])
def test_tangents_pass_implicit_steps_or_are_refused(method):
    torch = pytest.importorskip("torch")
    forward_ad = torch.autograd.forward_ad
    y0, one = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.ones((), dtype=torch.float64)

    def end(y, rate, **options):
        return solve_ivp(lambda t, y: -rate * y**3, (0, 1), y, method=method, steps=2, **options)

    def along(y, rate, **options):
        with forward_ad.dual_level():
            y, rate = (x if v is None else forward_ad.make_dual(x, v) for x, v in (y, rate))
            return forward_ad.unpack_dual(end(y, rate, **options).y[-1]).tangent

    step = 1e-5
    for tangents in ((one * y0, None), (None, one)):
        v, w = (0.0 if tangent is None else step * tangent for tangent in tangents)
        wanted = (end(y0 + v, one + w).y[-1] - end(y0 - v, one - w).y[-1]) / (2 * step)
        at = (y0, tangents[0]), (one, tangents[1])
        torch.testing.assert_close(along(*at), wanted, rtol=1e-7, atol=1e-9)
        with pytest.raises(ValueError, match=r"forward mode would be lost.* out"):
            along(*at, newton=Newton(linear_solver="krylov"))
    many = y0.repeat(250)
    with pytest.raises(ValueError, match="forward mode would be lost"):
        along((many, many), (one, None))


def test_times_with_tangents_are_refused():
    torch = pytest.importorskip("torch")
    forward_ad = torch.autograd.forward_ad
    found = solve_ivp(fun, (0.0, 1.0), np.ones(1), dense=True)
    with forward_ad.dual_level():
        time = forward_ad.make_dual(torch.tensor(0.5), torch.tensor(1.0))
        with pytest.raises(TypeError, match=r"no gradient: give `t.detach\(\)`"):
            found(time)
        with pytest.raises(TypeError, match="no gradient: give detached times"):
            solve_ivp(fun, (0.0, time), np.ones(1))
        with pytest.raises(ValueError, match="step_size"):
            solve_ivp(fun, (0.0, 1.0), np.ones(1), step_size=time)
        assert found(time.detach()) == found(0.5)
