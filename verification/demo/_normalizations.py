"""The part on normalization inside ODE blocks: accuracy by normalization and solver."""

from __future__ import annotations

from collections.abc import Mapping

from verification._interval import Estimate
from verification.demo._figures import draw_normalization
from verification.demo._part import ONE_SEED, Cell, Part, Section, change, loss
from verification.experiments._images import DATA
from verification.experiments.normalization_training import TESTS, Setting, accuracies, train

__all__ = ["NORMALIZATIONS"]

NAMES = ("none", "layer", "weight", "batch", "time batch")
BASE, TRAINED = NAMES[0], "as trained"
OWN = "batches"  # each batch normalized by itself, not by running statistics
EULER, UPDATES, WIDTH = 4, 200, 8
HEADER = ("in the ODE block", "as trained, %", "against none",
          *(f"{name}, change" for name in list(TESTS)[1:]), "own batches, change")  # fmt: skip

Accuracies = dict[str, float]


def measure(name: str, seed: int, quick: bool) -> Accuracies:
    """Train ODENet4 on digits by a few steps of Euler's method, test with all solvers."""
    data = DATA["digits"]()
    updates = 50 if quick else UPDATES
    setting = Setting("digits", "ODENet4", name, EULER, updates, WIDTH, seed)
    return accuracies(setting, train(setting, data), data)


def conclude(found: Mapping[str, list[Accuracies]]) -> tuple[Section, str]:
    """Table, figure and sentences."""
    seeds = len(found[BASE])
    section = Section(
        "Normalization inside the right-hand side",
        f"A small convolutional network, ODENet4, trained shortly with {EULER} steps of Euler's "
        "method in its ODE block, tested with that and with finer solvers. Changes are against the "
        "same model as trained; own batches: each batch normalized by itself, which shows what "
        "running statistics cost.",
        [*_losses(found, seeds), _time_aware(found)],
        HEADER,
        [_row(name, found) for name in found],
        "normalization",
        "Left: test accuracy by the solver in the test. Right: as trained, with the running "
        "statistics of training and with those of the batch itself.",
    )
    means = {
        name: {test: Estimate.of([run[test] for run in runs]) for test in runs[0]}
        for name, runs in found.items()
    }
    return section, draw_normalization(means, list(TESTS), OWN)


NORMALIZATIONS = Part(NAMES, measure, conclude)


def _paired(
    found: Mapping[str, list[Accuracies]], one: tuple[str, str], other: tuple[str, str]
) -> Estimate:
    """Accuracy of one (normalization, test) over another."""
    values, others = ([run[test] for run in found[name]] for name, test in (one, other))
    return Estimate.paired(values, others)


def _row(name: str, found: Mapping[str, list[Accuracies]]) -> list[Cell]:
    tests = (*list(TESTS)[1:], OWN)
    return [
        Cell(name),
        Cell(Estimate.of([run[TRAINED] for run in found[name]]).percent()),
        Cell("") if name == BASE else change(_paired(found, (name, TRAINED), (BASE, TRAINED))),
        *(change(_paired(found, (name, test), (name, TRAINED))) for test in tests),
    ]


def _losses(found: Mapping[str, list[Accuracies]], seeds: int) -> list[str]:
    if seeds == 1:
        return [ONE_SEED]
    against = {name: _paired(found, (name, TRAINED), (BASE, TRAINED)) for name in found}
    lost = [loss(name, d, BASE) for name, d in against.items() if d.is_loss]
    finer = {name: _paired(found, (name, "RK4"), (name, TRAINED)) for name in found}
    drops = [f"{name} {100 * d.mean:+.1f}" for name, d in finer.items() if d.is_loss]
    solver = f"Tested with RK4 these lose more than their interval, in points: {', '.join(drops)}."
    none = "No normalization loses more than its interval against none."
    return [*(lost or [none]), solver if drops else "None loses more than its interval by RK4."]


def _time_aware(found: Mapping[str, list[Accuracies]]) -> str:
    better = _paired(found, ("time batch", TRAINED), ("batch", TRAINED))
    costs = [
        _paired(found, (name, OWN), (name, TRAINED)).percent("+")
        for name in ("batch", "time batch")
    ]
    return (
        f"Time-aware BatchNorm against the plain one, as trained: {better.percent('+')} points. "
        f"Normalizing batches by themselves instead changes the plain one by {costs[0]} points, "
        f"the time-aware one by {costs[1]}."
    )
