"""Combinations of stages with weights that are arrays, and shared from step to step."""

import numpy as np
import pytest
import torch

from odecore._array import mover, nonzero
from odecore.solve import explicit_step, solve_ivp
from odecore.solve._scaled import Scaled, scaled_terms
from odecore.tableaux import Coefficients, tableau

WEIGHTS = (0.25, -1.5, 0.0, 2.0)
rng = np.random.default_rng(0)


def arrays(weights, dtype=torch.float64, grad=True):
    return [torch.tensor(w, dtype=dtype, requires_grad=grad) for w in weights]


def trained(method):
    """The method with tensors, the zeros of explicit rows included."""
    rows = [tuple(arrays(row)) for row in (*method.A, method.b)]
    return Coefficients(tuple(rows[:-1]), rows[-1], order=method.order)


def entries(method):
    return [a for row in (*method.A, method.b) for a in row]


@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("shape", [(), (3, 2)], ids=["scalar", "matrix"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_array_weights_combine_as_numbers(library, shape, mixed, with_state):
    y, *stages = rng.standard_normal((5, *shape))
    expected = y * with_state + 0.3 * sum(w * k for w, k in zip(WEIGHTS, stages, strict=True))
    weights = [np.asarray(w) for w in WEIGHTS]
    if library == "torch":
        y, *stages = map(torch.as_tensor, (y, *stages))
        weights = arrays(WEIGHTS, grad=False)
    if mixed:
        weights[1:3] = WEIGHTS[1:3]
    row = scaled_terms(nonzero(weights))
    found = mover(y)(y if with_state else None, 0.3, row, stages)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-14, atol=1e-14)


def test_rows_of_numbers_stay_what_they_were():
    assert scaled_terms(nonzero(WEIGHTS)) == ((0, 0.25), (1, -1.5), (3, 2.0))


def test_a_weight_that_is_zero_now_keeps_its_gradient():
    method = trained(Coefficients(((), (1.0,)), (0.0, 1.0), order=1))
    y = explicit_step(lambda t, y: -y, 0.0, torch.ones(2, dtype=torch.float64), 0.5, method).y
    gradient = torch.autograd.grad(y.sum(), method.b[0])[0]
    assert float(gradient) == pytest.approx(-0.5 * 2)


def test_equal_steps_share_a_product():
    scaled = Scaled(torch.ones((), requires_grad=True))
    assert scaled * 0.5 is scaled * 0.5
    assert float((scaled * 0.25).detach()) == 0.25
    h = torch.tensor(0.5)
    assert float((scaled * h).detach()) == 0.5
    assert list(scaled.made) == [0.5, 0.25]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_of_coefficients_to_second_order(dtype):
    base, shapes = tableau("three_eighths").coefficients, [0, 1, 2, 3, 4]
    numbers = torch.tensor(entries(base), dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([0.5, -0.3], dtype=dtype, requires_grad=True)

    def end(numbers, y0):
        rows = [tuple(part.unbind()) for part in numbers.split(shapes)]
        method = Coefficients(tuple(rows[:-1]), rows[-1], order=4)
        return solve_ivp(lambda t, y: t * y * y - y, (0, 1), y0, steps=2, method=method).y[-1]

    assert torch.autograd.gradcheck(end, (numbers, y0))
    assert torch.autograd.gradgradcheck(end, (numbers, y0))
    assert torch.autograd.gradcheck(end, (numbers, y0), check_forward_ad=True)


def test_transformations_follow_array_weights():
    y0 = torch.linspace(0.1, 1, 3, dtype=torch.float64)

    def end(b, y0):
        method = Coefficients(((), (0.5,)), tuple(b.unbind()), order=2)
        return solve_ivp(
            lambda t, y: -y * y, (0, 1), y0, steps=2, method=method, check_finite=False
        ).y[-1]

    b = torch.tensor([0.1, 0.9], dtype=torch.float64)
    expected = torch.stack(
        [(end(b + h, y0) - end(b - h, y0)) / 2e-5 for h in 1e-5 * torch.eye(2, dtype=torch.float64)]
    )
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(end)(b, y0), expected.T, rtol=1e-8, atol=1e-9)
    several = torch.stack([b, b + 0.1])
    for axes in ((0, None), (None, 0), (0, 0)):
        given = [x if axis is None else s for x, s, axis in
                 zip((b, y0), (several, torch.stack([y0, 2 * y0])), axes, strict=True)]  # fmt: skip
        found = torch.func.vmap(end, in_dims=axes)(*given)
        for k in range(2):
            one = end(*(x if axis is None else x[k] for x, axis in zip(given, axes, strict=True)))
            torch.testing.assert_close(found[k], one, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_array_weights_keep_the_dtype_of_the_state(dtype):
    method = tableau("three_eighths").coefficients
    tensors = [tuple(arrays(row, dtype.to_real())) for row in (*method.A, method.b)]
    y0 = torch.ones(5, dtype=dtype)
    made = Coefficients(tuple(tensors[:-1]), tensors[-1], order=4)
    end, expected = (
        solve_ivp(lambda t, y: -y, (0, 1), y0, steps=2, method=m).y[-1] for m in (made, method)
    )
    assert end.dtype == dtype
    torch.testing.assert_close(end.detach(), expected)
    end.abs().sum().backward()
    assert all(a.grad is not None and a.grad.isfinite() for a in entries(made))


def test_weights_on_the_host_combine_stages_on_a_device():
    y = torch.ones(3, device="meta")
    row = scaled_terms(nonzero(arrays(WEIGHTS, torch.float32)))
    assert mover(y)(y, 0.5, row, [y] * 4).device.type == "meta"


def test_coefficients_of_one_object_serve_many_solves():
    method, y0 = trained(tableau("heun").coefficients), torch.ones(2, dtype=torch.float64)
    gradients = []
    for _ in range(2):  # a product of the first solve has a history that is freed
        y = solve_ivp(lambda t, y: -y * y, (0, 1), y0, steps=2, method=method).y[-1]
        gradients.append(torch.autograd.grad(y.sum(), entries(method)))
    assert gradients[0] == gradients[1]


def test_a_row_of_zeros_leaves_the_state(xp):
    y = xp.asarray([1.0, 2.0])
    method = Coefficients(((), (0.0,)), (0.0, 1.0), c=(0.0, 0.5))
    found = solve_ivp(lambda t, y: y * (1 + t), (0.0, 1.0), y, method=method, steps=2)
    wanted = y * (1 + 0.5 * 1.25) * (1 + 0.5 * 1.75)
    assert xp.all(found.y[-1, ...] == wanted)
    method = Coefficients(((),), (0.0,))
    assert xp.all(solve_ivp(lambda t, y: y, (0.0, 1.0), y, method=method, steps=3).y == y)
