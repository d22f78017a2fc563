"""The stability function R(z) = P(z)/Q(z), with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from odecore.tableaux import ButcherTableau

__all__ = ["StabilityFunction", "stability_function"]

Polynomial = tuple[Fraction, ...]


@dataclass(frozen=True)
class StabilityFunction:
    """A rational function with exact coefficients, lowest degree first.

    Parameters
    ----------
    numerator, denominator : tuple of Fraction
        Polynomials P and Q without trailing zeros; Q(0) = 1.
    """

    numerator: Polynomial
    denominator: Polynomial

    def __call__(self, z: Any, /) -> Any:
        """Evaluate R at a number or, elementwise, at a real or complex array."""
        return _horner(self.numerator, z) / _horner(self.denominator, z)


def stability_function(method: ButcherTableau, /) -> StabilityFunction:
    """Exact stability function of an explicit or implicit method.

    Parameters
    ----------
    method : ButcherTableau

    Returns
    -------
    StabilityFunction
        R(z) = det(I - zA + z 1 b^T) / det(I - zA); one step for y' = lambda y multiplies y by
        R(h lambda). Common factors of P and Q are kept.

    Raises
    ------
    TypeError
        If `method` is not a tableau.

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
    if not isinstance(method, ButcherTableau):
        raise TypeError(
            f"`method` must be a ButcherTableau, got {type(method).__name__}; look a name up with "
            "odecore.tableaux.tableau"
        )
    shifted = [[a - w for a, w in zip(row, method.b, strict=True)] for row in method.A]
    return StabilityFunction(_reversed_characteristic(shifted), _reversed_characteristic(method.A))


def _reversed_characteristic(matrix: Sequence[Sequence[Fraction]]) -> Polynomial:
    """Coefficients of det(I - zM), lowest degree first, without trailing zeros."""
    n = range(len(matrix))
    coefficients = [Fraction(1)]
    product = [[Fraction(0)] * len(matrix) for _ in n]
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


def _horner(polynomial: Polynomial, z: Any) -> Any:
    value = float(polynomial[-1]) + 0 * z
    for coefficient in reversed(polynomial[:-1]):
        value = value * z + float(coefficient)
    return value
