"""A family at values: exact values give a tableau, arrays give coefficients with gradients."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from numbers import Rational, Real
from typing import Any

from odecore.families import Family
from odecore.tableaux._coefficients import Coefficients
from odecore.tableaux._tableau import ButcherTableau

__all__ = ["coefficients_at", "tableau_at"]


def tableau_at(family: Family, /, **parameters: Any) -> ButcherTableau:
    """Evaluate a family at exact parameters.

    Parameters
    ----------
    family : Family
    **parameters : int or Fraction
        One for each of `family.parameters`.

    Returns
    -------
    ButcherTableau

    Raises
    ------
    TypeError
        If a parameter is missing, unknown or not rational.
    SingularParameterError
        If the parameters lie on the excluded set; the message names the factor.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from odecore.families import RK4
    >>> tableau_at(RK4, u=Fraction(1, 3), v=Fraction(2, 3)).b
    (Fraction(1, 8), Fraction(3, 8), Fraction(3, 8), Fraction(1, 8))
    """
    values = family.values(parameters)
    for name, value in zip(family.parameters, values, strict=True):
        if not isinstance(value, Rational):
            raise TypeError(
                f"`{name}` must be exact, int or Fraction, to give an exact tableau; got {value!r} "
                f"of type {type(value).__name__}; for floats and arrays use `coefficients_at`"
            )
    exact = tuple(map(Fraction, values))
    family.require_member(exact)
    rows, b = family.formula(*exact)
    point = ", ".join(f"{n}={value}" for n, value in zip(family.parameters, exact, strict=True))
    return ButcherTableau(rows, b, name=f"{family.name}({point})", order=family.order)


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
        If a parameter is missing or unknown.
    ValueError
        If a parameter given as a number is not finite.
    SingularParameterError
        If parameters given as numbers lie on the excluded set. Values of arrays are not read, so
        that no device is waited for: keep them inside a box that `Family.require_box` has proved,
        as the trainable solvers of `torch_bridge` do.
    """
    values = tuple(float(v) if isinstance(v, Real) else v for v in family.values(parameters))
    for name, value in zip(family.parameters, values, strict=True):
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"`{name}` must be finite, got {value}")
    family.require_member(values)
    rows, b = family.formula(*values)
    return Coefficients(A=rows, b=b, order=family.order)
