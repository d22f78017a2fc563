"""Every claim holds, and turns red when its formula is corrupted."""

import pytest

from verification.__main__ import main
from verification.claims import CLAIMS, Claim

LONG = ("dense-output-orders", "global-errors")


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(c, id=c.name, marks=[pytest.mark.long] if c.name in LONG else [])
        for c in CLAIMS
    ],
)
def test_a_claim_holds_and_its_planted_fault_does_not(claim):
    outcome = claim.run()
    assert outcome.passed, outcome.measured
    assert not claim.run(planted_fault=True).passed


def test_a_claim_that_crashes_is_a_failed_claim():
    crashing = Claim("x", "x", "x", lambda fault: 1 / 0, 0)
    assert not crashing.run().passed
    assert "ZeroDivisionError" in crashing.run().measured


def test_the_command_line_lists_and_runs(capsys):
    assert main(["list"]) == 0
    assert "rk4-proof" in capsys.readouterr().out
    assert main(["run", "--only", "chart"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    assert main(["run", "--only", "nothing"]) == 2
