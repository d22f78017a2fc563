"""Backward passes of given steps take the steps of the forward ones, wherever the outputs are."""

import pytest
import torch

from torch_bridge import odeint, odeint_adjoint

D = torch.float64


class Stiff(torch.nn.Module):
    """y' = -k (y - sin t): steps that miss the region of stability by a little show it."""

    def __init__(self, k):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(k, dtype=D))

    def forward(self, t, y):
        return -self.k * (y - torch.sin(t))


class Turning(torch.nn.Module):
    """y' = k tanh(A y)."""

    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(1.0, dtype=D))

    def forward(self, t, y):
        return self.k * torch.tanh(y @ torch.tensor([[0.0, -3.0], [3.0, 0.0]], dtype=D))


class Decaying(torch.nn.Module):
    """y' = -k y / (t + 1e-3)."""

    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(0.7, dtype=D))

    def forward(self, t, y):
        return -self.k * y / (t + 1e-3)


def gradients(solve, func, t, **options):
    y0 = torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)
    y = solve(func, y0, torch.tensor(t, dtype=D), **options)
    return torch.autograd.grad(y[-1].sum(), (y0, func.k))


@pytest.mark.filterwarnings("ignore:.*nodes do not resolve")  # no matter for y0
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("adjoint", ["reversed", "restored"])
@pytest.mark.parametrize(("method", "k"), [("euler", 15.0), ("rk4", 20.0)])
def test_an_early_output_leaves_the_steps_as_small_as_they_are(method, k, adjoint, own):
    more = {"adjoint_options": {"step_size": 0.1}} if own else {}
    y0_grad, _ = gradients(
        odeint_adjoint, Stiff(k), [0.0, 0.01, 4.0], method=method, options={"step_size": 0.1},
        adjoint=adjoint, **more,
    )  # fmt: skip
    assert y0_grad.abs().max() < 1e-10  # exp(-60) and less


@pytest.mark.parametrize("backward", [{}, {"adjoint_options": {"step_size": 0.1}}])
def test_several_outputs_in_the_beginning(backward):
    options = {"method": "rk4", "options": {"step_size": 0.1}}
    t = [0.0, 0.1, 0.2, 0.3, 0.4, 4.0]
    wanted = gradients(odeint, Turning(), t, **options)
    found = gradients(odeint_adjoint, Turning(), t, adjoint="reversed", **options, **backward)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


def test_a_stretched_grid_is_that_of_the_backward_pass():
    def grid(func, y0, t):
        s = torch.linspace(0, 1, 41, dtype=t.dtype) ** 4
        return s if t[-1] > t[0] else s.flip(0)

    options = {"method": "rk4", "options": {"grid_constructor": grid}}
    wanted = gradients(odeint, Decaying(), [0.0, 1.0], **options)
    for own in ({}, {"adjoint_options": {"grid_constructor": grid}}):
        found = gradients(
            odeint_adjoint, Decaying(), [0.0, 1.0], adjoint="reversed", **options, **own
        )
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=5e-3, atol=0)


@pytest.mark.parametrize("adjoint", ["reversed", "restored"])
@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 0.25, 1.0]])
@pytest.mark.parametrize("own", [False, True])
def test_perturbed_steps_stay_on_their_side_backward(adjoint, t, own):
    """f jumps from a y to b y at an end of steps that is not an output: exp((a + b)/2)."""

    class Jump(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(torch.tensor(1.0, dtype=D))

        def forward(self, t, y):
            return self.k * torch.where(t < 0.5, 0.7, -2.5) * y

    options = {"step_size": 0.125, "perturb": True}
    more = {"adjoint_options": options} if own else {}
    y0_grad, k_grad = gradients(
        odeint_adjoint, Jump(), t, method="rk4", options=options, adjoint=adjoint, **more
    )
    exact = torch.exp(torch.tensor(-0.9, dtype=D))
    torch.testing.assert_close(y0_grad, exact.expand(2), rtol=5e-4, atol=0)
    torch.testing.assert_close(k_grad, -0.9 * exact * 3, rtol=2e-3, atol=0)


def test_a_norm_of_the_reversed_adjoint_gets_the_parts_of_a_tuple():
    shapes = []

    def norm(parts):
        shapes.append([tuple(part.shape) for part in parts])
        return max(part.abs().max() for part in parts if part.numel())

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(torch.ones((), dtype=D))

        def forward(self, t, y):
            return -self.k * y[0], y[1].sin()

    y0 = (torch.ones(2, 2, dtype=D), torch.ones(1, dtype=D))
    y = odeint_adjoint(
        Two(), y0, torch.tensor([0.0, 1.0], dtype=D), adjoint="reversed",
        adjoint_options={"norm": norm},
    )  # fmt: skip
    y[0].sum().backward()
    assert shapes
    assert set(map(str, shapes)) == {str([(), (2, 2), (1,), (2, 2), (1,), ()])}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rk4", "options": {"perturb": True}}, "option `perturb`"),
        ({"options": {"jump_t": torch.tensor([0.5], dtype=D)}}, "option `jump_t`"),
        ({"method": "rk4", "options": {"step_size": 0.3}}, "`step_size` miss 0.7: give `steps`"),
        (
            {"method": "rk4", "options": {"grid_constructor": lambda f, y, t: t[[0, -1]]}},
            "`grid_constructor` miss 0.7",
        ),
    ],
)
def test_the_discrete_adjoint_names_the_option_that_it_can_not_have(options, message):
    t = torch.tensor([0.0, 0.7, 1.0], dtype=D)
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(Turning(), torch.ones(2, dtype=D), t, adjoint="discrete", **options)
