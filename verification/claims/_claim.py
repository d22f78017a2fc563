"""A claim: a statement with a source, what was measured, and what was expected."""

from __future__ import annotations

import time
import traceback
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from verification.claims._bound import agrees, told

__all__ = ["Claim", "Draws", "Finding", "Outcome"]


@dataclass(frozen=True)
class Draws:
    """What a randomized claim may draw: from a generator of its own, so many samples."""

    rng: np.random.Generator
    count: int


@dataclass(frozen=True)
class Finding:
    """A measured value with the numbers behind it.

    Parameters
    ----------
    value : object
        Compared with what the claim expects: a number with a bound, several by their names.
    text : str, optional
        Shown after the numbers of a mapping, and in place of another value.
    figure : str, optional
        SVG.
    """

    value: Any
    text: str = ""
    figure: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a claim measured; a claim that crashed is a failed claim, with its traceback."""

    passed: bool
    measured: str
    seconds: float
    samples: int | None = None
    figure: str = ""
    crash: str = ""


@dataclass(frozen=True)
class Claim:
    """A runnable claim.

    Parameters
    ----------
    name : str
    statement, source : str
    measure : callable
        From a flag to what is measured, a value or a `Finding`. With the flag set, the formula
        under test is corrupted, and the claim must then fail. Where `samples` is given, it gets
        `Draws` as well.
    expected : object
        A `Bound` holds a number, a mapping has one for each number's name; anything else is
        compared with ==, floats up to `tolerance`, relative.
    tolerance : float, optional
    paper : str, optional
        The arXiv number of the paper that the claim is about, "" if it is about none of the five.
    module : str, optional
        Where the library holds it.
    samples : int, optional
        Random draws of one estimate; ten times as many in a full run.
    slow : bool, optional
        Left out of a quick run.
    """

    name: str
    statement: str
    source: str
    measure: Callable[..., Any]
    expected: Any
    tolerance: float = 0.0
    paper: str = ""
    module: str = ""
    samples: int | None = None
    slow: bool = False

    def run(self, *, planted_fault: bool = False, seed: int = 0, full: bool = False) -> Outcome:
        """Measure and compare; the draws depend on the seed and the name alone."""
        start, more, count = time.perf_counter(), (), None
        if self.samples is not None:
            count = self.samples * (10 if full else 1)
            key = zlib.crc32(self.name.encode())
            more = (Draws(np.random.default_rng([seed, key]), count),)
        try:
            found = self.measure(planted_fault, *more)
            if not isinstance(found, Finding):
                found = Finding(found)
            passed = agrees(found.value, self.expected, self.tolerance)
        except Exception as error:
            seconds, text = time.perf_counter() - start, f"{type(error).__name__}: {error}"
            return Outcome(False, text, seconds, count, crash=traceback.format_exc())
        text = found.text or told(found.value)
        if found.text and isinstance(found.value, Mapping):
            text = f"{told(found.value)} ({found.text})"
        return Outcome(passed, text, time.perf_counter() - start, count, found.figure)
