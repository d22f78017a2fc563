"""One step of an implicit Runge-Kutta method, diagonally or fully implicit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odecore.solve._explicit_step import (
    Attempt,
    checked_stage,
    checked_start,
    require_coefficients,
)
from odecore.solve._kinds import require_kind
from odecore.solve._newton import Newton
from odecore.solve._stage_equations import StageEquations
from odecore.tableaux import Coefficients

__all__ = ["ImplicitStep", "implicit_step"]

Field = Callable[[Any, Any], Any]


class ImplicitStep:
    """Steps of one method through one solve.

    From step to step two things are kept: that GMRES was too dear, so that matrices are formed, and
    in adaptive steps a Jacobian, until it has cost as many iterations as another would evaluations.

    Stages are solved for as slopes k_i = f(t + c_i h, y + h sum_j a_ij k_j) by simplified Newton
    iterations with the Jacobian at the start of the step, and where that does not converge by full
    ones. Where the array library records gradients, the result depends on y and on the parameters
    of `fun` as the implicit function theorem says (first derivatives): by one more Newton
    correction with the Jacobian at the solution, or, where no matrices are formed, by GMRES with
    its transpose in the backward pass.

    Parameters
    ----------
    method : Coefficients
    newton : Newton
    tolerances : (2,) tuple of float or array, optional
        rtol and atol; without them stages are solved to the rounding of each entry.
    """

    def __init__(
        self, method: Coefficients, newton: Newton, tolerances: tuple[Any, Any] | None = None
    ) -> None:
        self.method, self.newton, self.tolerances = method, newton, tolerances
        self.matrices = False
        self.keeps = tolerances is not None
        self.jacobian: Any = None  # from an earlier step
        self.least = self.more = 0  # iterations of the step that it is from, and those beyond

    def __call__(
        self, fun: Field, t: float, y: Any, h: float, first_stage: Any, t_new: float
    ) -> Attempt:
        """Try the step; `failure` is set where the stages are not found."""
        method = self.method
        assert method.c is not None  # valid once built
        at = fun, t, y, h, first_stage
        work = StageEquations(self.newton, self.tolerances, *at, self.matrices, self.jacobian)
        times = [t_new if c == 1.0 else t + c * h for c in method.c]
        stages: list[Any] = []
        if method.is_diagonally_implicit:
            for i, row in enumerate(method.A):
                if i == 0 and row[0] == 0.0:
                    work.evaluations += first_stage is None
                    k = checked_stage(fun(t, y), y) if first_stage is None else first_stage
                    stages.append(k)
                    continue
                base = work.combine(y, h, row[:i], stages) if i else y
                found = work.solve([times[i]], [base], [[row[i]]])
                if not found:
                    break
                stages += found
        else:
            stages = work.solve(times, [y] * len(times), [list(row) for row in method.A])
        self.matrices = work.matrices
        if self.keeps:
            self._keep(work)
        if len(stages) < len(method.b):
            counts = work.evaluations, (), work.newton
            return Attempt(y, None, first_stage, None, *counts, work.failure)
        error = None
        if method.error is not None:
            error = work.combine(None, h, method.error, stages)
        return Attempt(
            y=work.combine(y, h, method.b, stages),
            error=error,
            first_stage=first_stage,
            last_stage=stages[-1] if method.last_stage_is_first else None,
            evaluations=work.evaluations,
            stages=tuple(stages),
            newton=work.newton,
        )

    def _keep(self, work: StageEquations) -> None:
        """Keep the Jacobian while it pays."""
        if work.renewed:
            self.least, self.more = work.newton, 0
        self.more += work.newton - self.least
        pays = self.more + len(self.method.b) < work.price
        self.jacobian = work.matrix if pays else None

    def again(self, lasting: bool) -> ImplicitStep:
        """What repeats the last step, with another end; without a Jacobian, if it is to last."""
        step = ImplicitStep(self.method, self.newton, self.tolerances)
        step.matrices, step.keeps = self.matrices, self.keeps and not lasting
        step.jacobian = self.jacobian if step.keeps else None
        return step


def implicit_step(
    fun: Field,
    t: float,
    y: Any,
    h: float,
    method: Coefficients,
    /,
    *,
    newton: Newton | None = None,
    first_stage: Any = None,
    t_new: float | None = None,
) -> Attempt:
    """Make one step from (t, y) to t + h, its stages solved for to rounding.

    Parameters
    ----------
    fun, t, y, h, first_stage, t_new
        As for `explicit_step`; t and h are floats.
    method : Coefficients
        Of an implicit Runge-Kutta method, with coefficients that are floats.
    newton : Newton, optional

    Returns
    -------
    Attempt
        `failure` is set where the stages were not found.

    Raises
    ------
    ValueError, TypeError
        As `explicit_step`, or if `method` is no implicit one.
    """
    require_coefficients(method, explicit=False)
    require_kind("newton", newton, Newton, "a Newton, as in newton=Newton(jacobian=...)")
    y = checked_start(fun, t, y, h, first_stage, t_new)
    end = t + h if t_new is None else t_new
    return ImplicitStep(method, newton or Newton())(fun, t, y, h, first_stage, end)
