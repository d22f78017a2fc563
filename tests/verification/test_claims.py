"""Every claim holds, and turns red when its formula is corrupted."""

import pytest

from verification._papers import PAPERS
from verification.claims import CLAIMS, Claim, Draws, Finding


@pytest.mark.parametrize(
    "claim",
    [pytest.param(c, id=c.name, marks=[pytest.mark.long] if c.slow else []) for c in CLAIMS],
)
def test_a_claim_holds_and_its_planted_fault_does_not(claim):
    outcome = claim.run()
    assert outcome.passed, outcome.measured
    corrupted = claim.run(planted_fault=True)
    assert not corrupted.passed
    assert not corrupted.crash, "a fault that crashes shows nothing about the comparison"


def test_claims_are_distinct_and_cover_the_five_papers():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 40
    assert {claim.paper for claim in CLAIMS} == {*PAPERS, ""}
    assert all(claim.statement and claim.source for claim in CLAIMS)


def test_a_claim_that_crashes_is_a_failed_claim():
    crashing = Claim("x", "x", "x", lambda fault: 1 / 0, 0)
    assert not crashing.run().passed
    assert "ZeroDivisionError" in crashing.run().measured
    assert "1 / 0" in crashing.run().crash


def test_draws_depend_on_seed_and_name_and_their_number_on_the_size():
    def mean(fault: bool, draws: Draws) -> Finding:
        return Finding(draws.count, f"{draws.rng.standard_normal(draws.count).mean()}")

    one, other = (Claim(name, "x", "x", mean, 10, samples=10) for name in ("a", "b"))
    assert one.run().passed
    assert one.run().samples == 10
    texts = [c.run(seed=s).measured for c, s in ((one, 0), (one, 0), (one, 1), (other, 0))]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert (one.run(full=True).samples, one.run(full=True).passed) == (100, False)


def test_a_figure_and_the_tolerance_are_taken_from_the_finding():
    found = Claim("x", "x", "x", lambda fault: Finding(1.01, "about 1", "<svg/>"), 1.0, 0.02).run()
    assert (found.passed, found.measured, found.figure) == (True, "about 1", "<svg/>")
    assert not Claim("x", "x", "x", lambda fault: Finding(1.03), 1.0, 0.02).run().passed
