"""The demo's parts with trainings of their own: what they say is what was measured."""

import pytest

from verification.demo._checks import check_section
from verification.demo._normalizations import NORMALIZATIONS
from verification.demo._regimes import REGIMES, Found
from verification.experiments.regime_training import Run


@pytest.fixture(scope="module")
def regime():
    return REGIMES.measure("switching", 0, True)


def test_a_regime_is_trained_attacked_and_compared(regime):
    run, report = regime.run, regime.report
    assert 0.3 < run.clean <= 1  # of ten classes, after 20 updates
    assert run.robust < run.clean
    assert run.effect > 0
    assert report.samples == 1797
    assert report.expected_order == 2
    again = REGIMES.measure("switching", 0, True)
    assert (again.run, again.report.ratios) == (run, report.ratios)


def cells_of(section, name):
    row = next(row for row in section.rows if row[0].text == name)
    return dict(zip(section.header, row, strict=True))


def test_regimes_that_lose_are_red_and_named(regime):
    def runs(*accuracies):
        return [Found(Run(0.9, a, None, None), regime.report) for a in accuracies]

    found = {"standalone": runs(0.2, 0.3, 0.4), "switching": runs(0.1, 0.2, 0.3)}
    section, svg = REGIMES.conclude(found)
    assert section.seen[0].startswith("“switching, robust” loses 10.0 points against “standalone”")
    assert [cell.text for cell in section.rows[1] if cell.lost] == ["-10.0 ± 0.0"]
    assert not any(cell.lost for cell in section.rows[0])
    assert "on 6 models is the flow's of 0, its solver's of 6, undecided of 0" in section.seen[1]
    assert cells_of(section, "switching")["verdict"].text == "its solver's"
    assert svg.startswith("<?xml")
    found["switching"] = runs(0.1, 0.3, 0.5)
    even = REGIMES.conclude(found)[0]
    assert not any(cell.lost for row in even.rows for cell in row)
    assert even.seen[0].startswith("No regime loses more than its interval")


def normalizations(**changed):
    tests = ("as trained", "Euler, 4 x", "RK2", "RK4", "batches")
    return {
        name: [dict.fromkeys(tests, 0.6 + shift) for shift in (0.0, 0.05, 0.1)]
        for name in NORMALIZATIONS.names
    } | {name.replace("_", " "): runs for name, runs in changed.items()}


def test_normalizations_that_lose_are_red_and_named():
    plain = normalizations()
    section, svg = NORMALIZATIONS.conclude(plain)
    assert section.seen[0] == "No normalization loses more than its interval against none."
    assert not any(cell.lost for row in section.rows for cell in row)
    assert svg.startswith("<?xml")
    worse = [run | {"as trained": run["as trained"] - 0.4} for run in plain["batch"]]
    finer = [run | {"RK4": run["RK4"] - 0.2} for run in plain["none"]]
    section, _ = NORMALIZATIONS.conclude(normalizations(batch=worse, none=finer))
    assert section.seen[0].startswith("“batch” loses 40.0 points against “none”")
    assert section.seen[1].endswith("in points: none -20.0.")
    assert "as trained: +40.0 ± 0.0 points" in section.seen[2]
    assert cells_of(section, "batch")["against none"].lost
    assert cells_of(section, "none")["RK4, change"].lost
    assert cells_of(section, "batch")["own batches, change"].text == "+40.0 ± 0.0"


def test_one_seed_gives_no_verdict(regime):
    section, _ = NORMALIZATIONS.conclude({k: v[:1] for k, v in normalizations().items()})
    assert "One seed gives no interval" in section.seen[0]
    found = {name: [regime] for name in REGIMES.names}
    assert "One seed gives no interval" in REGIMES.conclude(found)[0].seen[0]


def test_the_check_is_shown_as_the_user_sees_it():
    section = check_section()
    findings = {row[0].text: row[1].text for row in section.rows}
    assert findings["batch"] == "state changed: norm; train and eval differ: norm"
    assert {name for name, text in findings.items() if text == "none"} == {
        "none", "layer", "time batch",
    }  # fmt: skip
    assert section.quoted.startswith("the right-hand side is not what a solver takes it for:")
    assert "TimeBatchNorm, which knows the time" in section.quoted
