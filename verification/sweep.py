"""Sweep RK4(u, v) over its parameter plane on a problem, the rows of the grid on any executor.

`python -m verification.sweep --executor dask --jobs 2` starts a dask cluster on this machine. From
Python, `sweep(..., executor=client.get_executor())` uses a cluster that runs already.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from odecore.families import RK4
from odecore.solve import solve_ivp
from odecore.tableaux import coefficients_at
from verification._options import file_to_write, positive
from verification._runner import EXECUTORS, open_executor
from verification.problems import PROBLEMS, Problem

__all__ = ["main", "row", "sweep"]

Array = NDArray[np.float64]


def _end(problem: Problem, y0: Array, **options: object) -> Array:
    def field(t: float, y: Array) -> Array:
        return np.stack(problem.field(t, *np.moveaxis(y, -1, 0)), axis=-1)

    times = (0.0, problem.end)
    return solve_ivp(field, times, y0, t_eval=[problem.end], **options).y[-1]


def row(name: str, u: Array, v: float, steps: int) -> Array:
    """Error at the end of each RK4(u, v) of a row of the grid, solved as one batch.

    Parameters
    ----------
    name : str
        Of a problem in `verification.problems.PROBLEMS`; text, so that any worker finds it.
    u : ndarray of shape (k,)
    v : float
    steps : int
        Equal steps to the problem's end.

    Returns
    -------
    ndarray of shape (k,)
        Root mean square over the entries; NaN or infinite where there is no member.
    """
    problem = next(p for p in PROBLEMS if p.name == name)
    y0 = np.array(problem.y0)
    exact = _end(problem, y0, method="dop853", rtol=1e-12, atol=1e-12)
    with np.errstate(all="ignore"):  # members near the excluded set may overflow
        method = coefficients_at(RK4, u=u[:, None], v=np.full((len(u), 1), v))
        start = np.tile(y0, (len(u), 1))
        end = _end(problem, start, method=method, steps=steps, check_finite=False)
        return np.sqrt(np.square(end - exact).mean(axis=1))


def sweep(name: str, grid: Array, steps: int = 100, *, executor: Executor | None = None) -> Array:
    """Error over the plane, [v, u]; the same whatever the executor and its number of workers."""
    if executor is None:
        rows = [row(name, grid, v, steps) for v in grid]
    else:
        tasks = [executor.submit(row, name, grid, v, steps) for v in grid]
        rows = [task.result() for task in tasks]
    return np.stack(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep, write the errors, and print the best member beside the 3/8 rule."""
    parser = argparse.ArgumentParser(prog="verification.sweep", description=__doc__)
    parser.add_argument(
        "--problem", choices=[p.name for p in PROBLEMS if not p.stiff], default="Brusselator"
    )
    parser.add_argument(
        "--points", type=positive, default=60, help="of the grid, in each direction"
    )
    parser.add_argument("--steps", type=positive, default=100)
    parser.add_argument("--executor", choices=EXECUTORS, default="spawn")
    parser.add_argument("--jobs", type=positive, default=1)
    parser.add_argument("--out", type=file_to_write, default="build/sweep.npz")
    options = parser.parse_args(arguments)
    if options.points < 2:
        parser.error("--points is at least 2: u = v is excluded")
    grid = np.linspace(0.03, 1.17, options.points)
    with open_executor(options.executor, options.jobs) as executor:
        error = sweep(options.problem, grid, options.steps, executor=executor)
    with options.out.open("wb") as file:  # a file, for a name would get a suffix
        np.savez(file, u=grid, v=grid, error=error)
    if not np.isfinite(error).any():
        print(f"{options.problem}: no member is stable in {options.steps} steps; take more")
        return 1
    i, j = np.unravel_index(np.nanargmin(error), error.shape)
    rule = row(options.problem, np.array([1 / 3]), 2 / 3, options.steps)[0]
    print(
        f"{options.problem}, {options.steps} steps: error {error[i, j]:.2e} at "
        f"u = {grid[j]:.3f}, v = {grid[i]:.3f}; {rule:.2e} by the 3/8 rule"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
