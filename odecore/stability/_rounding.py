"""How far rounded coefficients move those of R, and what may therefore be zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from odecore.exact import Polynomial
from odecore.tableaux import ButcherTableau

__all__ = ["determinant_radius", "product_radius", "rounded_entries", "without_rounding"]


def rounded_entries(method: ButcherTableau, /) -> tuple[list[int], int]:
    """How many coefficients of each row of A, and of b, are known as decimals: those not zero."""
    return [sum(a != 0 for a in row) for row in method.A], sum(w != 0 for w in method.b)


def determinant_radius(matrix: Sequence[Sequence[Any]], radii: Sequence[Any], /) -> Polynomial:
    """Bounds on how far the coefficients of det(I - zM) move when rows move by `radii` in 1-norm.

    A determinant is linear in each row and at most the product of the rows' 1-norms n_i, so the sum
    of the principal minors of one size moves by at most what the coefficients of
    prod(1 + n_i z) move by when each n_i grows by its radius.
    """
    before = after = Polynomial((1,))
    for row, radius in zip(matrix, radii, strict=True):
        norm = sum(map(abs, row))
        before *= Polynomial((1, norm))
        after *= Polynomial((1, norm + radius))
    return after - before


def product_radius(p: Polynomial, p_off: Polynomial, q: Polynomial, q_off: Polynomial, /) -> Any:
    """Bounds on how far the coefficients of pq move, from those of p and q."""
    p, q = (Polynomial([abs(a) for a in factor.coefficients]) for factor in (p, q))
    return (p + p_off) * (q + q_off) - p * q


def without_rounding(polynomial: Polynomial, radius: Polynomial, /) -> Polynomial:
    """The polynomial without coefficients that are at most as large as rounding makes them."""
    bounds = [*radius.coefficients, *[0] * len(polynomial.coefficients)]
    pairs = zip(polynomial.coefficients, bounds, strict=False)
    return Polynomial([a if abs(a) > bound else 0 for a, bound in pairs])
