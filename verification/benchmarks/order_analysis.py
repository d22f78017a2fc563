"""Exact analysis against its limits, and against nodepy in the same run.

`python -m verification.benchmarks.order_analysis` prints seconds, their limits, and ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from random import Random
from statistics import median

from odecore.families import RK4, prove_order
from odecore.order import (
    elementary_weights,
    order_condition_residuals,
    order_of_accuracy,
    rooted_trees,
)
from odecore.tableaux import tableau
from verification.benchmarks._rows import Row, add_options, keep, printed

#: Names of a method here and in nodepy, and of nodepy's calls, of which the last takes seconds.
METHODS = {"classic RK4": ("classic", "RK44", 15), "Gauss, 3 stages": ("gauss3", "GL3", 1)}
ROUNDS = 5


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _fresh(code: str, setup: str = "pass") -> float:
    """Seconds that some code takes in a new process, as the process itself measures them."""
    program = (
        f"import time; {setup}; s = time.perf_counter(); {code}; print(time.perf_counter() - s)"
    )
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(found.stdout)


def thirteen_stages() -> Callable[[], object]:
    """1,205 conditions up to order 10 of a method with 13 full stages."""
    random = Random(0)  # noqa: S311
    A = [
        [Fraction(random.randint(-99, 99), 720) if j < i else 0 for j in range(13)]
        for i in range(13)
    ]
    b = [Fraction(random.randint(1, 99), 720) for _ in range(13)]
    trees = [tree for n in range(1, 11) for tree in rooted_trees(n)]
    assert len(trees) == 1205
    return partial(elementary_weights, trees, A, b)


def limited(rounds: int) -> Iterator[Row]:
    """The best of some calls over its limit."""
    prove_order(RK4)  # loads SymPy
    residuals = partial(order_condition_residuals, tableau("fehlberg78"), 8)
    trees = "[rooted_trees(n) for n in range(1, 15)]"
    door = "from odecore.order import rooted_trees"
    cases: dict[str, tuple[float, Callable[[], float]]] = {
        "order proof of RK4(u, v)": (0.3, lambda: _seconds(lambda: prove_order(replace(RK4)))),
        "Fehlberg 7(8), 200 conditions": (0.1, partial(_seconds, residuals)),
        "13 stages, 1,205 conditions": (0.5, partial(_seconds, thirteen_stages())),
        "trees to order 14": (0.1, partial(_fresh, trees, door)),
        "import odecore": (0.3, partial(_fresh, "import odecore")),
    }
    print(f"seconds against their limits, best of {rounds}")
    for case, (limit, measured) in cases.items():
        best = min(measured() for _ in range(rounds))
        print(f"{case:58s} {best:8.3f} {limit:8.1f}", flush=True)
        yield Row("The limits that we hold ourselves to", case, "its limit", best / limit)


def against_nodepy(rounds: int) -> Iterator[Row]:
    """Exact order of a method; medians."""
    from nodepy import runge_kutta_method as rk

    for name, (ours, theirs, calls) in METHODS.items():
        method, peer = tableau(ours), rk.loadRKM(theirs)
        runs = [
            (partial(order_of_accuracy, method), 3 * rounds),
            (partial(peer.order, mode="exact"), min(calls, 3 * rounds)),
        ]
        times = []
        for call, count in runs:
            call()
            times.append(median(_seconds(call) for _ in range(count)))
        yield Row("Exact order", f"exact order of {name}", "nodepy", times[0] / times[1])


def main() -> None:
    """Print seconds and ratios."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    rounds = 1 if options.quick else ROUNDS

    def rows() -> Iterator[Row]:
        yield from limited(rounds)
        yield from printed(against_nodepy(rounds))

    keep(rows(), options.rows)


if __name__ == "__main__":
    main()
