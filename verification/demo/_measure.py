"""What the figures show: measurements on the trained plain model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from odecore.errors import UnresolvedInterpolantWarning
from odecore.families import RK4
from odecore.sketching import (
    BalancedCountSketch,
    Centred,
    GaussianSketch,
    UniformRows,
    minibatch_variance,
    moments,
    sketched_product,
    variance,
)
from odecore.solve import solve_ivp
from odecore.tableaux import coefficients_at
from torch_bridge import (
    SolverConsistencyReport,
    equiangular_backward,
    odeint,
    odeint_adjoint,
    solver_consistency,
)
from verification._digits import Data, digit_pairs
from verification.demo._rows import PAIR_ROWS, STEPS, Classifier
from verification.demo._train import losses, step

__all__ = [
    "Decreases",
    "ErrorMap",
    "NodeErrors",
    "SketchNoise",
    "consistency",
    "error_map",
    "node_errors",
    "relative_decreases",
    "sketch_noise",
]

Array = NDArray[np.float64]
END = torch.tensor([0.0, 1.0], dtype=torch.float64)


@dataclass(frozen=True)
class ErrorMap:
    """Error of RK4(u, v) in the block, over the parameter plane; NaN on the excluded set."""

    u: Array
    v: Array
    error: Array


def error_map(model: Classifier, data: Data, points: int) -> ErrorMap:
    """Solve the block with every member of a grid at once, one row of the grid a batch."""
    states = _states(model, data, 32)
    field = model.field
    exact = odeint(field, states, END, rtol=1e-10, atol=1e-12)[-1]
    grid = np.linspace(0.03, 1.17, points)
    errors = np.empty((points, points))
    for i, v in enumerate(grid):
        u = torch.from_numpy(grid).reshape(-1, 1, 1)
        method = coefficients_at(RK4, u=u, v=torch.full((1, 1, 1), v, dtype=u.dtype))
        start = states.expand(points, *states.shape).contiguous()
        end = solve_ivp(
            lambda t, y: field(torch.as_tensor(t, dtype=y.dtype), y),
            (0, 1),
            start,
            t_eval=[1.0],
            method=method,
            steps=STEPS,
            check_finite=False,
        ).y[-1]
        errors[i] = (end - exact).square().mean((1, 2)).sqrt().detach().numpy()
    return ErrorMap(grid, grid, errors)


def consistency(model: Classifier, data: Data) -> SolverConsistencyReport:
    """Whether the trained classifier is the flow's or its four steps', on all images."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x)[0]

    x, y = torch.cat([data.train_x, data.test_x]), torch.cat([data.train_y, data.test_y])
    return solver_consistency(First(), list(zip(x.split(512), y.split(512), strict=True)))


@dataclass(frozen=True)
class NodeErrors:
    """Relative gradient error of the restored adjoint over node counts, for each solver."""

    nodes: tuple[int, ...]
    errors: dict[str, tuple[float, ...]]


def node_errors(model: Classifier, data: Data, nodes: tuple[int, ...]) -> NodeErrors:
    """Compare with a solve at a tolerance of 1e-12; as many steps as gaps between nodes."""
    states = _states(model, data, 64)
    labels = data.test_y[:64, 0]
    field, head = model.field, model.heads[0]

    def gradient(end: Tensor) -> Tensor:
        loss = torch.nn.functional.cross_entropy(head(end), labels)
        found = torch.autograd.grad(loss, list(field.parameters()))
        return torch.cat([g.flatten() for g in found])

    reference = gradient(odeint(field, states, END, rtol=1e-12, atol=1e-13)[-1])

    def error(method: str, m: int) -> float:
        options = {"method": method, "options": {"steps": m - 1}, "nodes": m}
        with warnings.catch_warnings():  # too few nodes are what the figure shows
            warnings.simplefilter("ignore", UnresolvedInterpolantWarning)
            found = gradient(odeint_adjoint(field, states, END, **options)[-1])
        return float((found - reference).norm() / reference.norm())

    methods = {"order 2 (Heun)": "heun2", "order 3": "bosh3", "order 5": "dopri5"}
    errors = {name: tuple(error(key, m) for m in nodes) for name, key in methods.items()}
    return NodeErrors(nodes, errors)


@dataclass(frozen=True)
class SketchNoise:
    """Variance of sketched weight gradients against formula, relative to ||X^T Y||^2."""

    sizes: tuple[int, ...]
    measured: dict[str, tuple[tuple[float, float], ...]]
    exact: dict[str, tuple[float, ...]]
    published: tuple[float, ...]
    minibatch: float


def sketch_noise(model: Classifier, data: Data, draws: int) -> SketchNoise:
    """Measure on the real input and output gradient of the field's first layer, 256 rows."""
    rows = 256
    x, y = _states(model, data, rows, train=True), data.train_y[:rows, 0]
    captured: list[Tensor] = []
    handle = model.field.inner.register_forward_hook(
        lambda _, inputs, output: captured.extend((inputs[0], output))
    )
    z = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model.heads[0](z + model.field(END[0], z)), y)
    handle.remove()
    X = captured[0].detach().numpy()
    Y = torch.autograd.grad(loss, captured[1])[0].numpy()
    exact_product = X.T @ Y
    scale = float(np.sum(exact_product**2))
    sizes = (8, 16, 32, 64, 128)
    rng = np.random.default_rng(0)
    kinds: dict[str, Any] = {
        "Gaussian": GaussianSketch,
        "uniform rows": UniformRows,
        "balanced, centred": lambda p: Centred(BalancedCountSketch(p)),
    }
    measured, exact = {}, {}
    for name, kind in kinds.items():
        found = []
        for p in sizes:
            squares = [
                float(np.sum((sketched_product(kind(p), X, Y, rng) - exact_product) ** 2)) / scale
                for _ in range(draws)
            ]
            found.append((float(np.mean(squares)), float(np.std(squares, ddof=1) / draws**0.5)))
        measured[name] = tuple(found)
        exact[name] = tuple(float(variance(kind(p), X, Y)) / scale for p in sizes)
    m = moments(X, Y)
    published = tuple(float((m.x * m.y - m.product) / p) / scale for p in sizes)
    return SketchNoise(sizes, measured, exact, published, float(minibatch_variance(X, Y)) / scale)


@dataclass(frozen=True)
class Decreases:
    """Measured decrease of both losses over one small step, divided by their gradients' norms."""

    equiangular: Array
    summed: Array
    kappa: float


def relative_decreases(pairs: int, steps: int) -> Decreases:
    """Train on pairs, one loss scaled by kappa, and measure both directions along the way."""
    kappa = 10.0
    data = digit_pairs(pairs, 10)
    torch.manual_seed(0)
    row = PAIR_ROWS[1]
    model = Classifier(row, data.train_x.shape[1]).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    parameters = list(model.parameters())
    found: dict[str, list[list[float]]] = {"equiangular": [], "sum": []}
    for k in range(steps):
        index = torch.arange(k * 64, k * 64 + 64) % pairs
        x, y = data.train_x[index].double(), data.train_y[index]
        left, right = losses(model, x, y)
        current = [left, kappa * right]
        norms = []
        for loss in current:
            gradient = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            norms.append(_norm(g for g in gradient if g is not None))
        directions = {}
        for name in found:  # both before any parameter moves
            optimizer.zero_grad()
            if name == "sum":
                (current[0] + current[1]).backward(retain_graph=True)
            else:
                equiangular_backward(current, parameters, retain_graph=True)
            directions[name] = [p.grad for p in parameters]
        for name, direction in directions.items():
            h = 1e-4 / _norm(direction)
            with torch.no_grad():
                torch._foreach_add_(parameters, direction, alpha=-h)
                moved_left, moved_right = losses(model, x, y)
                torch._foreach_add_(parameters, direction, alpha=h)
            decreases = (left - moved_left, kappa * (right - moved_right))
            pairs_of = zip(decreases, norms, strict=True)
            found[name].append([float(d.detach()) / (1e-4 * n) for d, n in pairs_of])
        step(model, row, x, y, optimizer)
    return Decreases(np.array(found["equiangular"]), np.array(found["sum"]), kappa)


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(sum(t.square().sum() for t in tensors)) ** 0.5


def _states(model: Classifier, data: Data, count: int, *, train: bool = False) -> Tensor:
    """Real initial states of the block, in double precision; the model becomes double too."""
    model.double().eval()
    x = (data.train_x if train else data.test_x)[:count].double()
    return model.stem(x).tanh().detach()
