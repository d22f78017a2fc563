"""Collect the timings of all benchmarks and print one table of ratios at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

TIMES: dict[str, dict[str, float]] = defaultdict(dict)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compare on one thread, where ratios repeat."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def timed(benchmark: Any) -> Callable[..., None]:
    """Time a call and enter its median, or a share of it, under a case and a library."""

    def run(
        case: str, library: str, call: Callable[[], object], rounds: int = 15, share: int = 1
    ) -> None:
        call()
        benchmark.pedantic(call, rounds=rounds, iterations=1, warmup_rounds=rounds > 1)
        TIMES[case][library] = benchmark.stats.stats.median / share

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the ratios; below 1 odecore is faster."""
    terminalreporter.section("odecore / peer, ratios of median wall times in this run")
    for case, times in TIMES.items():
        for library, seconds in times.items():
            if library != "odecore" and "odecore" in times:
                ratio = times["odecore"] / seconds
                terminalreporter.line(f"{case:58s} {library:12s} {ratio:6.2f}")
