"""How many nodes a trajectory needs: found while it is integrated."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import numpy as np

from odecore._array import all_finite, namespace, on_host
from odecore.adjoint._step_ends import slack
from odecore.errors import NewtonFailedError
from odecore.interpolation import chebyshev_points, decay_ratio
from odecore.solve import DenseStep

__all__ = ["COUNTS", "Found", "NodeChoice", "panel_ends", "times_inside"]

COUNTS = (5, 9, 17, 33)  # nested: every second point of a grid is a point of the one before
FEW = 2  # steps from one output to the next for both to be in one panel
WINDOW = 64  # steps whose stages are kept at a time
LOOKS = 7  # pairs of steps that tell what given steps resolve
SMOOTH = 4  # the degree that does for an implicit step as a function of its length
INSIDE = 1 / 32  # of what a step misses at the end of the next one: about what it misses inside


class Found(NamedTuple):
    """A panel: its ends and states, whether it ends at an output time, the size of the last
    coefficients in units of the tolerance, the outputs inside in normalised time, the tolerance,
    and how many steps it covers.
    """

    start: float
    end: float
    values: Any
    is_last: bool
    tail: float
    outputs: tuple[float, ...]
    accuracy: tuple[Any, ...]
    steps: int


class NodeChoice:
    """Takes the accepted steps of a solve and turns them into panels.

    A panel ends at an output time or a jump, or with the 64th step after its start. The nested
    grids are tried in it until the last Chebyshev coefficients are within the tolerance; where the
    largest does not do, the panel is divided at a step, as many on both sides, for steps are short
    where the solution changes fast.

    Parameters
    ----------
    times : (n,) sequence of float
        Output times, the first included.
    rtol, atol, norm : optional
        As for `odecore.interpolation.decay_ratio`; None for 1e-6, 1e-9 and the root mean square.
    jumps : sequence of float, optional
        Times at which f jumps, which the steps land on.
    given : bool, optional
        Whether the steps were given. Where no tolerance is, the nodes then resolve what the steps
        do: a part of the distance from a step, prolonged to the end of the next one, to the state
        there, the median of some pairs of steps. One step has the nodes of its polynomial.
    inside : bool, optional
        Whether output times may be inside of panels, where the last one is less than two steps ago.

    Attributes
    ----------
    found : list of Found
    """

    def __init__(
        self,
        times: Sequence[float],
        rtol: Any,
        atol: Any,
        norm: Callable[[Any], Any] | None,
        jumps: Sequence[float] = (),
        given: bool = False,
        inside: bool = False,
    ) -> None:
        self.least = 1e-6 if rtol is None else rtol, 1e-9 if atol is None else atol, norm
        self.looks = given and rtol is None and atol is None
        self.sign = 1.0 if times[-1] > times[0] else -1.0
        self.start, *self.outputs = times
        self.at_output = frozenset(self.outputs)
        self.inside, self.since = inside, 0
        self.ends = panel_ends(times, jumps)[1:]
        self.jumps = set(jumps)
        self.before: DenseStep | None = None
        self.steps: list[DenseStep] = []
        self.found: list[Found] = []

    def __call__(self, step: DenseStep) -> None:
        """Take the next step."""
        self.steps.append(step)
        self.since += 1
        while self.ends and self.sign * (step.end - self.ends[0]) >= 0:
            end, few = self.ends.pop(0), self.since <= FEW
            self.since = 0
            if not (self.inside and few and self.ends and end not in self.jumps):
                self._close(end)
        if len(self.steps) == WINDOW:
            self._close(step.end)

    def _close(self, end: float) -> None:
        if not self.steps and self.before:  # which ends at two times that rounding keeps apart
            self.steps = [self.before]
        self._fit(self.start, end, self.steps, self._accuracy())
        self.start, self.before = end, self.steps[-1]
        later = slack(end, self.steps[-1].end)
        self.steps = [step for step in self.steps if self.sign * (step.end - end) > later]

    def _accuracy(self) -> tuple[Any, ...]:
        """What a panel of the present steps is to resolve: tolerances, and for given steps a part
        of the size of the state.
        """
        if not self.looks:
            return self.least
        before = [s for s in (self.before,) if s is not None and s is not self.steps[0]]
        pairs = [(a, b) for a, b in pairwise(before + self.steps) if a.t_new not in self.jumps]
        missed = []
        for a, b in pairs[:: -(-len(pairs) // LOOKS) or 1]:
            size = _sizes([b.y, b.y_new])[0]
            with suppress(NewtonFailedError):  # of an implicit step to there
                missed.append((b.y_new - a.inside(b.t_new)) / (size or 1.0))
        missed = [x for x in missed if all_finite(x)]
        if not missed:
            return self.least
        rtol, atol, norm = self.least
        xp = namespace(missed[0])
        usual = xp.sort(xp.abs(xp.stack(missed)), axis=0)[len(missed) // 2, ...]
        return rtol, atol, norm, INSIDE * usual

    def _fit(
        self,
        start: float,
        end: float,
        steps: list[DenseStep],
        accuracy: tuple[Any, ...],
    ) -> None:
        """Append the panels from start to end, which the steps cover."""
        ends = [self.sign * step.end for step in steps]

        def state(t: float) -> Any:
            step = steps[bisect_left(ends, self.sign * t)]
            first, last = sorted((step.t, step.t_new))
            return step(min(max(t, first), last))  # beyond by rounding, where that of an output is

        values: list[Any] = []
        tolerance = self.least
        for m in COUNTS:
            points = [float(t) for t in chebyshev_points(m, interval=(start, end))]
            new = [state(t) for t in (points[1::2] if values else points)]
            if values:
                values[1:] = [y for pair in zip(new, values[1:], strict=True) for y in pair]
            else:
                values = new
            stacked = namespace(new[0]).stack(values)
            if self.looks and not all_finite(stacked):
                tail = 0.0  # the solver will say what it is
            elif self.looks and len(steps) == 1:  # it is a polynomial, or nearly so
                tail = 0.0 if m > (steps[0].degree or SMOOTH) else inf
            else:
                tolerance = _where_small(accuracy, stacked)
                tail = float(decay_ratio(stacked, *tolerance))
            if tail <= 1:
                break
        inside = [t for t in (step.end for step in steps) if self.sign * (end - t) > 0]
        if tail <= 1 or not inside:
            inner = times_inside(self.outputs, start, end) if self.inside else ()
            is_last, count = end in self.at_output, len(steps)
            self.found.append(Found(start, end, stacked, is_last, tail, inner, tolerance, count))
            return
        middle = inside[(len(inside) - 1) // 2]
        count = bisect_left(ends, self.sign * middle) + 1
        self._fit(start, middle, steps[:count], accuracy)
        self._fit(middle, end, steps[count:], accuracy)


def _where_small(accuracy: tuple[Any, ...], values: Any) -> tuple[Any, Any, Any]:
    """Tolerances relative to the state where it is smallest: one that grows by orders of magnitude
    in a panel is not known at its start to a part of its largest value.
    """
    rtol, atol, norm, *part = accuracy
    low, high = _sizes(on_host(values))
    if not 0 < high < inf:  # the solver will say what is not finite
        return rtol, atol, norm
    return rtol * (low / high), atol + (low * part[0] if part else 0.0), norm


def _sizes(states: Any) -> tuple[float, float]:
    """Of two neighbours the larger root mean square: the smallest and the largest of these."""
    entries = np.stack([np.abs(on_host(y)).ravel() for y in states]).astype(np.float64)
    with np.errstate(over="ignore"):  # to infinity
        squares = np.mean(entries**2, axis=1) if entries.size else np.zeros(len(states))
    sizes = np.sqrt(squares)
    pairs = np.maximum(sizes[1:], sizes[:-1])
    return float(pairs.min()), float(pairs.max())


def times_inside(times: Sequence[float], start: float, end: float) -> tuple[float, ...]:
    """Of times in the order of two others those between these, in normalised time."""
    sign = 1.0 if end > start else -1.0

    def ahead(t: float) -> float:
        return sign * t

    first = bisect_right(times, sign * start, key=ahead)
    between = times[first : bisect_left(times, sign * end, key=ahead)]
    return tuple((t - start) / (end - start) for t in between)


def panel_ends(times: Sequence[float], jumps: Iterable[float]) -> list[float]:
    """Output times and the jumps between them, in order."""
    low, high = sorted((times[0], times[-1]))
    inside = {t for t in jumps if low < t < high}
    return sorted(inside | set(times), reverse=times[-1] < times[0])
