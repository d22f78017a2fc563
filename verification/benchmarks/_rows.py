"""What a benchmark hands over: rows with a ratio, numbers besides, and tables of them."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Row", "add_options", "keep", "printed", "read", "tables", "versus"]


@dataclass(frozen=True)
class Row:
    """One ratio, or numbers about a peer itself.

    Parameters
    ----------
    table : str
        Heading of the table that the row stands in; it says what was timed.
    case : str
        Rows of one case share a line.
    peer : str, optional
        Heads the ratio's column. Without one the line has numbers only.
    ratio : float, optional
        odecore's time over the peer's: below 1 odecore is faster.
    numbers : dict of str to float, optional
        By the heads of their columns, which say so if less is not better.

    Raises
    ------
    ValueError
        If the ratio is not positive and finite, or there is one without a peer or a peer without.
    """

    table: str
    case: str
    peer: str = ""
    ratio: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.ratio is None) == bool(self.peer):
            raise ValueError(f"a ratio has a peer and a peer a ratio; found {self}")
        if self.ratio is not None and not 0 < self.ratio < math.inf:
            raise ValueError(f"a ratio of times is positive and finite; found {self}")


def versus(
    table: str, case: str, times: dict[str, float], peers: Iterable[str], ours: str = "odecore"
) -> Iterator[Row]:
    """Rows of one way of ours against each of some peers, from the times of all."""
    for peer in peers:
        yield Row(table, case, peer, times[ours] / times[peer])


def add_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options that every benchmark has."""
    parser.add_argument(
        "--quick", action="store_true", help="few cases, few repetitions: to see that it runs"
    )
    parser.add_argument("--rows", type=Path, help="JSON file to write the rows to")
    return parser


def keep(rows: Iterable[Row], path: Path | None) -> None:
    """Measure: rows are made, and printed, while they are asked for; then write them."""
    found = [asdict(row) for row in rows]
    if path is not None:
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")


def printed(rows: Iterable[Row]) -> Iterator[Row]:
    """Print each ratio as it comes; below 1 odecore is faster."""
    print("time of odecore / peer")
    for row in rows:
        if row.ratio is not None:
            print(f"{row.case:58s} {row.peer:14s} {row.ratio:7.2g}", flush=True)
        yield row


def read(path: Path) -> list[Row]:
    """The rows of a file."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def tables(rows: Iterable[Row]) -> Iterator[tuple[str, list[str]]]:
    """Heading and lines of each table in Markdown: a line for a case, a column for a peer."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.table, []).append(row)
    for heading, own in grouped.items():
        peers = dict.fromkeys(row.peer for row in own if row.peer)
        names = dict.fromkeys(name for row in own for name in row.numbers)
        cells: dict[str, dict[str, str]] = {}
        for row in own:
            line = cells.setdefault(row.case, {})
            if row.ratio is not None:
                line[f"time / {row.peer}"] = _ratio(row.ratio)
            line.update({name: _number(x) for name, x in row.numbers.items()})
        columns = [*(f"time / {peer}" for peer in peers), *names]
        lines = [f"| case | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for case, line in cells.items():
            lines.append(f"| {case} | {' | '.join(line.get(c, '') for c in columns)} |")
        yield heading, lines


def _ratio(x: float) -> str:
    return f"{x:.2f}" if x >= 0.095 else f"{x:.2g}"


def _number(x: float) -> str:
    return str(x) if isinstance(x, int) else f"{x:.3g}"
