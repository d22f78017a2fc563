"""How a solve ended, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from odecore import errors

__all__ = ["ERROR_OF_STATUS", "Statistics", "Status"]


class Status(Enum):
    """The end of a solve; the value says what happened and what to do."""

    SUCCESS = "reached the end of the interval"
    MAX_STEPS = "`max_steps` was used up before the end: raise it, or loosen rtol and atol"
    STEP_UNDERFLOW = (
        "the step that the tolerance asks for is below the spacing of times: the solution may have "
        "a singularity here, the problem may be stiff, or the tolerance is below rounding"
    )
    NONFINITE_RHS = "the right-hand side, or the step made from it, became NaN or infinite"
    NONFINITE_INPUT = "the initial state holds NaN or infinite values"
    MAX_REJECTS = "too many attempts in a row were rejected: is the right-hand side discontinuous?"


ERROR_OF_STATUS = {
    Status.MAX_STEPS: errors.MaxStepsError,
    Status.STEP_UNDERFLOW: errors.StepUnderflowError,
    Status.NONFINITE_RHS: errors.NonfiniteRHSError,
    Status.NONFINITE_INPUT: errors.NonfiniteInputError,
    Status.MAX_REJECTS: errors.MaxRejectsError,
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
    """

    evaluations: int = 0
    accepted: int = 0
    rejected: int = 0
