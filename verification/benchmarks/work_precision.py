"""Work against precision on six problems, with SciPy, torchdiffeq and diffrax beside.

`python -m verification.benchmarks.work_precision` draws the figure and prints the table of ratios.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from odecore.solve import solve_ivp
from verification.benchmarks._rows import Row, add_options, keep
from verification.problems import PROBLEMS, Problem

TOLERANCES = 10.0 ** -np.arange(3, 10)


def _counted(field: Callable[..., Any], stack: Callable[..., Any]) -> tuple[Any, list[int]]:
    calls = [0]

    def fun(t: Any, y: Any) -> Any:
        calls[0] += 1
        return stack(field(t, *y))

    return fun, calls


def _numpy(problem: Problem, method: str, tolerance: float, library: str) -> Callable[[], Any]:
    fun, calls = _counted(problem.field, np.array)
    options = {"method": method, "rtol": tolerance, "atol": tolerance * problem.smallest}

    def call() -> Any:
        calls[0] = 0
        if library == "odecore":
            y = solve_ivp(fun, (0.0, problem.end), problem.y0, t_eval=[problem.end], **options).y
            return y[-1], calls[0]
        from scipy.integrate import solve_ivp as scipy_ivp

        y = scipy_ivp(fun, (0.0, problem.end), problem.y0, t_eval=[problem.end], **options).y
        return y[:, -1], calls[0]

    return call


def _torch(problem: Problem, method: str, tolerance: float, library: str) -> Callable[[], Any]:
    import torch
    import torchdiffeq

    import torch_bridge

    fun, calls = _counted(problem.field, torch.stack)
    times = torch.tensor([0.0, problem.end], dtype=torch.float64)
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    odeint = (torch_bridge if library == "torch_bridge" else torchdiffeq).odeint

    def call() -> Any:
        calls[0] = 0
        with torch.no_grad():
            atol = tolerance * problem.smallest
            y = odeint(fun, y0, times, method=method, rtol=tolerance, atol=atol)
        return y[-1].numpy(), calls[0]

    return call


def _diffrax(problem: Problem, method: str, tolerance: float, library: str) -> Callable[[], Any]:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    solver = getattr(diffrax, method)()
    y0 = jnp.asarray(problem.y0)
    control = diffrax.PIDController(rtol=tolerance, atol=tolerance * problem.smallest)

    @jax.jit
    def solve(y: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: jnp.stack(problem.field(t, *y))),
            solver, 0.0, problem.end, None, y, stepsize_controller=control, max_steps=None,
        )  # fmt: skip

    def call() -> Any:
        found = solve(y0)
        # Evaluations of an explicit method that reuses its last stage.
        stages = {"Dopri5": 6, "Dopri8": 13}.get(method)
        counts = math.nan if stages is None else stages * int(found.stats["num_steps"])
        return np.asarray(found.ys[-1]), counts

    return call


#: Library and method for problems that are not stiff, and for those that are.
RUNS: dict[bool, tuple[tuple[str, str, Callable[..., Callable[[], Any]]], ...]] = {
    False: (
        ("odecore", "dopri5", _numpy),
        ("odecore", "dop853", _numpy),
        ("scipy", "RK45", _numpy),
        ("scipy", "DOP853", _numpy),
        ("torch_bridge", "dopri5", _torch),
        ("torchdiffeq", "dopri5", _torch),
        ("diffrax", "Dopri5", _diffrax),
        ("diffrax", "Dopri8", _diffrax),
    ),
    True: (
        ("odecore", "kvaerno43", _numpy),
        ("odecore", "kvaerno54", _numpy),
        ("scipy", "Radau", _numpy),
        ("scipy", "BDF", _numpy),
        ("diffrax", "Kvaerno5", _diffrax),
    ),
}


#: A run of ours and one of a peer, and the head of the column that compares them.
COMPARED: dict[tuple[str, str], str] = {
    ("odecore dopri5", "scipy RK45"): "SciPy, same method",
    ("odecore dop853", "scipy DOP853"): "SciPy, same method",
    ("odecore dopri5", "diffrax Dopri5"): "diffrax, jitted, same order",
    ("odecore dop853", "diffrax Dopri8"): "diffrax, jitted, same order",
    ("torch_bridge dopri5", "torchdiffeq dopri5"): "torchdiffeq, same method",
    **{
        (f"odecore {own}", peer): column
        for own in ("kvaerno43", "kvaerno54")
        for peer, column in (
            ("scipy Radau", "SciPy's Radau"),
            ("scipy BDF", "SciPy's BDF"),
            ("diffrax Kvaerno5", "diffrax's Kvaerno5, jitted"),
        )
    },
}


def reference(problem: Problem) -> np.ndarray:
    """The state at the end, from the tightest tolerance that rounding allows."""
    method = "kvaerno54" if problem.stiff else "verner98"
    atol = 1e-14 * problem.smallest
    found = solve_ivp(
        lambda t, y: np.array(problem.field(t, *y)), (0.0, problem.end), problem.y0,
        method=method, rtol=1e-13, atol=atol, t_eval=[problem.end],
    )  # fmt: skip
    return np.asarray(found.y[-1])


def measure(problem: Problem, run: tuple[Any, ...], tolerance: float, exact: Any) -> dict[str, Any]:
    """Error, evaluations and seconds of one solve, best of some."""
    library, method, make = run
    call = make(problem, method, float(tolerance), library)
    y, calls = call()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    size = np.maximum(np.abs(exact), problem.smallest)
    error = float(np.max(np.abs(y - exact) / size))
    return {
        "run": f"{library} {method}",
        "tolerance": float(tolerance),
        "error": error,
        "evaluations": calls,
        "seconds": min(seconds),
    }


def draw(cells: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A row for each problem: evaluations, and seconds, over the error."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(cells), 2, figsize=(8.4, 2.5 * len(cells)), squeeze=False)
    runs = [f"{library} {method}" for group in RUNS.values() for library, method, _ in group]
    shades = plt.get_cmap("tab20").colors  # of each hue a dark and a light one
    colors = dict(zip(runs, [*shades[::2], *shades[1::2]], strict=False))
    for row_of_axes, (name, rows) in zip(axes, cells.items(), strict=True):
        for label in dict.fromkeys(row["run"] for row in rows):
            own = label.startswith(("odecore", "torch_bridge"))
            line = [row for row in rows if row["run"] == label]
            for axis, quantity in zip(row_of_axes, ("evaluations", "seconds"), strict=True):
                axis.loglog(
                    [row["error"] for row in line],
                    [row[quantity] for row in line],
                    "o-" if own else "s--",
                    color=colors[label],
                    markersize=3,
                    linewidth=1.6 if own else 1.0,
                    label=label,
                )
        for axis, quantity in zip(row_of_axes, ("evaluations of f", "seconds"), strict=True):
            axis.set(title=name, ylabel=quantity)
            axis.invert_xaxis()
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("relative error at the end")
    curves = {line.get_label(): line for axis in axes[:, 1] for line in axis.get_lines()}
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.legend(curves.values(), curves, loc="lower center", ncol=4, fontsize=8)
    figure.savefig(path)
    plt.close(figure)


def interpolated(rows: list[dict[str, Any]], quantity: str, error: float) -> float:
    """What a run needs for an error, between its tolerances on logarithmic axes; NaN outside."""
    pairs = sorted((math.log(max(r["error"], 1e-16)), math.log(r[quantity])) for r in rows)
    x = [p[0] for p in pairs]
    if not x[0] <= math.log(error) <= x[-1] or any(math.isnan(p[1]) for p in pairs):
        return math.nan
    return math.exp(np.interp(math.log(error), x, [p[1] for p in pairs]))


def needed(rows: list[dict[str, Any]], label: str, error: float) -> list[float]:
    """Evaluations and seconds that a run needs for an error."""
    own = [row for row in rows if row["run"] == label]
    if not own:
        return [math.nan, math.nan]
    return [interpolated(own, quantity, error) for quantity in ("evaluations", "seconds")]


def table(cells: dict[str, list[dict[str, Any]]]) -> str:
    """What each run needs for one error, relative to the first run of its problem."""
    errors = {problem.name: problem.error for problem in PROBLEMS}
    lines = ["| problem, error | method | evaluations | seconds |", "|---|---|---|---|"]
    for name, rows in cells.items():
        error = errors[name]
        labels = list(dict.fromkeys(row["run"] for row in rows))
        needs = {label: needed(rows, label, error) for label in labels}
        first = needs[labels[0]]
        for label in labels:
            shares = [
                "" if math.isnan(a / b) else f"{a / b:.2g}"
                for a, b in zip(needs[label], first, strict=True)
            ]
            lines.append(f"| {name}, {error:.0e} | {label} | {' | '.join(shares)} |")
    return "\n".join(lines)


def rows(cells: dict[str, list[dict[str, Any]]]) -> Iterator[Row]:
    """What each run of ours needs for one error, by the needs of its peers; none where unknown."""
    for problem in (problem for problem in PROBLEMS if problem.name in cells):
        for (own, peer), column in COMPARED.items():
            needs = [needed(cells[problem.name], one, problem.error) for one in (own, peer)]
            evaluations, seconds = (ours / theirs for ours, theirs in zip(*needs, strict=True))
            case = f"{problem.name}, {problem.error:.0e}: {own}"
            if not math.isnan(seconds):
                yield Row("What one relative error costs", case, column, seconds)
            if not math.isnan(evaluations):
                shares = {f"evaluations / {column}": evaluations}
                yield Row("What one relative error costs", case, numbers=shares)


def main() -> None:
    """Run all cells."""
    parser = add_options(argparse.ArgumentParser(description=__doc__))
    parser.add_argument(
        "--out", type=Path, help="of the figure; by default work_precision.svg beside the rows"
    )
    options = parser.parse_args()
    cells: dict[str, list[dict[str, Any]]] = {}
    problems = [p for p in PROBLEMS if p.name != "Kepler"]  # an orbit, as Arenstorf's, but easier
    for problem in problems[:1] if options.quick else problems:
        exact = reference(problem)
        cells[problem.name] = [
            measure(problem, run, tolerance, exact)
            for run in RUNS[problem.stiff]
            for tolerance in (TOLERANCES[2:5] if options.quick else TOLERANCES)
        ]
        print(f"{problem.name}: {len(cells[problem.name])} solves", flush=True)
    folder = options.rows.parent if options.rows else Path()
    draw(cells, options.out or folder / "work_precision.svg")
    print(table(cells))
    keep(rows(cells), options.rows)


if __name__ == "__main__":
    main()
