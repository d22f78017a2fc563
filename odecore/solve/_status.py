"""How a solve ended, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from odecore import errors

__all__ = ["ERROR_OF_STATUS", "Statistics", "Status"]


class Status(Enum):
    """The end of a solve; the value says what happened and what to do."""

    SUCCESS = "reached the end of the interval"
    EVENT = "ended at a terminal event"
    MAX_STEPS = (
        "`max_steps` was used up before the end: raise it, or loosen rtol and atol; where looser "
        "ones change little the problem is stiff, for an implicit method as 'kvaerno43'"
    )
    STEP_UNDERFLOW = (
        "the step that the tolerance asks for is below the spacing of times: the solution may have "
        "a singularity here, the problem may be stiff, or the tolerance is below rounding"
    )
    NONFINITE_RHS = "the right-hand side, or the step made from it, became NaN or infinite"
    NONFINITE_INPUT = "the initial state holds NaN or infinite values"
    MAX_REJECTS = "too many attempts in a row were rejected: is the right-hand side discontinuous?"
    NEWTON_FAILED = (
        "Newton's method did not solve the equations of an implicit step: take smaller steps, or "
        "give an exact `jacobian`, or with many unknowns a diagonally implicit method, as "
        "'kvaerno43', or Newton(linear_solver='direct')"
    )


ERROR_OF_STATUS = {
    Status.MAX_STEPS: errors.MaxStepsError,
    Status.STEP_UNDERFLOW: errors.StepUnderflowError,
    Status.NONFINITE_RHS: errors.NonfiniteRHSError,
    Status.NONFINITE_INPUT: errors.NonfiniteInputError,
    Status.MAX_REJECTS: errors.MaxRejectsError,
    Status.NEWTON_FAILED: errors.NewtonFailedError,
}


@dataclass(frozen=True)
class Statistics:
    """Counts of a solve.

    Parameters
    ----------
    evaluations : int
        Calls of the right-hand side.
    accepted, rejected : int
        Steps taken, and attempts thrown away.
    newton : int
        Iterations of Newton's method, over all steps.
    forced : int
        Steps accepted at `min_step` with an error above the tolerance.
    """

    evaluations: int = 0
    accepted: int = 0
    rejected: int = 0
    newton: int = 0
    forced: int = 0

    def __add__(self, other: Statistics) -> Statistics:
        """The counts of two solves together."""
        names = self.__dataclass_fields__
        return Statistics(*(getattr(self, name) + getattr(other, name) for name in names))
