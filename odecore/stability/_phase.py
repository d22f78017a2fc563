"""Dispersion and dissipation: how phase and amplitude err on y' = i omega y."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, inf
from typing import Any

from odecore.exact import Polynomial
from odecore.stability._function import require_tableau, stability_function
from odecore.stability._intervals import axis_polynomial
from odecore.stability._rounding import product_radius, without_rounding
from odecore.tableaux import ButcherTableau

__all__ = ["dispersion_order", "dissipation_order"]


def dissipation_order(method: ButcherTableau, /) -> float:
    """Largest q with 1 - abs(R(iy)) = O(y^(q+1)); inf if abs(R(iy)) = 1 for all y.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    int or inf

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

    Notes
    -----
    van der Houwen and Sommeijer, SIAM J. Numer. Anal. 24 (1987) 595-617.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> dissipation_order(tableau("classic")), dispersion_order(tableau("classic"))
    (5, 4)
    """
    require_tableau(method)
    E = axis_polynomial(stability_function(method))
    lowest = next((k for k, e in enumerate(E.coefficients) if e != 0), None)
    return inf if lowest is None else 2 * lowest - 1


def dispersion_order(method: ButcherTableau, /) -> int:
    """Largest q with y - arg R(iy) = O(y^(q+1)).

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.
    ValueError
        If the first 60 powers all agree, which no Runge-Kutta method of moderate size reaches.

    Notes
    -----
    van der Houwen and Sommeijer, SIAM J. Numer. Anal. 24 (1987) 595-617.
    """
    require_tableau(method)
    function = stability_function(method)
    P, Q = function.reduced()
    # arg R(iy) = y + ... iff Im(P(iy) conj(Q(iy)) exp(-iy)) vanishes to that power.
    real, imaginary = _times(_on_axis(P), _conjugate(_on_axis(Q)))
    top = 60
    cosine = [Fraction((-1) ** (k // 2), factorial(k)) if k % 2 == 0 else 0 for k in range(top)]
    sine = [Fraction((-1) ** (k // 2), factorial(k)) if k % 2 else 0 for k in range(top)]
    phase = imaginary * Polynomial(cosine) - real * Polynomial(sine)
    if function.radii is not None:
        radius = product_radius(P, function.radii[0], Q, function.radii[1])
        phase = without_rounding(
            phase, radius * Polynomial([Fraction(1, factorial(k)) for k in range(top)])
        )
    for k, coefficient in enumerate(phase.coefficients[:top]):
        if coefficient != 0:
            return k - 1
    raise ValueError(f"R(iy) agrees in phase with exp(iy) in the first {top} powers")


Pair = tuple[Polynomial, Polynomial]


def _on_axis(p: Polynomial) -> Pair:
    """Real and imaginary part of p(iy), polynomials in y."""
    real: list[Any] = []
    imaginary: list[Any] = []
    for k, a in enumerate(p.coefficients):
        real.append(a * (1, 0, -1, 0)[k % 4])
        imaginary.append(a * (0, 1, 0, -1)[k % 4])
    return Polynomial(real), Polynomial(imaginary)


def _conjugate(p: Pair) -> Pair:
    return p[0], -p[1]


def _times(p: Pair, q: Pair) -> Pair:
    return p[0] * q[0] - p[1] * q[1], p[0] * q[1] + p[1] * q[0]
