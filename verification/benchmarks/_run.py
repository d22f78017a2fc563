"""Run benchmarks one after another, each in a fresh process, and keep what each finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from verification._kept import sources, write_whole
from verification.benchmarks._machine import load, machine
from verification.benchmarks._rows import Row, read

__all__ = ["BENCHMARKS", "Benchmark", "Part", "conditions", "kept", "run"]


@dataclass(frozen=True)
class Benchmark:
    """A module with a command line that takes `--rows FILE` and `--quick`.

    Parameters
    ----------
    name : str
    title : str
        Heads its tables.
    threads : int, optional
        That torch and JAX may use.
    package : str, optional
        Of the module.
    """

    name: str
    title: str
    threads: int = 1
    package: str = "verification.benchmarks"

    @property
    def module(self) -> str:
        """With its package."""
        return f"{self.package}.{self.name}"


BENCHMARKS = (
    Benchmark("order_analysis", "Exact analysis"),
    Benchmark("solver", "Solving"),
    Benchmark("scaling", "Scaling"),
    Benchmark("work_precision", "Work and precision"),
    Benchmark("stiff", "Stiff problems"),
    Benchmark("adjoint", "Adjoints"),
    Benchmark("compiled_adjoint", "Adjoints, compiled"),
    Benchmark("linear", "Sketched layers", threads=2),
    Benchmark("directions", "Equiangular steps"),
    Benchmark("normalization", "Normalization"),
    Benchmark("regimes", "Solver regimes"),
)


@dataclass(frozen=True)
class Part:
    """What one benchmark found, and under which conditions.

    Parameters
    ----------
    rows : list of Row
    conditions : dict
        Machine, versions, sources, and whether it was a quick run.
    date : str
    load : float or None
        Load average when it began.
    seconds : float
        That it took.
    failure : str
        Empty if it succeeded.
    """

    rows: list[Row]
    conditions: dict[str, Any]
    date: str
    load: float | None
    seconds: float
    failure: str = ""


def conditions(quick: bool) -> dict[str, Any]:
    """What must not change between the parts of one run."""
    return {"quick": quick, "sources": sources(), **machine()}


def kept(out: Path, name: str) -> Part | None:
    """The part of an earlier run, if there is one; ValueError if it is of another version."""
    path = out / f"{name}.json"
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Part(**found | {"rows": [Row(**row) for row in found["rows"]]})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not of this version: {error!r}; remove it") from error


def run(
    benchmarks: Sequence[Benchmark], out: Path, now: dict[str, Any], *, fresh: bool = False
) -> dict[str, Part]:
    """Run benchmarks and tell how each went.

    Parameters
    ----------
    benchmarks : sequence of Benchmark
    out : Path
        Folder of one file for each part, and of what the benchmarks print.
    now : dict
        The conditions.
    fresh : bool, optional
        Repeat parts that succeeded before under the same conditions, which are kept otherwise.

    Returns
    -------
    dict of str to Part
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = {}
    for k, benchmark in enumerate(benchmarks, start=1):
        print(f"{k}/{len(benchmarks)}  {benchmark.name:18s}", end="", flush=True)
        before = None if fresh else kept(out, benchmark.name)
        if before and before.conditions == now and not before.failure:
            parts[benchmark.name] = before
            print("kept from before")
            continue
        if before and before.conditions != now:
            changed = [key for key in now if before.conditions.get(key) != now[key]]
            print(f"(what is kept had other {', '.join(changed)}) ", end="", flush=True)
        part = _measured(benchmark, out, now)
        write_whole(out / f"{benchmark.name}.json", asdict(part))
        parts[benchmark.name] = part
        print(f"{part.seconds:5.0f} s  {part.failure and 'FAILED: ' + part.failure}", flush=True)
    return parts


def _measured(benchmark: Benchmark, out: Path, now: dict[str, Any]) -> Part:
    rows, log = (out.resolve() / f"{benchmark.name}.{end}" for end in ("rows.json", "log"))
    rows.unlink(missing_ok=True)
    command = [sys.executable, "-m", benchmark.module, "--rows"]
    command += [str(rows), *(["--quick"] if now["quick"] else [])]
    many = "true" if benchmark.threads > 1 else "false"
    environment = {
        "OMP_NUM_THREADS": str(benchmark.threads),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={many}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
    }
    today, busy, start = date.today().isoformat(), load(), time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        code = subprocess.run(  # noqa: S603
            command, env=os.environ | environment, stdout=file, stderr=file, check=False
        ).returncode
    seconds = round(time.perf_counter() - start, 1)
    found = read(rows) if rows.exists() else []
    rows.unlink(missing_ok=True)  # the part holds them
    failure = ""
    if code or not found:
        said = log.read_text(encoding="utf-8").split("\n")
        last = next((line for line in reversed(said) if line), "nothing said")
        failure = f"exit code {code}, {len(found)} rows; {last} (all of it in {log})"
    return Part(found, now, today, busy, seconds, failure)
