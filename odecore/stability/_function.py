"""The stability function R(z) = P(z)/Q(z), with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from typing import Any

from odecore.exact import Polynomial
from odecore.families import Family
from odecore.tableaux import ButcherTableau

__all__ = ["StabilityFunction", "stability_function"]

Coefficients = tuple[Any, ...]


@dataclass(frozen=True)
class StabilityFunction:
    """A rational function with exact coefficients, lowest degree first.

    Parameters
    ----------
    numerator, denominator : tuple of exact numbers, or rational functions for a family
        Polynomials P and Q without trailing zeros; Q(0) = 1.
    """

    numerator: Coefficients
    denominator: Coefficients

    def __call__(self, z: Any, /) -> Any:
        """Evaluate R at a number or, elementwise, at a real or complex array."""
        return _horner(self.numerator, z) / _horner(self.denominator, z)

    def reduced(self) -> tuple[Polynomial, Polynomial]:
        """P and Q without common factors, as polynomials; exact numbers only."""
        P, Q = Polynomial(self.numerator), Polynomial(self.denominator)
        common = P.gcd(Q) if Q.degree > 0 else Polynomial((1,))
        if common.degree > 0:
            P, Q = divmod(P, common)[0], divmod(Q, common)[0]
        return P / Q(0), Q / Q(0)


def stability_function(method: ButcherTableau | Family, /) -> StabilityFunction:
    """Exact stability function of an explicit or implicit method.

    Parameters
    ----------
    method : ButcherTableau or Family

    Returns
    -------
    StabilityFunction
        R(z) = det(I - zA + z 1 b^T) / det(I - zA); one step for y' = lambda y multiplies y by
        R(h lambda). Common factors of P and Q are kept. For an explicit method that is known as
        decimals the coefficients up to its order are 1/k!, as they are for the method meant: else
        rounding would destroy its imaginary interval.

    Raises
    ------
    TypeError
        If `method` is neither a tableau nor a family.

    Notes
    -----
    Hairer, Wanner, Solving Ordinary Differential Equations II, proposition IV.3.2. The
    determinants come from the Faddeev-LeVerrier recurrence, exact over the rationals.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> [str(c) for c in stability_function(tableau("classic")).numerator]
    ['1', '1', '1/2', '1/6', '1/24']
    """
    if not isinstance(method, ButcherTableau | Family):
        raise TypeError(
            f"`method` must be a ButcherTableau or a Family, got {type(method).__name__}; look a "
            "name up with odecore.tableaux.tableau"
        )
    shifted = [[a - w for a, w in zip(row, method.b, strict=True)] for row in method.A]
    P, Q = _reversed_characteristic(shifted), _reversed_characteristic(method.A)
    if getattr(method, "uncertainty", 0) and method.is_explicit and method.order:
        known = tuple(Fraction(1, factorial(k)) for k in range(method.order + 1))
        P = known + P[len(known) :]
    return StabilityFunction(P, Q)


def require_tableau(method: Any) -> None:
    """Refuse what is not one method with numbers."""
    if not isinstance(method, ButcherTableau):
        raise TypeError(
            f"`method` must be a ButcherTableau, got {type(method).__name__}; evaluate a family "
            "with odecore.tableaux.tableau_at, look a name up with odecore.tableaux.tableau"
        )


def _reversed_characteristic(matrix: Sequence[Sequence[Any]]) -> Coefficients:
    """Coefficients of det(I - zM), lowest degree first, without trailing zeros."""
    n = range(len(matrix))
    coefficients: list[Any] = [Fraction(1)]
    product: list[list[Any]] = [[Fraction(0)] * len(matrix) for _ in n]
    for k in range(1, len(matrix) + 1):
        for i in n:
            product[i][i] += coefficients[-1]
        columns = list(zip(*product, strict=True))
        product = [
            [
                sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0))
                for column in columns
            ]
            for row in matrix
        ]
        coefficients.append(-sum((product[i][i] for i in n), Fraction(0)) / k)
    while coefficients[-1] == 0:
        coefficients.pop()
    return tuple(coefficients)


def _horner(polynomial: Coefficients, z: Any) -> Any:
    value = float(polynomial[-1]) + 0 * z
    for coefficient in reversed(polynomial[:-1]):
        value = value * z + float(coefficient)
    return value
