"""The errors and warnings of this library that are not a plain ValueError or TypeError."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ChangedTensorError",
    "CallbackWarning",
    "CompileWarning",
    "DriftError",
    "FreedGraphError",
    "MaxRejectsError",
    "MaxStepsError",
    "NearSingularWarning",
    "NewtonFailedError",
    "NonfiniteGradientError",
    "NonfiniteInputError",
    "NonfiniteRHSError",
    "OdecoreWarning",
    "RightHandSideError",
    "RightHandSideWarning",
    "SingularParameterError",
    "SolveError",
    "StepUnderflowError",
    "ToleranceWarning",
    "UncertifiedGradientError",
    "UncertifiedGradientWarning",
    "UnconvergedCorrectorWarning",
    "UnresolvedInterpolantWarning",
    "WeakAttackWarning",
]


class SingularParameterError(ValueError):
    """Parameters on the excluded set of a family; the message names the factor that vanishes."""


class SolveError(RuntimeError):
    """A solve that did not reach its end.

    Attributes
    ----------
    trajectory : odecore.solve.Trajectory
        What was computed up to the failure: times, states, counts and status.
    """

    def __init__(self, message: str, trajectory: Any) -> None:
        super().__init__(message)
        self.trajectory = trajectory

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the trajectory, so that the error crosses processes."""
        return type(self), (str(self), self.trajectory)


class MaxStepsError(SolveError):
    """The budget of steps was used up before the end of the interval."""


class StepUnderflowError(SolveError):
    """The step size that the tolerance asks for is below the spacing of floating-point times."""


class NonfiniteRHSError(SolveError):
    """The right-hand side, or the step made from it, became NaN or infinite."""


class NonfiniteInputError(SolveError, ValueError):
    """The initial state holds NaN or infinite values."""


class MaxRejectsError(SolveError):
    """Too many attempts in a row were rejected at one time."""


class NewtonFailedError(SolveError):
    """Newton's method did not solve the equations of an implicit step."""


class DriftError(SolveError):
    """A state that was integrated backwards has left the trajectory, and does not arrive."""


class UncertifiedGradientError(RuntimeError):
    """A gradient whose estimated error is above the limit, where that was asked to be an error."""


class RightHandSideError(ValueError):
    """A right-hand side that is not a function of its arguments and parameters."""


class ChangedTensorError(RuntimeError):
    """A tensor that a right-hand side reads, changed between forward and backward pass."""


class FreedGraphError(RuntimeError):
    """An objective whose history was freed by an earlier pass through it."""


class NonfiniteGradientError(ValueError):
    """Objectives whose gradients hold NaN or infinite values.

    Attributes
    ----------
    objectives : tuple of int
        Which ones.
    """

    def __init__(self, message: str, objectives: tuple[int, ...]) -> None:
        super().__init__(message)
        self.objectives = objectives

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the objectives, so that the error crosses processes."""
        return type(self), (str(self), self.objectives)


class OdecoreWarning(UserWarning):
    """Every warning of this library is of a subclass of this class."""


class UnresolvedInterpolantWarning(OdecoreWarning):
    """An interpolant has too few nodes for its trajectory: its coefficients have not decayed."""


class UncertifiedGradientWarning(OdecoreWarning):
    """A gradient whose estimated error is above the limit."""


class RightHandSideWarning(OdecoreWarning):
    """A right-hand side that is not a function of its arguments and parameters."""


class NearSingularWarning(OdecoreWarning):
    """A member of a family so close to the excluded set that its coefficients are huge."""


class ToleranceWarning(OdecoreWarning):
    """A tolerance below the rounding of a state in half precision."""


class CallbackWarning(OdecoreWarning):
    """A callback will not be called: its method makes steps that are not seen."""


class CompileWarning(OdecoreWarning):
    """A part of a solve could not be compiled and runs without, more slowly."""


class UnconvergedCorrectorWarning(OdecoreWarning):
    """The corrector of an Adams method did not reach its tolerance."""


class WeakAttackWarning(OdecoreWarning):
    """Samples withstood an attack that went nowhere near the edge of its ball."""
