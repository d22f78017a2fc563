"""`solve_per_sample`: a batch of problems, each with adaptive steps of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from odecore._array import as_state
from odecore._flags import require_flags
from odecore._step_counts import require_attempts
from odecore.solve._batch import Batch
from odecore.solve._batch_parts import run
from odecore.solve._calls import explaining_calls
from odecore.solve._controllers import StepControl
from odecore.solve._options import adaptive_steps, as_method, extension_of
from odecore.solve._problem import output_times
from odecore.solve._progress import reporter
from odecore.solve._scipy_words import refuse_unknown
from odecore.solve._tracing import explaining_reads
from odecore.solve._trajectory import Trajectory
from odecore.tableaux import ButcherTableau, Coefficients

__all__ = ["solve_per_sample"]

JOINT = dict.fromkeys(
    (
        "dense",
        "dense_output",
        "events",
        "grid",
        "jump_at",
        "newton",
        "step_at",
        "step_size",
        "steps",
    ),
    "solve_ivp has that, in steps that are the same for all samples, or of one sample at a time",
)


def solve_per_sample(
    fun: Callable[..., Any],
    t_span: Sequence[float],
    y0: Any,
    /,
    *,
    args: Sequence[Any] = (),
    shrink: bool = False,
    method: str | ButcherTableau | Coefficients = "dopri5",
    t_eval: Sequence[float] | None = None,
    rtol: Any = None,
    atol: Any = None,
    controller: str | StepControl | None = None,
    first_step: float | None = None,
    min_step: float | None = None,
    max_step: float | None = None,
    max_steps: int = 100_000,
    interpolation: str = "full",
    progress: bool | Callable[[float], None] = False,
    throw: bool = True,
    **unknown: Any,
) -> Trajectory:
    """Integrate a batch of independent problems, each with adaptive steps of its own.

    A stiff sample does not make the others take its small steps, and one that fails does not end
    the others.

    Parameters
    ----------
    fun : callable
        `fun(t, y, *args)` with t of shape (n,), one time for each sample, and y of shape (n, ...).
        Times have the precision of the state, at least float32, and float64 on an interval that
        is more than eight times its length from zero; a result that is wider for that alone is
        rounded to the state's.
    t_span : (2,) sequence of float
    y0 : (n, ...) array
        The samples are along the first axis.
    args : sequence of (n, ...) arrays, optional
        What `fun` needs for each sample.
    shrink : bool, optional
        Whether the samples that are not done go on alone, once half of them are: `fun` then gets
        fewer samples, and fewer rows of `args`, and must hold nothing else for each sample. By
        default it is evaluated on all samples, always.
    method : str, ButcherTableau or Coefficients, optional
        Explicit, with an embedded error estimate.
    t_eval : sequence of float, optional
        Times to record, by default the two of `t_span`.
    rtol, atol, controller, first_step, min_step, max_step, interpolation, progress, throw
        As for `solve_ivp`; the error norm is the root mean square over each sample.
    max_steps : int, optional
        Attempts of each sample.
    **unknown
        Refused; the error says where `solve_ivp` has the option.

    Returns
    -------
    Trajectory
        `y` has shape (times, n, ...), and is NaN where a sample that failed did not come. `samples`
        has the status, the time reached and the counts of each; `status` is SUCCESS, or that of
        the first that failed.

    Raises
    ------
    ValueError, TypeError, odecore.errors.SolveError
        As `solve_ivp`.

    Warns
    -----
    ToleranceWarning
        As `solve_ivp`.

    Examples
    --------
    >>> import numpy as np
    >>> rates = np.array([[1.0], [100.0]])
    >>> found = solve_per_sample(lambda t, y: -rates * y, (0, 1), np.ones((2, 1)))
    >>> found.status.name, bool(found.samples.accepted[1] > 3 * found.samples.accepted[0])
    ('SUCCESS', True)
    """
    refuse_unknown(unknown, tuple(solve_per_sample.__kwdefaults__ or ()), "solve_per_sample", JOINT)
    require_flags(shrink=shrink, throw=throw)
    with explaining_reads(y0, rtol, atol):
        coefficients, y = as_method(method), as_state(y0, "y0")
        if not y.shape:
            raise ValueError("`y0` must have a first axis of samples, got a single number")
        _require_rows(args, y.shape[0])
        if not isinstance(coefficients, Coefficients) or not coefficients.is_explicit:
            raise ValueError(
                "steps for each sample need an explicit Runge-Kutta method, say dopri5"
            )
        require_attempts(max_steps)
        times, end = output_times(t_span, t_eval)
        recorded = len(times)
        if times[-1] != end:
            times = [*times, end]
        steps = adaptive_steps(
            coefficients,
            y,
            rtol=rtol,
            atol=atol,
            norm=None,
            controller=controller,
            first_step=first_step,
            min_step=min_step,
            max_step=max_step,
        )
        report, done = reporter(progress, times[0], end)
        extension = extension_of(coefficients, interpolation, y)
        batch = Batch(fun, coefficients, extension, steps, times, y, args)
        names = ("t", "y", *(f"args[{i}]" for i in range(len(args))))
        try:
            with explaining_calls(fun, *names):
                batch.start(first_step)
                run(batch, max_steps, shrink, report)
        finally:
            done()
        trajectory = batch.trajectory(recorded)
        if throw:
            trajectory.raise_for_status()
        return trajectory


def _require_rows(args: Sequence[Any], n: int) -> None:
    """Raise an error unless these are arrays with a row for each of n samples."""
    if not isinstance(args, Sequence):
        raise TypeError(
            f"`args` must be a sequence of arrays, got {type(args).__name__}; give one as (array,)"
        )
    for x in args:
        if not hasattr(x, "shape") or not x.shape or x.shape[0] != n:
            raise ValueError(
                f"`args` must be arrays with the {n} samples along their first axis, got "
                f"{tuple(x.shape) if hasattr(x, 'shape') else type(x).__name__}"
            )
