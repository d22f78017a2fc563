"""A claim: a statement with a source, what was measured, and what was expected."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isclose
from typing import Any

__all__ = ["Claim", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a claim measured; a claim that crashed is a failed claim."""

    passed: bool
    measured: str
    seconds: float


@dataclass(frozen=True)
class Claim:
    """A runnable claim.

    Parameters
    ----------
    name : str
    statement, source : str
    measure : callable
        From a flag to what is measured. With the flag set, the formula under test is corrupted, and
        the claim must then fail.
    expected : object
        Compared with ==; floats up to `tolerance`, relative.
    tolerance : float, optional
    """

    name: str
    statement: str
    source: str
    measure: Callable[[bool], Any]
    expected: Any
    tolerance: float = 0.0

    def run(self, *, planted_fault: bool = False) -> Outcome:
        """Measure and compare."""
        start = time.perf_counter()
        try:
            found = self.measure(planted_fault)
        except Exception as error:
            seconds = time.perf_counter() - start
            return Outcome(False, f"{type(error).__name__}: {error}", seconds)
        if self.tolerance:
            passed = isclose(found, self.expected, rel_tol=self.tolerance)
        else:
            passed = found == self.expected
        return Outcome(passed, str(found), time.perf_counter() - start)
