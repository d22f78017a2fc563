"""The result of a solve: times, states, status and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odecore.solve._dense_output import DenseOutput
from odecore.solve._events import EventRecord
from odecore.solve._status import ERROR_OF_STATUS, Statistics, Status

__all__ = ["Samples", "Trajectory"]


@dataclass(frozen=True, eq=False)
class Samples:
    """How the samples of a batch with steps of their own ended.

    Parameters
    ----------
    status : (n,) tuple of Status
    t : (n,) array
        Times that were reached.
    accepted, rejected : (n,) arrays of int
        Steps of each sample.
    """

    status: tuple[Status, ...]
    t: Any
    accepted: Any
    rejected: Any


@dataclass(frozen=True, eq=False)
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
        The solution as a function of time, where it was asked for. After NONFINITE_RHS it may end
        a step before the last state, where it would need the right-hand side's value at that.
    samples : Samples or None
        Status and counts of each sample, where each had its own steps.
    reached : float or None
        Where a solve gave up: it is beyond the last of `t` where that holds the times of `t_eval`.
        None after a success, where samples have their own steps, and where it is seen at the end
        only that given steps are not finite.

    Notes
    -----
    No pytree of jax: return `y` and `t` from functions that jax transforms, as under `jax.jit`.
    """

    t: Any
    y: Any
    status: Status
    statistics: Statistics
    events: tuple[EventRecord, ...] = ()
    dense: DenseOutput | None = None
    samples: Samples | None = None
    reached: float | None = None

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
            none = "" if self.success else f"; without a step ({self.status.name}) there is none"
            raise ValueError(f"no dense output: it is kept with dense=True{none}")
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
        if self.reached is not None and len(self.t) and self.reached != self.t[-1]:
            reached += f", and the solve gave up at t = {self.reached}"
        if self.samples is not None:
            failed = [i for i, s in enumerate(self.samples.status) if s is not Status.SUCCESS]
            first = failed[0]
            reached = (
                f"t = {self.samples.t[first]} for sample {first}, the first of {len(failed)} of "
                f"{len(self.samples.status)} samples that failed"
            )
        raise ERROR_OF_STATUS[self.status](
            f"{self.status.name}: {self.status.value}. The last recorded state is at {reached}, "
            f"after {counts.accepted} accepted and {counts.rejected} rejected steps and "
            f"{counts.evaluations} evaluations; the error's `trajectory` holds what was computed",
            self,
        )
