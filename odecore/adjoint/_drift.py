"""Whether a state that is integrated backwards has left the trajectory for good."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

from odecore._array import namespace
from odecore.adjoint._quadrature import norm_of
from odecore.errors import DriftError
from odecore.solve import Statistics, Status, Trajectory, solve_ivp

__all__ = ["Watch"]

FIRST = 1000  # attempts before the first look; the next ones are at twice as many each
SLOWING = 1.25  # times as much time as before is covered with twice the attempts; 2 in equal steps
COSTLIER = 100  # times the steps of the forward solve
FAR = 10.0  # times the size of the trajectory
OF_STATE = ("method", "rtol", "atol", "jump_at")


class Watch:
    """Observes the steps from one output time back to the one before.

    Backwards the state may run away, to where steps get ever smaller and the end is never reached.
    That a state has left the trajectory is no failure by itself: an adjoint that does not depend on
    it is right. Nor is that steps are many. Refused are both together, and steps that slow down:
    twice the attempts cover hardly more time than half of them did. The trajectory is solved for
    again then, forward to the time in question.

    Parameters
    ----------
    fun : callable
        The right-hand side of the state.
    span : (2,) tuple of float
        From the later time to the earlier one.
    states : (2,) tuple of array
        The trajectory there.
    options : dict
        Of the backward solve, of a tuple of which the state is the first.

    Attributes
    ----------
    evaluations : int
        Of the right-hand side, by looks.
    """

    def __init__(
        self,
        fun: Callable[[Any, Any], Any],
        span: tuple[float, float],
        states: tuple[Any, Any],
        options: dict[str, Any],
    ) -> None:
        self.fun, self.span, self.states = fun, span, states
        self.observe = options.get("observe")
        self.options = {k: options[k] for k in OF_STATE if options.get(k) is not None}
        for name in {"rtol", "atol"} & set(self.options):
            given = self.options[name]
            if isinstance(given, tuple | list) and given:  # one for each part
                self.options[name] = given[0]
        self.times: list[float] = []  # after a quarter of the attempts, a half, and now
        self.attempts, self.due = 0, FIRST // 4
        self.evaluations = 0

    def __call__(self, what: str, t: Any, state: Any, h: Any) -> None:
        """Pass on what happens, and look now and then."""
        if self.observe is not None:
            self.observe(what, t, state, h)
        if what != "step":
            return
        self.attempts += 1
        if self.attempts == self.due:
            self.due *= 2
            self.times = [*self.times[-2:], t]
            if len(self.times) == 3:
                self._look(t, state[0])

    def _look(self, t: float, y: Any) -> None:
        """Raise DriftError if the state is far from the trajectory, and the end from here."""
        early, late = (abs(t1 - t0) for t0, t1 in pairwise(self.times))
        if late >= SLOWING * early:
            return
        forward = (self.span[1], t)
        found = solve_ivp(self.fun, forward, self.states[1], throw=False, **self.options)
        counts = found.statistics
        self.evaluations += counts.evaluations
        xp, truth, n = namespace(y), found.y[-1, ...], self.attempts
        size = max(norm_of([x], xp) for x in (*self.states, truth))
        left = n / 2 * abs(t - self.span[1]) / late if late else inf
        steps = counts.accepted + counts.rejected
        is_far = norm_of([y - truth], xp) > FAR * size
        if found.success and is_far and left > COSTLIER * steps:
            raise DriftError(
                f"the reversed state has left the trajectory: at t = {t:.6g} its norm is "
                f"{norm_of([y], xp):.0e}, that of the trajectory {size:.0e}, and {n} steps, which "
                f"get smaller, were made where the forward solve makes {steps}; take another "
                "adjoint, or add output times, at which the state starts again",
                Trajectory(
                    np.array([self.span[0], t]), xp.stack([self.states[0], y]), Status.MAX_STEPS,
                    Statistics(accepted=n),
                ),
            )  # fmt: skip
