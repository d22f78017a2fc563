"""Exact analysis against its limits, and against nodepy in the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest

from odecore.families import RK4, prove_order
from odecore.order import (
    elementary_weights,
    order_condition_residuals,
    order_of_accuracy,
    rooted_trees,
)
from odecore.tableaux import tableau

LIMITS: dict[str, tuple[float, float]] = {}


def limited(case: str, limit: float, call: Callable[[], object], rounds: int = 5) -> None:
    """Time the best of some calls and enter it beside its limit."""
    best = min(_seconds(call) for _ in range(rounds))
    LIMITS[case] = (best, limit)


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


def test_order_proof() -> None:
    """RK4(u, v), all conditions in Q(u, v), the certificate included."""
    prove_order(RK4)  # loads SymPy
    limited("order proof of RK4(u, v)", 0.3, lambda: prove_order(replace(RK4)))


def test_fehlberg() -> None:
    """200 conditions up to order 8."""
    method = tableau("fehlberg78")
    limited("Fehlberg 7(8), 200 conditions", 0.1, lambda: order_condition_residuals(method, 8))


def test_thirteen_stages() -> None:
    """1,205 conditions up to order 10 of a method with 13 full stages."""
    random = Random(0)  # noqa: S311
    A = [
        [Fraction(random.randint(-99, 99), 720) if j < i else 0 for j in range(13)]
        for i in range(13)
    ]
    b = [Fraction(random.randint(1, 99), 720) for _ in range(13)]
    trees = [tree for n in range(1, 11) for tree in rooted_trees(n)]
    assert len(trees) == 1205
    limited("13 stages, 1,205 conditions", 0.5, lambda: elementary_weights(trees, A, b))


def test_trees_and_import() -> None:
    """Enumeration and import, each in fresh processes."""
    trees = "[rooted_trees(n) for n in range(1, 15)]"
    door = "from odecore.order import rooted_trees"
    LIMITS["trees to order 14"] = (min(_fresh(trees, door) for _ in range(5)), 0.1)
    LIMITS["import odecore"] = (min(_fresh("import odecore") for _ in range(5)), 0.3)


@pytest.mark.parametrize("library", ["odecore", "nodepy"])
def test_classic(timed: Callable[..., None], library: str) -> None:
    """Exact order of the classic method."""
    timed("exact order of classic RK4", library, _call("classic", "RK44", library))


@pytest.mark.parametrize("library", ["odecore", "nodepy"])
def test_gauss(timed: Callable[..., None], library: str) -> None:
    """Exact order of the Gauss method with three stages; nodepy takes seconds."""
    rounds = 15 if library == "odecore" else 1
    timed("exact order of Gauss, 3 stages", library, _call("gauss3", "GL3", library), rounds)


def _call(name: str, peer_name: str, library: str) -> Callable[[], object]:
    if library == "odecore":
        method = tableau(name)
        return lambda: order_of_accuracy(method)
    from nodepy import runge_kutta_method as rk

    peer = rk.loadRKM(peer_name)
    return lambda: peer.order(mode="exact")


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the limits; last, so that all are there."""
    with capsys.disabled():
        print("\nseconds against their limits, best of five")
        for case, (seconds, limit) in LIMITS.items():
            print(f"{case:58s} {seconds:8.3f} {limit:8.1f}")
