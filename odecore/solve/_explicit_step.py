"""One step of an explicit Runge-Kutta method, a pure function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from odecore._array import Combine, combiner, own, plain_combine
from odecore.solve._status import Status
from odecore.tableaux import Coefficients

__all__ = ["Attempt", "checked_stage", "explicit_step"]

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Attempt:
    """The outcome of one step, before anyone judged it.

    Parameters
    ----------
    y : array
        State at the end of the step.
    error : array or None
        Estimate of the local error, h sum_i (b_i - b_hat_i) k_i, where the method has one.
    first_stage : array or None
        f at the start of the step, where it was evaluated.
    last_stage : array or None
        f at the end of the step, where the method computes it (FSAL).
    evaluations : int
    stages : tuple of arrays
        k_1, ..., k_s.
    newton : int
        Iterations of Newton's method, for implicit methods.
    failure : Status or None
        Set where the step could not be made.
    ratio : float or array or None
        Norm of the error in units of the tolerance, where the step computed it.
    """

    y: Any
    error: Any
    first_stage: Any
    last_stage: Any
    evaluations: int
    stages: tuple[Any, ...] = ()
    newton: int = 0
    failure: Status | None = None
    ratio: Any = None


def explicit_step(
    fun: Field,
    t: Any,
    y: Any,
    h: Any,
    method: Coefficients,
    /,
    *,
    first_stage: Any = None,
    t_new: Any = None,
    combine: Combine | None = None,
) -> Attempt:
    """Make one step from (t, y) to t + h.

    Parameters
    ----------
    fun : callable
        Right-hand side `fun(t, y)`, of the shape and dtype of `y`.
    t, h : float or 0-d array
        Time and step, of either sign.
    y : array
    method : Coefficients
        Of an explicit method.
    first_stage : array, optional
        fun(t, y), where it is known already.
    t_new : float or 0-d array, optional
        The end of the step, where t + h may differ from it by rounding.
    combine : callable, optional
        From `odecore._array.combiner`, where the caller has it already.

    Returns
    -------
    Attempt

    Raises
    ------
    ValueError, TypeError
        If `fun` returns another shape than that of the state, or the step changes its dtype.
    """
    if combine is None:
        combine = combiner(y) if isinstance(h, float) else plain_combine
    stages = [checked_stage(fun(t, y), y) if first_stage is None else first_stage]
    state = y
    assert method.c is not None  # valid once built
    for row, c in zip(method.A[1:], method.c[1:], strict=True):
        at_end = t_new is not None and isinstance(c, float) and c == 1.0
        time = t_new if at_end else t + c * h
        state = combine(y, h, row, stages)
        stages.append(checked_stage(fun(time, state), state))
    # The last stage of a FSAL method was evaluated at the new state.
    y_new = state if method.last_stage_is_first else combine(y, h, method.b, stages)
    if y_new.dtype != y.dtype:
        raise TypeError(
            f"the step turned dtype {y.dtype} into {y_new.dtype}: give the coefficients of the "
            "method in the dtype of the state"
        )
    error = None
    if method.error is not None:
        error = combine(None, h, method.error, stages)
    return Attempt(
        y=y_new,
        error=error,
        first_stage=stages[0],
        last_stage=stages[-1] if method.last_stage_is_first else None,
        evaluations=len(stages) - (first_stage is not None),
        stages=tuple(stages),
    )


def checked_stage(value: Any, y: Any) -> Any:
    """Check that a value of the right-hand side fits the state: it would broadcast in silence.

    Raises
    ------
    TypeError
        If it is no array, or of another dtype.
    ValueError
        If it has another shape.
    """
    try:
        if value.shape == y.shape and value.dtype == y.dtype:
            return own(value)
    except AttributeError:
        raise TypeError(
            f"`fun` must return an array like the state, got {type(value).__name__}; wrap it, say "
            "with np.asarray"
        ) from None
    if value.shape != y.shape:
        raise ValueError(
            f"`fun` must return the shape of the state, {tuple(y.shape)}, got {tuple(value.shape)}"
        )
    raise TypeError(
        f"`fun` must return the dtype of the state, {y.dtype}, got {value.dtype}; convert the "
        "state, or the constants inside `fun`"
    )
