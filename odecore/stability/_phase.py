"""Dispersion and dissipation: how phase and amplitude err on y' = i omega y."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, inf

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
    (above, above_i), (below, below_i) = _on_axis(P), _on_axis(Q)
    real, imaginary = above * below + above_i * below_i, above_i * below - above * below_i
    top = 60
    exponential = Polynomial([Fraction(1, factorial(k)) for k in range(top)])
    cosine, sine = _on_axis(exponential)
    phase = imaginary * cosine - real * sine
    if function.radii is not None:
        radius = product_radius(P, function.radii[0], Q, function.radii[1])
        phase = without_rounding(phase, radius * exponential)
    for k, coefficient in enumerate(phase.coefficients[:top]):
        if coefficient != 0:
            return k - 1
    raise ValueError(f"R(iy) agrees in phase with exp(iy) in the first {top} powers")


def _on_axis(p: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Real and imaginary part of p(iy), polynomials in y."""
    real = [a * (1, 0, -1, 0)[k % 4] for k, a in enumerate(p.coefficients)]
    imaginary = [a * (0, 1, 0, -1)[k % 4] for k, a in enumerate(p.coefficients)]
    return Polynomial(real), Polynomial(imaginary)
