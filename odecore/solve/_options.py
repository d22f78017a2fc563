"""The caller's options of a solve, checked and turned into the parts of a plan."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import numpy as np

from odecore._array import (
    as_float,
    as_float64,
    limits,
)
from odecore._times import is_length
from odecore._tolerances import tolerance_like
from odecore.errors import ToleranceWarning
from odecore.solve._adams import Adams
from odecore.solve._controllers import CONTROLS, AdaptiveSteps, StepControl
from odecore.solve._error_norm import checked_norm, root_mean_square
from odecore.solve._explicit_step import Attempt, ExplicitStep, require_estimate
from odecore.solve._implicit_step import ImplicitStep
from odecore.solve._newton import Newton
from odecore.solve._tracing import require_read
from odecore.tableaux import (
    CHORD,
    ButcherTableau,
    Coefficients,
    ContinuousExtension,
    continuous_extension,
    hermite_extension,
    tableau,
)

__all__ = [
    "adaptive_steps",
    "as_method",
    "extension_of",
    "refuse_adaptive_options",
    "step_of",
]

Method = Coefficients | Adams


def as_method(method: Any) -> Method:
    """A method from a catalogue name, a tableau, or itself; TypeError for others."""
    if isinstance(method, Coefficients | Adams):
        return method
    if isinstance(method, ButcherTableau):
        return method.coefficients
    if isinstance(method, str):
        return tableau(method).coefficients
    raise TypeError(
        "`method` must be a catalogue name, a ButcherTableau, Coefficients or Adams, got "
        f"{type(method).__name__}"
    )


def step_of(
    method: Method, y: Any, newton: Newton | None, steps: AdaptiveSteps | None
) -> Callable[..., Attempt]:
    """The function that makes one step: (fun, t, y, h, first_stage, t_new) -> Attempt."""
    if isinstance(method, Adams) or method.is_explicit:
        if newton is not None:
            raise ValueError(
                "`newton` is for the stages of implicit Runge-Kutta methods and has no effect "
                "here; leave it out"
            )
        if isinstance(method, Adams):
            rtol = tolerance_like("rtol", method.rtol, y)
            atol = tolerance_like("atol", method.atol, y)
            return replace(method, rtol=rtol, atol=atol).steps(y)
        return ExplicitStep(method, y)
    if not all(isinstance(a, float) for row in (*method.A, method.b) for a in row):
        raise TypeError("an implicit method needs coefficients that are floats, not arrays")
    tolerances = None if steps is None else (steps.rtol, steps.atol)
    return ImplicitStep(method, newton or Newton(), tolerances)


def extension_of(
    method: Method, interpolation: str, y: Any
) -> Callable[[], ContinuousExtension | None]:
    """Which polynomial goes through a step, found when it is needed.

    None where the step is made once more instead: for implicit and multistep methods. It must not
    amplify the rounding of states like y in half precision.
    """
    choices: dict[str, Callable[[], ContinuousExtension | None]] = {
        "full": lambda: None,
        "hermite": partial(hermite_extension, 1),  # a multistep method's stage is the first slope
        "linear": lambda: CHORD,
    }
    if isinstance(method, Coefficients):
        choices["hermite"] = partial(hermite_extension, len(method.b))
        if method.is_explicit:
            amplification = 4.0 if limits(y).bits < 32 else inf
            choices["full"] = partial(continuous_extension, method, amplification=amplification)
    if not isinstance(interpolation, str) or interpolation not in choices:
        raise ValueError(
            f"`interpolation` must be one of {', '.join(choices)}, got {interpolation!r}"
        )
    return choices[interpolation]


def adaptive_steps(
    method: Method,
    y: Any,
    *,
    rtol: Any,
    atol: Any,
    norm: Callable[[Any], Any] | None,
    controller: str | StepControl | None,
    first_step: Any,
    min_step: Any,
    max_step: Any,
) -> AdaptiveSteps:
    """The controller of adaptive steps, from options of which None means the default.

    Raises
    ------
    ValueError, TypeError
        If the method has no error estimate, or an option breaks its rule.
    """
    order = require_estimate(method)
    rtol = tolerance_like("rtol", 1e-6 if rtol is None else rtol, y)
    atol = tolerance_like("atol", 1e-9 if atol is None else atol, y)
    largest, absolute, least_sum = _extremes(rtol, atol)
    if largest >= 1:
        raise ValueError(f"`rtol` must be a number with 0 <= rtol < 1, got {rtol!r}")
    if least_sum == 0:
        raise ValueError("one of `rtol` and `atol` must be positive: with both 0 no step is good")
    if least_sum < inf:  # of an entry; tolerances of no entries are neither large nor small
        _require_above_rounding(max(largest, absolute), y)
    for label, value in (("first_step", first_step), ("max_step", max_step)):
        require_read(label, value)
        if value is not None and (not is_length(value) or not as_float(value) > 0):
            raise ValueError(f"`{label}` must be a positive finite number, got {value!r}")
    if first_step is not None and as_float(first_step) == inf:
        raise ValueError(f"`first_step` must be a positive finite number, got {first_step!r}")
    require_read("min_step", min_step)
    least = 0.0 if min_step is None else min_step
    most = inf if max_step is None else as_float(max_step)
    if not is_length(least) or not 0 <= as_float(least) <= most or as_float(least) == inf:
        raise ValueError(
            f"`min_step` must be finite with 0 <= min_step <= max_step, got {least!r} and {most}"
        )
    if isinstance(controller, str) and controller not in CONTROLS:
        raise ValueError(f"`controller` must be one of {', '.join(CONTROLS)}, got {controller!r}")
    law = CONTROLS["I"] if controller is None else controller
    law = CONTROLS[law] if isinstance(law, str) else law
    if not isinstance(law, StepControl):
        raise TypeError(f"`controller` must be a name or a StepControl, got {law!r}")
    norm = root_mean_square if norm is None else checked_norm(norm)
    return AdaptiveSteps(rtol, atol, order, law, as_float(least), most, norm)


def _require_above_rounding(tolerance: float, y: Any) -> None:
    """Raise ValueError for a tolerance that no step can meet; warn of one below half precision."""
    eps = float(limits(y).eps)
    if tolerance < eps / 100:
        raise ValueError(
            f"the larger of rtol and atol is {tolerance:.1e}, more than 100 times below the "
            f"rounding of {y.dtype}, whose eps is {eps:.1e}: take fixed steps, rtol >= {eps:.0e}, "
            "or a wider dtype (under autocast, a state in float32)"
        )
    if limits(y).bits < 32 and tolerance < eps:
        warnings.warn(
            f"the larger of rtol and atol is {tolerance:.1e}, below the rounding of {y.dtype}, "
            f"whose eps is {eps:.1e}: steps become more, and results no better; take fixed steps, "
            f"rtol >= {eps:.0e}, or a wider dtype",
            ToleranceWarning,
            stacklevel=4,
        )


def refuse_adaptive_options(**options: Any) -> None:
    """Raise ValueError for an option that given steps would ignore in silence."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)} steer adaptive steps and have no effect in given steps; leave "
            "them out, or leave out `step_size`, `steps` and `grid`"
        )


def _extremes(rtol: Any, atol: Any) -> tuple[float, float, float]:
    """The largest of each, and the smallest sum of both for one entry."""
    if isinstance(rtol, float) and isinstance(atol, float):
        return rtol, atol, rtol + atol
    relative, absolute = as_float64(rtol, "rtol"), as_float64(atol, "atol")
    least_sum = float(np.min(relative + absolute, initial=np.inf))
    return float(np.max(relative, initial=0.0)), float(np.max(absolute, initial=0.0)), least_sum
