"""Controllers: who proposes the next time and judges the attempt. State goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite, ulp
from typing import Any

from odecore.solve._error_norm import error_ratio, root_mean_square
from odecore.solve._explicit_step import Attempt
from odecore.solve._kinds import require_number
from odecore.solve._status import Status

__all__ = ["CONTROLS", "AdaptiveSteps", "Control", "GivenSteps", "StepControl", "is_smallest"]

MAX_REJECTS = 100  # in a row; each shrinks the step by a tenth at least


@dataclass(frozen=True)
class StepControl:
    """How the next step follows from the errors of the last ones.

    h_new = h min(grow, max(shrink, safety r_n^(-g1/p) r_(n-1)^(-g2/p) r_(n-2)^(-g3/p))), with the
    errors r in units of the tolerance and the order p of the method. After a rejected step the
    exponents are (1, 0, 0).

    Parameters
    ----------
    gains : (3,) tuple of float, optional
        g1, g2, g3. Their sum is positive.
    safety, shrink, grow : float, optional
        0 < safety <= 1, 0 < shrink < 1 < grow.

    Raises
    ------
    ValueError, TypeError
        If a number breaks a rule, or is none.

    Notes
    -----
    ``"I"``: (1, 0, 0), elementary, Hairer, Norsett, Wanner I, equation II.4.13. ``"PI"``: (0.7,
    -0.4, 0), Gustafsson, Hairer and Wanner II, section IV.2. ``"PID"``: (0.58, -0.21, 0.1),
    Kennedy and Carpenter 2003. The latter two suit steps that stability limits.
    """

    gains: tuple[float, float, float] = (1.0, 0.0, 0.0)
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0

    def __post_init__(self) -> None:
        try:
            good = len(self.gains) == 3 and sum(self.gains) > 0 and all(map(isfinite, self.gains))
        except (TypeError, OverflowError):  # of another kind, or above all floats
            good = False
        if not good:
            raise ValueError(f"`gains` must be 3 numbers of positive sum, got {self.gains!r}")
        for label in ("safety", "shrink", "grow"):
            require_number(label, getattr(self, label))
        if not 0 < self.safety <= 1:
            raise ValueError(f"`safety` must be in (0, 1], got {self.safety}")
        if not 0 < self.shrink < 1 < self.grow:
            raise ValueError(
                f"`shrink` and `grow` must satisfy 0 < shrink < 1 < grow, got {self.shrink} and "
                f"{self.grow}"
            )


CONTROLS = {
    "I": StepControl(),
    "PI": StepControl((0.7, -0.4, 0.0)),
    "PID": StepControl((0.58, -0.21, 0.1)),
}


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
    ratios : (2,) tuple of float
        Errors of the last two accepted steps, in units of the tolerance.
    forced : int
        Steps accepted at the smallest size, in spite of their error.
    """

    h: float = 0.0
    rejects: int = 0
    failure: Status | None = None
    ratios: tuple[float, float] = (1.0, 1.0)
    forced: int = 0


def is_smallest(t: Any, used: Any, least: Any, /) -> Any:
    """Whether steps `used` from t are as small as `min_step` lets them be; floats or arrays.

    They differ from `least` by the rounding of times, and by 1e-10 of it where they land on a stop.
    """
    return (least > 0) & (abs(used) <= least * (1 + 2e-10) + 2.0**-52 * abs(t))


@dataclass(frozen=True)
class GivenSteps:
    """Steps from stop to stop, all accepted: no value is read, so no device is waited for."""

    def propose(self, t: Any, stop: Any, control: Control) -> Any:
        """Go straight to the stop."""
        return stop

    def judge(
        self, attempt: Attempt, y: Any, t: Any, t_new: Any, control: Control
    ) -> tuple[bool, Control]:
        """Accept, unless the step could not be made."""
        if attempt.failure is not None:
            return False, replace(control, failure=attempt.failure)
        return True, control


@dataclass(frozen=True)
class AdaptiveSteps:
    """Steps whose estimated error is within the tolerance.

    Parameters
    ----------
    rtol : float or array
    atol : float or array
    order : int
        Of the propagated method, one above that of the estimate.
    law : StepControl
    min_step, max_step : float
        At `min_step` a finite attempt is accepted whatever its error.
    norm : callable
        From an array like the state to a float.
    """

    rtol: Any
    atol: Any
    order: int
    law: StepControl = CONTROLS["I"]
    min_step: float = 0.0
    max_step: float = inf
    norm: Callable[[Any], float] = root_mean_square

    def propose(self, t: float, stop: float, control: Control) -> float:
        """Advance by h, land on the stop if it is in reach, and halve what is left just beyond."""
        remaining = stop - t
        h = min(max(control.h, -self.max_step), self.max_step)
        if abs(h) >= abs(remaining) * (1 - 1e-10):
            return stop
        return t + (remaining / 2 if 2 * abs(h) > abs(remaining) else h)

    def judge(
        self, attempt: Attempt, y: Any, t: float, t_new: float, control: Control
    ) -> tuple[bool, Control]:
        """Compare the error with the tolerance; a non-finite attempt is rejected and cut."""
        ratio = float("nan")
        if attempt.ratio is not None:
            ratio = float(attempt.ratio)
        elif attempt.failure is None:
            ratio = error_ratio(attempt.error, y, attempt.y, self.rtol, self.atol, self.norm)
        finite = isfinite(ratio)
        used = t_new - t
        if used == 0:
            return False, replace(control, failure=Status.STEP_UNDERFLOW)
        law = self.law
        smallest = is_smallest(t, used, self.min_step)
        if finite and (ratio <= 1 or smallest):
            factor = law.grow
            if ratio > 0:
                factor = law.safety
                for gain, r in zip(law.gains, (ratio, *control.ratios), strict=True):
                    factor *= max(r, 1e-10) ** (-gain / self.order) if gain else 1.0
            if ratio > 1:
                factor = min(factor, 1.0)
            h = used * min(law.grow, max(law.shrink, factor))
            was_cut = abs(used) < 0.99 * abs(control.h)  # to land: the error says little about h
            h = max(h, control.h, key=abs) if was_cut and ratio <= 1 else h
            return True, Control(
                self._at_least(h),
                ratios=(ratio, control.ratios[0]),
                forced=control.forced + (ratio > 1),
            )
        factor = law.safety * ratio ** (-1 / self.order) if finite else law.shrink
        h = used * min(0.9, max(law.shrink, factor))
        rejects = control.rejects + 1
        cause = attempt.failure or (None if finite else Status.NONFINITE_RHS)
        failure = None
        if abs(h) < 16 * ulp(t) or t + h == t or (cause and smallest):
            failure = cause or Status.STEP_UNDERFLOW
        elif rejects >= MAX_REJECTS:
            failure = cause or Status.MAX_REJECTS
        return False, replace(control, h=self._at_least(h), rejects=rejects, failure=failure)

    def _at_least(self, h: float) -> float:
        return h if abs(h) >= self.min_step else (self.min_step if h > 0 else -self.min_step)
