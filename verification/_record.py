"""The record of a run: its conditions, and each outcome in a file of its own, written at once.

A process that is killed leaves whole files or none, so that a run can go on where it stopped.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from verification._kept import sources, write_whole
from verification.claims import Claim, Outcome, told

__all__ = ["Conditions", "Record"]

Kept = TypeVar("Kept")
PACKAGES = ("odecore", "numpy", "scipy", "sympy", "torch")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


@dataclass(frozen=True)
class Conditions:
    """What outcomes depend on besides the claims' names."""

    seed: int = 0
    full: bool = False
    planted_faults: bool = False
    versions: dict[str, str] = field(default_factory=_versions)
    sources: str = field(default_factory=sources)


def _read(path: Path, kind: Callable[..., Kept]) -> Kept:
    """What a file holds, an object by its names.

    Raises
    ------
    ValueError
        Naming the file, if it holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return kind(**found) if isinstance(found, dict) else kind(found)
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise ValueError(f"{path} is not of this version: {error}; run anew") from error


@dataclass(frozen=True)
class Record:
    """A folder with conditions.json, asked.json, outcomes/NAME.json, in the end results.json."""

    folder: Path

    def begin(self, conditions: Conditions, claims: Sequence[Claim], *, resume: bool) -> None:
        """Start anew, or check that the run that stopped was under the same conditions.

        What is asked for are these claims, besides those of a run that goes on.

        Raises
        ------
        ValueError
            If there is no run to go on with, or it had other conditions.
        """
        outcomes = self.folder / "outcomes"
        if resume:
            before, now = asdict(self.conditions()), asdict(conditions)
            changed = [key for key in now if before[key] != now[key]]
            if changed:
                told = ", ".join(f"{key}: was {before[key]}, is {now[key]}" for key in changed)
                raise ValueError(f"cannot resume under other conditions ({told}); run anew")
        outcomes.mkdir(parents=True, exist_ok=True)
        asked = {claim.name for claim in claims}
        if resume:
            asked |= self.asked()
        else:
            for path in outcomes.glob("*.json*"):
                path.unlink()
            write_whole(self.folder / "conditions.json", asdict(conditions))
        write_whole(self.folder / "asked.json", sorted(asked))

    def conditions(self) -> Conditions:
        """Those of the run.

        Raises
        ------
        ValueError
            If the folder holds no run, or one that this version does not read.
        """
        path = self.folder / "conditions.json"
        if not path.exists():
            raise ValueError(f"{self.folder} holds no run; start one with `run`")
        return _read(path, Conditions)

    def asked(self) -> set[str]:
        """The names of the claims that the run is to measure; ValueError as `conditions`."""
        return _read(self.folder / "asked.json", set)

    def keep(self, name: str, outcome: Outcome) -> None:
        """Write one outcome."""
        write_whole(self.folder / "outcomes" / f"{name}.json", asdict(outcome))

    def outcomes(self) -> dict[str, Outcome]:
        """By the names of their claims."""
        return {
            path.stem: _read(path, Outcome)
            for path in sorted((self.folder / "outcomes").glob("*.json"))
        }

    def conclude(self, claims: Sequence[Claim]) -> None:
        """Write results.json: conditions, and for each finished claim what is known of it."""
        outcomes = self.outcomes()
        finished = [claim for claim in claims if claim.name in outcomes]
        entries = [
            {
                "name": claim.name,
                "statement": claim.statement,
                "source": claim.source,
                "paper": claim.paper,
                "module": claim.module,
                "expected": told(claim.expected),
                "tolerance": claim.tolerance,
                **asdict(outcomes[claim.name]),
            }
            for claim in finished
        ]
        passed = sum(outcomes[claim.name].passed for claim in finished)
        write_whole(
            self.folder / "results.json",
            {
                "conditions": asdict(self.conditions()),
                "passed": passed,
                "failed": len(finished) - passed,
                "claims": entries,
            },
        )
