"""The part on solver regimes: accuracy, robustness, and whether a model depends on its solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from torch_bridge import SolverConsistencyReport, solver_consistency
from verification._interval import Estimate
from verification.demo._figures import draw_differences
from verification.demo._part import ONE_SEED, Cell, Part, Section, change, loss
from verification.experiments.regime_training import EPS, PROBLEMS, Run, judge, train

__all__ = ["REGIMES", "Found"]

NAMES = ("standalone", "switching", "smoothing, 0.2", "solver ensemble")
BASE = NAMES[0]
HEADER = ("regime", "clean, %", "difference", "robust, %", "difference", "effect",
          "largest gap, %", "certified, %", "verdict")  # fmt: skip
MEANINGS = {"flow": "the flow's", "map": "its solver's", "undecided": "undecided"}


@dataclass(frozen=True)
class Found:
    """What one training gave."""

    run: Run
    report: SolverConsistencyReport


def measure(name: str, seed: int, quick: bool) -> Found:
    """Train on clean digits, attack, and compare with more powerful solvers."""
    problem = PROBLEMS["digits"]
    data = problem.load()
    model = train(name, problem, data, seed, steps=20 if quick else problem.steps)
    x, y = torch.cat([data.train_x, data.test_x]), torch.cat([data.train_y, data.test_y])
    report = solver_consistency(model, [(x, y[:, 0])])
    return Found(judge(name, model, data, problem.attack(2 if quick else 20)), report)


def conclude(found: Mapping[str, list[Found]]) -> tuple[Section, str]:
    """Table, figure and sentences."""
    clean = {name: _against(found, name, lambda run: run.clean) for name in found}
    robust = {name: _against(found, name, lambda run: run.robust) for name in found}
    seeds = len(found[BASE])
    section = Section(
        "Which solver takes which batch",
        "The digits again, in a smaller block that two steps of RK2(u) solve, so that solvers "
        "differ: always Ralston's method (standalone), one of three methods drawn for each batch "
        "(switching), u drawn around 2/3 (smoothing), or the mean of three methods (ensemble). "
        f"Robust: after projected gradient descent in a ball of {EPS} in the largest entry. "
        "Effect: what draws change, by the truncation error. The last three columns compare each "
        "model, on all images, with finer steps, RK4 and Dormand–Prince: is it the flow's, or its "
        "solver's?",
        [*_losses(seeds, clean, robust), _dependence(found)],
        HEADER,
        [_row(name, found[name], clean[name], robust[name]) for name in found],
        "regimes",
        "Differences in accuracy to the standalone solver, paired by seed, with their 95 % "
        "intervals."
        if seeds > 1
        else "Differences in accuracy to the standalone solver, of one seed.",
    )
    return section, draw_differences({"clean": clean, "robust": robust}, BASE)


REGIMES = Part(NAMES, measure, conclude)


def _against(found: Mapping[str, list[Found]], name: str, of: Callable[[Run], float]) -> Estimate:
    values, base = ([of(one.run) for one in found[key]] for key in (name, BASE))
    return Estimate.paired(values, base)


def _row(name: str, found: Sequence[Found], clean: Estimate, robust: Estimate) -> list[Cell]:
    effects = [one.run.effect for one in found if one.run.effect is not None]
    reports = [one.report for one in found]
    verdicts = [MEANINGS[report.verdict] for report in reports]
    counted = (f"{verdicts.count(v)} x {v}" for v in dict.fromkeys(verdicts))
    base = name == BASE
    return [
        Cell(name),
        Cell(Estimate.of([one.run.clean for one in found]).percent()),
        Cell("") if base else change(clean),
        Cell(Estimate.of([one.run.robust for one in found]).percent()),
        Cell("") if base else change(robust),
        Cell(f"{sum(effects) / len(effects):.2f}" if effects else ""),
        Cell(Estimate.of([report.largest_gap[0] for report in reports]).percent()),
        Cell(Estimate.of([report.certified for report in reports]).percent()),
        Cell(verdicts[0] if len(set(verdicts)) == 1 else ", ".join(counted)),
    ]


def _losses(seeds: int, clean: Mapping[str, Estimate], robust: Mapping[str, Estimate]) -> list[str]:
    if seeds == 1:
        return [ONE_SEED]
    kinds = {"clean": clean, "robust": robust}
    lost = [
        loss(f"{name}, {kind}", difference, BASE)
        for kind, differences in kinds.items()
        for name, difference in differences.items()
        if difference.is_loss
    ]
    widest = max(abs(d.mean) for differences in kinds.values() for d in differences.values())
    none = (
        "No regime loses more than its interval against the standalone solver; the largest mean "
        f"difference either way is {100 * widest:.1f} points."
    )
    return lost or [none]


def _dependence(found: Mapping[str, list[Found]]) -> str:
    reports = [one.report for runs in found.values() for one in runs]
    counted = [
        f"{meaning} of {sum(report.verdict == verdict for report in reports)}"
        for verdict, meaning in MEANINGS.items()
    ]
    changed = max(report.flip_rate for report in reports)
    return (
        f"The verdict of solver_consistency on {len(reports)} models is {', '.join(counted)}; at "
        f"most {100 * changed:.1f} % of the images change their class under a more powerful "
        "solver. Undecided: nothing speaks against the flow, but so many images do not exclude a "
        "difference in accuracy of 0.5 %."
    )
