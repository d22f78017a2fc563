"""Nonlinear stability: strong stability preservation, circle contractivity, inner amplification."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf
from typing import Any

import numpy as np

from odecore.stability._function import require_tableau, stability_function
from odecore.tableaux import ButcherTableau

__all__ = [
    "contractivity_radius",
    "internal_amplification",
    "linear_ssp_coefficient",
    "ssp_coefficient",
]

_WIDTH = Fraction(1, 2**50)


def ssp_coefficient(method: ButcherTableau, /) -> Fraction | float:
    """Radius of absolute monotonicity of (A, b): the SSP coefficient C.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    Fraction or inf
        Exact where it is a rational with denominator up to 1000, else the largest dyadic number
        below it to 2^-50; inf for implicit Euler and the like. 0 if a coefficient is negative.

    Notes
    -----
    Kraaijevanger, BIT 31 (1991) 482-528: r is admissible iff with K = [[A, 0], [b, 0]] the matrix
    rK (I + rK)^-1 and the vector (I + rK)^-1 1 have no negative entry. The admissible r form an
    interval from 0, so bisection with exact arithmetic at each r finds its end.

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

    return _end_of_interval(admissible)


def linear_ssp_coefficient(method: ButcherTableau, /) -> Fraction | float:
    """Radius of absolute monotonicity of R(z): the SSP coefficient for linear problems.

    Parameters
    ----------
    method : ButcherTableau
        Explicit: then R is a polynomial, and R is absolutely monotonic on [-r, 0] iff its Taylor
        coefficients at -r are not negative.

    Raises
    ------
    ValueError
        If the method is implicit.
    """
    require_tableau(method)
    if not method.is_explicit:
        raise ValueError("the linear SSP coefficient is computed for explicit methods only")
    p = stability_function(method).numerator

    def admissible(r: Fraction) -> bool:
        return all(
            sum((comb(k, j) * a * (-r) ** (k - j) for k, a in enumerate(p) if k >= j), Fraction(0))
            >= 0
            for j in range(len(p))
        )

    return _end_of_interval(admissible)


def _end_of_interval(admissible: Any) -> Fraction | float:
    if not admissible(Fraction(1, 2**40)):
        return Fraction(0)
    high = Fraction(1)
    while admissible(high):
        high *= 2
        if high > 2**20:
            return inf
    low = Fraction(0)
    while high - low > _WIDTH:
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
    A, b = _floats(method)
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

    Raises
    ------
    ValueError
        If the method is implicit, so that its region may be unbounded.

    Notes
    -----
    Ketcheson, Loczi, Parsani, SIAM J. Numer. Anal. 52 (2014) 2049-2072.
    """
    from odecore.stability._region import region_box

    require_tableau(method)
    if not method.is_explicit:
        raise ValueError("internal amplification is computed for explicit methods only")
    A, b = _floats(method)
    x, y = region_box(method)
    z = (np.linspace(*x, points)[:, None] + 1j * np.linspace(0, y[1], points)).ravel()
    z = z[np.abs(stability_function(method)(z)) <= 1]
    # theta = z b^T + theta (zA): solved from the last stage back, since A is lower triangular.
    theta = np.zeros((len(b), z.size), dtype=complex)
    for j in reversed(range(len(b))):
        theta[j] = z * (b[j] + A[j + 1 :, j] @ theta[j + 1 :])
    return float(np.abs(theta).max(initial=0.0))


def _floats(method: ButcherTableau) -> tuple[Any, Any]:
    A = np.array([[float(a) for a in row] for row in method.A])
    return A, np.array([float(w) for w in method.b])
