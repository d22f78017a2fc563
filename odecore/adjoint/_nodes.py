"""How many nodes a trajectory needs: found while it is integrated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from odecore._array import namespace
from odecore.interpolation import chebyshev_points, decay_ratio
from odecore.solve import DenseStep

__all__ = ["COUNTS", "NodeChoice", "panel_ends"]

COUNTS = (5, 9, 17, 33)  # nested: every second point of a grid is a point of the one before
WINDOW = 64  # steps whose stages are kept at a time


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

    Attributes
    ----------
    found : list of tuple
        start, end, values, whether the end is an output time, and the tail of each panel.
    """

    def __init__(
        self,
        times: Sequence[float],
        rtol: Any,
        atol: Any,
        norm: Callable[[Any], Any] | None,
        jumps: Sequence[float] = (),
    ) -> None:
        self.tolerances = 1e-6 if rtol is None else rtol, 1e-9 if atol is None else atol, norm
        self.sign = 1.0 if times[-1] > times[0] else -1.0
        self.start, *self.outputs = times
        self.ends = panel_ends(times, jumps)[1:]
        self.steps: list[DenseStep] = []
        self.found: list[tuple[float, float, Any, bool, float]] = []

    def __call__(self, step: DenseStep) -> None:
        """Take the next step."""
        self.steps.append(step)
        while self.ends and self.sign * (step.end - self.ends[0]) >= 0:
            end = self.ends.pop(0)
            self._close(end, end in self.outputs)
        if len(self.steps) == WINDOW:
            self._close(step.end, False)

    def _close(self, end: float, is_last: bool) -> None:
        self._fit(self.start, end, self.steps, is_last)
        self.start = end
        self.steps = [step for step in self.steps if self.sign * (step.end - end) > 0]

    def _fit(self, start: float, end: float, steps: list[DenseStep], is_last: bool) -> None:
        """Append the panels from start to end, which the steps cover."""
        ends = [self.sign * step.end for step in steps]

        def state(t: float) -> Any:
            return steps[bisect_left(ends, self.sign * t)](t)

        values: list[Any] = []
        for m in COUNTS:
            points = [float(t) for t in chebyshev_points(m, interval=(start, end))]
            new = [state(t) for t in (points[1::2] if values else points)]
            if values:
                values[1:] = [y for pair in zip(new, values[1:], strict=True) for y in pair]
            else:
                values = new
            stacked = namespace(new[0]).stack(values)
            tail = float(decay_ratio(stacked, *self.tolerances))
            if tail <= 1:
                break
        inside = [t for t in (step.end for step in steps) if self.sign * (end - t) > 0]
        if tail <= 1 or not inside:
            self.found.append((start, end, stacked, is_last, tail))
            return
        middle = inside[(len(inside) - 1) // 2]
        count = bisect_left(ends, self.sign * middle) + 1
        self._fit(start, middle, steps[:count], False)
        self._fit(middle, end, steps[count:], is_last)


def panel_ends(times: Sequence[float], jumps: Sequence[float]) -> list[float]:
    """Output times and the jumps between them, in order."""
    low, high = sorted((times[0], times[-1]))
    inside = {t for t in jumps if low < t < high}
    return sorted(inside | set(times), reverse=times[-1] < times[0])
