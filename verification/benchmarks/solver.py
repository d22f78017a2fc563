"""`odeint` and `odeint_adjoint` against peers: the same network, method and tolerance.

The overhead of a solve is its time over that of its evaluations of f alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import torch_bridge

SIZES = {"tiny": (1, 2, 16), "small": (64, 16, 64), "medium": (256, 64, 256)}
LIBRARIES = {"odecore": torch_bridge, "torchdiffeq": torchdiffeq}
METHODS: dict[str, dict[str, Any]] = {
    "rk4, 40 steps": {"method": "rk4", "options": {"step_size": 1 / 40}},
    "dopri5, 1e-6": {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6},
}
END = torch.tensor([0.0, 1.0])

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # torch's compiler warns of torch
    pytest.mark.filterwarnings("error::odecore.errors.CompileWarning"),
]


class Field(nn.Module):
    """Two layers and a tanh."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate."""
        return self.net(y)


def problem(size: str) -> tuple[Field, Tensor]:
    """The network of a size and its initial state, from a fixed seed."""
    batch, width, hidden = SIZES[size]
    torch.manual_seed(0)
    return Field(width, hidden), torch.randn(batch, width)


@pytest.mark.parametrize("library", ["f alone", *LIBRARIES])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_forward(timed: Callable[..., None], size: str, method: str, library: str) -> None:
    """Time a solve without gradients, and as many evaluations of f as odecore makes."""
    field, y0 = problem(size)
    options = METHODS[method]
    calls = []
    field.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        torch_bridge.odeint(field, y0, END, **options)
    field._forward_hooks.clear()
    t = torch.tensor(0.0)

    def call() -> None:
        with torch.no_grad():
            if library == "f alone":
                for _ in calls:
                    field(t, y0)
            else:
                LIBRARIES[library].odeint(field, y0, END, **options)

    timed(f"forward, {method}, {size}", library, call)


@pytest.mark.parametrize("library", ["odecore", "torchdiffeq"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gradient", [False, True])
def test_compiled(
    timed: Callable[..., None], gradient: bool, size: str, method: str, library: str
) -> None:
    """Time compile=True against torchdiffeq, which runs eagerly, with and without gradients."""
    field, y0 = problem(size)
    more = {"compile": True} if library == "odecore" else {}

    def call() -> None:
        with torch.set_grad_enabled(gradient):
            y = LIBRARIES[library].odeint(field, y0, END, **METHODS[method], **more)
            if gradient:
                y[-1].square().sum().backward()

    timed(f"compiled{' + backward' * gradient}, {method}, {size}", library, call)


@pytest.mark.parametrize("library", ["odecore", "diffrax", "torchode"])
@pytest.mark.parametrize("size", SIZES)
def test_evaluation(timed: Callable[..., None], size: str, library: str) -> None:
    """Time one evaluation in a solve with dopri5 at 1e-6: compiled, jitted and eager."""
    field, y0 = problem(size)
    call, evaluations = {"odecore": _odecore, "diffrax": _diffrax, "torchode": _torchode}[library](
        field, y0
    )
    timed(f"one evaluation, dopri5, {size}", library, call, share=evaluations)


def _odecore(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    with torch.no_grad():
        counts = torch_bridge.solve(field, (0.0, 1.0), y0, rtol=1e-6, atol=1e-6).statistics

    def call() -> None:
        with torch.no_grad():
            torch_bridge.odeint(field, y0, END, rtol=1e-6, atol=1e-6, compile=True)

    return call, counts.evaluations


def _diffrax(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    import jax

    solve, arguments = in_jax(field, y0)
    jitted = jax.jit(solve)
    steps = int(jitted(*arguments)[1])
    return lambda: jax.block_until_ready(jitted(*arguments)), 6 * steps + 2


def in_jax(field: Field, y0: Tensor) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """A solve by diffrax, giving the end and the number of steps, and its arguments."""
    import diffrax
    import jax.numpy as jnp

    weights = [jnp.asarray(p.detach().numpy()) for p in field.parameters()]

    def right_hand_side(t: Any, y: Any, args: Any) -> Any:
        inner, inner_bias, outer, outer_bias = args
        return jnp.tanh(y @ inner.T + inner_bias) @ outer.T + outer_bias

    def solve(y: Any, args: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(right_hand_side),
            diffrax.Dopri5(),
            0.0,
            1.0,
            None,
            y,
            args=args,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
        )
        return found.ys[-1], found.stats["num_steps"]

    return solve, (jnp.asarray(y0.numpy()), weights)


def _torchode(field: Field, y0: Tensor) -> tuple[Callable[[], object], int]:
    import torchode

    term = torchode.ODETerm(field)
    control = torchode.IntegralController(atol=1e-6, rtol=1e-6, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    start, end = torch.zeros(len(y0)), torch.ones(len(y0))
    task = torchode.InitialValueProblem(y0=y0, t_start=start, t_end=end)

    def call() -> Any:
        with torch.no_grad():
            return solver.solve(task)

    return call, int(call().stats["n_f_evals"].max())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interface", ["odeint", "odeint_adjoint"])
def test_gradient(
    timed: Callable[..., None], interface: str, size: str, method: str, library: str
) -> None:
    """Time a solve and its backward pass; the adjoints differ (restored against reversed)."""
    field, y0 = problem(size)
    solve = getattr(LIBRARIES[library], interface)

    def call() -> None:
        field.zero_grad()
        solve(field, y0, END, **METHODS[method])[-1].square().sum().backward()

    timed(f"{interface} + backward, {method}, {size}", library, call)
