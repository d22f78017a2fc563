"""The result of a solve: times, states, status and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odecore.solve._dense_output import DenseOutput
from odecore.solve._events import EventRecord
from odecore.solve._status import ERROR_OF_STATUS, Statistics, Status

__all__ = ["Trajectory"]


@dataclass(frozen=True)
class Trajectory:
    """States at the recorded times.

    Parameters
    ----------
    t : (n,) array
        Recorded times: float64 in NumPy, or what the caller gave where times are not read.
    y : (n, ...) array
        States, time first, in the library, dtype and device of `y0`.
    status : Status
    statistics : Statistics
    events : tuple of EventRecord
        One for each event that was looked for.
    dense : DenseOutput or None
        The solution as a function of time, where it was asked for.
    """

    t: Any
    y: Any
    status: Status
    statistics: Statistics
    events: tuple[EventRecord, ...] = ()
    dense: DenseOutput | None = None

    @property
    def success(self) -> bool:
        """Whether the whole interval was integrated, or all of it up to a terminal event."""
        return self.status in (Status.SUCCESS, Status.EVENT)

    def __call__(self, t: Any) -> Any:
        """The state at a time, or at a sequence of times, of a solve with ``dense=True``.

        Raises
        ------
        ValueError
            Without dense output, or outside the interval that was integrated.
        """
        if self.dense is None:
            raise ValueError("this trajectory has no dense output; solve with dense=True")
        return self.dense(t)

    def raise_for_status(self) -> None:
        """Raise the error of the status, carrying this trajectory; nothing after a success.

        Raises
        ------
        SolveError
            The subclass that belongs to the status.
        """
        if self.success:
            return
        counts = self.statistics
        reached = f"t = {self.t[-1]}" if len(self.t) else "no time"
        raise ERROR_OF_STATUS[self.status](
            f"{self.status.name}: {self.status.value}. The last recorded state is at {reached}, "
            f"after {counts.accepted} accepted and {counts.rejected} rejected steps and "
            f"{counts.evaluations} evaluations; the error's `trajectory` holds what was computed",
            self,
        )
