"""The page of a run: ratios under headings, with date and machine."""

from __future__ import annotations

from collections.abc import Sequence

from verification.benchmarks._machine import PACKAGES
from verification.benchmarks._rows import tables
from verification.benchmarks._run import Benchmark, Part

__all__ = ["page"]

TOP = """# Ratios to peers

`make bench` writes this page, whole, from one run of all benchmarks; what the numbers mean and
where we lose is discussed in the [comparison with peers](benchmarks.md).

Each **time / peer** is our time over the peer's, both measured in one process: **below 1 odecore
is faster**. Lines without a ratio are peers' own, for their other numbers, of which less is better
too: errors, evaluations, bytes.
"""


def page(benchmarks: Sequence[Benchmark], parts: dict[str, Part]) -> str:
    """Markdown of the parts that there are; those that failed, or were not run, are named."""
    told = [
        (benchmark, parts[benchmark.name]) for benchmark in benchmarks if benchmark.name in parts
    ]
    lines = [TOP]
    now = told[0][1].conditions
    if now["quick"]:
        lines.append("**A quick run, to see that it runs: these numbers mean nothing.**\n")
    dates = sorted({part.date for _, part in told})
    versions = ", ".join(f"{name} {now[name]}" for name in PACKAGES)
    lines += [
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}; {now['processor']}, "
        f"cores: {now['cores']}; {now['platform']}, Python {now['python']}; {versions}.\n",
        *_problems(benchmarks, parts),
        "| part | threads | load average when it began |",
        "|---|---|---|",
    ]
    for benchmark, part in told:
        lines.append(f"| {benchmark.title} | {benchmark.threads} | {_load(part)} |")
    for benchmark, part in told:
        lines.append(f"\n## {benchmark.title}\n\n`python -m {benchmark.module}`")
        for heading, rows in tables(part.rows):
            lines += [f"\n**{heading}.**\n", *rows]
    return "\n".join([*lines, ""])


def _problems(benchmarks: Sequence[Benchmark], parts: dict[str, Part]) -> list[str]:
    missing = [one.title for one in benchmarks if one.name not in parts]
    failed = [one.title for one in benchmarks if one.name in parts and parts[one.name].failure]
    named = (("Not in this run", missing), ("Failed in this run", failed))
    return [f"**{what}: {', '.join(titles)}.**\n" for what, titles in named if titles]


def _load(part: Part) -> str:
    return "unknown" if part.load is None else f"{part.load:.1f}"
