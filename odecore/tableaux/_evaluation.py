"""A family at values: exact values give a tableau, arrays give coefficients with gradients."""

from __future__ import annotations

from math import isfinite
from numbers import Rational, Real
from typing import Any
from warnings import warn

from odecore._array import as_float
from odecore.errors import NearSingularWarning, SingularParameterError
from odecore.exact import QuadraticNumber, exact_number
from odecore.families import Family
from odecore.tableaux._coefficients import Coefficients
from odecore.tableaux._tableau import ButcherTableau

__all__ = ["coefficients_at", "tableau_at"]

LARGE = 1000  # coefficients of published methods stay below 100


def tableau_at(family: Family, /, **parameters: Any) -> ButcherTableau:
    """Evaluate a family at exact parameters.

    Parameters
    ----------
    family : Family
    **parameters : int, Fraction or QuadraticNumber
        One for each of `family.parameters`.

    Returns
    -------
    ButcherTableau

    Raises
    ------
    TypeError
        If `family` is none, or a parameter is missing, unknown or not exact.
    SingularParameterError
        If the parameters lie on the excluded set; the message names the factor. Also where a
        denominator vanishes that is none of the factors.

    Warns
    -----
    NearSingularWarning
        If a coefficient exceeds 1000: so near to the excluded set rounding errors are amplified.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from odecore.families import RK4
    >>> tableau_at(RK4, u=Fraction(1, 3), v=Fraction(2, 3)).b
    (Fraction(1, 8), Fraction(3, 8), Fraction(3, 8), Fraction(1, 8))
    """
    Family.require(family)
    values = family.values(parameters)
    for name, value in zip(family.parameters, values, strict=True):
        if not isinstance(value, Rational | QuadraticNumber):
            raise TypeError(
                f"`{name}` must be exact, int, Fraction or QuadraticNumber, to give a tableau; "
                f"got {value!r} "
                f"of type {type(value).__name__}; for floats and arrays use `coefficients_at`"
            )
    exact = tuple(map(exact_number, values))
    point = ", ".join(f"{n}={value}" for n, value in zip(family.parameters, exact, strict=True))
    rows, b, b_hat = _member(family, exact)
    _warn_of_large(family, rows, b, b_hat or ())
    return ButcherTableau(
        rows,
        b,
        b_hat=b_hat,
        name=f"{family.name}({point})",
        order=family.order,
        embedded_order=family.embedded_order,
    )


def _member(family: Family, values: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """A, b and the embedded weights, if there are any."""
    family.require_member(values)
    try:
        rows, b = family.formula(*values)
        return rows, b, None if family.estimator is None else family.estimator(*values)
    except ZeroDivisionError as error:
        point = ", ".join(f"{n} = {v}" for n, v in zip(family.parameters, values, strict=True))
        raise SingularParameterError(
            f"{family.name} divides by zero at {point}, where none of its `factors` vanishes; add "
            "the denominators of `formula` and `estimator` to them"
        ) from error


def _warn_of_large(family: Family, rows: Any, *weights: Any) -> None:
    entries = [a for row in (*rows, *weights) for a in row]
    numbers: list[Any] = [abs(a) for a in entries if isinstance(a, Real)]
    if numbers and max(numbers) > LARGE:
        warn(
            f"a coefficient of this member of {family.name} is {as_float(max(numbers)):.3g}, by "
            "which each step amplifies rounding errors in f: its parameters are very large, or "
            f"close to the excluded set {', '.join(family.excluded) or 'of its weights'} = 0; move "
            "them",
            NearSingularWarning,
            stacklevel=3,
        )


def coefficients_at(family: Family, /, **parameters: Any) -> Coefficients:
    """Evaluate a family at floats or arrays, keeping the array library's gradients.

    Parameters
    ----------
    family : Family
    **parameters : float or floating-point array
        One for each of `family.parameters`; arrays broadcast against the state of the solve.

    Returns
    -------
    Coefficients

    Raises
    ------
    TypeError
        If `family` is none, a parameter is missing or unknown, or an array for an implicit family.
    ValueError
        If a parameter given as a number is not finite.
    SingularParameterError
        If parameters given as numbers lie on the excluded set. Values of arrays are not read, so
        that no device is waited for: keep them inside a box that `Family.require_box` has proved,
        as the trainable solvers of `torch_bridge` do.

    Warns
    -----
    NearSingularWarning
        As `tableau_at`, of coefficients that are numbers.
    """
    Family.require(family)
    values = tuple(as_float(v) if isinstance(v, Real) else v for v in family.values(parameters))
    for name, value in zip(family.parameters, values, strict=True):
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"`{name}` must be finite, got {value}")
    if not family.is_explicit and not all(isinstance(value, float) for value in values):
        raise TypeError(
            f"{family.name} is implicit, and the parameters of an implicit method must be numbers, "
            f"not arrays; got {', '.join(type(value).__name__ for value in values)}"
        )
    rows, b, b_hat = _member(family, values)
    reuses = family.last_stage_is_first
    if len(b) > 1 and all(isinstance(value, float) for value in values):
        reuses = (*rows[-1], *(0,) * (len(b) - len(rows[-1]))) == tuple(b) or reuses
    if not family.is_explicit and all(
        row[i + 1 :] == (0,) * len(row[i + 1 :]) for i, row in enumerate(rows)
    ):
        rows = tuple(row[: i + 1] for i, row in enumerate(rows))
    error = None
    if b_hat is not None:
        error = tuple(weight - embedded for weight, embedded in zip(b, b_hat, strict=True))
    _warn_of_large(family, rows, b, b_hat or ())
    return Coefficients(A=rows, b=b, error=error, order=family.order, last_stage_is_first=reuses)
