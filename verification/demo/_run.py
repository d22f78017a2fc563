"""Train all rows, measure, draw, and write the page."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from odecore.errors import OdecoreWarning
from verification._digits import Data, digit_pairs, digits
from verification.demo import _figures, _measure, _report
from verification.demo._checks import check_section
from verification.demo._normalizations import NORMALIZATIONS
from verification.demo._regimes import REGIMES
from verification.demo._rows import PAIR_ROWS, PLAIN, ROWS, Classifier
from verification.demo._train import BATCH, Run, train

__all__ = ["run_demo"]

ALL_ROWS = (*ROWS, *PAIR_ROWS)
REQUIRED_ACCURACY = 0.96
FIGURES = ("error_map", "node_errors", "sketch_noise", "decreases", "consistency")
PARTS = {"regimes": REGIMES, "normalization": NORMALIZATIONS}


def run_demo(out: Path, *, seeds: int = 3, jobs: int = 2, quick: bool = False) -> int:
    """Run the demo.

    Parameters
    ----------
    out : Path
        Folder of the page and the figures, made if missing.
    seeds : int, optional
        Runs of each row; one in the quick form.
    jobs : int, optional
        Worker processes, one thread each.
    quick : bool, optional
        Few epochs and coarse figures, to see that everything runs.

    Returns
    -------
    int
        0 if all went well and the plain row reached its accuracy (not asked for in quick form).
    """
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    seeds = 1 if quick else seeds
    runs, parts, svg, failures = _train_and_draw(seeds, jobs, quick)
    if failures:
        print("\n".join(failures), file=sys.stderr)
        print(f"{len(failures)} tasks failed; no page was written", file=sys.stderr)
        return 1
    groups = [[runs[k, seed] for seed in range(seeds)] for k in range(len(ALL_ROWS))]
    means = [np.mean([run.curve for run in group], axis=0) for group in groups]
    names = [row.name for row in ALL_ROWS]
    svg["curves"] = _figures.draw_curves(dict(zip(names, means, strict=True)))
    concluded = {key: part.conclude(_by_name(parts, key, seeds)) for key, part in PARTS.items()}
    sections = [*(section for section, _ in concluded.values()), check_section()]
    svg |= {key: picture for key, (_, picture) in concluded.items()}
    for name, text in svg.items():
        (out / f"{name}.svg").write_text(text, encoding="utf-8")

    lines = _lines(groups)
    verdicts = _report.verdicts(lines, seeds)
    plain = lines[0].accuracy.mean
    enough = quick or plain >= REQUIRED_ACCURACY
    if not enough:
        verdicts.append(
            f"The plain row reached {plain:.1%}, below the {REQUIRED_ACCURACY:.0%} it must."
        )
    verdicts += _report.warned(ALL_ROWS, groups)
    minutes = f"{(time.perf_counter() - start) / 60:.1f}"
    words = {
        "summary": "This is the quick form: too short to compare accuracies." if quick else "",
        "verdicts": verdicts,
        "seeds": seeds,
        "seed_list": ", ".join(map(str, range(seeds))),
        "batch": BATCH,
        "versions": _versions(),
        "minutes": minutes,
        "cores": os.cpu_count(),
    }
    _report.page(out / "index.html", lines, sections, words, svg)
    rows = [_report.cells(found) for found in lines]
    print("", _report.table(_report.HEADER, rows), "", *verdicts, sep="\n")
    for section in sections:
        texts = [[cell.text for cell in row] for row in section.rows]
        print("", _report.table(section.header, texts), "", *section.seen, sep="\n")
        print(section.quoted)
    print(f"{minutes} minutes; open {out / 'index.html'}")
    return 0 if enough else 1


def _train_and_draw(
    seeds: int, jobs: int, quick: bool
) -> tuple[dict[tuple[int, int], Run], dict[tuple[str, str, int], Any], dict[str, str], list[str]]:
    """All runs by row and seed, those of the parts, the figures of the first, and what failed."""
    runs: dict[tuple[int, int], Run] = {}
    parts: dict[tuple[str, str, int], Any] = {}
    svg: dict[str, str] = {}
    failures: list[str] = []
    rows = [(k, seed) for seed in range(seeds) for k in range(len(ALL_ROWS))]
    more = [(p, name, seed) for p in PARTS for name in PARTS[p].names for seed in range(seeds)]
    # Spawned, not forked: a fork after torch has started threads can hang.
    with (
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool,
        tqdm(total=len(rows) + len(more) + len(FIGURES), unit="task", file=sys.stderr) as bar,
    ):
        bar.set_description("training")
        _collect({pool.submit(train_row, *row, quick): row for row in rows}, runs, failures, bar)
        bar.set_description("parts")
        _collect({pool.submit(measure, *one, quick): one for one in more}, parts, failures, bar)
        if (0, 0) in runs:
            bar.set_description("figures")
            weights = runs[0, 0].weights
            drawn = {pool.submit(draw, name, weights, quick): name for name in FIGURES}
            _collect(drawn, svg, failures, bar)
    return runs, parts, svg, failures


def measure(part: str, name: str, seed: int, quick: bool) -> Any:
    """Run one row of a part with one seed, in a worker."""
    return PARTS[part].measure(name, seed, quick)


def _by_name(found: dict[tuple[str, str, int], Any], part: str, seeds: int) -> dict[str, list[Any]]:
    """Results of a part, seed by seed."""
    return {name: [found[part, name, seed] for seed in range(seeds)] for name in PARTS[part].names}


def _lines(groups: list[list[Run]]) -> list[_report.Line]:
    """Each row against its baseline: the plain one, or for pairs their sum of losses."""
    baselines = [0] * len(ROWS) + [len(ROWS)] * len(PAIR_ROWS)
    return [
        _report.line(row, groups[k], ALL_ROWS[base].name, None if base == k else groups[base])
        for k, (row, base) in enumerate(zip(ALL_ROWS, baselines, strict=True))
    ]


def train_row(k: int, seed: int, quick: bool) -> Run:
    """Train one row with one seed, in a worker."""
    row = ALL_ROWS[k]
    data = _data(row.tasks, quick)
    torch.manual_seed(seed)
    model = Classifier(row, data.train_x.shape[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OdecoreWarning)
        run = train(model, row, data, epochs=2 if quick else 16, seed=seed)
    return replace(run, warned=tuple(sorted({str(warning.message) for warning in caught})))


def draw(name: str, weights: dict[str, np.ndarray], quick: bool) -> str:
    """Measure and draw one figure on the trained plain model, in a worker."""
    if name == "decreases":  # on pairs, along a training of its own
        pairs, steps = (200, 5) if quick else (2000, 60)
        return _figures.draw_decreases(_measure.relative_decreases(pairs, steps))
    data = digits()
    model = _restore(weights, data)
    if name == "consistency":
        return _figures.draw_consistency(_measure.consistency(model, data))
    if name == "error_map":
        return _figures.draw_error_map(_measure.error_map(model, data, 25 if quick else 121))
    if name == "node_errors":
        nodes = (3, 5, 9, 17) if quick else (3, 4, 5, 6, 7, 9, 11, 13, 15, 17, 21, 25, 33)
        return _figures.draw_node_errors(_measure.node_errors(model, data, nodes))
    return _figures.draw_sketch_noise(_measure.sketch_noise(model, data, 40 if quick else 400))


def _collect(tasks: dict, results: dict, failures: list[str], bar: tqdm) -> None:
    """Gather results as they come; one that fails is reported and the rest go on."""
    for task in as_completed(tasks):
        try:
            results[tasks[task]] = task.result()
        except Exception:
            failures.append(f"{tasks[task]}: {traceback.format_exc()}")
        bar.update()


def _data(tasks: int, quick: bool) -> Data:
    return digits() if tasks == 1 else digit_pairs(500 if quick else 2000, 1000)


def _restore(weights: dict[str, np.ndarray], data: Data) -> Classifier:
    model = Classifier(PLAIN, data.train_x.shape[1])
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model


def _one_thread() -> None:
    torch.set_num_threads(1)


def _versions() -> str:
    packages = ("odecore", "torch", "numpy", "scikit-learn")
    shown = [f"{name} {version(name)}" for name in packages]
    return ", ".join([*shown, f"Python {platform.python_version()}"])
