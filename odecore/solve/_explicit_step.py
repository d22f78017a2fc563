"""One step of an explicit Runge-Kutta method, a pure function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from odecore._array import as_state, is_torch_array, limits, mover, namespace, own
from odecore.solve._product_sums import ProductSums
from odecore.solve._scaled import scaled, scaled_terms
from odecore.solve._status import Status
from odecore.tableaux import Coefficients

__all__ = [
    "Attempt",
    "ExplicitStep",
    "checked_stage",
    "checked_start",
    "explicit_step",
    "require_coefficients",
    "require_estimate",
]

Field = Callable[[Any, Any], Any]


class Attempt(NamedTuple):
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


class ExplicitStep:
    """Steps of one explicit method; what is the same in each is made once.

    Parameters
    ----------
    method : Coefficients
        Of an explicit method.
    like : array
        An array like the state.
    """

    def __init__(self, method: Coefficients, like: Any) -> None:
        require_coefficients(method, explicit=True)
        assert method.c is not None  # valid once built
        self.move, self.move_by_floats = mover(like), mover(like, floats=not method.has_arrays)
        self.checked = _checker(like)
        c, (rows, self.b, self.error) = method.c, method.terms
        if method.has_arrays:  # their products belong to this solve, as its history does
            c, rows, self.b = scaled(c), tuple(map(scaled_terms, rows)), scaled_terms(self.b)
            self.error = None if self.error is None else scaled_terms(self.error)
        self.rows = rows[1:]
        self.c = [None if isinstance(x, float) and x == 1.0 else x for x in c[1:]]
        self.last_is_first = method.last_stage_is_first
        self.sums = ProductSums(method, like) if ProductSums.fit(method, like) else None

    def __call__(
        self, fun: Field, t: Any, y: Any, h: Any, first_stage: Any, t_new: Any = None
    ) -> Attempt:
        """Make one step; the arguments are those of `explicit_step`."""
        times = self.times(t, h, t + h if t_new is None else t_new)
        stages, h = [] if first_stage is None else [first_stage], _fitting(h, y)
        y_new = self.advance(fun, times, y, h, stages)
        return Attempt(
            y_new,
            None if self.error is None else self._local_error(h, stages),
            stages[0],
            stages[-1] if self.last_is_first else None,
            len(stages) - (first_stage is not None),
            tuple(stages),
        )

    def times(self, t: Any, h: Any, t_new: Any) -> list[Any]:
        """The times of the stages of a step."""
        return [t, *[t_new if c is None else t + c * h for c in self.c]]

    def advance(self, fun: Field, times: Sequence[Any], y: Any, h: Any, stages: list[Any]) -> Any:
        """The state at the end of a step; stages from the first, if it is known, are completed."""
        move, checked = self.move_by_floats, self.checked
        if type(h) is not float:
            move, h = self.move, _fitting(h, y)
        if not stages:
            stages.append(checked(fun(times[0], y)))
        if self.sums is not None and self._sums_up(h, stages):
            return self._advance_by_products(fun, times, y, h, stages)
        state = y
        try:
            for time, row in zip(islice(times, 1, None), self.rows, strict=True):
                state = move(y, h, row, stages)
                stages.append(checked(fun(time, state)))
        except TypeError:  # of the stage, whose state may have another dtype
            _require_dtype(state, y)
            raise
        # The last stage of a FSAL method is evaluated at the new state.
        y_new = state if self.last_is_first else move(y, h, self.b, stages)
        _require_dtype(y_new, y)
        return y_new

    def _sums_up(self, h: Any, stages: Sequence[Any]) -> bool:
        """Whether products are taken: f of NumPy's states may return arrays of jax."""
        return isinstance(h, float) and isinstance(stages[0], np.ndarray)

    def _advance_by_products(
        self, fun: Field, times: Sequence[Any], y: Any, h: float, stages: list[Any]
    ) -> Any:
        """The same in NumPy, with the first stage."""
        sums, move, checked = self.sums, self.move_by_floats, self.checked
        assert sums is not None
        sums.stages[0] = stages[0]
        state = y
        for i, time in enumerate(islice(times, 1, None)):
            weights = sums.rows[i + 1]
            state = move(y, h, self.rows[i], stages) if weights is None else y + sums(weights, h)
            stages.append(checked(fun(time, state)))
            sums.stages[i + 1] = stages[-1]
        if self.last_is_first:
            return state
        return move(y, h, self.b, stages) if sums.b is None else y + sums(sums.b, h)

    def _local_error(self, h: Any, stages: Sequence[Any]) -> Any:
        if self.sums is not None and self.sums.error is not None and self._sums_up(h, stages):
            return self.sums(self.sums.error, h)
        return self.move(None, h, self.error, stages) if self.error else stages[0] * 0.0


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

    Returns
    -------
    Attempt

    Raises
    ------
    ValueError, TypeError
        If `fun` returns another shape than that of the state, the step changes its dtype,
        `method` is no explicit one, or an argument is of another kind.
    """
    y = checked_start(fun, t, y, h, first_stage, t_new)
    return ExplicitStep(method, y)(fun, t, y, h, first_stage, t_new)


def checked_start(fun: Any, t: Any, y: Any, h: Any, first_stage: Any, t_new: Any) -> Any:
    """The state as an array; TypeError or ValueError unless a step can be made from it."""
    if not callable(fun):
        raise TypeError(f"`fun` must be callable as fun(t, y), got {fun!r}")
    # Looking closer takes a while, and a compiler would guard what is looked up.
    if not (is_torch_array(y) or (type(y) is np.ndarray and y.dtype.kind in "fc")):
        y = as_state(y, "y")
    for label, value in (("t", t), ("h", h), ("t_new", t if t_new is None else t_new)):
        if not isinstance(value, Real) and getattr(value, "shape", None) != ():
            raise TypeError(f"`{label}` must be one real number, got {value!r}")
    if first_stage is not None:
        found = (getattr(first_stage, name, None) for name in ("shape", "dtype"))
        if tuple(found) != (y.shape, y.dtype):
            raise ValueError(
                f"`first_stage` must be fun(t, y), {y.dtype} of shape {tuple(y.shape)}, got "
                f"{first_stage!r}; leave it out where it is not known"
            )
    return y


def require_coefficients(method: Any, *, explicit: bool) -> None:
    """Raise TypeError or ValueError unless these are Coefficients of such a method."""
    if not isinstance(method, Coefficients):
        raise TypeError(
            f"`method` must be Coefficients, got {type(method).__name__}; take the `coefficients` "
            "of a tableau, as in tableau('dopri5').coefficients"
        )
    if method.is_explicit != explicit:
        wanted, other = (
            ("an explicit", "implicit_step") if explicit else ("an implicit", "explicit_step")
        )
        raise ValueError(f"`method` must be {wanted} method; {other} makes steps of others")


def require_estimate(method: Any) -> int:
    """The order for adaptive steps; ValueError if that is not known, or no error estimate."""
    if getattr(method, "error", None) is None:
        raise ValueError(
            "adaptive steps need a method with an embedded error estimate, such as dopri5; for "
            "this method give `step_size` or `steps`, or a tableau its `b_hat`"
        )
    if method.order is None:
        raise ValueError(
            "adaptive steps need the order of the method, and these coefficients have none: give "
            "dataclasses.replace(method, order=...), or `step_size` or `steps`"
        )
    return int(method.order)


def _fitting(h: Any, y: Any) -> Any:
    """A step in no more bits than the state, which it would widen; torch's 0-d arrays widen none.

    Times have them, for where they are far from zero.
    """
    if type(h) is float or not hasattr(h, "dtype") or is_torch_array(h):
        return h
    xp, info = namespace(y), limits(y)
    return xp.astype(xp.asarray(h), info.dtype) if limits(h).bits > info.bits else h


def _require_dtype(y_new: Any, y: Any) -> None:
    if y_new.dtype != y.dtype:
        raise TypeError(
            f"the step turned dtype {y.dtype} into {y_new.dtype}: give the coefficients of the "
            "method in the dtype of the state"
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
    return _checker(y)(value)


def _checker(like: Any) -> Callable[[Any], Any]:
    """The check for states like this one; a value that `fun` may overwrite is copied."""
    shape, dtype, kept = like.shape, like.dtype, is_torch_array(like)

    def checked(value: Any) -> Any:
        try:
            if value.shape == shape and value.dtype == dtype:
                return value if kept else own(value)
        except AttributeError:
            raise TypeError(
                f"`fun` must return an array like the state, got {type(value).__name__}; wrap it, "
                "say with np.asarray"
            ) from None
        if value.shape != shape:
            raise ValueError(
                f"`fun` must return the shape of the state, {tuple(shape)}, got "
                f"{tuple(value.shape)}"
            )
        raise TypeError(
            f"`fun` must return the dtype of the state, {dtype}, got {value.dtype}; convert the "
            "state, or the constants inside `fun`"
        )

    return checked
