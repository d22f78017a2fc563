"""Gradients through implicit steps of states for which no matrices are formed."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from odecore.solve import Newton, solve_ivp
from torch_bridge import DenseField, NeuralODE, odeint, odeint_adjoint, solve
from torch_bridge import _implicit_stages as module

TIMES = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)


class Stiff(DenseField):
    """Samples with a fast direction, one after another in a flat state: none is seen there."""

    def forward(self, t, y):
        y = y.reshape(-1, 2)
        return (super().forward(t, y) - y * y.new_tensor([1.0, 50.0])).reshape(-1)


def problem(samples=204):
    torch.manual_seed(0)
    field = Stiff(2, 8).double()
    return field, torch.randn(2 * samples, dtype=torch.float64, requires_grad=True)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("method", ["implicit_euler", "radauIIA5", "trbdf2"])
def test_a_batch_has_the_gradients_of_its_samples(method):
    field, y0 = problem()
    inputs = (y0, *field.parameters())

    def solved(y):
        return odeint(field, y, TIMES, method=method, options={"steps": 2})

    whole = solved(y0)
    small = torch.cat([solved(y) for y in y0.split(102)], dim=1)  # by matrices
    torch.testing.assert_close(whole, small, rtol=1e-9, atol=1e-9)
    weights = torch.randn(whole.shape, dtype=torch.float64)
    found = gradients((weights * whole.sin()).sum(), *inputs)
    wanted = gradients((weights * small.sin()).sum(), *inputs)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.abs().max()))


def test_the_transposed_equations_are_needed(monkeypatch):
    def without(transposed, pulls, stages, values):
        return stages + values - values.detach()

    monkeypatch.setattr(module._Stages, "apply", without)
    with pytest.raises(AssertionError):
        test_a_batch_has_the_gradients_of_its_samples("implicit_euler")


def test_values_are_those_without_gradients():
    field, y0 = problem()
    arguments = {"method": "radauIIA3", "options": {"steps": 2}}
    with torch.no_grad():
        wanted = odeint(field, y0, TIMES, **arguments)
    assert torch.equal(odeint(field, y0, TIMES, **arguments), wanted)


def test_complex_states_against_real_ones():
    torch.manual_seed(0)
    w = torch.tensor([-1.0, 2.0], dtype=torch.float64, requires_grad=True)
    z0 = torch.randn(300, dtype=torch.complex128, requires_grad=True)
    options = {"method": "gl4", "options": {"steps": 2}}

    def real(t, y):  # (a + bi) z + z^2 / 10, in its two parts
        x, y = y.unbind(-1)
        square = torch.stack([x * x - y * y, 2 * x * y], -1)
        return torch.stack([w[0] * x - w[1] * y, w[0] * y + w[1] * x], -1) + square / 10

    z = odeint(lambda t, z: torch.complex(*w) * z + z * z / 10, z0, TIMES, **options)
    y = odeint(real, torch.view_as_real(z0), TIMES, **options)
    found = gradients(torch.view_as_real(z).sin().sum(), z0, w)
    wanted = gradients(y.sin().sum(), z0, w)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_a_block_trains_on_an_ordinary_batch():
    torch.manual_seed(0)
    field, y = DenseField(16, 16), torch.randn(64, 16)
    NeuralODE(field, solver="implicit_midpoint", steps=4)(y).sum().backward()
    found = [p.grad for p in field.parameters()]
    t, more = torch.tensor([0.0, 1.0]), {"method": "implicit_midpoint", "options": {"steps": 4}}
    y = odeint_adjoint(field, y, t, adjoint="discrete", **more)
    wanted = torch.autograd.grad(y[-1].sum(), list(field.parameters()))
    torch.testing.assert_close(found, list(wanted), rtol=1e-4, atol=1e-3)


def test_adaptive_steps_and_a_newton_of_the_users():
    field, y0 = problem(4)
    inputs, found = (y0, *field.parameters()), []
    for newton in (Newton(linear_solver="krylov"), Newton(linear_solver="direct")):
        options = {"method": "kvaerno43", "rtol": 1e-3, "atol": 1e-5, "newton": newton}
        y = solve(field, (0.0, 0.2), y0, **options).y[-1]
        found.append(gradients(y.square().sum(), *inputs))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_inside_a_checkpoint(reentrant):
    field, y0 = problem()
    block = NeuralODE(field, solver="implicit_midpoint", steps=2, check="off")
    found = []
    for run in (block, lambda y: checkpoint(block, y, use_reentrant=reentrant)):
        field.zero_grad()
        run(y0).sin().sum().backward()
        found.append([p.grad.clone() for p in field.parameters()])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("samples", [3, 204], ids=["by matrices", "by products"])
@pytest.mark.parametrize("solver", [odeint, odeint_adjoint])
def test_a_checkpoint_repeats_a_solve_once(solver, samples):
    field, y0 = problem(samples)
    calls = [0]
    field.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))

    def block(y):
        return solver(field, y, TIMES, method="implicit_midpoint", options={"steps": 4})[-1]

    counts = []
    for run in (block, lambda y: checkpoint(block, y, use_reentrant=False)):
        calls[0] = 0
        y = run(y0)
        forward = calls[0]
        y.sin().sum().backward()
        counts.append((forward, calls[0] - forward))
    (once, backward), (forward, repeated) = counts
    assert forward == once
    assert repeated <= backward + once + 8  # the point of each step, for its products


def test_fields_without_state_or_without_parameters():
    rate = torch.ones(1, dtype=torch.float64, requires_grad=True)
    y0 = torch.zeros(500, dtype=torch.float64)
    y = odeint(lambda t, y: rate.expand(500), y0, TIMES, method="implicit_euler")
    assert gradients(y[-1].sum(), rate)[0].item() == pytest.approx(500.0)
    y0.requires_grad_()
    y = odeint(lambda t, y: -y, y0, TIMES[[0, 2]], method="implicit_euler")
    torch.testing.assert_close(gradients(y[-1].sum(), y0)[0], torch.full_like(y0, 0.5))
    y = odeint(lambda t, y: torch.ones_like(y), y0, TIMES, method="implicit_euler")
    torch.testing.assert_close(gradients(y[-1].sum(), y0)[0], torch.ones_like(y0))


def test_gradients_that_are_not_finite_pass():
    field, y0 = problem()
    y = odeint(field, y0, TIMES, method="implicit_euler")
    g = torch.full_like(y, float("inf"))
    assert not torch.autograd.grad(y, y0, g)[0].isfinite().any()


def test_what_is_refused():
    field, y0 = problem()
    y = odeint(field, y0, TIMES, method="implicit_euler")
    basis = torch.ones(2, *y.shape, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="take chunk=1"):
        torch.autograd.grad(y, y0, basis, is_grads_batched=True, retain_graph=True)
    (first,) = torch.autograd.grad(y.sin().sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="can not be differentiated again"):
        first.sum().backward()
    newton = Newton(linear_solver="krylov")
    with pytest.raises(ValueError, match=r"torch_bridge\.odeint"):
        solve_ivp(lambda t, y: -y, (0, 1), y0, method="implicit_euler", steps=1, newton=newton)

    def end(y):
        return solve(field, (0.0, 1.0), y, method="implicit_euler", steps=1, newton=newton).y.sum()

    for transformed in (
        torch.func.grad(end),
        lambda y: torch.func.jvp(end, (y,), (y,)),
        lambda y: torch.func.grad(lambda w: w * end(y))(torch.tensor(2.0)),
    ):
        with pytest.raises(ValueError, match=r"leave Newton\(linear_solver='krylov'\) out"):
            transformed(y0.detach())
    with pytest.raises(ValueError, match=r"leave Newton\(linear_solver='krylov'\) out"):
        torch.func.jvp(
            lambda y: solve_ivp(
                lambda t, y: -y, (0, 1), y, method="gauss2", steps=1, newton=newton
            ).y.sum(),
            (y0.detach(),), (y0.detach(),),
        )  # fmt: skip
    with forward_ad.dual_level(), pytest.raises(ValueError, match="leave Newton"):
        end(forward_ad.make_dual(y0.detach(), torch.ones_like(y0)))


@pytest.mark.parametrize("method", ["gl4", "sdirk2", "kvaerno43"])
def test_large_states_under_torch_func_and_in_forward_mode(method):
    func, y0 = DenseField(3, 4).double(), torch.randn(140, 3, dtype=torch.float64)
    t = torch.tensor([0.0, 0.5], dtype=torch.float64)
    adaptive = method == "kvaerno43"
    options = {"rtol": 1e-8} if adaptive else {"options": {"steps": 2}}

    def end(y):
        return odeint(func, y, t, method=method, **options)[-1].square().sum()

    start = y0.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(end(start), start)
    torch.testing.assert_close(torch.func.grad(end)(y0), wanted, rtol=1e-6, atol=1e-8)
    along = torch.func.jvp(end, (y0,), (torch.ones_like(y0),))[1]
    torch.testing.assert_close(along, wanted.sum(), rtol=1e-6, atol=1e-8)
    with forward_ad.dual_level():
        found = end(forward_ad.make_dual(y0, torch.ones_like(y0)))
        along = forward_ad.unpack_dual(found).tangent
    torch.testing.assert_close(along, wanted.sum(), rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="a state of 4200 entries is too large for"):
        torch.func.grad(end)(y0.repeat(10, 1))


@pytest.mark.parametrize(
    "method", ["gl4", "radauIIA5", "sdirk2", "implicit_euler", "kvaerno43", "kvaerno54"]
)
@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
@pytest.mark.parametrize("adjoint", [False, True])
def test_an_empty_batch_has_gradients_that_are_zero(method, shape, adjoint):
    """As DistributedDataParallel needs them on a rank without samples."""
    shift = torch.ones((), dtype=torch.float64, requires_grad=True)
    y0 = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    solved = partial(odeint_adjoint, adjoint_params=(shift,)) if adjoint else odeint
    y = solved(lambda t, y: shift - y, y0, TIMES, method=method)
    assert y.shape == (3, *shape)
    at_y0, at_shift = torch.autograd.grad(y.sum(), (y0, shift))
    assert at_y0.shape == shape
    assert at_shift == 0


def test_constants_are_solved_without_matrices_where_others_are_mapped():
    big, w = torch.ones(5000, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)

    def end(w=1.0):
        steps = {"method": "implicit_euler", "options": {"steps": 2}}
        return odeint(lambda t, y: -w * y, big, t, **steps)[-1].mean()

    torch.testing.assert_close(torch.func.vmap(lambda x: x * end())(w), w * 4 / 9)
    with pytest.raises(ValueError, match="a state of 5000 entries is too large for"):
        torch.func.vmap(end)(w)


def test_a_tangent_that_comes_later_is_not_lost():
    big, t = torch.ones(450, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    with forward_ad.dual_level():
        w = forward_ad.make_dual(torch.tensor(1.0, dtype=torch.float64), torch.ones(()).double())

        def func(t, y):
            return -y if t < 0.6 else -w * y

        y = odeint(func, big, t, method="implicit_euler", options={"steps": 2})[-1]
        tangent = forward_ad.unpack_dual(y.mean()).tangent
    # y = 1 / (1.5 (1 + w / 2)) by a step before 0.6 and one after it
    torch.testing.assert_close(tangent, torch.tensor(-0.5 / 1.5**3, dtype=torch.float64))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("method", ["kvaerno43", "radau_iia3", "implicit_euler"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_jacobians_of_other_arrays_and_precisions_serve(method, dtype):
    A = np.array([[-3.0, 1.0], [0.0, -8.0]])
    y, given = torch.ones(2, dtype=dtype), {} if method == "kvaerno43" else {"steps": 80}
    matrix = torch.tensor(A, dtype=dtype)
    exact = torch.linalg.matrix_exp(torch.tensor(A)) @ torch.ones(2).double()
    for found in (A, A.astype(np.float32), A.astype(int), torch.tensor(A)):
        newton = Newton(jacobian=lambda t, y, found=found: found)
        options = {"method": method, "newton": newton, "rtol": 1e-3, "atol": 1e-3, **given}
        if given:
            del options["rtol"], options["atol"]
        end = solve_ivp(lambda t, y: matrix @ y, (0.0, 1.0), y, **options).y[-1]
        assert end.dtype == dtype
        torch.testing.assert_close(end.double(), exact, rtol=0.15, atol=1e-2)
