"""Every claim holds, and turns red when its formula is corrupted."""

from xml.etree import ElementTree

import pytest

from verification._papers import PAPERS
from verification.claims import CLAIMS, Claim, Draws, Finding, told
from verification.claims._bound import at_least, at_most, between
from verification.claims._plots import curves, rows


def parsed(svg):
    return ElementTree.fromstring(svg)  # noqa: S314


LONG = ("catalogue-orders", "ladder-certificate", "sketch-variances")


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(c, id=c.name, marks=[pytest.mark.long] if c.slow or c.name in LONG else [])
        for c in CLAIMS
    ],
)
def test_a_claim_holds_and_its_planted_fault_does_not(claim):
    outcome = claim.run()
    assert outcome.passed, outcome.measured
    assert outcome.measured not in {"True", "False", ""}, "the record shows what was measured"
    if outcome.figure:
        parsed(outcome.figure)
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


def test_numbers_are_held_by_bounds_and_told_by_name():
    bounds = {"error": at_most(1e-6), "order": at_least(3.5), "failures": 0}
    claim = Claim(
        "x", "x", "x", lambda fault: {"error": 2.5e-7, "order": 3.5, "failures": 0}, bounds
    )
    outcome = claim.run()
    assert outcome.passed
    assert outcome.measured == "error: 2.5e-07; order: 3.5; failures: 0"
    assert told(claim.expected) == "error: at most 1e-06; order: at least 3.5; failures: 0"
    for name, wrong in (("error", 2e-6), ("error", float("nan")), ("order", 3.4), ("failures", 1)):
        measured = {"error": 0.0, "order": 4.0, "failures": 0, name: wrong}
        assert not Claim("x", "x", "x", lambda fault, m=measured: m, bounds).run().passed
    lacking = Claim("x", "x", "x", lambda fault: {"error": 0.0}, bounds).run()
    assert "are expected" in lacking.crash
    inside = Claim(
        "x", "x", "x", lambda fault: Finding({"p": 0.5}, "20 coins"), {"p": between(0, 1)}
    )
    assert (inside.run().measured, str(between(0, 1))) == ("p: 0.5 (20 coins)", "0 to 1")


def test_figures_hold_what_is_drawn_and_leave_out_what_cannot_be():
    points = ([1, 2, 3, 4], [1e-3, 0.0, float("nan"), 1e-1])
    picture = curves({"a < b": points}, "x", "y", log="xy", limits={"bound": 1e-2})
    root = parsed(picture)
    tags = [one.tag.rpartition("}")[2] for one in root.iter()]
    assert tags.count("circle") == 2 + 1  # two can be drawn; and the legend
    assert "a < b" in [one.text for one in root.iter()]
    [line] = [one for one in root.iter() if one.tag.endswith("polyline")]
    (_, first), (_, last) = (pair.split(",") for pair in line.get("points").split())
    assert float(first) > float(last)  # upwards
    root = parsed(rows({"one": (1.0, 0.5, 1.5), "two": (2.0, 2.0, 2.0)}, "x"))
    assert {"one", "two", "x"} <= {one.text for one in root.iter()}
    for constant in ([1.0, 1.0], [0.0, 0.0]):
        parsed(curves({"a": ([1, 2], constant)}, "x", "y", log=""))
