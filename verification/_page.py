"""The page of a run: paper, claims and module first, then every claim, then figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from verification._papers import OWN, PAPERS
from verification._record import Record
from verification.claims import Claim, Outcome, told

__all__ = ["write_page"]


@dataclass(frozen=True)
class Chapter:
    """A paper with its claims and the modules that hold them."""

    paper: str
    title: str
    claims: tuple[Claim, ...]

    @property
    def modules(self) -> list[str]:
        """Each once, sorted."""
        return sorted({claim.module for claim in self.claims if claim.module})


def chapters(claims: Sequence[Claim]) -> list[Chapter]:
    """The five papers, then what belongs to none."""
    keys = [*PAPERS.items(), ("", OWN)]
    found = [(key, title, tuple(c for c in claims if c.paper == key)) for key, title in keys]
    return [Chapter(*one) for one in found if one[2]]


def _svg(outcome: Outcome) -> Markup:
    """A figure of ours, without the header of an SVG file."""
    return Markup(outcome.figure[outcome.figure.index("<svg") :])  # noqa: S704


def write_page(path: Path, claims: Sequence[Claim], record: Record) -> None:
    """Write one self-contained HTML page about the claims of a run that are finished.

    Raises
    ------
    ValueError
        If the record holds no run.
    """
    outcomes, conditions = record.outcomes(), record.conditions()
    rows = [(claim, outcomes[claim.name]) for claim in claims if claim.name in outcomes]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"])
    )
    html = environment.get_template("claims.html.j2").render(
        chapters=chapters([claim for claim, _ in rows]),
        outcomes=outcomes,
        told=told,
        rows=rows,
        figures=[(claim, _svg(found)) for claim, found in rows if found.figure],
        crashes=[(claim, found.crash) for claim, found in rows if found.crash],
        passed=sum(found.passed for _, found in rows),
        missing=len(claims) - len(rows),
        seconds=sum(found.seconds for _, found in rows),
        conditions=conditions,
    )
    path.write_text(html, encoding="utf-8")
