"""torchdiffeq's method names and options, in the words of `odecore.solve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import torch

from odecore.solve import Adams, Newton, StepControl
from odecore.tableaux import ButcherTableau, Coefficients, catalogue, tableau
from torch_bridge._kinds import require_callable, require_constant, require_flags
from torch_bridge._numbers import scalar, several_numbers
from torch_bridge._scipy import SOLVERS
from torch_bridge._solver import Solver
from torch_bridge._unknown_options import nearest, refuse_unknown, require_choice

__all__ = ["Method", "is_adaptive", "require_mapping", "solver_of"]

Method = str | ButcherTableau | Coefficients | Adams | None
MakeNewton = Callable[[], Newton]

#: From torchdiffeq's names to the catalogue's. Its "rk4" is Kutta's 3/8 rule, and its "fehlberg2"
#: goes on with the second-order row.
ADAPTIVE = {
    "dopri8": "dormand_prince87",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
    "bosh3": "bosh3",
    "fehlberg2": "fehlberg12",
    "adaptive_heun": "heun_euler",
}
FIXED = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "heun3": "heun3",
    "rk4": "three_eighths",
    "implicit_euler": "implicit_euler",
    "implicit_midpoint": "implicit_midpoint",
    "trapezoid": "trapezoidal",
    "radauIIA3": "radau_iia2",
    "gl4": "gauss2",
    "radauIIA5": "radau_iia3",
    "gl6": "gauss3",
    "sdirk2": "alexander2",
    "trbdf2": "tr_bdf2",
}
METHODS = ADAPTIVE | FIXED
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}
SCIPY = "scipy_solver"
NAMES = (*METHODS, *ADAMS, SCIPY)

ADAPTIVE_OPTIONS = (
    "norm", "min_step", "max_step", "first_step", "step_t", "jump_t", "safety", "ifactor",
    "dfactor", "max_num_steps", "dtype", "controller",
)  # fmt: skip
FIXED_OPTIONS = (
    "step_size", "grid_constructor", "interp", "perturb", "steps", "check_finite", "max_num_steps",
    "norm",
)  # fmt: skip
WAYS = ("steps", "step_size", "grid_constructor")  # in which steps are given
SCIPY_OPTIONS = ("solver", "min_step", "max_step", "first_step")
PLAIN = (int, float, str)  # kinds of options that are compared by their value


def is_adaptive(method: Method) -> bool:
    """Whether a method takes adaptive steps unless told otherwise; unknown names count as such."""
    method = _of_catalogue(method)
    if method is None or isinstance(method, str):
        return method not in FIXED and method not in ADAMS
    if isinstance(method, ButcherTableau):
        return method.b_hat is not None
    return getattr(method, "error", None) is not None


def _of_catalogue(method: Method) -> Method:
    """The tableau of a name that only the catalogue has; torchdiffeq's mean what they do there."""
    if isinstance(method, str) and method not in NAMES and method in catalogue():
        return tableau(method)
    return method


def is_implicit(method: Any) -> bool:
    """Whether a method, or the tableau of that name, solves for its stages."""
    method = tableau(method) if isinstance(method, str) else method
    return isinstance(method, ButcherTableau | Coefficients) and not method.is_explicit


def require_mapping(label: str, options: Any) -> None:
    """Raise TypeError unless options are a mapping."""
    if not isinstance(options, Mapping):
        raise TypeError(
            f"`{label}` must be a mapping from names to values, got {type(options).__name__}"
        )


def solver_of(
    method: Method, options: Mapping[str, Any] | None, rtol: Any, atol: Any, newton: MakeNewton
) -> Solver:
    """Check a method and its options; `newton` is asked where the method is implicit.

    Raises
    ------
    ValueError, TypeError
        For unknown names and options, and values that break their rule.
    """
    given = () if options is None else tuple(options.items()) if type(options) is dict else None
    usual = type(rtol) is type(atol) is float and isinstance(method, str | None)
    if usual and given is not None and all(type(x) in PLAIN for _, x in given):
        kinds = tuple(type(x) for _, x in given)  # as 1 == 1.0
        found = _explicit_solver(method, given, kinds, rtol, atol)
        if found is not None:
            return replace(found, options=dict(found.options))
    return _solver_of(method, options, rtol, atol, newton)


@lru_cache(maxsize=256)
def _explicit_solver(
    method: str | None, options: tuple[tuple[str, Any], ...], _: Any, rtol: float, atol: float
) -> Solver | None:
    """The solver that is the same at each call, where it is of an explicit Runge-Kutta method."""
    found = _solver_of(method, dict(options), rtol, atol, Newton)
    explicit = isinstance(found.method, Coefficients) and found.method.is_explicit
    return found if explicit else None


def _solver_of(
    method: Method, options: Mapping[str, Any] | None, rtol: Any, atol: Any, newton: MakeNewton
) -> Solver:
    if options is not None:
        require_mapping("options", options)
    options = dict(options or {})
    require_constant({"rtol": rtol, "atol": atol, **options})
    flags = ((name, options.get(name)) for name in ("perturb", "check_finite"))
    require_flags(**{name: value for name, value in flags if value is not None})
    calls = {"norm": "norm(error)", "grid_constructor": "grid_constructor(func, y0, t)"}
    for name, how in calls.items():
        if options.get(name) is not None:
            require_callable(name, options[name], how)
    method = _of_catalogue(method)
    if isinstance(method, str) and method not in NAMES:
        if method.upper() in map(str.upper, SOLVERS):
            tableau(method)  # raises, with the method nearest to SciPy's
        hint = nearest(method, (*NAMES, *catalogue())) or ";"
        raise ValueError(
            f"no method {method!r}{hint} known names are {', '.join(NAMES)}, and those of "
            "`odecore.tableaux.catalogue()`"
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if isinstance(value, Real) and not 0 <= value < float("inf"):
            raise ValueError(
                f"`{name}` must be finite and not negative, got {value!r}; 0 leaves errors to the "
                "other tolerance"
            )
    if method == SCIPY:
        refuse_unknown(options, SCIPY_OPTIONS, "a solve with SciPy's solvers")
        return Solver(None, {"rtol": rtol, "atol": atol, **options})
    chosen = _method(method, options, rtol, atol)
    own: dict[str, Any] = {}
    if isinstance(chosen, Coefficients) and not chosen.is_explicit:
        found = newton()
        iterations = options.pop("max_iters", found.max_iterations)
        own["newton"] = replace(found, max_iterations=iterations)
    ways = [name for name in WAYS if options.get(name) is not None]
    adaptive = is_adaptive(method)
    if adaptive and isinstance(method, str | None) and ways not in ([], ["steps"]):
        raise ValueError(
            f"`{ways[0]}` is for methods of fixed steps, and {method or 'dopri5'} takes adaptive "
            "ones (torchdiffeq warns, and ignores it); give a method such as rk4, or `steps`, the "
            "number of equal steps between output times"
        )
    if ways or not adaptive:
        return _fixed(chosen, options, own, ways)
    return _adaptive(chosen, options, {**own, "rtol": rtol, "atol": atol})


def _adaptive(chosen: Any, options: dict[str, Any], own: dict[str, Any]) -> Solver:
    refuse_unknown(options, ADAPTIVE_OPTIONS, "a solve with adaptive steps")
    dtype = options.get("dtype", torch.float64)
    if dtype is not torch.float64:
        raise ValueError(
            f"`dtype` must be torch.float64: times are kept in double precision here, got {dtype}"
        )
    for theirs, ours in (("step_t", "step_at"), ("jump_t", "jump_at")):
        if options.get(theirs) is not None:
            times = scalar(options[theirs])
            own[ours] = list(several_numbers(theirs, [times] if isinstance(times, Real) else times))
    lengths = ("first_step", "min_step", "max_step")
    own |= {k: scalar(options[k]) for k in lengths if options.get(k) is not None}
    own |= {k: options[k] for k in ("norm", "controller") if options.get(k) is not None}
    law = {"safety": "safety", "dfactor": "shrink", "ifactor": "grow"}
    changed = {ours: scalar(options[theirs]) for theirs, ours in law.items() if theirs in options}
    if "controller" in own and changed:
        raise ValueError(
            "give `controller`, or `safety`, `ifactor` and `dfactor`, which belong to the default "
            "controller; got both"
        )
    if changed:
        try:
            own["controller"] = StepControl(**changed)
        except (TypeError, ValueError) as error:
            words = "`dfactor` is its shrink and `ifactor` its grow"
            raise type(error)(f"{error}; {words}") from None
    return Solver(chosen, own, per_interval=_count(options))


def _fixed(chosen: Any, options: dict[str, Any], own: dict[str, Any], ways: list[str]) -> Solver:
    refuse_unknown(options, FIXED_OPTIONS, "a solve in fixed steps")
    if len(ways) > 1:
        raise ValueError(f"`{ways[0]}` and `{ways[1]}` exclude each other; give one")
    if options.get("perturb") and "steps" in ways:
        raise ValueError(
            "`perturb` evaluates beside the ends of steps that `step_size`, `grid_constructor` or "
            "`t` give, and not of `steps`: give one of these, or leave `perturb` out"
        )
    interpolations = {"linear": "linear", "cubic": "hermite", "full": "full"}
    interp = options.get("interp", "linear")
    require_choice("interp", interp, interpolations)
    step_size = scalar(options.get("step_size"))
    if not (step_size is None or (isinstance(step_size, Real) and 0 < step_size < float("inf"))):
        raise ValueError(f"`step_size` must be a positive finite number, got {step_size!r}")
    if ways in ([], ["steps"]):
        own["steps"] = options["steps"] if ways else 1
    else:
        own["interpolation"] = interpolations[interp] if "interp" in options else None
    if "check_finite" in options:
        own["check_finite"] = options["check_finite"]
    return Solver(
        chosen,
        own,
        step_size,
        options.get("grid_constructor"),
        bool(options.get("perturb", False)),
        _count(options),
    )


def _count(options: Mapping[str, Any]) -> Any:
    """The option `max_num_steps`, which torchdiffeq makes a tensor."""
    count = scalar(options.get("max_num_steps"))
    if count is not None and (not isinstance(count, Integral) or count is True or count < 1):
        raise ValueError(f"`max_num_steps` must be a positive int, got {count!r}")
    return count


def _method(method: Method, options: dict[str, Any], rtol: Any, atol: Any) -> Coefficients | Adams:
    if method is None:
        method = "dopri5"
    if isinstance(method, str) and method in ADAMS:
        given = {"max_order": options.pop("max_order", 12)}
        if "max_iters" in options:
            given["max_iterations"] = options.pop("max_iters")
        given["across_jumps"] = bool(options.get("perturb", False))
        return Adams(implicit=ADAMS[method], **given, rtol=rtol, atol=atol)
    chosen = tableau(METHODS[method]) if isinstance(method, str) else method
    if method == "fehlberg2":
        chosen = replace(
            chosen,
            b=chosen.b_hat,
            b_hat=chosen.b,
            order=chosen.embedded_order,
            embedded_order=chosen.order,
        )
    if isinstance(chosen, ButcherTableau):
        chosen = chosen.coefficients
    if not isinstance(chosen, Coefficients | Adams):
        raise TypeError(
            "`method` must be a name, a ButcherTableau, Coefficients or Adams, got "
            f"{type(method).__name__}"
        )
    return chosen
