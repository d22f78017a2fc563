"""Stability intervals on the real and imaginary axes, from exact sign changes, never sampled."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf, sqrt
from typing import Any

from odecore.exact import Polynomial, isolate_roots, refine_root
from odecore.stability._function import StabilityFunction, require_tableau, stability_function
from odecore.stability._rounding import product_radius, without_rounding
from odecore.tableaux import ButcherTableau

__all__ = ["StabilityInterval", "imaginary_interval", "real_interval"]

_WIDTH = Fraction(1, 2**80)  # relative to the lower end


@dataclass(frozen=True)
class StabilityInterval:
    """The largest L with abs(R) <= 1 on all of [-L, 0], or of [-iL, iL].

    Parameters
    ----------
    length : float
        L, to 15 digits; inf where it is.
    polynomial : Polynomial
        abs(Q)^2 - abs(P)^2 on the axis: in y for z = -y, in y^2 for z = iy. Not negative iff
        abs(R) <= 1.
    bracket : pair of exact numbers or None
        The end lies in this interval of the polynomial's variable; None for 0 and inf.
    """

    length: float
    polynomial: Polynomial
    bracket: tuple[Any, Any] | None = None

    def __float__(self) -> float:
        return self.length


def real_interval(method: ButcherTableau, /) -> StabilityInterval:
    """Decide how far abs(R(z)) <= 1 holds on the negative real axis.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    StabilityInterval

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

    Notes
    -----
    The end is the first zero of Q(-y)^2 - P(-y)^2 after which it is negative. Where abs(R) touches
    1 and comes back, as for undamped Chebyshev methods, the polynomial has a zero of even
    multiplicity and the interval goes on.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> real_interval(tableau("classic")).length, real_interval(tableau("trapezoidal")).length
    (2.785293563405282, inf)
    """
    require_tableau(method)
    function = stability_function(method)
    P, Q = (mirrored(Polynomial(p)) for p in (function.numerator, function.denominator))
    factors = [Q - P, Q + P]
    if function.radii is not None:
        radius = function.radii[0] + function.radii[1]
        factors = [without_rounding(factor, radius) for factor in factors]
    common = factors[0].gcd(factors[1])  # of P and Q
    if common.degree > 0:
        factors = [divmod(factor, common)[0] * common(0) for factor in factors]
    polynomial = factors[0] * factors[1]
    bracket = _first_loss(*factors)
    if not isinstance(bracket, tuple):
        return StabilityInterval(bracket, polynomial)
    return StabilityInterval(float(bracket[1]), polynomial, bracket)


def imaginary_interval(method: ButcherTableau, /) -> StabilityInterval:
    """Decide how far abs(R(iy)) <= 1 holds from the origin on.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    StabilityInterval

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> imaginary_interval(tableau("euler")).length, imaginary_interval(tableau("classic")).length
    (0.0, 2.8284271247461903)
    """
    require_tableau(method)
    polynomial = axis_polynomial(stability_function(method))
    bracket = _first_loss(polynomial)
    if not isinstance(bracket, tuple):
        return StabilityInterval(bracket, polynomial)
    return StabilityInterval(sqrt(float(bracket[1])), polynomial, bracket)


def axis_polynomial(function: StabilityFunction) -> Polynomial:
    """E with E(y^2) = abs(Q(iy))^2 - abs(P(iy))^2; abs(R(iy)) <= 1 iff E(y^2) >= 0."""
    if function.radii is None:
        return axis_difference(*function.reduced())
    P, Q = Polynomial(function.numerator), Polynomial(function.denominator)
    P_off, Q_off = function.radii
    radius = product_radius(P, P_off, P, P_off) + product_radius(Q, Q_off, Q, Q_off)
    return without_rounding(axis_difference(P, Q), Polynomial(radius.coefficients[::2]))


def axis_difference(P: Polynomial, Q: Polynomial) -> Polynomial:
    """E of one numerator and denominator."""
    return _modulus(Q) - _modulus(P)


def _modulus(p: Polynomial) -> Polynomial:
    """abs(p(iy))^2 as a polynomial in x = y^2: p(iy) = even(-x) + iy odd(-x)."""
    even, odd = (mirrored(Polynomial(p.coefficients[k::2])) for k in (0, 1))
    return even * even + Polynomial((0, 1)) * odd * odd


def mirrored(p: Polynomial) -> Polynomial:
    """p(-x)."""
    return Polynomial([a * (-1) ** k for k, a in enumerate(p.coefficients)])


def _first_loss(*factors: Polynomial) -> Any:
    """Bracket of the first x >= 0 after which the product is negative; or 0.0, or inf.

    The factors have no common root: each is isolated by itself, at half the degree.
    """
    if not all(factors):
        return inf
    free = [p.squarefree() for p in factors]
    cuts = _disjoint([(cut, p) for p in free for cut in isolate_roots(p, Fraction(0))])
    # A sample in each gap between neighbouring roots: brackets are disjoint, ends are no roots.
    lower = [Fraction(0), *(b for (_, b), _ in cuts)]
    upper = [*(a for (a, _), _ in cuts), None]
    for k, (a, b) in enumerate(zip(lower, upper, strict=True)):
        sample = a + 1 if b is None else (a + b) / Fraction(2)
        if sum(p(sample) < 0 for p in factors) % 2:
            if k == 0:
                return 0.0
            cut, polynomial = cuts[k - 1]
            return refine_root(polynomial, cut, cut[0] * _WIDTH)
    return inf


def _disjoint(cuts: list[tuple[Any, Polynomial]]) -> list[tuple[Any, Polynomial]]:
    """Brackets with their squarefree polynomials in order, halved until none meets another or 0."""
    while True:
        cuts = sorted(cuts, key=lambda item: item[0])
        ends = [Fraction(0), *(cut[1] for cut, _ in cuts)]
        close = {k for k, (cut, _) in enumerate(cuts) if cut[0] <= ends[k]}
        if not close:
            return cuts
        close |= {k - 1 for k in close if k}
        cuts = [(_halved(*item), item[1]) if k in close else item for k, item in enumerate(cuts)]


def _halved(cut: tuple[Any, Any], free: Polynomial) -> tuple[Any, Any]:
    low, high = cut
    middle = (low + high) / Fraction(2)
    value = free(middle)
    if value == 0:
        return middle, middle
    return (middle, high) if (value > 0) == (free(low) > 0) else (low, middle)
