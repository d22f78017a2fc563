"""The table and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from verification._interval import Estimate
from verification.demo._part import ONE_SEED, Section, loss
from verification.demo._rows import Row
from verification.demo._train import Run

HERE = Path(__file__).parent

__all__ = ["HEADER", "Line", "cells", "line", "page", "table", "verdicts", "warned"]


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    row: Row
    baseline: str
    accuracy: Estimate
    difference: Estimate | None
    forward: int
    backward: int
    saved: int
    seconds: float

    @property
    def loses(self) -> bool:
        """Whether accuracy is below the baseline's by more than the interval."""
        return self.difference is not None and self.difference.is_loss


def line(row: Row, runs: Sequence[Run], baseline: str, against: Sequence[Run] | None) -> Line:
    """Summarise the runs of a row; the difference to the baseline is paired by seed."""
    difference = None
    accuracies = [run.accuracy for run in runs]
    if against is not None:
        difference = Estimate.paired(accuracies, [other.accuracy for other in against])
    first = runs[0]
    return Line(
        row,
        baseline,
        Estimate.of(accuracies),
        difference,
        first.forward,
        first.backward,
        first.saved,
        mean(run.seconds for run in runs),
    )


HEADER = ("row", "accuracy, %", "difference", "f forward", "f backward", "saved, KiB", "seconds")


def cells(found: Line) -> tuple[str, ...]:
    """The texts of one row of the table."""
    difference = "" if found.difference is None else found.difference.percent("+")
    return (
        found.row.name,
        found.accuracy.percent(),
        difference,
        str(found.forward),
        str(found.backward),
        f"{found.saved / 1024:.0f}",
        f"{found.seconds:.1f}",
    )


def table(header: Sequence[str], found: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    rows = [header, *found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def verdicts(lines: Sequence[Line], seeds: int) -> list[str]:
    """Say which rows lose more than their interval."""
    if seeds == 1:
        return [ONE_SEED]
    lost = [
        loss(found.row.name, found.difference, found.baseline) for found in lines if found.loses
    ]
    return lost or ["No row loses more than its interval against its baseline."]


def warned(rows: Sequence[Row], groups: Sequence[Sequence[Run]]) -> list[str]:
    """Say which rows were warned of while training, with the last text in order."""
    sentences = []
    for row, runs in zip(rows, groups, strict=True):
        count = sum(bool(run.warned) for run in runs)
        if count:
            text = max(text for run in runs for text in run.warned)
            sentences.append(f"“{row.name}” was warned of in {count} of {len(runs)} runs: {text}.")
    return sentences


def page(
    path: Path,
    lines: Sequence[Line],
    sections: Sequence[Section],
    texts: dict[str, object],
    svg: dict[str, str],
) -> None:
    """Write the self-contained HTML page."""
    environment = Environment(
        loader=FileSystemLoader([HERE, HERE.parent]), autoescape=select_autoescape(["j2"])
    )
    figures = {name: Markup(text[text.index("<svg") :]) for name, text in svg.items()}  # noqa: S704 - our own figures
    html = environment.get_template("page.html.j2").render(
        header=HEADER,
        rows=[(found, cells(found)) for found in lines],
        sections=sections,
        figures=figures,
        **texts,
    )
    path.write_text(html, encoding="utf-8")
