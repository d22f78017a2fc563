"""The discrete adjoint: the exact transpose of the steps of a Runge-Kutta method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from odecore._array import namespace
from odecore._flags import require_flags
from odecore.adjoint._backward_options import require_kernel
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize
from odecore.adjoint._step_record import StepRecord, schedule
from odecore.adjoint._steps_at_once import Undone
from odecore.adjoint._transposed_step import ExplicitTranspose, transpose_of
from odecore.adjoint._unit import in_their_unit
from odecore.solve import Statistics

__all__ = ["discrete"]


def discrete(
    linearize: Linearize,
    record: StepRecord,
    cotangents: Sequence,
    /,
    *,
    parameters: bool = True,
    kernel: Callable[..., Undone | None] | None = None,
) -> Gradients:
    r"""Go back over the recorded steps with the transpose of each.

    Parameters
    ----------
    linearize : callable
        `linearize(t, y)` returns f(t, y), as in the forward solve, and `pull`: `pull(a,
        parameters)` returns (df/dy)^T a and, if `parameters`, the tuple of (df/dtheta)^T a.
    record : StepRecord
        From `record_steps`; it may be used more than once.
    cotangents : sequence of arrays
        dL/dy at each output time, the initial one included.
    parameters : bool, optional
        Whether derivatives with respect to parameters are wanted.
    kernel : callable, optional
        What transposes many steps at once, for records with all states and no jumps, as
        `steps_at_once` and, of explicit methods, what a compiler made of `transposed_run`:
        `kernel(method, record, end, a, cotangents)` gives an `Undone` of steps before the time of
        index `end`; `cotangents` has them by the index of their time. It may give None, and the
        rest is transposed step by step.

    Returns
    -------
    Gradients
        Of the computed states, with the steps held constant. `tail` is 0: nothing is interpolated.
        `statistics.evaluations` counts calls of `linearize`, in steps made again too.

    Raises
    ------
    ValueError, TypeError
        If there is not one cotangent for each output time, an array does not fit the state, or the
        record is none.
    NewtonFailedError
        If the stages of an implicit step, or their transposed equations, are not solved.

    Notes
    -----
    In a step with Jacobians :math:`J_i` at its stages, for i = s, ..., 1,

    .. math:: \mu_i = h b_i \lambda + h \sum_j a_{ji} q_j, \qquad q_i = J_i^T \mu_i.

    The cotangent before the step is :math:`\lambda + \sum_i q_i`, and a parameter gains
    :math:`\sum_i (\partial f_i / \partial \theta)^T \mu_i` (Hager 2000, Numer. Math. 87). The
    coefficients are real: for complex states the pulls alone decide what is conjugated. In an
    explicit method :math:`\mu_i` needs later :math:`q_j` only. In an implicit one the sum holds
    :math:`q_i` too, and in a fully implicit one all of them: GMRES solves these linear equations to
    rounding, and `residual` is the largest that it leaves; where it takes many products, it goes on
    after the inverse for the Jacobian at the start of the step, if the forward solve formed such
    matrices. The transpose is that at the recorded stages, as exact as the tolerance of an adaptive
    solve makes them, or at those that Newton's method finds again, to rounding.

    Steps whose states were dropped are made again, explicit ones bit for bit, with states stored in
    the rest of the budget where they save most. With room for c, the kept one before included, at
    most r n of n steps are if n <= (c + r over r) (Griewank and Walther 2000, Algorithm 799). The
    two ends and the stages of the step at hand come on top of the budget.

    Gradients are homogeneous in the cotangents, and NaN where one of them is not finite.
    """
    if not isinstance(record, StepRecord):
        raise TypeError(
            "`record` must be a StepRecord, the second of the two things that `record_steps` "
            f"returns, got {type(record).__name__}"
        )
    require_flags(parameters=parameters)
    require_kernel(kernel, "kernel(method, record, end, a, cotangents)")
    y = record.states[0]
    step = transpose_of(linearize, record.method, parameters, record.newton, record.jumps)
    xp = namespace(y)
    none = xp.sum(xp.zeros_like(xp.abs(y)))

    def solve(cotangents: Sequence[Any], _: Any) -> Gradients:
        given = dict(zip(record.outputs, cotangents, strict=True))
        end, a = len(record.times) - 1, given[record.outputs[-1]]
        if kernel is not None and record.stride == 1 and not record.jumps:
            end, a = _in_runs(record, step, given, end, a, kernel)
        a = _back(record, step, given, end, a)
        counts = Statistics(step.evaluations, accepted=len(record.times) - 1, newton=step.passes)
        return Gradients(a, step.total, none, counts, residual=max(step.residuals))

    return in_their_unit(solve, cotangents, len(record.outputs), y)


def _in_runs(
    record: StepRecord,
    step: ExplicitTranspose,
    cotangents: dict[int, Any],
    end: int,
    a: Any,
    kernel: Callable[..., Undone | None],
) -> tuple[int, Any]:
    """From the cotangent at the end of a step to where the compiled program refuses, or to 0."""
    while end and (found := kernel(step.method, record, end, a, cotangents)):
        a = found.a
        step.add(found.parameters)
        step.evaluations += found.count * len(step.method.b)
        step.passes += found.passes
        step.residuals.append(found.residual)
        end -= found.count
    return end, a


def _back(
    record: StepRecord, step: ExplicitTranspose, cotangents: dict[int, Any], end: int, a: Any
) -> Any:
    """From the cotangent at the end of a step to that of the initial state."""
    for position in reversed(range(-(-end // record.stride))):
        stored = [(position * record.stride, record.states[position])]
        while stored:
            k, y = stored[-1]
            slots = (record.capacity or 0) - len(record.states) - len(stored) + 2
            ahead = schedule(end - k, slots)[0] if k < end - 1 else 0
            for _ in range(ahead):
                y = step.made(record.times[k], record.times[k + 1], y)
                k += 1
            if ahead and slots > 1:
                stored.append((k, y))
                continue
            if not ahead:
                stored.pop()
            known = record.stages[k : k + 1]
            end, a = k, step.undone(record.times[k], record.times[k + 1], y, a, *known)
            a = a + cotangents[end] if end in cotangents else a
    return a
