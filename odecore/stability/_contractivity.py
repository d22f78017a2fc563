"""Nonlinear stability: strong stability preservation, circle contractivity, inner amplification."""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial, inf, lcm
from typing import Any

import numpy as np

from odecore.exact import Polynomial, QuadraticNumber
from odecore.stability._function import as_floats, require_tableau, stability_function
from odecore.stability._ranges import require_points
from odecore.stability._region import region_box
from odecore.tableaux import ButcherTableau

__all__ = [
    "contractivity_radius",
    "internal_amplification",
    "linear_ssp_coefficient",
    "ssp_coefficient",
]

_WIDTH = Fraction(1, 2**50)  # relative


def ssp_coefficient(method: ButcherTableau, /) -> Fraction | float:
    """Radius of absolute monotonicity of (A, b): the SSP coefficient C.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    Fraction or inf
        Exact where it is a rational with denominator up to 1000, else a dyadic number below it, by
        at most 2^-50 of it; inf for implicit Euler and the like. 0 if a coefficient is negative.

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

    Notes
    -----
    Kraaijevanger, BIT 31 (1991) 482-528: r is admissible iff with K = [[A, 0], [b, 0]] the matrix
    rK (I + rK)^-1 and the vector (I + rK)^-1 1 have no negative entry. The admissible r form an
    interval from 0, so bisection with exact arithmetic at each r finds its end. It is not empty iff
    K >= 0 and K^2 vanishes where K does; it is infinite iff it holds an r beyond all roots of the
    determinants that an entry is the quotient of, which are bounded by their coefficients.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> int(ssp_coefficient(tableau("ssp104"))), ssp_coefficient(tableau("classic"))
    (6, Fraction(0, 1))
    """
    require_tableau(method)
    s = method.stages
    K = [[*row, Fraction(0)] for row in (*method.A, method.b)]

    def admissible(r: Fraction) -> bool:
        # Solve (I + rK) X = [rK, 1] exactly.
        rows: list[list[Any]] = [
            [*(r * k + (i == j) for j, k in enumerate(row)), *(r * k for k in row), Fraction(1)]
            for i, row in enumerate(K)
        ]
        n = s + 1
        for k in range(n):
            pivot = next((i for i in range(k, n) if rows[i][k] != 0), None)
            if pivot is None:
                return False
            rows[k], rows[pivot] = rows[pivot], rows[k]
            if rows[k][k] != 1:
                inverse = Fraction(1) / rows[k][k]
                rows[k] = [x * inverse for x in rows[k]]
            for i in range(n):
                factor = rows[i][k]
                if i != k and factor != 0:
                    rows[i] = [
                        x - factor * y if y != 0 else x
                        for x, y in zip(rows[i], rows[k], strict=True)
                    ]
        return all(x >= 0 for row in rows for x in row[n:])

    square = [
        [sum(a * K[k][j] for k, a in enumerate(row) if a != 0) for j in range(s)] for row in K
    ]
    if any(
        a < 0 or (a == 0 != b)
        for k, kk in zip(K, square, strict=True)
        for a, b in zip(k, kk, strict=False)
    ):
        return Fraction(0)
    if not method.is_explicit and admissible(_beyond_all_roots(K)):
        return inf
    return _end_of_interval(admissible, _estimate(K))


def _estimate(K: list[list[Any]]) -> float:
    """The end of the interval by bisection in floats, to save most of the exact one; 0 if none."""
    if max(a for row in K for a in row) > 10**100:  # powers overflow
        return 0.0
    matrix = np.array([[float(a) for a in row] for row in K])
    right = np.hstack([matrix, np.ones((len(K), 1))])
    low, high = 0.0, 2.0 * len(K)
    for _ in range(50):
        r = (low + high) / 2
        try:
            X = np.linalg.solve(np.eye(len(K)) + r * matrix, right)
        except np.linalg.LinAlgError:
            X = -right
        low, high = (r, high) if np.all(X >= -1e-15) else (low, r)
    return low


def _beyond_all_roots(K: list[list[Any]]) -> Fraction:
    """A number larger than the roots of all minors of I + rK, as polynomials in r.

    With a common denominator d of K they are polynomials in r/d over the integers of the field. A
    coefficient and its conjugate are at most n! (2m)^n =: H, and the leading one at least 1/H.
    """
    n = len(K)
    parts = [(a.rational, a.irrational * a.radicand) if isinstance(a, QuadraticNumber) else (a, 0)
             for row in K for a in row]  # fmt: skip
    d = lcm(*(Fraction(part).denominator for pair in parts for part in pair))
    m = 1 + max(int(d * (abs(a) + abs(b))) for a, b in parts)
    return Fraction(d * (1 + (factorial(n) * (2 * m) ** n) ** 2))


def linear_ssp_coefficient(method: ButcherTableau, /) -> Fraction:
    """Radius of absolute monotonicity of R(z): the SSP coefficient for linear problems.

    Parameters
    ----------
    method : ButcherTableau
        Explicit: then R is a polynomial, and R is absolutely monotonic on [-r, 0] iff its Taylor
        coefficients at -r are not negative.

    Returns
    -------
    Fraction
        As exact as that of `ssp_coefficient`.

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.
    ValueError
        If the method is implicit.

    Notes
    -----
    Kraaijevanger, Numer. Math. 48 (1986) 303-322.
    """
    require_tableau(method)
    if not method.is_explicit:
        raise ValueError("the linear SSP coefficient is computed for explicit methods only")
    p = stability_function(method).numerator
    derivatives = [
        Polynomial([comb(k, j) * a * (-1) ** (k - j) for k, a in enumerate(p) if k >= j])
        for j in range(len(p))
    ]
    if any(next(filter(None, q.coefficients), 0) < 0 for q in derivatives):
        return Fraction(0)
    return _end_of_interval(lambda r: all(q(r) >= 0 for q in derivatives))


def _end_of_interval(admissible: Any, estimate: float = 0.0) -> Fraction:
    """The end of an interval from 0 that is neither empty nor infinite, near a good estimate."""
    low, high = (Fraction(estimate * (1 + sign * 1e-13)) for sign in (-1, 1))
    if not admissible(low) or admissible(high):
        low = Fraction(1)
        while not admissible(low):
            low /= 2
        high = 2 * low
        while admissible(high):
            low, high = high, 2 * high
    while high - low > low * _WIDTH:
        middle = (low + high) / 2
        low, high = (middle, high) if admissible(middle) else (low, middle)
    simple = ((low + high) / 2).limit_denominator(1000)
    return simple if low <= simple <= high and admissible(simple) else low


def contractivity_radius(method: ButcherTableau, /) -> float:
    """Radius r of the largest disc abs(z + r) <= r on which the method is contractive.

    Parameters
    ----------
    method : ButcherTableau
        Irreducible, with distinct abscissae or at least no superfluous stages.

    Returns
    -------
    float
        inf for an algebraically stable method; 0 where no disc exists (a weight that is not
        positive while its stage acts).

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

    Notes
    -----
    Dekker and Verwer, Stability of Runge-Kutta Methods for Stiff Nonlinear Differential Equations,
    section 4.4: BA + A^T B - b b^T + B/r is positive semi-definite, B = diag(b).

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> round(contractivity_radius(tableau("classic")), 12)
    1.0
    """
    require_tableau(method)
    A, b = as_floats(method)
    acting = (b != 0) | (b @ np.abs(A) != 0)
    A, b = A[np.ix_(acting, acting)], b[acting]
    if (b <= 0).any():
        return 0.0
    M = b[:, None] * A + (b[:, None] * A).T - np.outer(b, b)
    root = np.sqrt(b)
    smallest = float(np.linalg.eigvalsh(M / np.outer(root, root)).min())
    return inf if smallest > -1e-13 * max(1.0, float(np.abs(A).max())) else -1 / smallest


def internal_amplification(method: ButcherTableau, /, *, points: int = 400) -> float:
    """Largest factor by which an error made in a stage appears in the step, abs(R(z)) <= 1.

    Parameters
    ----------
    method : ButcherTableau
        Explicit.
    points : int, optional
        Resolution of each axis: the maximum of abs(z b^T (I - zA)^-1 e_j) over stages j is taken
        over a grid of the stability region, so it is a lower estimate that improves with `points`.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.
    ValueError
        If the method is implicit, so that its region may be unbounded, or `points` is no whole
        number from 2.

    Notes
    -----
    Ketcheson, Loczi, Parsani, SIAM J. Numer. Anal. 52 (2014) 2049-2072.
    """
    require_tableau(method)
    if not method.is_explicit:
        raise ValueError("internal amplification is computed for explicit methods only")
    require_points(points)
    A, b = as_floats(method)
    x, y = region_box(method)
    z = (np.linspace(*x, points)[:, None] + 1j * np.linspace(0, y[1], points)).ravel()
    z = z[np.abs(stability_function(method)(z)) <= 1]
    # theta = z b^T + theta (zA): solved from the last stage back, since A is lower triangular.
    theta = np.zeros((len(b), z.size), dtype=complex)
    for j in reversed(range(len(b))):
        theta[j] = z * (b[j] + A[j + 1 :, j] @ theta[j + 1 :])
    return float(np.abs(theta).max(initial=0.0))
