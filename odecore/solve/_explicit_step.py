"""One step of an explicit Runge-Kutta method, a pure function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from odecore._array import own
from odecore.tableaux import Coefficients

__all__ = ["Attempt", "explicit_step"]


@dataclass(frozen=True)
class Attempt:
    """The outcome of one step, before anyone judged it.

    Parameters
    ----------
    y : array
        State at the end of the step.
    error : array or None
        Estimate of the local error, h sum_i (b_i - b_hat_i) k_i, where the method has one.
    first_stage : array
        f at the start of the step.
    last_stage : array or None
        f at the end of the step, where the method computes it (FSAL).
    evaluations : int
    """

    y: Any
    error: Any
    first_stage: Any
    last_stage: Any
    evaluations: int


def explicit_step(
    fun: Callable[[Any, Any], Any],
    t: Any,
    y: Any,
    h: Any,
    method: Coefficients,
    /,
    *,
    first_stage: Any = None,
    t_new: Any = None,
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
    first_stage : array, optional
        fun(t, y), where it is known already.
    t_new : float or 0-d array, optional
        The end of the step, where t + h may differ from it by rounding.

    Returns
    -------
    Attempt

    Raises
    ------
    ValueError, TypeError
        If `fun` returns another shape than that of the state, or the step changes its dtype.
    """
    stages = [_stage(fun(t, y), y) if first_stage is None else first_stage]
    assert method.c is not None  # valid once built
    for row, c in zip(method.A[1:], method.c[1:], strict=True):
        at_end = t_new is not None and isinstance(c, float) and c == 1.0
        time = t_new if at_end else t + c * h
        stages.append(_stage(fun(time, _combine(y, h, row, stages)), y))
    y_new = _combine(y, h, method.b, stages)
    if y_new.dtype != y.dtype:
        raise TypeError(
            f"the step turned dtype {y.dtype} into {y_new.dtype}: give the coefficients of the "
            "method in the dtype of the state"
        )
    error = None
    if method.error is not None:
        error = _combine(0.0, h, method.error, stages)
    return Attempt(
        y=y_new,
        error=error,
        first_stage=stages[0],
        last_stage=stages[-1] if method.last_stage_is_first else None,
        evaluations=len(stages) - (first_stage is not None),
    )


def _stage(value: Any, y: Any) -> Any:
    """Check the shape of a value of the right-hand side; it would broadcast in silence."""
    if value.shape != y.shape:
        raise ValueError(
            f"`fun` must return the shape of the state, {tuple(y.shape)}, got {tuple(value.shape)}"
        )
    return own(value)


def _combine(y: Any, h: Any, weights: Sequence[Any], stages: Sequence[Any]) -> Any:
    """The hot operation y + h sum_i w_i k_i."""
    terms = [
        (h * weight) * stage
        for weight, stage in zip(weights, stages, strict=True)
        if not (isinstance(weight, float) and weight == 0.0)
    ]
    return sum(terms, y)
