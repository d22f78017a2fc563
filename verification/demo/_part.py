"""Parts of the page with trainings and a table of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from verification._interval import Estimate

__all__ = ["ONE_SEED", "Cell", "Part", "Section", "change", "loss"]

ONE_SEED = "One seed gives no interval: run more seeds before believing a difference."


class Cell(NamedTuple):
    """A cell of a table, red if something is lost."""

    text: str
    lost: bool = False


def change(found: Estimate) -> Cell:
    """A difference to a baseline."""
    return Cell(found.percent("+"), found.is_loss)


def loss(name: str, difference: Estimate, baseline: str) -> str:
    """Say how much is lost."""
    return (
        f"“{name}” loses {-100 * difference.mean:.1f} points against “{baseline}”, more than its "
        "interval."
    )


@dataclass(frozen=True)
class Section:
    """What the page shows of a part.

    Parameters
    ----------
    title, about : str
    seen : sequence of str
        Sentences on what came out.
    header : sequence of str
    rows : sequence of sequences of Cell
    figure : str
        Its name; empty without one.
    caption : str
    quoted : str
        A text as the user would see it.
    """

    title: str
    about: str
    seen: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figure: str = ""
    caption: str = ""
    quoted: str = ""


@dataclass(frozen=True)
class Part:
    """What is run for a section.

    Parameters
    ----------
    names : tuple of str
        Rows, each run with each seed in a worker.
    measure : callable
        `measure(name, seed, quick)`, picklable both ways.
    conclude : callable
        From the results of all rows, seed by seed, to the section and the figure as SVG.
    """

    names: tuple[str, ...]
    measure: Callable[[str, int, bool], Any]
    conclude: Callable[[Mapping[str, list[Any]]], tuple[Section, str]]
