"""Stiff solves and their gradients by implicit steps, against SciPy and diffrax.

`python -m verification.benchmarks.stiff` prints one table of solves in NumPy and one of gradients.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import torch
from torch import Tensor, nn

import odecore
from torch_bridge import odeint, odeint_adjoint
from verification._options import positive
from verification.benchmarks._rows import Row, add_options, keep, versus
from verification.benchmarks._times import medians

METHOD, TOLERANCE = "kvaerno54", {"rtol": 1e-5, "atol": 1e-8}
ROUNDS = 5
POINTS = (100, 400)  # of the heat equation
SAMPLES = (64, 512)  # of Robertson's problem at once


@dataclass(frozen=True)
class Problem:
    """y' = f(y, theta), in the words of an array library, with its outputs; of one sample, or with
    states (samples, n).
    """

    name: str
    fun: Callable[[Any, Any, Any], Any]
    y0: np.ndarray
    theta: np.ndarray
    times: np.ndarray


def van_der_pol(y: Any, theta: Any, xp: Any) -> Any:
    """Of the stiffness theta."""
    return xp.stack([y[1], theta[0] * (1 - y[0] ** 2) * y[1] - y[0]])


def robertson(y: Any, theta: Any, xp: Any) -> Any:
    """Three reactions, with their rates."""
    a, b, c = theta[0] * y[0], theta[1] * y[1] ** 2, theta[2] * y[1] * y[2]
    return xp.stack([c - a, a - c - b, b])


def heat(y: Any, theta: Any, xp: Any) -> Any:
    """Second differences, and a reaction."""
    n, zero = y.shape[0], xp.zeros_like(y[:1])
    z = xp.concatenate([zero, y, zero])
    return theta[0] * (n + 1.0) ** 2 * (z[2:] - 2 * y + z[:-2]) + theta[1] * y * (1 - y)


def problems() -> list[Problem]:
    """The smallest first."""
    mu, rates = np.array([100.0]), np.array([0.04, 3e7, 1e4])
    outputs = np.concatenate([[0.0], np.logspace(-2, 4, 15)])
    found = [
        Problem(
            "van der Pol, mu = 100", van_der_pol, np.array([2.0, 0.0]), mu, np.array([0, 50.0])
        ),
        Problem("Robertson, 15 outputs", robertson, np.array([1.0, 0.0, 0.0]), rates, outputs),
    ]
    for n in POINTS:
        bump = np.sin(np.linspace(0, np.pi, n))
        found.append(Problem(f"heat, {n} points", heat, bump, np.ones(2), np.array([0.0, 0.1])))
    return found


def batches() -> list[Problem]:
    """Of samples that start from other totals."""
    rates, times = np.array([0.04, 3e7, 1e4]), np.array([0.0, 1e3])
    starts = ((m, np.linspace(0.5, 1.5, m)[:, None] * [1.0, 0.0, 0.0]) for m in SAMPLES)
    return [Problem(f"Robertson, {m} samples", robertson, y, rates, times) for m, y in starts]


def solves(problem: Problem, rounds: int) -> Iterator[Row]:
    """Without gradients, in NumPy, each with differences for its Jacobians."""
    fun = lambda t, y: problem.fun(y, problem.theta, np)  # noqa: E731
    span, t = (problem.times[0], problem.times[-1]), problem.times

    def theirs(method: str) -> Callable[[], np.ndarray]:
        given = {"method": method, "t_eval": t, **TOLERANCE}
        return lambda: scipy.integrate.solve_ivp(fun, span, problem.y0, **given).y.T

    ours = partial(odecore.solve.solve_ivp, fun, span, problem.y0, t_eval=t, method=METHOD)
    runs = {
        "odecore": lambda: ours(**TOLERANCE).y,
        "scipy Radau": theirs("Radau"),
        "scipy BDF": theirs("BDF"),
    }
    exact = scipy.integrate.solve_ivp(
        fun, span, problem.y0, "Radau", t, rtol=1e-11, atol=1e-14
    ).y.T  # fmt: skip
    times = medians(runs, rounds)
    errors = {name: _distance(run(), exact) for name, run in runs.items()}
    for peer in list(runs)[1:]:
        numbers = {"error": errors["odecore"], f"error of {peer}": errors[peer]}
        ratio = times["odecore"] / times[peer]
        yield Row("A solve in NumPy at 1e-5", problem.name, peer, ratio, numbers)


class Field(nn.Module):
    """A problem for torch."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.fun, self.theta = problem.fun, nn.Parameter(torch.tensor(problem.theta))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate, all samples at once."""
        return self.fun(y.movedim(-1, 0), self.theta, torch).movedim(0, -1)


def gradients(problem: Problem, rounds: int) -> Iterator[Row]:
    """A solve and the gradients of the sum of squares of its outputs, by y0 and theta."""
    field, y0 = Field(problem), torch.tensor(problem.y0, requires_grad=True)
    t = torch.tensor(problem.times)

    def call(solve: Callable[..., Tensor], **more: Any) -> np.ndarray:
        y = solve(field, y0, t, method=METHOD, **{**TOLERANCE, **more})
        found = torch.autograd.grad(y[1:].square().sum(), [y0, field.theta])
        return torch.cat([g.flatten() for g in found]).numpy()

    runs = {
        "odeint_adjoint": partial(call, odeint_adjoint),
        "odeint": partial(call, odeint),
        "diffrax": _diffrax(problem),
    }
    exact = call(odeint, rtol=1e-9, atol=1e-12)
    times = medians(runs, rounds)
    errors = {name: _distance(run(), exact) for name, run in runs.items()}
    table = "A solve and its gradients at 1e-5, float64; diffrax under jit"
    for way in ("odeint_adjoint", "odeint"):
        numbers = {"error": errors[way], "error of diffrax": errors["diffrax"]}
        ratio = times[way] / times["diffrax"]
        yield Row(table, f"{problem.name}: {way}", "diffrax", ratio, numbers)
    case = f"{problem.name}: odeint_adjoint"
    yield from versus(table, case, times, ["odeint"], "odeint_adjoint")


def _diffrax(problem: Problem) -> Callable[[], np.ndarray]:
    def solved(y0: Any, theta: Any) -> Any:
        term = diffrax.ODETerm(lambda t, y, args: problem.fun(y, args, jnp))
        t, control = jnp.asarray(problem.times), diffrax.PIDController(**TOLERANCE)
        found = diffrax.diffeqsolve(
            term, diffrax.Kvaerno5(), t[0], t[-1], None, y0, theta,
            saveat=diffrax.SaveAt(ts=t), stepsize_controller=control, max_steps=4096,
        )  # fmt: skip
        return (found.ys[1:] ** 2).sum()

    def loss(y0: Any, theta: Any) -> Any:
        each = jax.vmap(solved, (0, None)) if y0.ndim > 1 else solved
        return each(y0, theta).sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    y0, theta = jnp.asarray(problem.y0), jnp.asarray(problem.theta)
    return lambda: np.concatenate([np.asarray(g).ravel() for g in gradient(y0, theta)])


def _distance(found: np.ndarray, exact: np.ndarray) -> float:
    """Of vectors, relative, each row by itself where they are several."""
    size = np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1)
    return float(np.max(size))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Ratios of both tables."""
    single, several = problems(), batches()
    for what, all_of_them in ((solves, single), (gradients, single + several)):
        for problem in all_of_them[:1] if options.quick else all_of_them:
            for row in what(problem, 1 if options.quick else options.rounds):
                numbers = ", ".join(f"{k} {v:.2g}" for k, v in row.numbers.items())
                print(f"{row.case} / {row.peer}: {row.ratio:.2f}  {numbers}", flush=True)
                yield row


def main() -> None:
    """Print the tables."""
    parser = add_options(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--rounds", type=positive, default=ROUNDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    keep(rows(options), options.rows)


if __name__ == "__main__":
    main()
