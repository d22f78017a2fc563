"""Controllers: who proposes the next time and judges the attempt. State goes in and comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, ulp
from typing import Any

from odecore.solve._error_norm import error_ratio
from odecore.solve._explicit_step import Attempt
from odecore.solve._status import Status

__all__ = ["AdaptiveSteps", "Control", "GivenSteps"]

MAX_REJECTS = 100  # in a row; each shrinks the step by a tenth at least


@dataclass(frozen=True)
class Control:
    """What a controller remembers between attempts.

    Parameters
    ----------
    h : float
        Signed step that the tolerance allows, before it was cut to land on a time.
    rejects : int
        Attempts rejected in a row.
    failure : Status or None
        Set when integration must end.
    """

    h: float = 0.0
    rejects: int = 0
    failure: Status | None = None


@dataclass(frozen=True)
class GivenSteps:
    """Steps from stop to stop, all accepted: no value is read, so no device is waited for."""

    def propose(self, t: Any, stop: Any, control: Control) -> Any:
        """Go straight to the stop."""
        return stop

    def judge(
        self, attempt: Attempt, y: Any, t: Any, t_new: Any, control: Control
    ) -> tuple[bool, Control]:
        """Accept."""
        return True, control


@dataclass(frozen=True)
class AdaptiveSteps:
    """Elementary (I) controller: h_new = h min(10, max(0.2, 0.9 ratio^(-1/(q+1)))).

    Hairer, Norsett, Wanner I, equation II.4.13; q is the lower order of the pair.
    """

    rtol: float
    atol: Any
    order: int

    def propose(self, t: float, stop: float, control: Control) -> float:
        """Advance by h, land on the stop if it is in reach, and halve what is left just beyond."""
        remaining = stop - t
        if abs(control.h) >= abs(remaining) * (1 - 1e-10):
            return stop
        return t + (remaining / 2 if 2 * abs(control.h) > abs(remaining) else control.h)

    def judge(
        self, attempt: Attempt, y: Any, t: float, t_new: float, control: Control
    ) -> tuple[bool, Control]:
        """Compare the error with the tolerance; a non-finite attempt is rejected and cut."""
        ratio = error_ratio(attempt.error, y, attempt.y, self.rtol, self.atol)
        finite = isfinite(ratio)
        used = t_new - t
        if used == 0:
            return False, replace(control, failure=Status.STEP_UNDERFLOW)
        # `order` is that of the propagated method, one above the estimate's.
        factor = 0.9 * ratio ** (-1 / self.order) if finite and ratio > 0 else 10.0
        if finite and ratio <= 1:
            h = used * min(10.0, max(0.2, factor))
            was_cut = abs(used) < 0.99 * abs(control.h)  # to land: the error says little about h
            return True, Control(max(h, control.h, key=abs) if was_cut else h)
        h = used * (max(0.2, min(0.9, factor)) if finite else 0.2)
        rejects = control.rejects + 1
        failure = None
        if abs(h) < 16 * ulp(t) or t + h == t:
            failure = Status.STEP_UNDERFLOW if finite else Status.NONFINITE_RHS
        elif rejects >= MAX_REJECTS:
            failure = Status.MAX_REJECTS if finite else Status.NONFINITE_RHS
        return False, Control(h, rejects, failure)
