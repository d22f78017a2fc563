"""`python -m verification.benchmarks`: every benchmark in one run, and a page of ratios.

Each runs in a fresh process; a finished part is kept, so that the same command goes on after an
interruption. Exit codes: 0, all succeeded; 1, some failed, and are named; 2, asked for wrongly;
130, interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from verification._kept import write_whole
from verification.benchmarks._page import page
from verification.benchmarks._run import BENCHMARKS, Benchmark, conditions, kept, run


def main(arguments: list[str] | None = None, benchmarks: Sequence[Benchmark] = BENCHMARKS) -> int:
    """Parse the command line and run; the result is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m verification.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [benchmark.name for benchmark in benchmarks]
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--quick", action="store_true", help="few repetitions: does it run?")
    parser.add_argument("--fresh", action="store_true", help="repeat what is finished already")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench"), help="folder of results.json and table.md"
    )
    options = parser.parse_args(arguments)
    if options.list:
        for benchmark in benchmarks:
            print(f"{benchmark.name:18s} {benchmark.title}")
        return 0
    chosen = [benchmark for benchmark in benchmarks if benchmark.name in options.only]
    now = conditions(options.quick)
    try:
        found = run(chosen, options.out, now, fresh=options.fresh)
        others = {benchmark.name: kept(options.out, benchmark.name) for benchmark in benchmarks}
    except KeyboardInterrupt:
        print("\ninterrupted; finished parts are kept: the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:  # such as a full disk
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    parts = {name: part for name, part in others.items() if part and part.conditions == now}
    write_whole(options.out / "results.json", {k: asdict(part) for k, part in parts.items()})
    table = options.out / "table.md"
    table.write_text(page(benchmarks, parts), encoding="utf-8")
    failed = [name for name, part in found.items() if part.failure]
    print(f"{table}: {len(parts)} of {len(benchmarks)} parts")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
